//! The TOML file: every mistake in it at once, each with its line.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeArray, DeString, DeTable, DeValue};

use super::error::{ConfigError, FILE_BYTES_MAX, SetBy};
use super::settings::{FORMER_KEYS, Settings};

/// How similar a known key must be to be proposed, from 0 to 1; clap proposes flags from 0.7.
const LIKENESS_MIN: f64 = 0.8;

/// The settings of a file, and the line of each.
#[derive(Clone, Debug, Default)]
pub(super) struct File {
    pub(super) settings: Settings,
    path: PathBuf,
    lines: BTreeMap<String, usize>,
}

impl File {
    /// The place where the file sets `key`, if it does.
    pub(super) fn set_by(&self, key: &str) -> Option<SetBy> {
        let line = *self.lines.get(key)?;
        Some(SetBy::File { path: self.path.clone(), line })
    }

    /// Reads the file at `path`: its valid settings, and the errors of the others.
    pub(super) fn read(path: &Path) -> Result<(Self, Vec<ConfigError>), ConfigError> {
        let unreadable = |source| ConfigError::Unreadable { path: path.to_owned(), source };
        let bytes = std::fs::metadata(path).map_err(unreadable)?.len();
        if bytes > FILE_BYTES_MAX {
            return Err(ConfigError::TooLarge { path: path.to_owned(), bytes });
        }
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        Self::parse(path, &text)
    }

    /// Reads each key on its own, so that one mistake does not hide the next.
    fn parse(path: &Path, text: &str) -> Result<(Self, Vec<ConfigError>), ConfigError> {
        let line_of =
            |offset: usize| text[..offset].bytes().filter(|&byte| byte == b'\n').count() + 1;
        let table = DeTable::parse(text).map_err(|error| {
            let line = line_of(error.span().map_or(0, |span| span.start));
            let message = error.message().trim().replace('\n', ", ");
            ConfigError::Syntax { path: path.to_owned(), line, message }
        })?;
        let mut file = Self { path: path.to_owned(), ..Self::default() };
        let mut errors = Vec::new();
        for (key, value) in table.into_inner() {
            let name = key.get_ref().to_string();
            let current = FORMER_KEYS.iter().find(|(former, _)| *former == name);
            let name = current.map_or(name, |(_, current)| (*current).to_owned());
            let key_line = line_of(key.span().start);
            if let Some(line) = file.lines.insert(name.clone(), key_line) {
                let set_by = SetBy::File { path: path.to_owned(), line: key_line };
                let allowed = format!("the setting once; line {line} has it by another name");
                let value = text[value.span()].to_owned();
                errors.push(ConfigError::Invalid { key: name, value, set_by, allowed });
                continue;
            }
            match settings_of(&key, &value) {
                Ok(settings) => file.settings = settings.over(std::mem::take(&mut file.settings)),
                Err(error) => {
                    let span = mistaken_item(&key, &value)
                        .or(error.span())
                        .unwrap_or_else(|| value.span());
                    let line = line_of(span.start);
                    let set_by = SetBy::File { path: path.to_owned(), line };
                    errors.push(refusal(name, &text[span], set_by, error.message()));
                }
            }
        }
        Ok((file, errors))
    }
}

/// The settings that one key gives.
fn settings_of(
    key: &Spanned<DeString<'_>>,
    value: &Spanned<DeValue<'_>>,
) -> Result<Settings, toml::de::Error> {
    let span = key.span().start..value.span().end;
    let only = DeTable::from_iter([(key.clone(), value.clone())]);
    Settings::deserialize(toml::Deserializer::from(Spanned::new(span, only)))
}

/// The first invalid item of a list: serde reports such an error for the whole list.
fn mistaken_item(
    key: &Spanned<DeString<'_>>,
    value: &Spanned<DeValue<'_>>,
) -> Option<Range<usize>> {
    let items = value.get_ref().as_array()?;
    let is_mistaken = |item: &&Spanned<DeValue<'_>>| {
        let only = DeArray::from_iter([(*item).clone()]);
        settings_of(key, &Spanned::new(item.span(), DeValue::Array(only))).is_err()
    };
    items.iter().find(is_mistaken).map(Spanned::span)
}

/// Turns serde's message into an error of ours: the part that says what is allowed.
fn refusal(key: String, value: &str, set_by: SetBy, message: &str) -> ConfigError {
    if message.starts_with("unknown field") {
        let known = message.split_once("expected ").map_or(message, |(_, known)| known);
        let nearest = nearest(&key, known.split('`').skip(1).step_by(2));
        return ConfigError::UnknownKey { key, set_by, nearest };
    }
    let allowed = message.split_once("expected ").map_or(message, |(_, allowed)| allowed);
    ConfigError::Invalid { key, value: value.to_owned(), set_by, allowed: allowed.to_owned() }
}

/// The known key that is most like `key`, if one is similar enough.
fn nearest<'a>(key: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    // `_` and `-`, and the case, make no difference to a reader.
    let key = key.to_lowercase().replace('_', "-");
    let rated = known.map(|known| (strsim::jaro_winkler(&key, known), known));
    let (likeness, known) = rated.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (likeness >= LIKENESS_MIN).then(|| known.to_owned())
}

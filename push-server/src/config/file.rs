//! The TOML file: every mistake in it at once, each with its line.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeArray, DeString, DeTable, DeValue};

use super::error::{ConfigError, FILE_BYTES_MAX, SetBy};
use super::listeners::{LISTENER, ListenerTable};
use super::settings::{FORMER_KEYS, Settings};

/// How similar a known key must be to be proposed, from 0 to 1; clap proposes flags from 0.7.
const LIKENESS_MIN: f64 = 0.8;

/// The settings of a file, and the line of each.
#[derive(Clone, Debug, Default)]
pub(super) struct File {
    pub(super) settings: Settings,
    /// Its `[[listener]]` tables, in order.
    pub(super) tables: Vec<ListenerTable>,
    path: PathBuf,
    lines: BTreeMap<String, usize>,
    /// Of each table.
    table_lines: Vec<TableLines>,
}

/// Where a table begins, and where it has its keys.
#[derive(Clone, Debug)]
struct TableLines {
    begin: usize,
    keys: BTreeMap<String, usize>,
}

impl File {
    /// The place where the file sets `key`, if it does. `table`: for a key of that `[[listener]]`
    /// table, which has all keys, since its defaults are its own.
    pub(super) fn set_by(&self, key: &str, table: Option<usize>) -> Option<SetBy> {
        let line = match table {
            None => *self.lines.get(key)?,
            Some(place) => {
                let lines = self.table_lines.get(place)?;
                *of_table(key).and_then(|key| lines.keys.get(key)).unwrap_or(&lines.begin)
            }
        };
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
        Reading { path, text: &text }.file()
    }
}

/// A file that is being read.
#[derive(Clone, Copy)]
struct Reading<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Reading<'_> {
    fn file(self) -> Result<(File, Vec<ConfigError>), ConfigError> {
        let table = DeTable::parse(self.text).map_err(|error| {
            let line = self.line_of(error.span().map_or(0, |span| span.start));
            let message = error.message().trim().replace('\n', ", ");
            ConfigError::Syntax { path: self.path.to_owned(), line, message }
        })?;
        let mut file = File { path: self.path.to_owned(), ..File::default() };
        let mut errors = Vec::new();
        let (tables, settings): (Vec<_>, Vec<_>) =
            table.into_inner().into_iter().partition(|(key, _)| key.get_ref() == LISTENER);
        for (key, value) in &settings {
            let name = key.get_ref().to_string();
            let current = FORMER_KEYS.iter().find(|(former, _)| *former == name);
            let name = current.map_or(name, |(_, current)| (*current).to_owned());
            let line = self.line_of(key.span().start);
            if let Some(line) = file.lines.insert(name.clone(), line) {
                let set_by = self.set_by(key.span().start);
                let allowed = format!("the setting once; line {line} has it by another name");
                let value = self.text[value.span()].to_owned();
                errors.push(ConfigError::Invalid { key: name, value, set_by, allowed });
                continue;
            }
            match self.setting(key, value, &name) {
                Ok(read) => {
                    file.settings = Settings::over(read, std::mem::take(&mut file.settings));
                }
                Err(error) => errors.push(error),
            }
        }
        for (key, value) in &tables {
            self.listeners(key, value, &mut file, &mut errors);
        }
        Ok((file, errors))
    }

    /// Reads the `[[listener]]` tables.
    fn listeners(
        self,
        key: &Spanned<DeString<'_>>,
        value: &Spanned<DeValue<'_>>,
        file: &mut File,
        errors: &mut Vec<ConfigError>,
    ) {
        file.lines.insert(LISTENER.to_owned(), self.line_of(key.span().start));
        let tables = value.get_ref().as_array();
        let tables = tables.map(|tables| tables.iter().map(|one| (one, one.get_ref().as_table())));
        for (one, table) in tables.into_iter().flatten() {
            match table {
                Some(table) => self.listener(one.span().start, table, file, errors),
                None => errors.push(self.no_table(one.span())),
            }
        }
        if value.get_ref().as_array().is_none() {
            errors.push(self.no_table(key.span()));
        }
    }

    /// Reads one of them.
    fn listener(
        self,
        at: usize,
        table: &DeTable<'_>,
        file: &mut File,
        errors: &mut Vec<ConfigError>,
    ) {
        let mut lines = TableLines { begin: self.line_of(at), keys: BTreeMap::new() };
        let mut read = ListenerTable::default();
        for (key, value) in table {
            lines.keys.insert(key.get_ref().to_string(), self.line_of(key.span().start));
            match self.setting(key, value, &format!("{LISTENER}.{}", key.get_ref())) {
                Ok(one) => read = ListenerTable::over(one, read),
                Err(error) => errors.push(error),
            }
        }
        file.tables.push(read);
        file.table_lines.push(lines);
    }

    fn no_table(self, span: Range<usize>) -> ConfigError {
        ConfigError::Invalid {
            key: LISTENER.to_owned(),
            value: self.text[span.clone()].to_owned(),
            set_by: self.set_by(span.start),
            allowed: "tables, each begun by [[listener]]".into(),
        }
    }

    /// Reads each key on its own, so that one mistake does not hide the next. `name`: what an error
    /// calls it.
    fn setting<T: DeserializeOwned>(
        self,
        key: &Spanned<DeString<'_>>,
        value: &Spanned<DeValue<'_>>,
        name: &str,
    ) -> Result<T, ConfigError> {
        only::<T>(key, value).map_err(|error| {
            let span =
                mistaken_item::<T>(key, value).or(error.span()).unwrap_or_else(|| value.span());
            let set_by = self.set_by(span.start);
            refusal(name.to_owned(), &self.text[span], set_by, error.message())
        })
    }

    fn set_by(self, offset: usize) -> SetBy {
        SetBy::File { path: self.path.to_owned(), line: self.line_of(offset) }
    }

    fn line_of(self, offset: usize) -> usize {
        self.text[..offset].bytes().filter(|&byte| byte == b'\n').count() + 1
    }
}

/// The key of a table that an error calls so.
fn of_table(name: &str) -> Option<&str> {
    name.strip_prefix(LISTENER)?.strip_prefix('.')
}

/// What one key gives.
fn only<T: DeserializeOwned>(
    key: &Spanned<DeString<'_>>,
    value: &Spanned<DeValue<'_>>,
) -> Result<T, toml::de::Error> {
    let span = key.span().start..value.span().end;
    let only = DeTable::from_iter([(key.clone(), value.clone())]);
    T::deserialize(toml::Deserializer::from(Spanned::new(span, only)))
}

/// The first invalid item of a list: serde reports such an error for the whole list.
fn mistaken_item<T: DeserializeOwned>(
    key: &Spanned<DeString<'_>>,
    value: &Spanned<DeValue<'_>>,
) -> Option<Range<usize>> {
    let items = value.get_ref().as_array()?;
    let is_mistaken = |item: &&Spanned<DeValue<'_>>| {
        let list = DeArray::from_iter([(*item).clone()]);
        only::<T>(key, &Spanned::new(item.span(), DeValue::Array(list))).is_err()
    };
    items.iter().find(is_mistaken).map(Spanned::span)
}

/// Turns serde's message into an error of ours: the part that says what is allowed.
fn refusal(key: String, value: &str, set_by: SetBy, message: &str) -> ConfigError {
    if message.starts_with("unknown field") {
        let known = message.split_once("expected ").map_or(message, |(_, known)| known);
        let known: Vec<_> = known.split('`').skip(1).step_by(2).collect();
        let (nearest, listed) = match of_table(&key) {
            Some(key) => (
                nearest(key, known.iter().copied()),
                format!("the keys of a table are {}", known.join(", ")),
            ),
            None => (
                nearest(&key, known.into_iter().chain([LISTENER])),
                "`push-server run --help` lists the keys".to_owned(),
            ),
        };
        let hint = nearest.map_or(listed, |nearest| format!("did you mean {nearest}?"));
        return ConfigError::UnknownKey { key, set_by, hint };
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

//! Flag over file over default, and where each value was set.

use std::path::Path;

use super::Config;
use super::error::{ConfigError, SetBy};
use super::file::{File, LISTENER};
use super::listeners::ADDRESS_KEYS;
use super::rules::contradictions;
use super::settings::Settings;

/// Settings, and what the values themselves do not show.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The settings.
    pub config: Config,
    /// The listen addresses are the defaults, so one that this machine lacks may be left out.
    pub listen_is_default: bool,
    flags: Settings,
    file: File,
}

impl Loaded {
    /// Flag over file over default, or everything that is wrong with them.
    pub fn new(flags: &Settings, path: Option<&Path>) -> Result<Self, Vec<ConfigError>> {
        let (loaded, errors) = Self::without_mistakes(flags, path).map_err(|error| vec![error])?;
        if errors.is_empty() { Ok(loaded) } else { Err(errors) }
    }

    /// Flag over file over default, and everything that is wrong with them. A refused value is
    /// replaced by its default, so that a check can find further mistakes.
    ///
    /// # Errors
    /// The file cannot be read at all.
    pub fn without_mistakes(
        flags: &Settings,
        path: Option<&Path>,
    ) -> Result<(Self, Vec<ConfigError>), ConfigError> {
        let (file, mut errors) = path.map(File::read).transpose()?.unwrap_or_default();
        let said = flags.clone().over(file.settings.clone());
        let has_tables = file.set_by(LISTENER, None).is_some();
        let listen_is_default = said.listen.is_none() && !has_tables;
        let mut config = Config::default();
        if has_tables {
            config.listen.clear();
        }
        said.fill(&mut config);
        config.listener_tables.clone_from(&file.tables);
        let loaded = Self { config, listen_is_default, flags: flags.clone(), file };
        let refused: Vec<_> =
            errors.iter().filter_map(ConfigError::key).map(str::to_owned).collect();
        let is_refused = |key: &str| refused.iter().any(|refused| refused == key);
        errors.extend(loaded.both_forms());
        // A default that replaces a refused value contradicts nothing.
        let contradictions = contradictions(&loaded.config).into_iter().filter(|found| {
            !is_refused(found.key) && !found.others.iter().any(|other| is_refused(other))
        });
        errors.extend(contradictions.map(|found| ConfigError::Invalid {
            set_by: loaded.set_by(found.key, found.table),
            key: found.key.to_owned(),
            value: found.value,
            allowed: found.allowed,
        }));
        errors.sort_by_key(ConfigError::line);
        Ok((loaded, errors))
    }

    /// Where the value of `key` was set. `table`: in that `[[listener]]` table, counted from 0.
    pub fn set_by(&self, key: &str, table: Option<usize>) -> SetBy {
        match self.flags.says(key) {
            true => SetBy::Flag,
            false => self.file.set_by(key, table).unwrap_or(SetBy::Default),
        }
    }

    /// Listeners by lists of addresses and by tables: one form or the other.
    fn both_forms(&self) -> Option<ConfigError> {
        let SetBy::File { path, line } = self.file.set_by(LISTENER, None)? else { return None };
        let listed = self.config.listeners();
        let listed = listed.iter().find(|listener| !listener.is_table())?;
        let key = ADDRESS_KEYS.into_iter().find(|key| *key == listed.form.key())?;
        Some(ConfigError::Invalid {
            key: key.to_owned(),
            value: listed.address.to_string(),
            set_by: self.set_by(key, None),
            allowed: format!(
                "either addresses or [[listener]] tables, as there is one at {}:{line}",
                path.display()
            ),
        })
    }
}

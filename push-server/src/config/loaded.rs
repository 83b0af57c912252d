//! Flag over file over default, and where each value was set. What a reload makes of another reading.

use std::path::{Path, PathBuf};

use super::Config;
use super::contradictions::Contradiction;
use super::error::{ConfigError, SetBy};
use super::file::File;
use super::listeners::{ADDRESS_KEYS, LISTENER};
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
    path: Option<PathBuf>,
    file: File,
}

/// What a reload makes of another reading of the settings.
#[derive(Clone, Debug)]
pub struct Reloaded {
    /// The settings in force from then on, as a start has read them or the file says now.
    pub config: Config,
    /// The settings that change now.
    pub changed: Vec<String>,
    /// The settings that are not what the start has read, and that only a restart applies.
    pub needs_restart: Vec<String>,
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
        let path = path.map(Path::to_owned);
        let loaded = Self { config, listen_is_default, flags: flags.clone(), path, file };
        let refused: Vec<_> =
            errors.iter().filter_map(ConfigError::key).map(str::to_owned).collect();
        let is_refused = |key: &str| refused.iter().any(|refused| refused == key);
        errors.extend(loaded.both_forms());
        // A default that replaces a refused value contradicts nothing.
        let contradictions = contradictions(&loaded.config).into_iter().filter(|found| {
            !is_refused(found.key) && !found.others.iter().any(|other| is_refused(other))
        });
        errors.extend(contradictions.map(|found| loaded.refusal(found)));
        errors.sort_by_key(ConfigError::line);
        Ok((loaded, errors))
    }

    /// The settings file; `None`: there are only flags.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Reads the file again, under the same flags.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn again(&self) -> Result<Self, Vec<ConfigError>> {
        Self::new(&self.flags, self.path())
    }

    /// What changes if the file is read again as `new`, while `in_force` are the settings: by the start, which has
    /// read these ones, and by reloads since. A setting that a reload applies, and that contradicts those which need
    /// a restart, needs one, too.
    ///
    /// # Errors
    /// What would be in force contradicts itself: the new values of settings that a reload applies, say, and the
    /// present addresses.
    pub fn reloaded(&self, in_force: &Config, new: &Self) -> Result<Reloaded, Vec<ConfigError>> {
        let live = Config::live_keys();
        let is_live = |key: &String| live.contains(key);
        let mut config = in_force.clone();
        let (mut changed, mut needs_restart) = (Vec::new(), Vec::new());
        for key in in_force.differing(&new.config).into_iter().filter(is_live) {
            config.take_live(&key, &new.config);
            changed.push(key);
        }
        loop {
            let found = contradictions(&config);
            if found.is_empty() {
                break;
            }
            let takes_part = |key: &String| {
                found
                    .iter()
                    .any(|one| one.key == key || one.others.iter().any(|other| other == key))
            };
            let (back, stay): (Vec<_>, Vec<_>) = changed.into_iter().partition(takes_part);
            if back.is_empty() {
                return Err(found.into_iter().map(|found| new.refusal(found)).collect());
            }
            back.iter().for_each(|key| config.take_live(key, in_force));
            needs_restart.extend(back);
            changed = stay;
        }
        let differing = self.config.differing(&new.config);
        needs_restart.extend(differing.into_iter().filter(|key| !is_live(key)));
        Ok(Reloaded { config, changed, needs_restart })
    }

    /// A contradiction as a mistake in these settings.
    fn refusal(&self, found: Contradiction) -> ConfigError {
        ConfigError::Invalid {
            set_by: self.set_by(found.key, found.table),
            key: found.key.to_owned(),
            value: found.value,
            allowed: found.allowed,
        }
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

impl Config {
    /// The settings that have other values in `other`; `listener` stands for all `[[listener]]` tables.
    pub(super) fn differing(&self, other: &Self) -> Vec<String> {
        let both = self.entries().into_iter().zip(other.entries());
        let differing = both.filter(|(one, other)| one != other).map(|((key, _), _)| key);
        let tables = (self.listener_tables != other.listener_tables).then(|| LISTENER.to_owned());
        differing.chain(tables).collect()
    }
}

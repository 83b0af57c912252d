//! What is wrong with the settings, and where each was set.

use std::path::PathBuf;

/// Largest file read; a settings file is a few kilobytes.
pub const FILE_BYTES_MAX: u64 = 1 << 20;

/// Where a setting comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetBy {
    /// A flag of the command line.
    Flag,
    /// A line of the file, counted from 1.
    File {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
    },
    /// Not set, so the default holds.
    Default,
}

impl SetBy {
    /// `key` as the user knows it: the flag, or the place in the file and the key.
    pub(crate) fn name(&self, key: &str) -> String {
        match self {
            Self::Flag => format!("--{key}"),
            Self::File { path, line } => format!("{}:{line}: {key}", path.display()),
            Self::Default => format!("{key} (by default)"),
        }
    }

    /// The line of the file, if it was set there.
    pub(crate) fn line(&self) -> Option<usize> {
        match self {
            Self::File { line, .. } => Some(*line),
            Self::Flag | Self::Default => None,
        }
    }
}

/// What is wrong with the settings. clap refuses flags that are wrong by themselves.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The file is too large for a settings file.
    #[error("{} has {bytes} bytes: a settings file has at most {FILE_BYTES_MAX}", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
    },
    /// The file is not TOML.
    #[error("{}:{line}: not TOML: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// The parser's message.
        message: String,
    },
    /// The file has an unknown key.
    #[error("{}: unknown key; {hint}", set_by.name(key))]
    UnknownKey {
        /// The key.
        key: String,
        /// The place that sets it.
        set_by: SetBy,
        /// A known key like it, or where they are listed.
        hint: String,
    },
    /// A value is not allowed.
    #[error("{} = {value}: expected {allowed}", set_by.name(key))]
    Invalid {
        /// The key.
        key: String,
        /// The value, as written.
        value: String,
        /// The place that sets it.
        set_by: SetBy,
        /// The values that would be allowed.
        allowed: String,
    },
}

impl ConfigError {
    /// The setting that is wrong, if it is a single one.
    pub fn key(&self) -> Option<&str> {
        match self {
            Self::UnknownKey { key, .. } | Self::Invalid { key, .. } => Some(key),
            Self::Unreadable { .. } | Self::TooLarge { .. } | Self::Syntax { .. } => None,
        }
    }

    /// The line in the file; errors without one sort first.
    pub fn line(&self) -> Option<usize> {
        match self {
            Self::UnknownKey { set_by, .. } | Self::Invalid { set_by, .. } => set_by.line(),
            Self::Syntax { line, .. } => Some(*line),
            Self::Unreadable { .. } | Self::TooLarge { .. } => None,
        }
    }
}

//! Loads the keys that sign tokens (`--jwt-keys`), at the start and by a reload.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tracing::{info, warn};
use zeroize::Zeroizing;

use crate::access::{TokenKeys, TokenKeysError, Tokens};
use crate::config::JwtSettings;

/// Bytes of the largest file: a set of all keys that are taken has some 100 KiB, with certificates in it.
pub(crate) const JWT_FILE_BYTES_MAX: u64 = 1 << 20;

/// Why the file is refused.
#[derive(Debug, thiserror::Error)]
pub enum TokensError {
    /// It cannot be read.
    #[error("cannot read {}: {source}; it is named by --jwt-keys, and read without capabilities, as it is again by \
         a reload", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// It is too large for a file of keys.
    #[error("{} has {bytes} bytes: a file of keys has at most {JWT_FILE_BYTES_MAX}", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
    },
    /// It is no file of keys, or has one that is not safe.
    #[error("{}: {error} (--jwt-keys)", path.display())]
    Keys {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: TokenKeysError,
    },
}

/// Reads the keys that the settings name, with what else is asked of tokens; `None`: no token counts.
///
/// # Errors
/// The file cannot be read or is not valid.
pub(crate) fn load(settings: &JwtSettings) -> Result<Option<Tokens>, TokensError> {
    let JwtSettings { keys_file, issuers, audiences } = settings;
    let Some(path) = keys_file else { return Ok(None) };
    let keys = read(path)?;
    info!("{} keys for tokens from {}", keys.len(), path.display());
    if keys.skipped() > 0 {
        let skipped = keys.skipped();
        warn!("{}: {skipped} more keys are for other purposes, or of other kinds", path.display());
    }
    Ok(Some(Tokens { keys, issuers: issuers.clone(), audiences: audiences.clone() }))
}

fn read(path: &Path) -> Result<TokenKeys, TokensError> {
    let unreadable = |source| TokensError::Unreadable { path: path.to_owned(), source };
    let metadata = fs::metadata(path).map_err(unreadable)?;
    let bytes = metadata.len();
    if bytes > JWT_FILE_BYTES_MAX {
        return Err(TokensError::TooLarge { path: path.to_owned(), bytes });
    }
    // It may have secrets.
    let text = Zeroizing::new(fs::read_to_string(path).map_err(unreadable)?);
    let keys = TokenKeys::parse(&text);
    let keys = keys.map_err(|error| TokensError::Keys { path: path.to_owned(), error })?;
    if keys.has_secrets() && metadata.permissions().mode() & 0o077 != 0 {
        warn!("{} can be read by others: whoever has its secrets can make tokens", path.display());
    }
    Ok(keys)
}

#[cfg(test)]
mod tests;

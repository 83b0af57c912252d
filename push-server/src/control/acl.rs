//! Reads the file of rules (`--acl`), for the server and for `push-server acl check`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tracing::info;

use crate::access::Acl;
use crate::access::acl::Mistakes;
use crate::config::Config;

/// Bytes of the largest file: some 100,000 rules.
pub const ACL_FILE_BYTES_MAX: u64 = 16 << 20;

/// Why the file is refused.
#[derive(Debug, thiserror::Error)]
pub enum AclFileError {
    /// It cannot be read.
    #[error("cannot read {}: {source}{hint}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
        /// What else to know, for one who starts a server.
        hint: &'static str,
    },
    /// It is too large for a file of rules.
    #[error("{} has {bytes} bytes: a file of rules has at most {ACL_FILE_BYTES_MAX}", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
    },
    /// It has mistakes.
    #[error("{}:{mistakes}", path.display())]
    Mistakes {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        mistakes: Mistakes,
    },
}

/// Why the server may fail to read what its user can.
const HINT: &str =
    "; it is named by --acl, and read without capabilities, as it is again by a reload";

/// The rules that the settings name; `None`: none.
pub(crate) fn load(config: &Config) -> Result<Option<Arc<Acl>>, AclFileError> {
    let Some(path) = &config.acl else { return Ok(None) };
    let text = read(path).map_err(|error| match error {
        AclFileError::Unreadable { path, source, .. } => {
            AclFileError::Unreadable { path, source, hint: HINT }
        }
        other => other,
    })?;
    let acl = parse(path, &text)?;
    info!("{} rules from {}", acl.rules_len(), path.display());
    Ok(Some(Arc::new(acl)))
}

/// The text of a file that is not too large.
pub fn read(path: &Path) -> Result<String, AclFileError> {
    let unreadable = |source| AclFileError::Unreadable { path: path.to_owned(), source, hint: "" };
    let bytes = fs::metadata(path).map_err(unreadable)?.len();
    if bytes > ACL_FILE_BYTES_MAX {
        return Err(AclFileError::TooLarge { path: path.to_owned(), bytes });
    }
    fs::read_to_string(path).map_err(unreadable)
}

/// The rules in the text of this file.
pub fn parse(path: &Path, text: &str) -> Result<Acl, AclFileError> {
    let refused = |mistakes| AclFileError::Mistakes { path: path.to_owned(), mistakes };
    Acl::parse(text).map_err(refused)
}

#[cfg(test)]
mod tests;

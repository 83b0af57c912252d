//! Loads who may connect, from the files of `--users` and `--jwt-keys` (`tokens`), and what clients may do (`acl`), at
//! the start and by a reload.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tracing::{info, warn};

use super::acl::{self, AclFileError};
use super::tokens::{self, TokensError};
use crate::access::{Access, Acl, Anonymous, Tokens, Users, UsersError};
use crate::config::Config;

/// Bytes of the largest file: 1,000,000 users take less.
pub(crate) const USERS_FILE_BYTES_MAX: u64 = 256 << 20;

/// Why the file is refused.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// It cannot be read.
    #[error("cannot read {}: {source}; it is named by --users, and read without capabilities, as it is again by a \
         reload", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// It is too large for a file of users.
    #[error("{} has {bytes} bytes: a file of users has at most {USERS_FILE_BYTES_MAX}", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
    },
    /// The file of keys for tokens is refused.
    #[error(transparent)]
    Tokens(#[from] TokensError),
    /// The file of rules is refused.
    #[error(transparent)]
    Acl(#[from] AclFileError),
    /// A line of it is not valid.
    #[error("{}:{}: {}; `push-server user set NAME --file FILE` writes such lines", path.display(), error.line, error.problem)]
    Line {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: UsersError,
    },
}

/// The rules at the start. What unknown names look like is random for each process.
///
/// # Errors
/// The first mistake.
pub(crate) fn load(config: &Config) -> Result<Access, AccessError> {
    read_again(config, &Access::default()).map_err(|mut mistakes| mistakes.swap_remove(0))
}

/// The rules by what the files say now, in the place of `current`. All mistakes at once.
pub(crate) fn read_again(config: &Config, current: &Access) -> Result<Access, Vec<AccessError>> {
    let settings = &config.authentication;
    let again = |text: &str| match &current.users {
        Some(users) => users.parse_again(text),
        None => Users::parse(text, rand::random()),
    };
    let users = settings.users_file.as_deref().map(|path| read(path, again)).transpose();
    let tokens = tokens::load(&settings.jwt).map_err(AccessError::from);
    let acl = acl::load(config).map_err(AccessError::from);
    match (users, tokens, acl) {
        (Ok(users), Ok(tokens), Ok(acl)) => Ok(joined(config, users, tokens, acl)),
        (users, tokens, acl) => {
            Err([users.err(), tokens.err(), acl.err()].into_iter().flatten().collect())
        }
    }
}

/// What the files say, with what the settings say.
fn joined(
    config: &Config,
    users: Option<Users>,
    tokens: Option<Tokens>,
    acl: Option<Arc<Acl>>,
) -> Access {
    let settings = &config.authentication;
    let listeners = config.listeners().into_iter();
    let open = listeners.filter(|listener| settings.allows_anonymous(listener));
    Access {
        users,
        tokens: tokens.map(Arc::new),
        scram_required: settings.scram_required,
        has_certificates: settings.certificate_user.field().is_some(),
        asks_hook: settings.hook.url.is_some(),
        anonymous: Anonymous::At(open.map(|listener| listener.name).collect()),
        acl,
    }
}

fn read(
    path: &Path,
    parse: impl FnOnce(&str) -> Result<Users, UsersError>,
) -> Result<Users, AccessError> {
    let unreadable = |source| AccessError::Unreadable { path: path.to_owned(), source };
    let metadata = fs::metadata(path).map_err(unreadable)?;
    let bytes = metadata.len();
    if bytes > USERS_FILE_BYTES_MAX {
        return Err(AccessError::TooLarge { path: path.to_owned(), bytes });
    }
    if metadata.permissions().mode() & 0o077 != 0 {
        warn!("{} can be read by others: passwords can be guessed from it", path.display());
    }
    let text = fs::read_to_string(path).map_err(unreadable)?;
    let users = parse(&text).map_err(|error| AccessError::Line { path: path.to_owned(), error })?;
    let weak = users.weak();
    if weak > 0 {
        warn!(
            "{} of the users have hashes of SHA-512 alone ($6$), whose passwords are guessed fast by whoever gets the \
             file: set them again",
            weak
        );
    }
    info!("{} users from {}", users.len(), path.display());
    Ok(users)
}

#[cfg(test)]
mod tests;

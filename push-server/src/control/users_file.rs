//! Changes a file of users: a new one is written beside it, and renamed. It belongs to whom the old one belonged to,
//! and nobody else can read it. Other lines, comments included, stay as they are.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::access::USERS_FILE_BYTES_MAX;
use crate::access::users::{self, LineError};
use crate::access::{Hasher, Password, Users, UsersError, Verdict};

/// How often a change waits for another program that has just renamed the file.
const LOCK_TRIES_MAX: u32 = 100;

/// The mode of the file.
const MODE: u32 = 0o600;

/// Why a file of users is not read, or not changed.
#[derive(Debug, thiserror::Error)]
pub enum UsersFileError {
    /// It cannot be read, written or locked.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
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
    /// A line is not valid. Nothing was changed.
    #[error("{}:{}: {}", path.display(), error.line, error.problem)]
    Line {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: UsersError,
    },
    /// There is no such user in it.
    #[error("{} has no user {name:?}", path.display())]
    NoSuchUser {
        /// The file.
        path: PathBuf,
        /// The name.
        name: String,
    },
    /// No line can be made of the name or the password.
    #[error(transparent)]
    NoLine(#[from] LineError),
    /// Other programs change it all the time.
    #[error("{} is changed by other programs all the time", path.display())]
    Contended {
        /// The file.
        path: PathBuf,
    },
}

/// Puts a user's lines in the place of the ones before. Makes the file if there is none.
///
/// # Errors
/// The file stays as it was.
pub fn set(path: &Path, name: &str, lines: &[String]) -> Result<(), UsersFileError> {
    change(path, true, |text| Ok(with_lines(text, name, lines)))
}

/// Removes a user's lines.
///
/// # Errors
/// There is none, or the file cannot be changed: it stays as it was.
pub fn remove(path: &Path, name: &str) -> Result<(), UsersFileError> {
    change(path, false, |text| {
        let is_there = text.lines().any(|line| users::owner(line) == Some(name));
        let missing = || UsersFileError::NoSuchUser { path: path.to_owned(), name: name.into() };
        is_there.then(|| with_lines(text, name, &[])).ok_or_else(missing)
    })
}

/// The users, each line's with what a check of it costs, in the order of the file.
///
/// # Errors
/// The file cannot be read, or has a line that is not valid.
pub fn list(path: &Path) -> Result<Vec<(String, String)>, UsersFileError> {
    let text = read(path)?;
    parse(path, &text)?;
    let user = |line| Some((users::owner(line)?.to_owned(), users::kind(line)?));
    Ok(text.lines().filter_map(user).collect())
}

/// Whether a password is the one of a user, as the server would say.
///
/// # Errors
/// The file cannot be read, or has a line that is not valid, or not this user.
pub fn verify(path: &Path, name: &str, password: &[u8]) -> Result<bool, UsersFileError> {
    let text = read(path)?;
    let users = parse(path, &text)?;
    let check = users.check(name, Password::new(password));
    if !check.is_known() {
        return Err(UsersFileError::NoSuchUser { path: path.to_owned(), name: name.into() });
    }
    Ok(matches!(check.run(&mut Hasher::default()), Verdict::Allowed(..)))
}

/// The text with these lines where the user's first line was, or at its end, and without the user's other lines.
fn with_lines(text: &str, name: &str, lines: &[String]) -> String {
    let mut changed = String::with_capacity(text.len());
    let mut new = Some(lines);
    let mut put = |line: &str| {
        changed.push_str(line);
        changed.push('\n');
    };
    for line in text.lines() {
        if users::owner(line) == Some(name) {
            new.take().into_iter().flatten().for_each(|line| put(line));
        } else {
            put(line);
        }
    }
    new.take().into_iter().flatten().for_each(|line| put(line));
    changed
}

fn parse(path: &Path, text: &str) -> Result<Users, UsersFileError> {
    let users = Users::parse(text, rand::random());
    users.map_err(|error| UsersFileError::Line { path: path.to_owned(), error })
}

fn read(path: &Path) -> Result<String, UsersFileError> {
    let failed = failure("read", path);
    let bytes = fs::metadata(path).map_err(&failed)?.len();
    if bytes > USERS_FILE_BYTES_MAX {
        return Err(UsersFileError::TooLarge { path: path.to_owned(), bytes });
    }
    fs::read_to_string(path).map_err(failed)
}

fn change(
    path: &Path,
    may_make: bool,
    change: impl FnOnce(&str) -> Result<String, UsersFileError>,
) -> Result<(), UsersFileError> {
    let old = lock(path, may_make)?;
    // What a link leads to, so that the link stays.
    let path = &fs::canonicalize(path).map_err(failure("find", path))?;
    let changed = change(&read(path)?)?;
    parse(path, &changed)?;
    replace(path, &old, &changed)
}

/// Opens the file and locks it, so that no change is lost. The lock ends with the file.
fn lock(path: &Path, may_make: bool) -> Result<File, UsersFileError> {
    for _ in 0..LOCK_TRIES_MAX {
        let mut options = OpenOptions::new();
        options.read(true).write(may_make).create(may_make).mode(MODE);
        let file = options.open(path).map_err(failure("open", path))?;
        let locked = flock(file.as_fd(), FlockOperation::LockExclusive);
        locked.map_err(|error| failure("lock", path)(error.into()))?;
        // Who held the lock may have renamed another file to this name.
        let there = fs::metadata(path).map_err(failure("read", path))?;
        let mine = file.metadata().map_err(failure("read", path))?;
        if (there.dev(), there.ino()) == (mine.dev(), mine.ino()) {
            return Ok(file);
        }
    }
    Err(UsersFileError::Contended { path: path.to_owned() })
}

fn replace(path: &Path, old: &File, text: &str) -> Result<(), UsersFileError> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let beside = path.with_file_name(name);
    let written = write_as(&beside, old, text).map_err(failure("write", &beside));
    let renamed = written
        .and_then(|()| fs::rename(&beside, path).map_err(failure("rename a new file to", path)));
    if renamed.is_err() {
        // The error that is told matters more.
        let _ = fs::remove_file(&beside);
        return renamed;
    }
    let folder = path.parent().unwrap_or(Path::new("/"));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failure("write", folder))
}

/// Writes a file that belongs to whom `old` belongs to.
fn write_as(beside: &Path, old: &File, text: &str) -> io::Result<()> {
    let mut new = OpenOptions::new().write(true).create_new(true).mode(MODE).open(beside)?;
    new.set_permissions(Permissions::from_mode(MODE))?;
    let (wanted, mine) = (old.metadata()?, new.metadata()?);
    if (wanted.uid(), wanted.gid()) != (mine.uid(), mine.gid()) {
        fchown(&new, Some(wanted.uid()), Some(wanted.gid()))?;
    }
    new.write_all(text.as_bytes())?;
    new.sync_all()
}

fn failure(what: &'static str, path: &Path) -> impl Fn(io::Error) -> UsersFileError {
    let path = path.to_owned();
    move |source| UsersFileError::Io { what, path: path.clone(), source }
}

#[cfg(test)]
mod tests;

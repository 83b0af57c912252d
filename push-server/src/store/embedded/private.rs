//! Who may look into the data directory: the server's user and nobody else, since sessions and
//! messages are in it.
//!
//! What the store has made is closed to others, also if an earlier server left it open. A directory
//! that was there before it, somebody else may use as well (`/srv`, a volume's root), so that one is
//! only warned of.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;

const DIR_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;
const OTHERS: u32 = 0o077;

/// Makes `dir`, and what is missing above it, for this user alone.
pub(super) fn make_dir(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(DIR_MODE).create(dir)
}

/// Warns if others may look into `dir`.
pub(super) fn warn_if_open(dir: &Path) -> io::Result<()> {
    if fs::metadata(dir)?.permissions().mode() & OTHERS != 0 {
        tracing::warn!(
            "{} is open to other users, who see what it holds but cannot read it; `chmod 700` \
             closes it",
            dir.display()
        );
    }
    Ok(())
}

/// Closes `dir` and all that is in it, which the store has made. Returns how much of it was open.
pub(super) fn close_tree(dir: &Path) -> io::Result<u64> {
    let mut closed = close(dir, DIR_MODE)?;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            closed += close_tree(&entry.path())?;
        } else if kind.is_file() {
            closed += close(&entry.path(), FILE_MODE)?;
        }
    }
    Ok(closed)
}

fn close(path: &Path, mode: u32) -> io::Result<u64> {
    if fs::metadata(path)?.permissions().mode() & OTHERS == 0 {
        return Ok(0);
    }
    fs::set_permissions(path, Permissions::from_mode(mode))?;
    Ok(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("metadata").permissions().mode() & 0o777
    }

    #[test]
    fn a_new_directory_is_its_users_alone_and_an_old_one_stays_as_it_is() {
        let dir = tempfile::tempdir().expect("a directory");
        let new = dir.path().join("a/b");
        make_dir(&new).expect("made");
        assert_eq!((mode(&new), mode(&dir.path().join("a"))), (0o700, 0o700));
        fs::set_permissions(&new, Permissions::from_mode(0o755)).expect("opened");
        make_dir(&new).expect("there");
        assert_eq!(mode(&new), 0o755);
    }

    #[test]
    fn what_an_earlier_server_left_open_is_closed() {
        let dir = tempfile::tempdir().expect("a directory");
        let (inner, file) = (dir.path().join("inner"), dir.path().join("inner/file"));
        fs::create_dir(&inner).expect("made");
        fs::write(&file, "x").expect("written");
        fs::set_permissions(&inner, Permissions::from_mode(0o755)).expect("opened");
        fs::set_permissions(&file, Permissions::from_mode(0o644)).expect("opened");
        assert_eq!(close_tree(&inner).expect("closed"), 2);
        assert_eq!((mode(&inner), mode(&file)), (0o700, 0o600));
        assert_eq!(close_tree(&inner).expect("closed"), 0);
    }
}

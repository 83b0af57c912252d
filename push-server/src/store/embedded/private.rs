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
mod tests;

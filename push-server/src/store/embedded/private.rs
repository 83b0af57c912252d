//! Permissions of the data directory: only the server's user may look into it, since it holds
//! sessions and messages.
//!
//! Files and directories that the store makes are closed to others, even if an earlier server left
//! them open. A directory that existed before may have other users (`/srv`, a volume's root), so
//! the store only warns about that one.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;

const DIR_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;
const OTHERS: u32 = 0o077;

/// Makes `dir` and missing parents, for this user alone.
pub(super) fn make_dir(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(DIR_MODE).create(dir)
}

/// Warns if other users may look into `dir`.
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

/// Closes `dir` and everything in it, all made by the store. Returns how many of them were open.
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

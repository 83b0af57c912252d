//! The data directory of a measured server: empty at first, removed when its owner is dropped.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// A data directory, removed when dropped.
#[derive(Debug)]
pub(super) struct DataDirectory(PathBuf);

impl DataDirectory {
    /// Makes a fresh one for this process in `folder`, and removes what an earlier run has left.
    pub(super) fn below(folder: &Path) -> Result<Self> {
        let path = folder.join(format!("data-{}", std::process::id()));
        let directory = Self(path);
        directory.remove();
        fs::create_dir_all(&directory.0)
            .with_context(|| format!("cannot make {}", directory.0.display()))?;
        Ok(directory)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Bytes that it occupies on the disk.
    pub(super) fn bytes(&self) -> u64 {
        occupied(&self.0)
    }

    fn remove(&self) {
        // If removing fails, the next run notices when it makes the directory.
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Drop for DataDirectory {
    fn drop(&mut self) {
        self.remove();
    }
}

/// Blocks of all files below a path, in bytes.
fn occupied(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    /// The unit of `st_blocks`.
    const BLOCK_BYTES: u64 = 512;
    let Ok(found) = fs::symlink_metadata(path) else { return 0 };
    let below = fs::read_dir(path).into_iter().flatten().flatten();
    found.blocks() * BLOCK_BYTES + below.map(|entry| occupied(&entry.path())).sum::<u64>()
}

#[cfg(test)]
mod tests;

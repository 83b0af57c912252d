//! Whether files have changed, by what the system tells of them: a look reads none of them.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// A file that was written so shortly before a look may have been written again within the same tick of
/// the file system's clock, without a trace.
const SETTLED_AFTER: Duration = Duration::from_secs(2);

/// How files were at one moment.
#[derive(Debug)]
pub(super) struct Stamps {
    files: Vec<(PathBuf, Option<Stamp>)>,
    /// Whether a later change would show.
    is_settled: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    /// Seconds and nanoseconds since 1970.
    modified: (i64, i64),
}

impl Stamps {
    /// Looks at `files`, through symbolic links. Take them before the files are read: a change meanwhile
    /// is then found by the next look.
    pub(super) fn taken<'a>(files: impl Iterator<Item = &'a Path>, now: SystemTime) -> Self {
        let files: Vec<_> = files.map(|file| (file.to_owned(), Stamp::of(file))).collect();
        let settled = now.checked_sub(SETTLED_AFTER).unwrap_or(SystemTime::UNIX_EPOCH);
        let settled = settled.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let is_settled = files.iter().all(|(_, stamp)| {
            stamp.is_none_or(|stamp| stamp.modified.0 < i64::try_from(settled).unwrap_or(i64::MAX))
        });
        Self { files, is_settled }
    }

    /// Whether the files may have changed since these were taken, if they are now like `later`.
    pub(super) fn may_differ(&self, later: &Self) -> bool {
        !self.is_settled || self.files != later.files
    }
}

impl Stamp {
    fn of(file: &Path) -> Option<Self> {
        let metadata = fs::metadata(file).ok()?;
        Some(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        })
    }
}

#[cfg(test)]
mod tests;

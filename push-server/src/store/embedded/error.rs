//! Why the embedded store cannot be opened.

use std::path::PathBuf;

/// Why the store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has locked the directory.
    #[error(
        "another push-server keeps its sessions in {}: stop it, or name another --data-dir",
        .0.display()
    )]
    InUse(PathBuf),
    /// Another version wrote it.
    #[error(
        "{} has layout {found}, this server knows layout {known} only: \
         run the version that wrote it, or begin anew in another --data-dir",
        dir.display()
    )]
    UnknownLayout {
        /// The data directory.
        dir: PathBuf,
        /// The layout found.
        found: String,
        /// The layout that this server knows.
        known: u32,
    },
    /// Files are missing or damaged beyond what can be recovered.
    #[error(
        "the database in {} is damaged ({detail}): restore it from a backup, \
         or begin anew, without its sessions, in another --data-dir",
        dir.display()
    )]
    Damaged {
        /// The data directory.
        dir: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// The directory cannot be read or written.
    #[error("cannot use {} as --data-dir: {source}", dir.display())]
    Io {
        /// The data directory.
        dir: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
}

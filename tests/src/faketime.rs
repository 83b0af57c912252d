//! Another clock for one process: libfaketime.

use std::fs;
use std::path::PathBuf;

use crate::skip::Skip;

/// Debian's library, where the package `faketime` has it.
///
/// # Errors
/// It is not there.
pub fn faketime() -> Result<PathBuf, Skip> {
    let architectures = fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    let folders = architectures.map(|entry| entry.path()).chain(["/usr/lib".into()]);
    folders
        .map(|folder| folder.join("faketime/libfaketime.so.1"))
        .find(|library| library.exists())
        .ok_or_else(|| Skip::missing("no libfaketime (Debian: faketime)"))
}

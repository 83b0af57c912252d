//! Certificates for a run on this machine: the load generator makes them, as it does for tests.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::workspace::run_checked;

/// Makes ca.pem, server.pem, server.key, client.pem and client.key anew in a folder, for localhost,
/// 127.0.0.1 and ::1.
pub(crate) fn make(generator: &Path, folder: &Path) -> Result<()> {
    run_checked(Command::new(generator).arg("certificates").arg("--folder").arg(folder))
}

//! mosquitto in the server's place, to test the tests: what they expect of the user path must hold
//! for a broker that none of us wrote. `PUSH_STAND_IN=/usr/sbin/mosquitto cargo test ...` runs the
//! user-path half against it; what only our server has (metrics, limits, the kernel path) is then
//! skipped by name.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::skip::{Skip, TestResult};

/// Names the binary to put in the server's place.
const STAND_IN_VARIABLE: &str = "PUSH_STAND_IN";

/// The binary to put in the server's place, if any.
pub fn binary() -> Option<PathBuf> {
    std::env::var_os(STAND_IN_VARIABLE).map(PathBuf::from)
}

/// Skips a test that a stand-in cannot pass: it `does` something else.
pub fn not_for(does: &str) -> TestResult {
    match binary() {
        Some(_) => Err(Skip::missing(format!("the stand-in {does}"))),
        None => Ok(()),
    }
}

/// Writes its configuration into `directory`.
pub fn write_configuration(directory: &Path, listen: SocketAddr) -> io::Result<PathBuf> {
    let path = directory.join("mosquitto.conf");
    let text = format!(
        "listener {} {}\nallow_anonymous true\nuser root\nmax_queued_messages 5000\n",
        listen.port(),
        listen.ip()
    );
    std::fs::write(&path, text)?;
    Ok(path)
}

//! mosquitto instead of the server, to test the tests: their expectations of the user path must
//! hold for a broker that we did not write. `PUSH_STAND_IN=/usr/sbin/mosquitto cargo test ...` runs
//! the user-path half against it; tests of what only our server has (metrics, limits, the kernel
//! path) are skipped by name.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::skip::{Skip, TestResult};

/// The environment variable with the path of the stand-in.
const STAND_IN_VARIABLE: &str = "PUSH_STAND_IN";

/// The binary of the stand-in, if there is one.
pub fn binary() -> Option<PathBuf> {
    std::env::var_os(STAND_IN_VARIABLE).map(PathBuf::from)
}

/// Skips a test that a stand-in cannot pass, because it `does` something else.
pub fn not_for(does: &str) -> TestResult {
    match binary() {
        Some(_) => Err(Skip::missing(format!("the stand-in {does}"))),
        None => Ok(()),
    }
}

/// Flags of ours that change nothing for clients, or that its configuration replaces.
const FLAGS_SPARED: [&str; 4] =
    ["--shards", "--durability", "--outbox-messages-max", "--outbox-bytes-max"];

/// Whether it can go without these flags and their values.
pub fn does_without(flags: &[String]) -> bool {
    flags.chunks(2).all(|flag| FLAGS_SPARED.contains(&flag[0].as_str()))
}

/// Writes its configuration into `directory`. With `data`, it stores its state there as often as
/// its settings allow: every second.
pub fn write_configuration(
    directory: &Path,
    listen: SocketAddr,
    data: Option<&Path>,
) -> io::Result<PathBuf> {
    let path = directory.join("mosquitto.conf");
    let mut text = format!(
        "listener {} {}\nallow_anonymous true\nuser root\nmax_queued_messages {}\n",
        listen.port(),
        listen.ip(),
        if data.is_some() { 0 } else { 5_000 },
    );
    if let Some(data) = data {
        std::fs::create_dir_all(data)?;
        text.push_str(&format!(
            "max_queued_bytes 0\nmax_inflight_messages 0\n\
             persistence true\npersistence_location {}/\nautosave_interval 1\n",
            data.display()
        ));
    }
    std::fs::write(&path, text)?;
    Ok(path)
}

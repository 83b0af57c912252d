//! Finds the eBPF object to embed: the file named by `PUSH_EBPF_OBJECT`, else
//! `target/ebpf/push-ebpf` of the workspace, where `cargo xtask build` puts it, else none; a server
//! without it runs on the user path and says so. It builds nothing itself: the eBPF target needs
//! another compiler than this crate (see xtask).

use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-env-changed=PUSH_EBPF_OBJECT");
    let named = env::var_os("PUSH_EBPF_OBJECT").map(PathBuf::from);
    let built = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../target/ebpf/push-ebpf");
    // A path that does not exist makes cargo run this again each time, which is what finds an
    // object that was built later; it costs a copy.
    println!("cargo::rerun-if-changed={}", named.as_ref().unwrap_or(&built).display());

    let object = match named {
        Some(path) => fs::read(&path)
            .map_err(|error| format!("PUSH_EBPF_OBJECT={}: {error}", path.display()))?,
        None => fs::read(&built).unwrap_or_default(),
    };
    let embedded = Path::new(&env::var("OUT_DIR")?).join("push-ebpf");
    // An unchanged file keeps its time stamp, so that the crate is not compiled again.
    if fs::read(&embedded).ok().as_ref() != Some(&object) {
        fs::write(&embedded, object)?;
    }
    Ok(())
}

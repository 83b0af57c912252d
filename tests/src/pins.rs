//! Directories for `--bpf-dir`, one for each server of a test, on a BPF file system of the tests'
//! own: `ip netns exec` hides the usual one, which is mounted below `/sys`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::{FlockOperation, flock, statfs};
use rustix::mount::{MountFlags, mount};

/// Where that file system is mounted; it stays mounted.
const ROOT: &str = "/run/push-tests-bpf";
/// `f_type` of a BPF file system (`<linux/magic.h>`).
const BPF_FS_MAGIC: u64 = 0xCAFE_4A11;

/// A directory for a server's pins; removed with its contents when dropped.
#[derive(Debug)]
pub struct PinDir(PathBuf);

impl PinDir {
    /// A fresh name; the server makes the directory. Without root there is no file system to pin
    /// in, and servers run without.
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        if crate::skip::is_root() {
            mount_root().expect("mount a BPF file system for the tests");
        }
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        Self(Path::new(ROOT).join(format!("server-{}-{count}", std::process::id())))
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The links pinned in it.
    pub fn links(&self) -> Vec<PathBuf> {
        let entries = |dir: &Path| -> Vec<PathBuf> {
            fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
        };
        let is_link = |path: &PathBuf| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("push_"))
        };
        entries(&self.0).iter().flat_map(|generation| entries(generation)).filter(is_link).collect()
    }
}

impl Default for PinDir {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for PinDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// One test process mounts it, and the others find it.
fn mount_root() -> std::io::Result<()> {
    fs::create_dir_all(ROOT)?;
    let is_mounted = || statfs(ROOT).map(|found| found.f_type as u64 == BPF_FS_MAGIC);
    if is_mounted()? {
        return Ok(());
    }
    let lock = File::create("/run/push-tests-bpf.lock")?;
    flock(&lock, FlockOperation::LockExclusive)?;
    if !is_mounted()? {
        mount("bpf", ROOT, "bpf", MountFlags::empty(), None)?;
    }
    Ok(())
}

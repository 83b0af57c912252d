//! Tools for tests of the durable store: whether the server has one, and disks that can be full or
//! slow.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::mount::{MountFlags, UnmountFlags, mount, mount_remount, unmount};
use tempfile::TempDir;

use crate::expectations::wait_for;
use crate::server::server_binary;
use crate::skip::{Skip, TestResult, need_root};
use crate::stand_in;

/// The flag that only a server with a store has.
const DURABILITY_FLAG: &str = "--durability";

/// Bytes that fill a [`SmallDisk`] at a time.
const FILLER_BYTES: usize = 64 << 10;

/// Whether the server knows `--durability`; a stand-in is assumed to.
pub fn is_there() -> Result<bool, Skip> {
    if stand_in::binary().is_some() {
        return Ok(true);
    }
    let binary = server_binary()?;
    let help = Command::new(&binary).args(["run", "--help"]).output();
    let help = help.map_err(|error| {
        Skip::missing(format!("cannot ask {} for its flags: {error}", binary.display()))
    })?;
    Ok(String::from_utf8_lossy(&help.stdout).contains(DURABILITY_FLAG))
}

/// Skips the test if the server has no durable store.
pub fn need() -> TestResult {
    if is_there()? {
        return Ok(());
    }
    Err(Skip::missing("this push-server keeps nothing yet: `run --help` has no --durability"))
}

/// A small file system of its own; unmounted when dropped.
#[derive(Debug)]
pub struct SmallDisk {
    directory: TempDir,
}

impl SmallDisk {
    /// Mounts one of `mib` MiB.
    pub fn mount(mib: u32) -> Result<Self, Skip> {
        need_root()?;
        let directory = TempDir::new().expect("make a directory to mount on");
        let options = std::ffi::CString::new(format!("size={mib}m")).expect("no NUL in a number");
        mount("push-tests", directory.path(), "tmpfs", MountFlags::empty(), options.as_c_str())
            .map_err(|error| Skip::missing(format!("cannot mount a tmpfs: {error}")))?;
        Ok(Self { directory })
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Makes it read-only. It is busy while a child process that another test's thread is about to start
    /// still holds a file that was open for writing.
    pub fn make_read_only(&self) {
        wait_for("a tmpfs to become read-only", || {
            match mount_remount(self.path(), MountFlags::RDONLY, c"") {
                Err(rustix::io::Errno::BUSY) => None,
                other => {
                    other.expect("make a tmpfs read-only");
                    Some(())
                }
            }
        });
    }

    /// Fills the rest of it.
    pub fn fill(&self) {
        let mut filler = File::create(self.filler()).expect("create the filler");
        let block = vec![0x5A; FILLER_BYTES];
        let full = loop {
            // A part of the last block may fit.
            if let Err(error) = filler.write_all(&block) {
                break error;
            }
        };
        assert_eq!(full.kind(), io::ErrorKind::StorageFull, "{full}");
    }

    /// Frees the room at once: a child process that another test's thread is about to start may
    /// still hold the file.
    pub fn empty(&self) {
        let filler = File::options().write(true).open(self.filler()).expect("open the filler");
        filler.set_len(0).expect("empty the filler");
        std::fs::remove_file(self.filler()).expect("remove the filler");
    }

    fn filler(&self) -> PathBuf {
        self.path().join("filler")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Processes with open files keep it; nobody else sees it.
        let _ = unmount(self.path(), UnmountFlags::DETACH);
    }
}

/// Bytes of a [`SlowDisk`].
const SLOW_DISK_BYTES: u64 = 256 << 20;

/// A file system of its own whose writes can be made to wait; unmounted when dropped.
#[derive(Debug)]
pub struct SlowDisk {
    directory: TempDir,
}

/// Holds up all writers of a [`SlowDisk`], which cannot even be killed meanwhile: drop it before
/// anything that waits for such a process.
#[derive(Debug)]
#[must_use]
pub struct Stopped<'a>(&'a SlowDisk);

impl SlowDisk {
    /// Mounts one.
    pub fn mount() -> Result<Self, Skip> {
        need_root()?;
        let directory = TempDir::new().expect("make a directory to mount on");
        let image = directory.path().join("image");
        let file = File::create(&image).expect("create an image");
        file.set_len(SLOW_DISK_BYTES).expect("size the image");
        let disk = Self { directory };
        std::fs::create_dir(disk.path()).expect("make the mount point");
        let (image, path) = (image.as_os_str(), disk.path().into_os_string());
        run("mkfs.ext4", &["-q".as_ref(), image])?;
        run("mount", &["-o".as_ref(), "loop".as_ref(), image, &path])?;
        // Find out whether it can be stopped before a test depends on it.
        drop(disk.try_stop()?);
        Ok(disk)
    }

    /// Where it is mounted.
    pub fn path(&self) -> PathBuf {
        self.directory.path().join("disk")
    }

    /// Makes writes wait.
    pub fn stop(&self) -> Stopped<'_> {
        self.try_stop().expect("it could be stopped when it was mounted")
    }

    fn try_stop(&self) -> Result<Stopped<'_>, Skip> {
        run("fsfreeze", &["--freeze".as_ref(), self.path().as_os_str()])?;
        Ok(Stopped(self))
    }
}

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        let thawed = run("fsfreeze", &["--unfreeze".as_ref(), self.0.path().as_os_str()]);
        thawed.expect("have a disk go on");
    }
}

impl Drop for SlowDisk {
    fn drop(&mut self) {
        // As with a small disk; the loop device goes with the last open file on it.
        let _ = unmount(self.path(), UnmountFlags::DETACH);
    }
}

fn run(program: &str, arguments: &[&OsStr]) -> TestResult {
    let output = Command::new(program).args(arguments).output();
    let output = output.map_err(|error| Skip::missing(format!("{program}: {error}")))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Skip::missing(format!("{program} {arguments:?}: {}", said.trim())))
}

#[cfg(test)]
mod tests;

//! What keeps the programs at work when the process dies: their links, pinned in a BPF file system.
//!
//! A connection with answered pings needs its segments translated to the last FIN, and after a crash
//! it is the kernel that sends those. So a crash leaves the programs attached, with their maps: a
//! *generation* (see [`generations`](super::generations)), one directory below `--bpf-dir`. A start does
//! not adopt the maps of an earlier generation, whose layout may be another's and whose sockets are
//! gone; it puts its own programs beside, and removes each earlier one when no socket needs it any
//! more, at once or later. An orderly stop removes its own, unless sockets that were closed before it
//! still send; a stop that is cut short leaves them, as a crash does. What is still needed at a stop is
//! left to the next start. `push-server detach` removes what is left, needed or not.
//!
//! A lock on the directory tells whether a server runs; it goes with the process.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::iter;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rustix::fs::{FlockOperation, chown, flock, statfs};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};
use rustix::process::geteuid;

use super::durable;
use super::generations::{self, FLOWS_PIN, GENERATIONS_MAX, Generations, HEARTBEATS_PIN, remove};

/// Where BPF file systems are by custom, and where one is mounted if there is none.
const BPF_ROOT: &str = "/sys/fs/bpf";
/// `f_type` of a BPF file system (`<linux/magic.h>`).
const BPF_FS_MAGIC: u64 = 0xCAFE_4A11;
/// For those who run the server.
const DIR_MODE: u32 = 0o700;

/// Why links cannot be pinned.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    /// Another process holds the directory.
    #[error(
        "another push-server runs with --bpf-dir {}: stop it, or give this one another directory",
        .0.display()
    )]
    InUse(PathBuf),
    /// The directory is not on a BPF file system.
    #[error("{} is on no BPF file system (`mount -t bpf bpf {BPF_ROOT}`)", .0.display())]
    NotBpf(PathBuf),
    /// Something else.
    #[error("{}: {source}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// What.
        source: io::Error,
    },
}

/// The pin directory, claimed for this process. Dropping it removes what nobody's socket needs any
/// more: what this process has pinned, unless it serves (see [`Pins::set_serving`]), and what earlier
/// ones have left.
#[derive(Debug)]
pub struct Pins {
    generation: PathBuf,
    earlier: Arc<Generations>,
    serving: AtomicBool,
    /// Its lock is the claim.
    _dir: File,
}

impl Pins {
    /// Claims `dir`, which is made if need be. What an earlier server left there stays attached while
    /// its sockets need it, and answers no heartbeat any more.
    pub fn claim(dir: &Path) -> Result<Self, PinError> {
        let locked = lock(dir)?;
        let found = paths(dir)?;
        iter::once(dir).chain(found.iter().map(PathBuf::as_path)).try_for_each(take_over)?;
        let earlier = Generations::open(dir).map_err(at(dir))?;
        if !found.is_empty() {
            tracing::info!("{}: an earlier server did not stop in order", dir.display());
        }
        earlier.remove_unneeded();
        let generation = generations::new_path(dir, &earlier.paths());
        let (earlier, serving) = (Arc::new(earlier), AtomicBool::new(false));
        Ok(Self { generation, earlier, serving, _dir: locked })
    }

    /// How many earlier generations are left, now and later.
    pub fn earlier(&self) -> Arc<AtomicUsize> {
        self.earlier.count()
    }

    /// Whether there are too many for one more beside them, and how many there are.
    pub(super) fn crowd(&self) -> Option<usize> {
        Some(self.earlier.paths().len()).filter(|&count| count > GENERATIONS_MAX)
    }

    /// Whether there may be sockets that need what this process has pinned: while there may, it stays,
    /// whatever ends the process.
    pub(super) fn set_serving(&self, serving: bool) {
        self.serving.store(serving, Ordering::Release);
    }

    /// Has what earlier servers left removed once it is not needed any more, by a thread of this one's
    /// rights.
    pub fn remove_earlier_later(&self) {
        Generations::remove_later(&self.earlier);
    }

    /// Makes the place for what is to be pinned.
    pub(super) fn make(&self) -> Result<(), PinError> {
        make(&self.generation)
    }

    /// Why what is pinned may not outlive this process; `None` when it does.
    pub(super) fn doubt(&self) -> Option<String> {
        durable::doubt(&self.generation)
    }

    /// Where the link of a program on an interface goes.
    pub(super) fn path(&self, program: &str, interface: u32) -> PathBuf {
        self.generation.join(format!("{program}-{interface}"))
    }

    /// Where the flows go, which tell the next start whether the programs are still needed, and the
    /// heartbeats, by which it ends their answers.
    pub(super) fn map_paths(&self) -> [PathBuf; 2] {
        [FLOWS_PIN, HEARTBEATS_PIN].map(|name| self.generation.join(name))
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        self.earlier.remove_unneeded();
        if self.serving.load(Ordering::Acquire) {
            return;
        }
        if let Err(error) = remove(&self.generation) {
            tracing::warn!("{}: not removed: {error}", self.generation.display());
        }
    }
}

/// Removes what servers that are gone have left in `dir`; the paths of the links. A directory that
/// is not there, or on no BPF file system, has none.
pub fn detach(dir: &Path) -> Result<Vec<PathBuf>, PinError> {
    if !dir.exists() {
        return Ok(Vec::new());
    }
    let _locked = lock(dir)?;
    let mut removed = Vec::new();
    for generation in paths(dir)? {
        removed.extend(remove(&generation).map_err(at(&generation))?);
    }
    Ok(removed)
}

/// Makes the directory and locks it.
fn lock(dir: &Path) -> Result<File, PinError> {
    if dir.starts_with(BPF_ROOT) {
        mount_root().map_err(at(Path::new(BPF_ROOT)))?;
    }
    let parent = dir.parent().unwrap_or(dir);
    if !is_bpf(parent).map_err(at(parent))? {
        return Err(PinError::NotBpf(dir.into()));
    }
    make(dir)?;
    let file = File::open(dir).map_err(at(dir))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(Errno::WOULDBLOCK) => Err(PinError::InUse(dir.into())),
        Err(error) => Err(at(dir)(error.into())),
    }
}

/// Mounts the BPF file system where it belongs, unless it is there. Two servers at once must not
/// both do so: the second mount would hide what the first server pins.
fn mount_root() -> io::Result<()> {
    let root = Path::new(BPF_ROOT);
    if is_bpf(root)? {
        return Ok(());
    }
    let file = File::open(root)?;
    flock(&file, FlockOperation::LockExclusive)?;
    if !is_bpf(root)? {
        mount("bpf", root, "bpf", MountFlags::empty(), None)?;
        tracing::info!("mounted a BPF file system at {BPF_ROOT}");
    }
    Ok(())
}

fn is_bpf(path: &Path) -> io::Result<bool> {
    Ok(statfs(path)?.f_type as u64 == BPF_FS_MAGIC)
}

fn make(dir: &Path) -> Result<(), PinError> {
    match DirBuilder::new().mode(DIR_MODE).create(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(at(dir)(error)),
        _ => Ok(()),
    }
}

/// Makes a directory that another user's server has left this one's. Root could unpin there now, but
/// not at the stop, when it has no capabilities any more. Who may not change the owner may be let in
/// by the directory's mode.
fn take_over(dir: &Path) -> Result<(), PinError> {
    let (owner, own) = (fs::metadata(dir).map_err(at(dir))?.uid(), geteuid());
    if owner != own.as_raw() && chown(dir, Some(own), None).is_ok() {
        tracing::info!("{}: taken over from user {owner}", dir.display());
    }
    Ok(())
}

fn paths(dir: &Path) -> Result<Vec<PathBuf>, PinError> {
    let entries = fs::read_dir(dir).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    Ok(entries.map_err(at(dir))?.into_iter().map(|entry| entry.path()).collect())
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> PinError {
    let path = path.to_owned();
    move |source| PinError::Io { path, source }
}

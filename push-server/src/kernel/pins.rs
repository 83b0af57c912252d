//! Pins the programs' links in a BPF file system, so that the programs stay attached when the
//! process dies.
//!
//! Once the kernel has answered a ping of a connection, every segment of that connection must be
//! translated, down to the last FIN; after a crash the kernel sends these. So a crash leaves the
//! programs attached, with their maps: a *generation* (see [`generations`](super::generations)),
//! one directory in `--bpf-dir`. A start does not adopt an earlier generation's maps, whose layout
//! may differ and whose sockets are gone. It attaches its own programs beside them, and removes
//! each earlier generation, at once or later, when no socket needs it. An orderly stop removes its
//! own generation, unless sockets that it closed still send; a stop that is cut short leaves it,
//! like a crash. The next start removes what a stop leaves. `push-server detach` removes
//! everything, needed or not.
//!
//! A server locks the directory; the lock ends with the process.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::iter;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{FlockOperation, chown, flock, statfs};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};
use rustix::process::geteuid;

use super::durable;
use super::error::{BPF_ROOT, KernelPathError, PinError};
use super::generations::{
    self, EarlierGenerations, FLOWS_PIN, Generations, HEARTBEATS_PIN, remove,
};

/// `f_type` of a BPF file system (`<linux/magic.h>`).
const BPF_FS_MAGIC: u64 = 0xCAFE_4A11;
/// Only the server's user has access.
const DIR_MODE: u32 = 0o700;

/// The pin directory, locked by this process. Dropping it removes this process's generation, unless
/// it serves (see [`Pins::set_serving`]), and the earlier generations that no socket needs; it logs
/// how many are left.
#[derive(Debug)]
pub struct Pins {
    dir: PathBuf,
    generation: PathBuf,
    earlier: Arc<Generations>,
    serving: AtomicBool,
    /// Holds the lock.
    _dir: File,
}

impl Pins {
    /// Locks `dir`, and makes it if it is missing. Programs that an earlier server left there stop
    /// answering heartbeats, and stay attached while its sockets need them; at most
    /// `generations_max` of those may stay beside this server's.
    pub fn claim(dir: &Path, generations_max: usize) -> Result<Self, PinError> {
        let locked = lock(dir)?;
        let found = paths(dir)?;
        iter::once(dir).chain(found.iter().map(PathBuf::as_path)).try_for_each(take_over)?;
        let earlier = Generations::open(dir, generations_max).map_err(at(dir))?;
        if !found.is_empty() {
            tracing::info!("{}: an earlier server did not stop in order", dir.display());
        }
        earlier.remove_unneeded();
        let generation = generations::new_path(dir, &earlier.paths());
        let (earlier, serving) = (Arc::new(earlier), AtomicBool::new(false));
        Ok(Self { dir: dir.to_owned(), generation, earlier, serving, _dir: locked })
    }

    /// How many earlier generations are left.
    pub fn earlier(&self) -> Arc<EarlierGenerations> {
        self.earlier.figures()
    }

    /// Fails if there are too many earlier generations for one more.
    pub fn check_room(&self) -> Result<(), KernelPathError> {
        let crowded = |count| KernelPathError::Crowded { count, max: self.earlier.max() };
        self.earlier.crowd().map_or(Ok(()), |count| Err(crowded(count)))
    }

    /// Whether sockets may need what this process has pinned; while they may, dropping this leaves
    /// it.
    pub(super) fn set_serving(&self, serving: bool) {
        self.serving.store(serving, Ordering::Release);
    }

    /// Starts a thread that removes each earlier generation once no socket needs it. The thread
    /// inherits the caller's capabilities.
    pub fn remove_earlier_later(&self) {
        Generations::remove_later(&self.earlier);
    }

    /// Makes the directory of this process's generation.
    pub(super) fn make(&self) -> Result<(), PinError> {
        make(&self.generation)
    }

    /// Why pins may not outlive this process; `None`: they do.
    pub(super) fn doubt(&self) -> Option<String> {
        durable::doubt(&self.generation)
    }

    /// The pin of a program's link on an interface.
    pub(super) fn path(&self, program: &str, interface: u32) -> PathBuf {
        self.generation.join(format!("{program}-{interface}"))
    }

    /// The pins of two maps for the next start: the flows, which tell whether the programs are
    /// still needed, and the heartbeats, through which it stops their answers.
    pub(super) fn map_paths(&self) -> [PathBuf; 2] {
        [FLOWS_PIN, HEARTBEATS_PIN].map(|name| self.generation.join(name))
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        self.earlier.remove_unneeded();
        let left = self.earlier.figures().left();
        if left > 0 {
            tracing::info!(
                "{}: sockets of {left} earlier servers need their programs still: those stay until a later \
                 start or stop finds that they are through, or `push-server detach` removes them",
                self.dir.display()
            );
        }
        if self.serving.load(Ordering::Acquire) {
            return;
        }
        if let Err(error) = remove(&self.generation) {
            tracing::warn!("{}: not removed: {error}", self.generation.display());
        }
    }
}

/// Removes every generation in `dir`. Returns the paths of their links; none if the directory does
/// not exist.
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

/// Mounts the BPF file system if it is missing. The caller's lock keeps two servers from doing so
/// at once: the second mount would hide the first server's pins.
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

/// Makes this user the owner of a directory that another user's server has left. Root could unpin
/// there now, but not at the stop, without capabilities. A user who may not change the owner goes
/// on: the directory's mode may still give access.
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

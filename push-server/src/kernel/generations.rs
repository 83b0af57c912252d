//! Generations: programs and maps that a server left pinned because it died, or stopped while
//! sockets were still sending. Each is one directory in `--bpf-dir`.
//!
//! A generation is needed while a socket of one of its flows still sends to a client whose pings it
//! answered: without the programs, these bytes would arrive at wrong sequence numbers. That lasts
//! as long as the client takes to read. The kernel tells whether a socket still sends (sock_diag);
//! if it cannot, the time of the flow's last segment tells. Generations that are not needed are
//! removed.
//!
//! The maps of another version's server may have another layout, or not be pinned: such a
//! generation stays for [`FLOW_LINGER`], and then goes even if a socket still sends.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use aya::maps::{HashMap, Map, MapData};
use push_common::flow::{Flow, FlowKey, LockedFlow};
use push_common::slot::{SHARDS_MAX, ShardLine};
use rustix::thread::{MembarrierCommand, membarrier};
use rustix::time::{ClockId, clock_gettime};

use super::flows::FLOW_LINGER;
use super::slots::Lines;
use super::socket_diag::{SocketDiag, SocketState};

/// Most flows of each generation that a start or a stop looks at; the thread looks at the others.
const FLOWS_AT_ONCE_MAX: usize = 16_384;
/// Flows that the thread looks at before it pauses.
const FLOWS_A_LOOK_MAX: usize = 1_024;
/// How long the thread pauses.
const LOOK_PAUSE: Duration = Duration::from_millis(100);
/// Time between two looks at all generations.
const LOOK_PERIOD: Duration = Duration::from_secs(2);

/// Names of the maps' pins, which lie beside the links.
pub(super) const FLOWS_PIN: &str = "flows";
pub(super) const HEARTBEATS_PIN: &str = "heartbeats";

/// How urgently a generation is needed, in ascending order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Need {
    /// No socket sends anything that needs translation.
    Nothing,
    /// Sockets whose data is acknowledged learn of the client's end sooner with it; no data depends
    /// on it.
    Courtesy,
    /// A socket still sends.
    Sending,
}

/// A generation that a server has left.
#[derive(Debug)]
struct Generation {
    path: PathBuf,
    /// `None`: another version made it, and its maps are not pinned or have another layout.
    flows: Option<Mutex<HashMap<MapData, FlowKey, LockedFlow<u32>>>>,
    /// Whether its sockets are in this process's network namespace.
    is_of_our_network: bool,
    opened_at: Instant,
}

/// How many generations earlier servers have left.
#[derive(Debug, Default)]
pub struct EarlierGenerations {
    left: AtomicUsize,
    limit_hit: AtomicU64,
}

impl EarlierGenerations {
    /// How many exist now.
    pub fn left(&self) -> usize {
        self.left.load(Ordering::Relaxed)
    }

    /// How often there were too many to attach one more.
    pub fn limit_hit(&self) -> u64 {
        self.limit_hit.load(Ordering::Relaxed)
    }
}

/// The generations that earlier servers have left.
#[derive(Debug)]
pub(super) struct Generations {
    left: Mutex<Vec<Arc<Generation>>>,
    /// How many may stay attached beside this server's: each sees every packet, and the system
    /// attaches 64 programs to an interface.
    max: usize,
    figures: Arc<EarlierGenerations>,
    diag: Option<SocketDiag>,
    /// Whether every program run that could still answer a ping has ended: then no further flow
    /// becomes needed.
    are_disarmed: bool,
}

impl Generations {
    /// Opens the generations in `dir` and stops their answers. The caller has locked the directory,
    /// so their servers are gone. At most `max` of them may stay attached beside this server's.
    pub(super) fn open(dir: &Path, max: usize) -> io::Result<Self> {
        let entries = fs::read_dir(dir)?.collect::<io::Result<Vec<_>>>()?;
        let left: Vec<_> =
            entries.into_iter().map(|entry| Arc::new(Generation::open(entry.path()))).collect();
        // Waits until every program run that has begun has ended: each is a read-side section of
        // RCU.
        let are_disarmed = left.is_empty() || membarrier(MembarrierCommand::Global).is_ok();
        let figures = Arc::new(EarlierGenerations::default());
        figures.left.store(left.len(), Ordering::Relaxed);
        let diag = if left.is_empty() { None } else { SocketDiag::open() };
        Ok(Self { left: Mutex::new(left), max, figures, diag, are_disarmed })
    }

    /// Their directories.
    pub(super) fn paths(&self) -> Vec<PathBuf> {
        self.list().iter().map(|generation| generation.path.clone()).collect()
    }

    /// The count, now and later.
    pub(super) fn figures(&self) -> Arc<EarlierGenerations> {
        Arc::clone(&self.figures)
    }

    /// How many there are if one more would be too many; counts that.
    pub(super) fn crowd(&self) -> Option<usize> {
        let crowd = Some(self.list().len()).filter(|&count| count > self.max);
        if crowd.is_some() {
            self.figures.limit_hit.fetch_add(1, Ordering::Relaxed);
        }
        crowd
    }

    /// How many may stay attached beside this server's.
    pub(super) fn max(&self) -> usize {
        self.max
    }

    /// Removes generations that a quick look shows to be unneeded. If there are more than `max`,
    /// also removes those that are a courtesy.
    pub(super) fn remove_unneeded(&self) {
        if !self.are_disarmed {
            return;
        }
        let mut spare = self.list().len().saturating_sub(self.max);
        for least in [Need::Nothing, Need::Courtesy] {
            for generation in self.list() {
                let mut looked = 0;
                let need = self.need(&generation, || {
                    looked += FLOWS_A_LOOK_MAX;
                    looked < FLOWS_AT_ONCE_MAX
                });
                let goes = need.is_some_and(|need| need <= least);
                if goes && (least == Need::Nothing || spare > 0) {
                    if need == Some(Need::Courtesy) {
                        self.figures.limit_hit.fetch_add(1, Ordering::Relaxed);
                    }
                    self.remove(&generation);
                    spare = spare.saturating_sub(1);
                }
            }
            if spare == 0 {
                return;
            }
        }
    }

    /// Starts a thread that removes each generation once no socket needs it. The thread inherits
    /// the caller's capabilities.
    pub(super) fn remove_later(generations: &Arc<Self>) {
        if generations.list().is_empty() {
            return;
        }
        let kept = Arc::clone(generations);
        let work = move || {
            while !kept.list().is_empty() {
                // This also waits for program runs that had begun before the answers were stopped.
                thread::sleep(LOOK_PERIOD);
                kept.look();
            }
        };
        if let Err(error) = thread::Builder::new().name("push-pins".into()).spawn(work) {
            tracing::warn!("programs of earlier servers stay until this one stops: {error}");
        }
    }

    fn look(&self) {
        for generation in self.list() {
            let need = self.need(&generation, || {
                thread::sleep(LOOK_PAUSE);
                true
            });
            if need == Some(Need::Nothing) {
                self.remove(&generation);
            }
        }
    }

    fn list(&self) -> Vec<Arc<Generation>> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How urgently a generation is needed; `None`: `goes_on`, asked now and then, ended the look
    /// early.
    fn need(&self, generation: &Generation, goes_on: impl FnMut() -> bool) -> Option<Need> {
        let diag = self.diag.as_ref().filter(|_| generation.is_of_our_network);
        generation.need(diag, goes_on)
    }

    fn remove(&self, generation: &Arc<Generation>) {
        let path = &generation.path;
        match remove(path) {
            Ok(_) => tracing::info!("{}: removed, no socket needs it any more", path.display()),
            Err(error) => tracing::warn!("{}: not removed: {error}", path.display()),
        }
        // A removal that failed would fail again: the next start has the capabilities.
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        left.retain(|other| !Arc::ptr_eq(other, generation));
        self.figures.left.store(left.len(), Ordering::Relaxed);
    }
}

impl Generation {
    fn open(path: PathBuf) -> Self {
        let data = MapData::from_pin(path.join(FLOWS_PIN));
        let flows = data.and_then(|data| HashMap::try_from(Map::HashMap(data)));
        let flows = flows.ok().filter(|_| disarm(&path)).map(Mutex::new);
        if flows.is_none() {
            tracing::debug!("{}: its flows cannot be read", path.display());
        }
        let is_of_our_network = made_in(&path) == Some(network_namespace());
        Self { path, flows, is_of_our_network, opened_at: Instant::now() }
    }

    fn need(&self, diag: Option<&SocketDiag>, mut goes_on: impl FnMut() -> bool) -> Option<Need> {
        let Some(flows) = &self.flows else {
            // A crash between making the directory and the first link leaves it empty.
            let is_empty =
                fs::read_dir(&self.path).is_ok_and(|mut entries| entries.next().is_none());
            let is_over = is_empty || self.opened_at.elapsed() > FLOW_LINGER;
            return Some(if is_over { Need::Nothing } else { Need::Sending });
        };
        // One look at a time: looking removes flows, and iterating over a map does not allow that.
        let mut flows = flows.try_lock().ok()?;
        let (mut need, mut looked, mut unneeded) = (Need::Nothing, 0, Vec::new());
        for key in flows.keys() {
            looked += 1;
            if looked % FLOWS_A_LOOK_MAX == 0 && !goes_on() {
                return None;
            }
            // An error keeps the generation; a flow that went meanwhile is skipped.
            let key = key.ok()?;
            let Ok(LockedFlow { flow, .. }) = flows.get(&key, 0) else { continue };
            let socket = match flow.n {
                0 => None,
                _ => diag.and_then(|diag| diag.state(&key, flow.iface)),
            };
            match flow_need(&flow, socket, boot_secs()) {
                Need::Nothing => unneeded.push(key),
                Need::Courtesy => need = Need::Courtesy,
                // One such flow decides. The others are looked at next time.
                Need::Sending => {
                    need = Need::Sending;
                    break;
                }
            }
        }
        // Removed so that the next look skips them. Not during the iteration, which would start
        // over.
        for key in unneeded {
            let _ = flows.remove(&key);
        }
        Some(need)
    }
}

/// How urgently one flow needs its generation. `socket`: the state of the flow's socket, if the
/// kernel could tell.
fn flow_need(flow: &Flow, socket: Option<SocketState>, now_secs: u32) -> Need {
    // The kernel has answered no ping, and will answer none: nothing needs translation.
    if flow.n == 0 {
        return Need::Nothing;
    }
    match socket {
        Some(SocketState::Gone) => Need::Nothing,
        Some(SocketState::HeardOut) => Need::Courtesy,
        Some(SocketState::Sends) => Need::Sending,
        // A socket that still sends retransmits at least every two minutes, until it gives up.
        None => {
            let silence_secs = now_secs.wrapping_sub(flow.stack_secs);
            let is_silent =
                (FLOW_LINGER.as_secs() as u32..=i32::MAX as u32).contains(&silence_secs);
            if is_silent { Need::Nothing } else { Need::Sending }
        }
    }
}

/// Stops the generation's answers by setting its shards' heartbeats to 0 (rule 5). Returns whether
/// that worked.
fn disarm(path: &Path) -> bool {
    let Ok(data) = MapData::from_pin(path.join(HEARTBEATS_PIN)) else { return false };
    let Ok(lines) = Lines::<ShardLine>::map(data.fd().as_fd(), SHARDS_MAX.into()) else {
        return false;
    };
    for shard in 0..SHARDS_MAX {
        lines.heartbeat(shard).store(0, Ordering::Release);
    }
    true
}

/// The path of a new generation: a free number, and the network namespace of its sockets. Checks
/// the file system as well as `taken`, which lacks generations that could not be removed.
pub(super) fn new_path(dir: &Path, taken: &[PathBuf]) -> PathBuf {
    let network = network_namespace();
    (0_u32..)
        .map(|number| dir.join(format!("generation-{number}-{network}")))
        .find(|path| !taken.contains(path) && !path.exists())
        .expect("numbers do not run out")
}

/// The network namespace in a generation's name.
fn made_in(generation: &Path) -> Option<u64> {
    generation.file_name()?.to_str()?.rsplit_once('-')?.1.parse().ok()
}

/// The inode of this thread's network namespace; 0 if it cannot be read.
fn network_namespace() -> u64 {
    rustix::fs::stat("/proc/thread-self/ns/net").map_or(0, |found| found.st_ino)
}

/// `CLOCK_MONOTONIC` in seconds, as the programs stamp flows.
fn boot_secs() -> u32 {
    clock_gettime(ClockId::Monotonic).tv_sec as u32
}

/// Removes a generation's pins, which detaches its programs, and its directory. Returns the links
/// that were pinned.
pub(super) fn remove(generation: &Path) -> io::Result<Vec<PathBuf>> {
    let names: Vec<OsString> = match fs::read_dir(generation) {
        Ok(entries) => entries.map(|e| e.map(|e| e.file_name())).collect::<io::Result<_>>()?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let is_map = |name: &OsString| name == FLOWS_PIN || name == HEARTBEATS_PIN;
    // Links first: while a link is left, the maps must exist to tell whether it is needed.
    let (maps, links): (Vec<OsString>, Vec<OsString>) = names.into_iter().partition(is_map);
    for name in links.iter().chain(&maps) {
        gone(fs::remove_file(generation.join(name)))?;
    }
    gone(fs::remove_dir(generation))?;
    Ok(links.iter().map(|name| generation.join(name)).collect())
}

/// Takes "not found" as success: another process has removed it.
fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests;

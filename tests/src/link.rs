//! A link between two network namespaces: a TAP device in each, and two threads that carry Ethernet
//! frames between them and lose, repeat, hold back, reorder and corrupt TCP segments by a seed.
//! Other frames (ARP, neighbour discovery) pass unharmed.
//!
//! The seed decides the fate of the n-th frame of a direction. The machine's scheduler decides
//! which frame that is, so a seed repeats the adversary and not the whole run; examine a failed run
//! by its captures ([`Link::save_captures`]).

mod capture;
mod faults;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use std::{fmt, io};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::thread::{CpuSet, sched_setaffinity};
use tun_rs::{DeviceBuilder, Layer, SyncDevice};

use self::capture::Capture;
pub use self::faults::{Fault, Faults};
use crate::netns::{CLIENT_INTERFACE, Namespace, SERVER_INTERFACE, Veth};
use crate::skip::Skip;

/// The largest Ethernet frame of an interface with an MTU of 1,500.
const FRAME_BYTES_MAX: usize = 1514;

/// How long a frame takes without a fault.
const TRAVEL: Duration = Duration::from_micros(150);

/// A direction checks at least this often whether the link has ended.
const LOOK: Duration = Duration::from_millis(20);

/// Two namespaces, and the link between them. Ends when dropped.
pub struct Link {
    veth: Arc<Veth>,
    shared: Arc<Shared>,
    /// The server's end and the client's.
    devices: [Arc<SyncDevice>; 2],
    threads: Vec<JoinHandle<()>>,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("veth", &self.veth).finish_non_exhaustive()
    }
}

/// The direction of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From client to server.
    ToServer,
    /// From server to client.
    ToClient,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    healed: AtomicBool,
    held: [AtomicBool; 2],
    cut: [AtomicBool; 2],
    counts: [[AtomicU64; Fault::ALL.len()]; 2],
    at_server: Capture,
    at_client: Capture,
}

impl Link {
    /// Makes both namespaces and joins them. Each direction works on the CPU named for it; the
    /// ingress program of the direction to the server runs on that CPU.
    pub fn create(faults: Faults, seed: u64, cpus: [usize; 2]) -> Result<Self, Skip> {
        let veth = Arc::new(Veth::apart()?);
        let server = Arc::new(tap(&veth.server, SERVER_INTERFACE)?);
        let client = Arc::new(tap(&veth.client, CLIENT_INTERFACE)?);
        veth.configure()?;
        let shared = Arc::new(Shared::default());
        let threads = [
            (Way::ToServer, &client, &server, cpus[0]),
            (Way::ToClient, &server, &client, cpus[1]),
        ]
        .map(|(way, from, to, cpu)| {
            let carrier = Carrier {
                way,
                from: Arc::clone(from),
                to: Arc::clone(to),
                faults,
                // Any two different streams of numbers from one seed.
                rng: StdRng::seed_from_u64(seed.wrapping_mul(2).wrapping_add(way as u64)),
                on_the_way: BinaryHeap::new(),
                last_due: Instant::now(),
                number: 0,
                shared: Arc::clone(&shared),
            };
            std::thread::spawn(move || {
                pin(cpu);
                carrier.run();
            })
        });
        Ok(Self { veth, shared, devices: [server, client], threads: threads.into() })
    }

    /// The namespaces, for [`crate::server::ServerBuilder::within`].
    pub fn namespaces(&self) -> Arc<Veth> {
        Arc::clone(&self.veth)
    }

    /// Lets TCP, which doubles its wait after each loss in a row, get through within the time that
    /// tests wait. Kernels before 6.15 lack this setting. Not for tests in which connections end:
    /// the system then gives up a closed socket at its first loss, and its client hears nothing.
    pub fn resend_within_a_second(&self) {
        for namespace in [&self.veth.server, &self.veth.client] {
            namespace.run(|| {
                let setting = Path::new("/proc/sys/net/ipv4/tcp_rto_max_ms");
                if setting.exists() {
                    std::fs::write(setting, "1000").expect("set the longest wait of TCP");
                }
            });
        }
    }

    /// From now on frames suffer no faults.
    pub fn heal(&self) {
        self.shared.healed.store(true, Ordering::Relaxed);
    }

    /// From now on frames suffer faults again.
    pub fn harm(&self) {
        self.shared.healed.store(false, Ordering::Relaxed);
    }

    /// From now on frames of one direction enter the link and stay in it until they are released.
    pub fn hold(&self, way: Way) {
        self.shared.held[way as usize].store(true, Ordering::Relaxed);
    }

    /// From now on every frame of one direction is lost, until the link is released.
    pub fn cut(&self, way: Way) {
        self.shared.cut[way as usize].store(true, Ordering::Relaxed);
    }

    /// Lets go of all frames that were held, and ends losses.
    pub fn release(&self) {
        let Shared { held, cut, .. } = &*self.shared;
        held.iter().chain(cut).for_each(|flag| flag.store(false, Ordering::Relaxed));
    }

    /// Puts a foreign frame onto the link, just before its end.
    pub fn inject(&self, way: Way, frame: &[u8]) -> io::Result<()> {
        let [server, client] = &self.devices;
        let sent = if way == Way::ToServer { server } else { client }.send(frame)?;
        if sent == frame.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
    }

    /// The last frame that the client's end has sent or received and that `wanted` accepts.
    pub fn last_frame(&self, wanted: impl Fn(&[u8]) -> bool) -> Option<Arc<[u8]>> {
        self.shared.at_client.last(wanted)
    }

    /// How often a fault happened to frames of one direction.
    pub fn count(&self, way: Way, fault: Fault) -> u64 {
        self.shared.count(way, fault).load(Ordering::Relaxed)
    }

    /// Writes what the two ends have sent and received last, a file each that Wireshark reads.
    pub fn save_captures(&self, directory: &Path, name: &str) -> io::Result<[PathBuf; 2]> {
        let path = |end: &str| directory.join(format!("{name}-{end}.pcap"));
        let paths = [path("server"), path("client")];
        self.shared.at_server.save(&paths[0])?;
        self.shared.at_client.save(&paths[1])?;
        Ok(paths)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn is_held(&self, way: Way) -> bool {
        self.held[way as usize].load(Ordering::Relaxed)
    }

    fn count(&self, way: Way, fault: Fault) -> &AtomicU64 {
        &self.counts[way as usize][fault as usize]
    }
}

/// Restricts the calling thread to one CPU.
pub fn pin(cpu: usize) {
    let mut cpus = CpuSet::new();
    cpus.set(cpu);
    sched_setaffinity(None, &cpus).expect("move to a CPU");
}

/// A TAP device in a namespace; it goes with its descriptor.
fn tap(namespace: &Namespace, name: &str) -> Result<SyncDevice, Skip> {
    let made = namespace.run(|| {
        let device = DeviceBuilder::new().name(name).layer(Layer::L2).build_sync()?;
        device.set_nonblocking(true)?;
        Ok(device)
    });
    made.map_err(|error: io::Error| Skip::kernel_path(format!("no TAP device: {error}")))
}

/// One direction of the link.
struct Carrier {
    way: Way,
    from: Arc<SyncDevice>,
    to: Arc<SyncDevice>,
    faults: Faults,
    rng: StdRng,
    on_the_way: BinaryHeap<Reverse<Held>>,
    /// When the last frame in order arrives.
    last_due: Instant,
    number: u64,
    shared: Arc<Shared>,
}

/// A frame on its way, sorted by arrival.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Held {
    due: Instant,
    number: u64,
    frame: Arc<[u8]>,
}

impl Carrier {
    fn run(mut self) {
        let mut buffer = [0; FRAME_BYTES_MAX];
        while !self.shared.stop.load(Ordering::Relaxed) {
            self.deliver_due();
            self.wait();
            while let Ok(length) = self.from.recv(&mut buffer) {
                self.take(&buffer[..length]);
                self.deliver_due();
            }
        }
    }

    /// Waits until a frame comes, or one on its way is due.
    fn wait(&self) {
        let next = self.on_the_way.peek().map(|Reverse(held)| held.due);
        let time = next.map_or(LOOK, |due| due.saturating_duration_since(Instant::now()));
        let time = if self.shared.is_held(self.way) { LOOK } else { time };
        let time = Timespec::try_from(time.min(LOOK)).expect("a short time");
        let mut fds = [PollFd::new(&*self.from, PollFlags::IN)];
        // An interrupted poll counts as an empty one.
        let _ = poll(&mut fds, Some(&time));
    }

    fn deliver_due(&mut self) {
        if self.shared.is_held(self.way) {
            return;
        }
        let now = Instant::now();
        while let Some(Reverse(held)) = self.on_the_way.peek()
            && held.due <= now
        {
            let Some(Reverse(held)) = self.on_the_way.pop() else { return };
            self.captures().1.record(&held.frame);
            // It fails only while the far interface is going away.
            let _ = self.to.send(&held.frame);
        }
    }

    /// The captures where frames of this direction enter the link, and where they leave it.
    fn captures(&self) -> (&Capture, &Capture) {
        match self.way {
            Way::ToServer => (&self.shared.at_client, &self.shared.at_server),
            Way::ToClient => (&self.shared.at_server, &self.shared.at_client),
        }
    }

    /// Decides the fate of a frame.
    fn take(&mut self, bytes: &[u8]) {
        let frame: Arc<[u8]> = bytes.into();
        self.captures().0.record(&frame);
        let faults = match faults::corruptible(bytes) {
            Some(_) if !self.shared.healed.load(Ordering::Relaxed) => self.faults,
            _ => Faults::NONE,
        };
        self.note(Fault::Carried);
        let is_cut = self.shared.cut[self.way as usize].load(Ordering::Relaxed);
        if is_cut || self.happens(faults.lost) {
            return self.note(Fault::Lost);
        }
        let mut copies = 1;
        if self.happens(faults.repeated) {
            self.note(Fault::Repeated);
            copies = 2;
        }
        for _ in 0..copies {
            let mut frame = Arc::clone(&frame);
            if let Some(range) = self.corruptible(bytes, &faults)
                && self.happens(faults.corrupted)
            {
                self.note(Fault::Corrupted);
                frame = faults::corrupt(bytes, range, &mut self.rng).into();
            }
            let due = self.due(&faults);
            self.number += 1;
            self.on_the_way.push(Reverse(Held { due, number: self.number, frame }));
        }
    }

    fn corruptible(&self, frame: &[u8], faults: &Faults) -> Option<Range<usize>> {
        if faults.whole_headers_to_server && self.way == Way::ToServer {
            faults::payload(frame)
        } else {
            faults::corruptible(frame)
        }
    }

    /// When a frame arrives. Others overtake one that is reordered; one that is held back holds
    /// back all that follow.
    fn due(&mut self, faults: &Faults) -> Instant {
        let due = Instant::now() + TRAVEL;
        if self.happens(faults.reordered) {
            self.note(Fault::Reordered);
            let held_us = self.rng.random_range(faults::REORDERED_US);
            return due + Duration::from_micros(held_us);
        }
        let mut due = due.max(self.last_due);
        if self.happens(faults.held_back) {
            self.note(Fault::HeldBack);
            due += Duration::from_micros(self.rng.random_range(faults::HELD_BACK_US));
        }
        self.last_due = due;
        due
    }

    fn happens(&mut self, permille: u32) -> bool {
        permille > 0 && self.rng.random_ratio(permille, 1000)
    }

    fn note(&self, fault: Fault) {
        self.shared.count(self.way, fault).fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;

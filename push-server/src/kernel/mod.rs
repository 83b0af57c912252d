//! The kernel path from user space: loads and attaches the programs, typed maps, and the mmapped
//! liveness slots. The only user of aya; it knows no MQTT.
//!
//! `load` needs CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON. Afterwards maps are reached through open
//! descriptors and mmapped memory, which needs no capability on the kernels that can load this at
//! all (`kernel.unprivileged_bpf_disabled` refuses only new maps and programs since 6.0), so a
//! server may drop all of them once [`KernelPath::load`] has returned.
#![expect(unsafe_code, reason = "liveness slots are memory shared with the kernel; adjtimex")]

mod conntrack;
mod durable;
mod flows;
mod generations;
mod interfaces;
mod load;
mod pins;
mod shard_path;
mod slots;
mod socket;
mod socket_diag;
mod wall_clock;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::{fmt, io};

use aya::Ebpf;
use aya::maps::{MapData, PerCpuArray};
use aya::programs::links::PinnedLink;
use push_common::counter::{Class, Counter};
use push_common::early_fragment::EarlyFragment;
use push_common::flow::FlowKey;
use push_common::slot::{ShardLine, Slot};

use conntrack::Conntrack;
use flows::Flows;
use load::ProgramLog;
use slots::Lines;
use socket_diag::SocketDiag;

pub use generations::EarlierGenerations;
pub use interfaces::{interfaces_for, missing_interfaces};
pub use pins::{PinError, Pins, detach};
pub use shard_path::ShardPath;
pub use wall_clock::is_wall_clock_kept;

/// What to load, and where to attach it.
#[derive(Clone, Debug)]
pub struct KernelPathOptions {
    /// Interfaces to attach to, by name.
    pub interfaces: Vec<String>,
    /// Slots in all, shared out evenly to the shards.
    pub connections_max: u32,
    /// How many shards there are.
    pub shards: u16,
    /// Pings that a connection may send at once and have answered by the kernel; what exceeds that, or the
    /// interval that it is registered with, goes to user space.
    pub ping_burst: u32,
    /// Random: what the places of early fragments depend on.
    pub place_seed: u64,
}

/// Why the kernel path cannot serve; every message names the cause and the knob.
#[derive(Debug, thiserror::Error)]
pub enum KernelPathError {
    /// The binary was built without the eBPF object.
    #[error("this binary was built without the eBPF object: build it by `cargo xtask build`")]
    NotBuiltIn,
    /// No connections, no shards, or too many of them.
    #[error("the kernel path serves 1 to 64 shards and at least one connection")]
    Size,
    /// TCX is missing.
    #[error("kernel {release} is too old for the kernel path: 6.6 or later is needed (TCX)")]
    Kernel {
        /// What runs.
        release: String,
    },
    /// The process may not load programs.
    #[error(
        "missing {missing}: start as root, or grant CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON \
         (`setcap cap_bpf,cap_net_admin,cap_perfmon+ep`, or AmbientCapabilities= in systemd)"
    )]
    Capabilities {
        /// Their names.
        missing: String,
    },
    /// The interfaces could not be listed.
    #[error("cannot list the network interfaces")]
    Interfaces(#[source] io::Error),
    /// There is nothing to attach to.
    #[error("no interface owns the listen addresses: name one with --iface")]
    NoInterface,
    /// A named interface is not there.
    #[error("no interface {interface} for --iface; there are: {found}")]
    InterfaceNotFound {
        /// The name asked for.
        interface: String,
        /// The names there are.
        found: String,
    },
    /// A named interface has another link layer.
    #[error("interface {interface} has no Ethernet header; --iface takes lo, veth and Ethernet")]
    InterfaceKind {
        /// Its name.
        interface: String,
    },
    /// Two of the interfaces see the same packets.
    #[error(
        "{lower} is part of {upper}, which sees its packets again: leave {lower} out of --iface"
    )]
    Stacked {
        /// The one below.
        lower: String,
        /// The one above.
        upper: String,
    },
    /// The object or its maps were refused.
    #[error("the kernel refused the maps of the kernel path (memory limit of the cgroup?)")]
    Maps(#[source] Box<aya::EbpfError>),
    /// A map could not be mapped into memory.
    #[error("cannot mmap the liveness slots (RLIMIT_AS?)")]
    Mmap(#[source] io::Error),
    /// The embedded object is not ours.
    #[error("the embedded eBPF object has no {0}: rebuild by `cargo xtask build`")]
    Object(&'static str),
    /// The verifier refused a program.
    #[error("the kernel's verifier refused {program}")]
    Verifier {
        /// Its name.
        program: &'static str,
        /// What the verifier said.
        source: aya::programs::ProgramError,
    },
    /// Too many programs of servers that died are needed by what their sockets still send.
    #[error(
        "{count} servers that died before have sockets that still send, and need their programs; \
         at most {max} may be left (--generations-max)"
    )]
    Crowded {
        /// How many.
        count: usize,
        /// How many may be left.
        max: usize,
    },
    /// The directory for pins could not be made.
    #[error(transparent)]
    PinDir(#[from] PinError),
    /// A map or link could not be pinned.
    #[error("cannot pin at {}", path.display())]
    Pin {
        /// Where.
        path: std::path::PathBuf,
        /// Why.
        source: aya::pin::PinError,
    },
    /// A program could not be attached.
    #[error("cannot attach to interface {interface} by TCX")]
    Attach {
        /// Its name.
        interface: String,
        /// Why.
        source: aya::programs::ProgramError,
    },
}

/// Why one connection is not served by the kernel; a metric label each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unarmed {
    /// The shard's slots are used up.
    NoSlot,
    /// The flow map has no room (too many flows of connections gone still linger), or the
    /// addresses alone do not tell the connection (link-local).
    FlowMap,
    /// Bytes overtook others before the flow was there (`tcpi_rcv_ooopack`).
    OutOfOrder,
    /// A first fragment, perhaps of its, came before the flow was there (rule 16).
    EarlyFragment,
    /// Its timestamps are microseconds: the stack's next one would be too far ahead of what an answer
    /// bears, in half an hour (rule 12).
    FineTimestamps,
    /// It comes or leaves by an interface without our programs, or leaves by another than it comes.
    Interface,
    /// The socket could not be asked.
    Socket,
}

/// The loaded and attached programs. Dropping it detaches them, unless they are pinned and serve.
pub struct KernelPath {
    slots: Arc<Lines<Slot>>,
    heartbeats: Arc<Lines<ShardLine>>,
    early_fragments: Arc<Lines<EarlyFragment>>,
    place_seed: u64,
    flows: Arc<Flows>,
    /// Indices of the interfaces that have the programs.
    covered: Arc<[u32]>,
    counters: PerCpuArray<MapData, u64>,
    log: Mutex<Option<ProgramLog>>,
    conntrack: Arc<Conntrack>,
    shards: u16,
    taken: Vec<bool>,
    links: Vec<load::Attached>,
    /// What is pinned besides the links.
    maps: [MapData; 2],
    diag: Option<Arc<SocketDiag>>,
    /// A shard has left closed sockets behind that still speak.
    speaking: Arc<AtomicBool>,
    /// Why the programs may not outlive this process; `None` when they do.
    doubt: Option<String>,
    /// Goes before the programs: what is pinned outlives them.
    pins: Option<(Pins, Vec<PinnedLink>)>,
    /// Owns the programs and their links; last, so that it goes last.
    ebpf: Ebpf,
}

impl fmt::Debug for KernelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slots = self.slots.len();
        f.debug_struct("KernelPath").field("slots", &slots).finish_non_exhaustive()
    }
}

/// One counter of the kernel path.
#[derive(Clone, Copy, Debug)]
pub struct KernelCounter {
    /// Its name in push-common.
    pub name: &'static str,
    /// What it counts; tells the metric it belongs to.
    pub class: Class,
    /// Its value, summed over CPUs.
    pub value: u64,
}

/// A connection's place in the liveness map.
#[derive(Debug)]
pub struct SlotRef {
    /// Index in the map.
    pub index: u32,
    /// Its generation.
    pub generation: u32,
    /// The flow that names the slot.
    key: FlowKey,
    /// The interface that the connection came by, an index.
    iface: u32,
    armed: bool,
}

impl SlotRef {
    /// Whether the kernel may answer the connection's pings.
    pub fn is_armed(&self) -> bool {
        self.armed
    }
}

impl KernelPath {
    /// Loads, verifies and attaches. Minimum kernel 6.6 (TCX).
    pub fn load(options: &KernelPathOptions) -> Result<Self, KernelPathError> {
        let loaded = load::load(options)?;
        let load::Loaded {
            ebpf,
            links,
            slots,
            heartbeats,
            early_fragments,
            flows,
            maps,
            covered,
            counters,
            log,
        } = loaded;
        let taken = vec![false; options.shards.into()];
        let (shards, log) = (options.shards, Mutex::new(log));
        let conntrack = Arc::new(Conntrack::new(&heartbeats, shards));
        conntrack.tell();
        Ok(Self {
            slots,
            heartbeats,
            early_fragments,
            place_seed: options.place_seed,
            flows,
            covered,
            counters,
            log,
            conntrack,
            shards,
            taken,
            links,
            maps,
            diag: SocketDiag::open().map(Arc::new),
            speaking: Arc::default(),
            doubt: Some("nothing is pinned".into()),
            pins: None,
            ebpf,
        })
    }

    /// Pins the links where `claimed` says, and takes that: from now on they outlive a crash of this
    /// process, if the file system does. To be called before [`Self::shard`].
    pub fn pin(&mut self, claimed: &mut Option<Pins>) -> Result<(), KernelPathError> {
        let Some(pins) = claimed.as_ref() else { return Ok(()) };
        let links = std::mem::take(&mut self.links);
        let links = load::pin(&mut self.ebpf, links, &self.maps, pins)?;
        self.doubt = pins.doubt();
        self.pins = claimed.take().map(|pins| (pins, links));
        Ok(())
    }

    /// Why the programs may not outlive a crash of this process; `None` when they do. In doubt, the
    /// sockets that they serve are reset when it dies: what they had still to send would be wrong.
    pub fn doubt(&self) -> Option<&str> {
        self.doubt.as_deref()
    }

    /// Clients are served: until [`Self::end_serving`], what is pinned stays when this is dropped, as it
    /// does in a crash. And has what crashed servers left removed, once their sockets do not need it; the
    /// thread for it has the caller's capabilities, so call this when they are dropped.
    pub fn begin_serving(&self) {
        self.conntrack.keep_telling();
        if let Some((pins, _)) = &self.pins {
            pins.set_serving(true);
            pins.remove_earlier_later();
        }
    }

    /// Every socket is closed, and every shard has left: dropping this detaches the programs, unless
    /// sockets that were closed before still need them.
    pub fn end_serving(&self) {
        let Some((pins, _)) = &self.pins else { return };
        if self.speaking.load(Ordering::Acquire) {
            tracing::info!(
                "connections closed before still have something to send: the programs stay, as after \
                 a crash"
            );
        } else {
            pins.set_serving(false);
        }
    }

    /// The handle of shard `shard`; once each. Panics when asked twice or for a shard there is
    /// not: two handles would give the same slots away.
    pub fn shard(&mut self, shard: u16) -> ShardPath {
        let taken = &mut self.taken[usize::from(shard)];
        assert!(!std::mem::replace(taken, true), "shard {shard} has its handle already");
        let share = |shard: u16| {
            let slots = u64::from(self.slots.len()) * u64::from(shard) / u64::from(self.shards);
            u32::try_from(slots).unwrap_or(u32::MAX)
        };
        let lingering_max = load::lingering_max(self.slots.len()) / u32::from(self.shards);
        ShardPath::new(shard_path::Parts {
            shard,
            slots: Arc::clone(&self.slots),
            heartbeats: Arc::clone(&self.heartbeats),
            early_fragments: Arc::clone(&self.early_fragments),
            place_seed: self.place_seed,
            flows: Arc::clone(&self.flows),
            covered: Arc::clone(&self.covered),
            range: share(shard)..share(shard + 1),
            lingering_max: lingering_max as usize,
            speaking: Arc::clone(&self.speaking),
            diag: self.diag.clone(),
            resets_in_crash: self.doubt.is_some(),
        })
    }

    /// Passes what the programs have logged on to `tracing`; to be called now and then.
    pub fn flush_log(&self) {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(log) = &mut *log {
            log.flush();
        }
    }

    /// Every counter of the programs, for metrics. May be called from any thread.
    pub fn counters(&self) -> Vec<KernelCounter> {
        let read = |counter: Counter| {
            let values = self.counters.get(&(counter as u32), 0);
            let value = values.map_or(0, |values| values.iter().sum());
            KernelCounter { name: counter.name(), class: counter.class(), value }
        };
        Counter::ALL.iter().copied().map(read).collect()
    }
}

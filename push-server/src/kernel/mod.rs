//! The kernel path from user space: loads and attaches the programs, and holds typed maps and the
//! mmapped liveness slots. The only user of aya; it knows no MQTT.
//!
//! `load` needs CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON. Afterwards maps are reached through open
//! descriptors and mmapped memory, which needs no capability on any kernel that can load this
//! (since 6.0 `kernel.unprivileged_bpf_disabled` refuses only new maps and programs). So a server
//! may drop all of them once [`KernelPath::load`] has returned.
#![expect(unsafe_code, reason = "liveness slots are memory shared with the kernel; adjtimex")]

mod conntrack;
mod durable;
mod error;
mod flows;
mod free_list;
mod generations;
mod interfaces;
mod load;
mod pins;
mod shard_path;
mod slots;
mod socket;
mod socket_diag;
mod unarmed;
mod wall_clock;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use aya::Ebpf;
use aya::maps::{MapData, PerCpuArray};
use aya::programs::links::PinnedLink;
use push_common::answer_table::KernelTable;
use push_common::counter::{Class, Counter};
use push_common::early_fragment::EarlyFragment;
use push_common::slot::{ShardLine, Slot};

use conntrack::Conntrack;
use flows::Flows;
use free_list::{FreeList, Returned};
use load::ProgramLog;
use slots::Lines;
use socket_diag::SocketDiag;

pub use error::{KernelPathError, PinError};
pub use generations::EarlierGenerations;
pub use interfaces::{interfaces_for, missing_interfaces};
pub use load::KernelPathOptions;
pub use pins::{Pins, detach};
pub use shard_path::{Registration, ShardPath, SlotRef};
pub use slots::{TABLE_BYTES, Table};
pub use unarmed::Unarmed;
pub use wall_clock::is_wall_clock_kept;

/// The loaded and attached programs. Dropping it detaches them, unless they are pinned and serve.
pub struct KernelPath {
    slots: Arc<Lines<Slot>>,
    heartbeats: Arc<Lines<ShardLine>>,
    early_fragments: Arc<Lines<EarlyFragment>>,
    tables: &'static Lines<KernelTable<u64>>,
    low_tables: Arc<Lines<u64>>,
    place_seed: u64,
    flows: Arc<Flows>,
    /// Indices of the interfaces that have the programs.
    covered: Arc<[u32]>,
    counters: PerCpuArray<MapData, u64>,
    log: Mutex<Option<ProgramLog>>,
    conntrack: Arc<Conntrack>,
    shards: u16,
    taken: Vec<bool>,
    /// Slots of connections that had moved from one shard to another.
    returned_slots: Returned,
    /// Their answer tables.
    returned_tables: Returned,
    links: Vec<load::Attached>,
    /// The maps to pin besides the links.
    maps: [MapData; 2],
    diag: Option<Arc<SocketDiag>>,
    /// Set when a shard has left closed sockets behind that still send.
    speaking: Arc<AtomicBool>,
    /// Why the programs may not outlive this process; `None`: they do.
    doubt: Option<String>,
    /// Dropped before the programs, because what stays pinned outlives them.
    pins: Option<(Pins, Vec<PinnedLink>)>,
    /// Owns the programs and their links; dropped last.
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
    /// What it counts, and so which metric it belongs to.
    pub class: Class,
    /// Its value, summed over CPUs.
    pub value: u64,
}

impl KernelPath {
    /// Loads, verifies and attaches. Minimum kernel 6.6 (TCX).
    pub fn load(options: &KernelPathOptions) -> Result<Self, KernelPathError> {
        let loaded = load::load(options)?;
        let load::Programs {
            ebpf,
            links,
            slots,
            heartbeats,
            early_fragments,
            tables,
            low_tables,
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
            tables,
            low_tables,
            place_seed: options.place_seed,
            flows,
            covered,
            counters,
            log,
            conntrack,
            shards,
            taken,
            returned_slots: Returned::default(),
            returned_tables: Returned::default(),
            links,
            maps,
            diag: SocketDiag::open().map(Arc::new),
            speaking: Arc::default(),
            doubt: Some("nothing is pinned".into()),
            pins: None,
            ebpf,
        })
    }

    /// Pins the links in the directory of `claimed`, and takes that: from now on they outlive a
    /// crash of this process, if the file system does. Call it before [`Self::shard`].
    pub fn pin(&mut self, claimed: &mut Option<Pins>) -> Result<(), KernelPathError> {
        let Some(pins) = claimed.as_ref() else { return Ok(()) };
        let links = std::mem::take(&mut self.links);
        let links = load::pin(&mut self.ebpf, links, &self.maps, pins)?;
        self.doubt = pins.doubt();
        self.pins = claimed.take().map(|pins| (pins, links));
        Ok(())
    }

    /// Why the programs may not outlive a crash of this process; `None`: they do. In doubt, sockets
    /// that they serve are reset when the process dies, since their remaining bytes would arrive
    /// wrong.
    pub fn doubt(&self) -> Option<&str> {
        self.doubt.as_deref()
    }

    /// The server begins to serve: until [`Self::end_serving`], dropping this leaves everything
    /// pinned, as a crash does. Also starts the thread that removes the generations of crashed
    /// servers once no socket needs them. The thread inherits the caller's capabilities, so call
    /// this after dropping them.
    pub fn begin_serving(&self) {
        self.conntrack.keep_telling();
        if let Some((pins, _)) = &self.pins {
            pins.set_serving(true);
            pins.remove_earlier_later();
        }
    }

    /// Every socket is closed and every shard has left: dropping this now detaches the programs,
    /// unless sockets closed before still need them.
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

    /// The handle of shard `shard`, once each. Panics on a second call or an unknown shard: two
    /// handles would assign the same slots.
    pub fn shard(&mut self, shard: u16) -> ShardPath {
        let taken = &mut self.taken[usize::from(shard)];
        assert!(!std::mem::replace(taken, true), "shard {shard} has its handle already");
        let share = |places: u32| {
            let before = |shard: u16| {
                let before = u64::from(places) * u64::from(shard) / u64::from(self.shards);
                u32::try_from(before).unwrap_or(u32::MAX)
            };
            before(shard)..before(shard + 1)
        };
        // One is there because a map cannot be empty.
        let has_tables = self.tables.len() > 1;
        let tables = if has_tables { self.tables.len() } else { 0 };
        let lingering_max = load::lingering_max(self.slots.len()) / u32::from(self.shards);
        ShardPath::new(shard_path::Parts {
            shard,
            slots: Arc::clone(&self.slots),
            heartbeats: Arc::clone(&self.heartbeats),
            early_fragments: Arc::clone(&self.early_fragments),
            tables: self.tables,
            low_tables: Arc::clone(&self.low_tables),
            place_seed: self.place_seed,
            flows: Arc::clone(&self.flows),
            covered: Arc::clone(&self.covered),
            free_slots: FreeList::new(share(self.slots.len()), self.returned_slots.clone()),
            free_tables: FreeList::new(share(tables), self.returned_tables.clone()),
            has_tables,
            lingering_max: lingering_max as usize,
            speaking: Arc::clone(&self.speaking),
            diag: self.diag.clone(),
            resets_in_crash: self.doubt.is_some(),
        })
    }

    /// Passes the programs' log lines on to `tracing`. Call it now and then.
    pub fn flush_log(&self) {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(log) = &mut *log {
            log.flush();
        }
    }

    /// Every counter of the programs, for metrics. Any thread may call it.
    pub fn counters(&self) -> Vec<KernelCounter> {
        let read = |counter: Counter| {
            let values = self.counters.get(&(counter as u32), 0);
            let value = values.map_or(0, |values| values.iter().sum());
            KernelCounter { name: counter.name(), class: counter.class(), value }
        };
        Counter::ALL.iter().copied().map(read).collect()
    }
}

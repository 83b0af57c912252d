//! Loads and attaches the programs. Checks the requirements first, so that an error names the cause
//! and the setting to change instead of an errno.

use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::sync::Arc;

use aya::maps::{HashMap, Map, MapData, PerCpuArray};
use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::tc::{SchedClassifierLinkId, TcAttachOptions};
use aya::programs::{LinkOrder, ProgramError, SchedClassifier, TcAttachType};
use aya::{Ebpf, EbpfLoader};
use aya_log::EbpfLogger;
use caps::{CapSet, Capability};
use push_common::answer_table::KernelTable;
use push_common::early_fragment::{EarlyFragment, PLACES};
use push_common::flow::{FlowKey, LockedFlow};
use push_common::low_tables;
use push_common::slot::{SHARDS_MAX, ShardLine, Slot};

use super::error::KernelPathError;
use super::flows::Flows;
use super::interfaces;
use super::pins::Pins;
use super::slots::Lines;

/// What to load, and where to attach it.
#[derive(Clone, Debug)]
pub struct KernelPathOptions {
    /// Interfaces to attach to, by name.
    pub interfaces: Vec<String>,
    /// Slots in all, divided evenly among the shards.
    pub connections_max: u32,
    /// Answer tables in all, divided evenly among the shards; each has 1,088 bytes, which the kernel allocates now. 0
    /// or 1: none is wanted, since no client comes by TLS.
    pub tables: u32,
    /// How many shards there are.
    pub shards: u16,
    /// Pings that the kernel answers at once for a connection. Beyond that, or faster than the
    /// interval that the connection is registered with, they go to user space.
    pub ping_burst: u32,
    /// Random; decides the places of early fragments.
    pub place_seed: u64,
}

/// The eBPF object; empty if the binary was built without it (see `build.rs`).
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/push-ebpf"));

const EGRESS: &str = "push_egress";
const INGRESS: &str = "push_ingress";

/// The first kernel with TCX. Older ones would need more than filters by netlink (clsact), whose
/// removal takes the CAP_NET_ADMIN that the server drops: 6.1's verifier refuses both programs (at
/// egress, because it loses the bounds of a TCP option's offset in `parse`).
const KERNEL_MIN: (u32, u32) = (6, 6);

/// Capabilities for loading maps and programs, for attaching to an interface, and for the verifier
/// to trust the programs with pointers.
const CAPABILITIES: [Capability; 3] =
    [Capability::CAP_BPF, Capability::CAP_NET_ADMIN, Capability::CAP_PERFMON];

/// How often to try verification: the verifier returns EAGAIN when a signal waits for the thread
/// (bpf_check in the kernel). libbpf tries as often.
const VERIFY_TRIES_MAX: usize = 5;

/// Least room in the flow map for flows of closed connections (rule 10), beside the open ones.
const LINGERING_MIN: u32 = 1024;

/// The loaded programs with their typed maps.
pub(super) struct Programs {
    /// Owns the programs and their links; dropping it detaches them.
    pub(super) ebpf: Ebpf,
    pub(super) links: Vec<Attached>,
    pub(super) slots: Arc<Lines<Slot>>,
    pub(super) heartbeats: Arc<Lines<ShardLine>>,
    pub(super) early_fragments: Arc<Lines<EarlyFragment>>,
    pub(super) tables: &'static Lines<KernelTable<u64>>,
    pub(super) low_tables: Arc<Lines<u64>>,
    pub(super) flows: Arc<Flows>,
    /// The maps of flows and heartbeats, for pinning.
    pub(super) maps: [MapData; 2],
    pub(super) covered: Arc<[u32]>,
    pub(super) counters: PerCpuArray<MapData, u64>,
    pub(super) log: Option<ProgramLog>,
}

/// A link: the program, the interface, and the link's number in the program's own list.
pub(super) struct Attached {
    program: &'static str,
    interface: u32,
    id: SchedClassifierLinkId,
}

/// Reads the programs' log lines, for the `log` crate, which `tracing` takes over.
pub(super) type ProgramLog = EbpfLogger<&'static dyn log::Log>;

/// How many flows may linger, over all shards.
pub(super) fn lingering_max(connections_max: u32) -> u32 {
    connections_max.saturating_add(LINGERING_MIN)
}

pub(super) fn load(options: &KernelPathOptions) -> Result<Programs, KernelPathError> {
    if OBJECT.is_empty() {
        return Err(KernelPathError::NotBuiltIn);
    }
    if options.shards == 0 || options.shards > SHARDS_MAX || options.connections_max == 0 {
        return Err(KernelPathError::Size);
    }
    check_kernel()?;
    check_capabilities()?;
    let covered = check_interfaces(&options.interfaces)?;

    let flows_max = options.connections_max.saturating_add(lingering_max(options.connections_max));
    let tables_max = options.tables.max(1);
    let low_tables_row = low_tables::row_words(options.connections_max);
    let low_tables_max = u32::from(options.shards).saturating_mul(low_tables_row);
    let mut ebpf = EbpfLoader::new()
        .map_max_entries("SLOTS", options.connections_max)
        .map_max_entries("FLOWS", flows_max)
        .map_max_entries("TABLES", tables_max)
        .map_max_entries("LOW_TABLES", low_tables_max)
        .override_global("PING_BURST", &options.ping_burst, true)
        .override_global("PLACE_SEED", &options.place_seed, true)
        .override_global("LOW_TABLES_ROW", &low_tables_row, true)
        .load(OBJECT)
        .map_err(|error| KernelPathError::Maps(Box::new(error)))?;

    // Load the programs before taking maps out: they know the maps by descriptors that taking would
    // close. Attach last: the kernel answers nothing before everything is in place.
    for name in [EGRESS, INGRESS] {
        verify(program(&mut ebpf, name)?)
            .map_err(|source| KernelPathError::Verifier { program: name, source })?;
    }
    // The programs serve without it as well.
    let log = EbpfLogger::init(&mut ebpf)
        .inspect_err(|error| tracing::warn!(%error, "the programs' log cannot be read"))
        .ok();
    let slots = Lines::map(map(&mut ebpf, "SLOTS")?.fd().as_fd(), options.connections_max);
    let heartbeats_map = map(&mut ebpf, "HEARTBEATS")?;
    let heartbeats = Lines::map(heartbeats_map.fd().as_fd(), SHARDS_MAX.into());
    let early_fragments = Lines::map(map(&mut ebpf, "EARLY_FRAGMENTS")?.fd().as_fd(), PLACES);
    let tables = Lines::map(map(&mut ebpf, "TABLES")?.fd().as_fd(), tables_max);
    let low_tables = Lines::map(map(&mut ebpf, "LOW_TABLES")?.fd().as_fd(), low_tables_max);
    let flows_map = second_handle(&ebpf, "FLOWS")?;
    let flows = typed::<HashMap<MapData, FlowKey, LockedFlow<u32>>>(&mut ebpf, "FLOWS")?;
    let counters = typed(&mut ebpf, "COUNTERS")?;
    let loaded = Programs {
        slots: Arc::new(slots.map_err(KernelPathError::Mmap)?),
        heartbeats: Arc::new(heartbeats.map_err(KernelPathError::Mmap)?),
        early_fragments: Arc::new(early_fragments.map_err(KernelPathError::Mmap)?),
        // Leaked on purpose, once a start: whoever has a connection's keys holds a reference to its table, and the
        // end of the process ends them all. No pin is needed either: a start makes new maps, whose zeros are tables
        // that answer nothing, and nobody opens those of a dead server again. Its programs keep them for their
        // flows.
        tables: Box::leak(Box::new(tables.map_err(KernelPathError::Mmap)?)),
        low_tables: Arc::new(low_tables.map_err(KernelPathError::Mmap)?),
        flows: Arc::new(Flows::new(flows)),
        maps: [flows_map, heartbeats_map],
        covered,
        counters,
        log,
        links: Vec::new(),
        ebpf,
    };
    attach(loaded, &options.interfaces)
}

/// Egress first, because an answer at ingress relies on it.
fn attach(mut loaded: Programs, interfaces: &[String]) -> Result<Programs, KernelPathError> {
    for (name, direction) in [(EGRESS, TcAttachType::Egress), (INGRESS, TcAttachType::Ingress)] {
        let program = program(&mut loaded.ebpf, name)?;
        for (interface, &index) in interfaces.iter().zip(loaded.covered.iter()) {
            let order = TcAttachOptions::TcxOrder(LinkOrder::default());
            let id =
                program.attach_with_options(interface, direction, order).map_err(|source| {
                    KernelPathError::Attach { interface: interface.clone(), source }
                })?;
            loaded.links.push(Attached { program: name, interface: index, id });
        }
    }
    Ok(loaded)
}

/// Pins the maps and every link. Each returned link lives without its pin as long as the value
/// does. Maps come first: they tell whether a link is needed.
pub(super) fn pin(
    ebpf: &mut Ebpf,
    links: Vec<Attached>,
    maps: &[MapData; 2],
    pins: &Pins,
) -> Result<Vec<PinnedLink>, KernelPathError> {
    pins.make()?;
    for (map, path) in maps.iter().zip(pins.map_paths()) {
        map.pin(&path).map_err(|source| KernelPathError::Pin { path, source })?;
    }
    let mut pinned = Vec::with_capacity(links.len());
    for Attached { program: name, interface, id } in links {
        let broken = |_| KernelPathError::Object(name);
        let link = program(ebpf, name)?.take_link(id).map_err(broken)?;
        let link: FdLink = link.try_into().map_err(|_| KernelPathError::Object(name))?;
        let path = pins.path(name, interface);
        let link = link.pin(&path).map_err(|source| KernelPathError::Pin { path, source })?;
        pinned.push(link);
    }
    Ok(pinned)
}

fn program<'a>(
    ebpf: &'a mut Ebpf,
    name: &'static str,
) -> Result<&'a mut SchedClassifier, KernelPathError> {
    let program = ebpf.program_mut(name).ok_or(KernelPathError::Object(name))?;
    program.try_into().map_err(|_| KernelPathError::Object(name))
}

/// Asks the kernel to verify a program, and again if a signal interrupted it.
fn verify(program: &mut SchedClassifier) -> Result<(), ProgramError> {
    for _ in 1..VERIFY_TRIES_MAX {
        match program.load() {
            Err(error) if is_interrupted(&error) => {}
            done => return done,
        }
    }
    program.load()
}

fn is_interrupted(error: &ProgramError) -> bool {
    matches!(error, ProgramError::LoadError { io_error, .. }
        if io_error.kind() == ErrorKind::WouldBlock)
}

fn map(ebpf: &mut Ebpf, name: &'static str) -> Result<MapData, KernelPathError> {
    match ebpf.take_map(name) {
        Some(Map::Array(map)) => Ok(map),
        _ => Err(KernelPathError::Object(name)),
    }
}

/// Another descriptor of a hash map.
fn second_handle(ebpf: &Ebpf, name: &'static str) -> Result<MapData, KernelPathError> {
    let Some(Map::HashMap(map)) = ebpf.map(name) else { return Err(KernelPathError::Object(name)) };
    let copied = map.fd().as_fd().try_clone_to_owned().map_err(KernelPathError::Mmap)?;
    MapData::from_fd(copied).map_err(|_| KernelPathError::Object(name))
}

fn typed<T: TryFrom<Map>>(ebpf: &mut Ebpf, name: &'static str) -> Result<T, KernelPathError> {
    let map = ebpf.take_map(name).ok_or(KernelPathError::Object(name))?;
    T::try_from(map).map_err(|_| KernelPathError::Object(name))
}

fn check_kernel() -> Result<(), KernelPathError> {
    let uname = rustix::system::uname();
    let release = uname.release().to_string_lossy().into_owned();
    match version(&release) {
        Some(found) if found < KERNEL_MIN => Err(KernelPathError::Kernel { release }),
        // Try a kernel whose version cannot be read.
        _ => Ok(()),
    }
}

/// The first two numbers of a kernel release.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn check_capabilities() -> Result<(), KernelPathError> {
    let has = |capability| caps::has_cap(None, CapSet::Effective, capability).unwrap_or(true);
    if has(Capability::CAP_SYS_ADMIN) && has(Capability::CAP_NET_ADMIN) {
        return Ok(());
    }
    let missing: Vec<_> =
        CAPABILITIES.into_iter().filter(|&c| !has(c)).map(|c| c.to_string()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(KernelPathError::Capabilities { missing: missing.join(", ") })
}

/// Returns the indices of the interfaces.
fn check_interfaces(names: &[String]) -> Result<Arc<[u32]>, KernelPathError> {
    if names.is_empty() {
        return Err(KernelPathError::NoInterface);
    }
    let all = interfaces::list().map_err(KernelPathError::Interfaces)?;
    let mut indices = Vec::with_capacity(names.len());
    for name in names {
        let Some(interface) = all.get(name) else {
            return Err(KernelPathError::InterfaceNotFound {
                interface: name.clone(),
                found: all.keys().cloned().collect::<Vec<_>>().join(", "),
            });
        };
        if !interface.ethernet {
            return Err(KernelPathError::InterfaceKind { interface: name.clone() });
        }
        indices.push(interface.index);
    }
    match interfaces::stacked(names) {
        Some((lower, upper)) => Err(KernelPathError::Stacked { lower, upper }),
        None => Ok(indices.into()),
    }
}

#[cfg(test)]
mod tests;

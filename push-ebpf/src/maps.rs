//! All maps. User space sets the real sizes of some (`SLOTS`, `FLOWS`, `TABLES`, `LOW_TABLES`), and finds them by
//! name.

use aya_ebpf::Global;
use aya_ebpf::bindings::{BPF_F_MMAPABLE, BPF_F_NO_PREALLOC, bpf_spin_lock};
use aya_ebpf::btf_maps::{Array, HashMap, PerCpuArray};
use aya_ebpf::macros::btf_map;
use push_common::answer_table::KernelTable;
use push_common::clock::Monotonic;
use push_common::counter::{COUNTERS as COUNTERS_LEN, Counter};
use push_common::early_fragment::{self, EarlyFragment};
use push_common::flow::{FlowKey, LockedFlow};
use push_common::slot::{SHARDS_MAX, ShardLine, Slot};

use crate::parse::Scratch;

/// A flow behind its lock.
pub(crate) type FlowCell = LockedFlow<bpf_spin_lock>;

/// Liveness slots, shared with user space by mmap. Sized by user space.
#[btf_map]
pub(crate) static SLOTS: Array<Slot, 1, { BPF_F_MMAPABLE as usize }> = Array::new();

/// One heartbeat line a shard, shared with user space by mmap.
#[btf_map]
pub(crate) static HEARTBEATS: Array<
    ShardLine,
    { SHARDS_MAX as usize },
    { BPF_F_MMAPABLE as usize },
> = Array::new();

/// Flows by addresses and ports. Never LRU: evicting a flow would corrupt a stream. Not
/// preallocated: memory grows with connections. Sized by user space.
#[btf_map]
pub(crate) static FLOWS: HashMap<FlowKey, FlowCell, 1, { BPF_F_NO_PREALLOC as usize }> =
    HashMap::new();

/// Answer tables of TLS connections, shared with user space by mmap. A flow names its table; another flow may
/// name it once the first one has neither slot nor pending answer. Sized by user space; where there is no TLS
/// there is one that nobody uses. Not pinned: a start makes new ones.
#[btf_map]
pub(crate) static TABLES: Array<KernelTable<u64>, 1, { BPF_F_MMAPABLE as usize }> = Array::new();

/// Whose table runs low: a row of words for each shard, a bit for each slot; shared with user space by mmap. See
/// [`push_common::low_tables`]. Sized by user space.
#[btf_map]
pub(crate) static LOW_TABLES: Array<u64, 1, { BPF_F_MMAPABLE as usize }> = Array::new();

/// When first fragments came that had no flow, by place; shared with user space by mmap.
#[btf_map]
pub(crate) static EARLY_FRAGMENTS: Array<
    EarlyFragment,
    { early_fragment::PLACES as usize },
    { BPF_F_MMAPABLE as usize },
> = Array::new();

/// Counters, by [`Counter`].
#[btf_map]
pub(crate) static COUNTERS: PerCpuArray<u64, { COUNTERS_LEN as usize }> = PerCpuArray::new();

/// `--ping-burst`; set by user space before the programs are loaded.
#[unsafe(no_mangle)]
pub(crate) static PING_BURST: Global<u32> = Global::new(1);

/// The seed for the places of early fragments; random, set by user space before the programs are
/// loaded.
#[unsafe(no_mangle)]
pub(crate) static PLACE_SEED: Global<u64> = Global::new(1);

/// Words of a row of `LOW_TABLES`; set by user space before the programs are loaded.
#[unsafe(no_mangle)]
pub(crate) static LOW_TABLES_ROW: Global<u32> = Global::new(1);

/// One element. Both programs run with bottom halves disabled, so on one CPU the next packet comes
/// when the program is done with this one.
#[btf_map]
static SCRATCH: PerCpuArray<Scratch, 1> = PerCpuArray::new();

/// This CPU's scratch memory, with whatever the last packet left in it.
#[inline(always)]
pub(crate) fn scratch() -> Option<&'static mut Scratch> {
    // SAFETY: the element lives as long as the program, and nobody else uses it meanwhile (above);
    // each program asks for it once.
    unsafe { SCRATCH.get_ptr_mut(0)?.as_mut() }
}

/// Notes a first fragment of a connection without a flow.
#[inline(always)]
pub(crate) fn note_early_fragment(key: &FlowKey, now: Monotonic) {
    let place = early_fragment::place(key, PLACE_SEED.load());
    if let Some(place) = EARLY_FRAGMENTS.get_ptr_mut(place) {
        // SAFETY: the element lives as long as the program, and the word is aligned.
        unsafe { core::ptr::write_volatile(&raw mut (*place).seen, now.0) };
    }
}

/// Adds one. Not under a lock: it is a helper call.
#[inline(always)]
pub(crate) fn count(counter: Counter) {
    if let Some(word) = COUNTERS.get_ptr_mut(counter as u32) {
        // SAFETY: the pointer is this CPU's element, which lives as long as the program, and
        // programs of one CPU do not interrupt each other within these two instructions in a way
        // that loses more than a count.
        unsafe { *word += 1 };
    }
}

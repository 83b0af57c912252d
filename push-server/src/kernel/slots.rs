//! The memory shared with the programs: liveness slots, heartbeat lines, early fragments, answer
//! tables and the bits of those that run low, mmapped from their maps. aya has no mmap, so only this
//! file does it. It knows words, not connections.

use std::io;
use std::os::fd::BorrowedFd;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64};

use push_common::answer_table::KernelTable;
use push_common::early_fragment::EarlyFragment;
use push_common::slot::{ShardLine, Slot};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// A line of shared memory; the kernel and user space agree on its size.
///
/// # Safety
/// Any bytes must be a value of the type, its size must be a multiple of 8 (the kernel rounds
/// elements of array maps up to that), and its alignment must divide a page.
pub(super) unsafe trait Line {}

// SAFETY: integers only, 64 bytes, aligned to 64.
unsafe impl Line for Slot {}
// SAFETY: integers only, 64 bytes, aligned to 64.
unsafe impl Line for ShardLine {}
// SAFETY: an integer of 8 bytes.
unsafe impl Line for EarlyFragment {}
// SAFETY: integers only, 1,088 bytes, aligned to 64.
unsafe impl Line for KernelTable<u64> {}
// SAFETY: an integer of 8 bytes.
unsafe impl Line for u64 {}

// A table is described by plain integers, and reached by atomic ones.
const _: () = assert!(size_of::<Table>() == size_of::<KernelTable<u64>>());
const _: () = assert!(align_of::<Table>() == align_of::<KernelTable<u64>>());

/// The answer table of a TLS connection as user space reaches it, in memory shared with the programs.
pub type Table = KernelTable<AtomicU64>;

/// Bytes of a table.
pub const TABLE_BYTES: usize = size_of::<Table>();

/// An array map of `T`, mapped into this process for reading and writing.
#[derive(Debug)]
pub(super) struct Lines<T: Line> {
    base: NonNull<T>,
    len: u32,
}

// SAFETY: the memory is shared with the kernel anyway; it is reached by atomics only (below).
unsafe impl<T: Line> Send for Lines<T> {}
// SAFETY: as above.
unsafe impl<T: Line> Sync for Lines<T> {}

impl<T: Line> Lines<T> {
    /// Maps the `len` elements of an array map (`BPF_F_MMAPABLE`, kernel 5.5).
    pub(super) fn map(fd: BorrowedFd<'_>, len: u32) -> io::Result<Self> {
        let bytes = size_of::<T>() * len as usize;
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice touches no existing memory.
        let base = unsafe { mmap(ptr::null_mut(), bytes, protection, MapFlags::SHARED, fd, 0) }?;
        let base = NonNull::new(base.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { base, len })
    }

    pub(super) fn len(&self) -> u32 {
        self.len
    }

    /// The address of line `index`. Panics if there is none: indices come from this process's free
    /// list.
    fn line(&self, index: u32) -> *mut T {
        assert!(index < self.len, "slot {index} of {}", self.len);
        // SAFETY: inside the mapping, which holds `len` lines.
        unsafe { self.base.as_ptr().add(index as usize) }
    }
}

impl<T: Line> Drop for Lines<T> {
    fn drop(&mut self) {
        let bytes = size_of::<T>() * self.len as usize;
        // SAFETY: mapped by `map` with this size; no reference outlives `self`. Failing leaks it.
        let _ = unsafe { munmap(self.base.as_ptr().cast(), bytes) };
    }
}

/// The words of one slot. All accesses are atomic: the programs write while we read.
#[derive(Clone, Copy, Debug)]
pub(super) struct SlotWords<'a> {
    pub(super) last_seen: &'a AtomicU64,
    pub(super) pings: &'a AtomicU64,
    pub(super) ping_due: &'a AtomicU64,
    pub(super) rx: &'a AtomicU64,
    pub(super) tx: &'a AtomicU64,
    pub(super) generation: &'a AtomicU32,
    pub(super) ping_interval_ns: &'a AtomicU32,
    pub(super) client: &'a AtomicU32,
    pub(super) shard: &'a AtomicU16,
    pub(super) state: &'a AtomicU8,
}

macro_rules! word {
    ($atomic:ident, $line:ident.$field:ident) => {
        // SAFETY: aligned and inside the mapping, which outlives the borrow of `self`; reached as
        // an atomic by everybody in this process, and by whole words in the programs.
        unsafe { $atomic::from_ptr(&raw mut (*$line).$field) }
    };
}

impl Lines<Slot> {
    pub(super) fn slot(&self, index: u32) -> SlotWords<'_> {
        let line = self.line(index);
        SlotWords {
            last_seen: word!(AtomicU64, line.last_seen),
            pings: word!(AtomicU64, line.pings),
            ping_due: word!(AtomicU64, line.ping_due),
            rx: word!(AtomicU64, line.rx),
            tx: word!(AtomicU64, line.tx),
            generation: word!(AtomicU32, line.generation),
            ping_interval_ns: word!(AtomicU32, line.ping_interval_ns),
            client: word!(AtomicU32, line.client),
            shard: word!(AtomicU16, line.shard),
            state: word!(AtomicU8, line.state),
        }
    }
}

impl Lines<KernelTable<u64>> {
    /// The table at `index`, for as long as the mapping lives.
    pub(super) fn table(&self, index: u32) -> &Table {
        let line = self.line(index).cast::<Table>();
        // SAFETY: aligned and inside the mapping, which outlives the borrow of `self`; of the same layout
        // (asserted above); reached as atomics by everybody in this process, and by whole words in the programs.
        unsafe { &*line }
    }
}

impl Lines<u64> {
    pub(super) fn word(&self, index: u32) -> &AtomicU64 {
        let word = self.line(index);
        // SAFETY: aligned and inside the mapping, which outlives the borrow of `self`; reached as an atomic by
        // everybody in this process, and by whole words in the programs.
        unsafe { AtomicU64::from_ptr(word) }
    }
}

impl Lines<EarlyFragment> {
    pub(super) fn seen(&self, place: u32) -> &AtomicU64 {
        let line = self.line(place);
        word!(AtomicU64, line.seen)
    }
}

impl Lines<ShardLine> {
    pub(super) fn heartbeat(&self, shard: u16) -> &AtomicU64 {
        let line = self.line(u32::from(shard));
        word!(AtomicU64, line.heartbeat)
    }

    pub(super) fn silence_secs_max(&self, shard: u16) -> &AtomicU64 {
        let line = self.line(u32::from(shard));
        word!(AtomicU64, line.silence_secs_max)
    }
}

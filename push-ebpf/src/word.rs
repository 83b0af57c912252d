//! A word of memory that user space and the programs share, as the programs reach it. Nothing else of
//! the programs uses atomic operations.

use core::cell::UnsafeCell;
use core::intrinsics::{AtomicOrdering, atomic_cxchg, atomic_or, atomic_xchg};
use core::ptr;

use push_common::shared_word::SharedWord;

/// The order of all of them: what BPF promises of atomic operations that return a value.
const ORDER: AtomicOrdering = AtomicOrdering::SeqCst;

/// A 64-bit word. For BPF the compiler knows loads and stores without an order only, and `AtomicU64` lacks the
/// other operations there; so these are volatile accesses and intrinsics.
#[repr(transparent)]
pub(crate) struct Word(UnsafeCell<u64>);

impl SharedWord for Word {
    #[inline(always)]
    fn load(&self) -> u64 {
        // SAFETY: a reference is valid for reads; an aligned word is read whole.
        unsafe { ptr::read_volatile(self.0.get()) }
    }

    #[inline(always)]
    fn load_acquire(&self) -> u64 {
        // As `SharedWord` says: the loads of x86-64 keep their order.
        if cfg!(bpf_target_arch = "x86_64") { self.load() } else { self.fetch_or(0) }
    }

    #[inline(always)]
    fn store(&self, value: u64) {
        // SAFETY: a reference with interior mutability is valid for writes; an aligned word is written
        // whole.
        unsafe { ptr::write_volatile(self.0.get(), value) };
    }

    #[inline(always)]
    fn store_release(&self, value: u64) {
        if cfg!(bpf_target_arch = "x86_64") {
            self.store(value);
        } else {
            // SAFETY: as for `store`.
            unsafe { atomic_xchg::<_, ORDER>(self.0.get(), value) };
        }
    }

    #[inline(always)]
    fn fetch_or(&self, bits: u64) -> u64 {
        // SAFETY: as for `store`.
        unsafe { atomic_or::<_, _, ORDER>(self.0.get(), bits) }
    }

    #[inline(always)]
    fn compare_exchange(&self, from: u64, to: u64) -> bool {
        // SAFETY: as for `store`.
        unsafe { atomic_cxchg::<_, ORDER, ORDER>(self.0.get(), from, to) }.1
    }
}

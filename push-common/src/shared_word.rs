//! A 64-bit word of memory that user space and the programs share, and the accesses that both need.
//! Each side brings its own type, because their instructions differ.

#[cfg(not(target_arch = "bpf"))]
use core::sync::atomic::{AtomicU64, Ordering};

/// A word of shared memory. What an access promises is meant as in the memory model of C11 and Rust.
///
/// | | x86-64 | arm64 |
/// |---|---|---|
/// | `load`, `store` | `mov` | `ldr`, `str` |
/// | `load_acquire` | `mov`: loads keep their order (TSO) | `ldar` |
/// | `store_release` | `mov`: stores keep theirs | `stlr` |
/// | `fetch_or`, `compare_exchange` | `lock` prefix: a full barrier | `ldsetal`, `casal`, or a loop of `ldaxr` and `stlxr` |
///
/// A BPF program has no load with acquire before Linux 6.15 (`BPF_LOAD_ACQ`). In its place it reads by
/// `fetch_or(0)`: all atomic operations of BPF that return a value order what is before and behind them, on
/// every architecture. On x86-64 a plain load is enough, and cheaper; a program knows
/// its host by how it was compiled (`bpf_target_arch`).
pub trait SharedWord {
    /// Reads it, in no order.
    fn load(&self) -> u64;

    /// Reads it before anything that follows is read or written.
    fn load_acquire(&self) -> u64;

    /// Writes it, in no order.
    fn store(&self, value: u64);

    /// Writes it after anything that precedes was read or written.
    fn store_release(&self, value: u64);

    /// Sets bits and returns the value before. Acquires and releases.
    fn fetch_or(&self, bits: u64) -> u64;

    /// Writes `to` if the value is `from`, and tells whether it was. Acquires and releases.
    fn compare_exchange(&self, from: u64, to: u64) -> bool;
}

/// User space's. The programs have no such type: their compiler knows no load with acquire.
#[cfg(not(target_arch = "bpf"))]
impl SharedWord for AtomicU64 {
    #[inline]
    fn load(&self) -> u64 {
        Self::load(self, Ordering::Relaxed)
    }

    #[inline]
    fn load_acquire(&self) -> u64 {
        Self::load(self, Ordering::Acquire)
    }

    #[inline]
    fn store(&self, value: u64) {
        Self::store(self, value, Ordering::Relaxed);
    }

    #[inline]
    fn store_release(&self, value: u64) {
        Self::store(self, value, Ordering::Release);
    }

    #[inline]
    fn fetch_or(&self, bits: u64) -> u64 {
        Self::fetch_or(self, bits, Ordering::AcqRel)
    }

    #[inline]
    fn compare_exchange(&self, from: u64, to: u64) -> bool {
        Self::compare_exchange(self, from, to, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }
}

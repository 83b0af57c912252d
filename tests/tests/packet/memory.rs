//! Maps that the programs share with user space, as user space has them: mapped into memory.
#![expect(unsafe_code, reason = "memory shared with the kernel")]

use std::os::fd::{AsFd as _, BorrowedFd};
use std::ptr;
use std::sync::atomic::AtomicU64;

use aya::maps::MapData;
use push_common::answer_table::KernelTable;
use push_common::slot::Slot;
use rustix::mm::{MapFlags, ProtFlags, mmap};

/// The answer table of the connection that every case is about.
pub(crate) type Table = KernelTable<AtomicU64>;

/// A slot as words.
pub(crate) type SlotWords = [AtomicU64; size_of::<Slot>() / 8];

/// The first table of `TABLES`.
pub(crate) fn table(map: &MapData) -> &'static Table {
    let first = page(map.fd().as_fd()).cast::<Table>();
    // SAFETY: a page of the map, which is never unmapped, begins with a table of this layout; everybody
    // reaches it by whole words.
    unsafe { &*first }
}

/// The first slot of `SLOTS`.
pub(crate) fn slot(map: &MapData) -> &'static SlotWords {
    let first = page(map.fd().as_fd()).cast::<SlotWords>();
    // SAFETY: a page of the map, which is never unmapped, begins with a slot; what is narrower than a word
    // is not written by anybody meanwhile.
    unsafe { &*first }
}

/// The first page of an array map, for as long as the process lives.
fn page(fd: BorrowedFd<'_>) -> *const u8 {
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a new mapping at an address of the kernel's choice touches no existing memory.
    let page = unsafe { mmap(ptr::null_mut(), 4_096, protection, MapFlags::SHARED, fd, 0) };
    page.expect("the map is made for it").cast_const().cast()
}

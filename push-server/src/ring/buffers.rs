//! The provided receive buffers of one ring: memory, and the little ring in it through which free
//! buffers are handed to the kernel (`IORING_REGISTER_PBUF_RING`, Linux 5.19). The kernel takes a
//! buffer only when bytes have arrived, so an idle connection owns none.
//!
//! Ownership of a buffer alternates. *Free*: its entry lies between the kernel's head and our tail,
//! only the kernel writes it. *Lent*: the kernel named it in a completion, a [`Piece`] stands for
//! it, only we read it. [`ReceiveBuffers::recycle`] consumes the piece and makes it free again.

use std::io;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

use super::options::{RingError, RingOptions};

/// The only buffer group of a ring.
pub(super) const GROUP: u16 = 0;

/// Most entries that the kernel allows in a buffer ring.
const BUFFERS_MAX: u16 = 1 << 15;

/// Bytes of a page. The buffer ring must start at one; the data start at the next.
const PAGE_BYTES: usize = 4096;

/// Numbers the rings, so that no ring reads another's [`Piece`].
static NEXT_ID: AtomicU16 = AtomicU16::new(0);

/// Received bytes in a provided buffer. Give it back by [`super::Ring::recycle`].
#[derive(Debug)]
#[must_use]
pub(crate) struct Piece {
    buffer: u16,
    ring: u16,
    len: u32,
}

/// Buffers and their ring.
pub(super) struct ReceiveBuffers {
    memory: Mapping,
    data_offset: usize,
    buffers: u16,
    buffer_bytes: u32,
    /// User space's copy; the kernel sees it once it is stored into the shared tail.
    tail: u16,
    lent: u16,
    id: u16,
}

impl ReceiveBuffers {
    /// Maps the memory and fills the buffer ring. Nothing is shared with the kernel before
    /// [`Self::ring_address`] is registered.
    pub(super) fn new(options: &RingOptions) -> Result<Self, RingError> {
        let RingOptions { buffers, buffer_bytes, .. } = *options;
        if !buffers.is_power_of_two() || buffers > BUFFERS_MAX || buffer_bytes == 0 {
            return Err(RingError::Kernel {
                what: "receive buffers must be a power of two up to 32768, of one byte or more",
                source: io::ErrorKind::InvalidInput.into(),
            });
        }
        let ring_bytes = usize::from(buffers) * size_of::<BufRingEntry>();
        let data_offset = ring_bytes.next_multiple_of(PAGE_BYTES);
        let bytes = data_offset + usize::from(buffers) * buffer_bytes as usize;
        let memory = Mapping::new(bytes).map_err(|source| RingError::Kernel {
            what: "no memory for the receive buffers (fewer or smaller buffers, or `ulimit -v`)",
            source,
        })?;
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        let mut this = Self { memory, data_offset, buffers, buffer_bytes, tail: 0, lent: 0, id };
        for buffer in 0..buffers {
            this.provide(buffer);
        }
        this.publish();
        Ok(this)
    }

    /// Where the buffer ring lies, for registration.
    pub(super) fn ring_address(&self) -> u64 {
        self.memory.address.as_ptr().expose_provenance() as u64
    }

    /// Entries of the buffer ring.
    pub(super) fn count(&self) -> u16 {
        self.buffers
    }

    /// Bytes of each buffer.
    pub(super) fn buffer_bytes(&self) -> u32 {
        self.buffer_bytes
    }

    /// Buffers that no piece stands for.
    #[cfg(test)]
    pub(super) fn free(&self) -> u16 {
        self.buffers - self.lent
    }

    /// Makes the piece for `len` bytes in `buffer`, as a completion says; `None`: that is
    /// impossible. Call it once for each completion that names a buffer.
    pub(super) fn lend(&mut self, buffer: u16, len: u32) -> Option<Piece> {
        if buffer >= self.buffers || len > self.buffer_bytes || self.lent == self.buffers {
            return None;
        }
        self.lent += 1;
        Some(Piece { buffer, ring: self.id, len })
    }

    /// The bytes of a lent buffer.
    pub(super) fn bytes(&self, piece: &Piece) -> &[u8] {
        assert_eq!(piece.ring, self.id, "a piece is read by the ring that received it");
        let data = self.data(piece.buffer);
        // SAFETY: `lend` checked that buffer and length lie inside the mapping, which is zeroed
        // from the start and lives as long as `self`. The kernel does not write a lent buffer, and
        // it stays lent as long as `self` is borrowed, because `recycle` wants it mutably.
        unsafe { std::slice::from_raw_parts(data.as_ptr(), piece.len as usize) }
    }

    /// Gives a lent buffer back to the kernel.
    #[expect(clippy::needless_pass_by_value, reason = "the piece ends here")]
    pub(super) fn recycle(&mut self, piece: Piece) {
        assert_eq!(piece.ring, self.id, "a piece is recycled by the ring that received it");
        self.lent -= 1;
        self.provide(piece.buffer);
        self.publish();
    }

    /// Keeps the memory mapped for ever, because the kernel may still write to it.
    pub(super) fn leak(&mut self) {
        self.memory.leaked = true;
    }

    /// Writes the entry of a free buffer at the tail. There is always room: the ring has as many
    /// entries as there are buffers, and pieces cannot be copied.
    fn provide(&mut self, buffer: u16) {
        let address = self.data(buffer).as_ptr().expose_provenance() as u64;
        let slot = usize::from(self.tail & (self.buffers - 1));
        // SAFETY: `slot` is below the number of entries, all inside the mapping.
        let mut entry = unsafe { self.entries().add(slot) };
        // SAFETY: the mapping is aligned to a page, zeroed (a valid entry), and borrowed mutably.
        // The kernel reads no entry at or behind the tail, which `publish` moves later; the tail
        // itself lies in the first entry's unused field, is not touched here, and the kernel never
        // writes it.
        let entry = unsafe { entry.as_mut() };
        entry.set_addr(address);
        entry.set_len(self.buffer_bytes);
        entry.set_bid(buffer);
        self.tail = self.tail.wrapping_add(1);
    }

    /// Shows the kernel every entry up to the tail.
    fn publish(&mut self) {
        // SAFETY: the address is that of the first entry, which is initialised (zeroed at least).
        let tail = unsafe { BufRingEntry::tail(self.entries().as_ptr()) };
        // SAFETY: aligned and inside the mapping; we are the only writer, the kernel reads it with
        // acquire semantics.
        let tail = unsafe { AtomicU16::from_ptr(tail.cast_mut()) };
        tail.store(self.tail, Ordering::Release);
    }

    fn entries(&self) -> NonNull<BufRingEntry> {
        self.memory.address.cast()
    }

    fn data(&self, buffer: u16) -> NonNull<u8> {
        let offset = self.data_offset + usize::from(buffer) * self.buffer_bytes as usize;
        // SAFETY: every caller's `buffer` is below `self.buffers` (`new` counts up to it, `lend`
        // checks it, pieces come from `lend`), so the offset lies inside the mapping.
        unsafe { self.memory.address.add(offset) }
    }
}

/// Anonymous, private, zeroed memory from a page's start. Populated at once: buffers are used in
/// turn, so all of it is touched soon, and no connection's receive has to wait for that.
struct Mapping {
    address: NonNull<u8>,
    bytes: usize,
    leaked: bool,
}

impl Mapping {
    fn new(bytes: usize) -> io::Result<Self> {
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        let flags = MapFlags::PRIVATE | MapFlags::POPULATE;
        // SAFETY: a new anonymous mapping at an address of the kernel's choice overlaps nothing.
        let address = unsafe { mmap_anonymous(ptr::null_mut(), bytes, protection, flags) }?;
        let address = NonNull::new(address.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { address, bytes, leaked: false })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        if self.leaked {
            return;
        }
        // SAFETY: the mapping is ours, whole, and no reference into it outlives `self`. That the
        // kernel does not write it any more is kept by `Ring`'s drop, which leaks it otherwise.
        let unmapped = unsafe { munmap(self.address.as_ptr().cast(), self.bytes) };
        debug_assert!(unmapped.is_ok(), "an own, whole mapping can be unmapped");
    }
}

#[cfg(test)]
mod tests;

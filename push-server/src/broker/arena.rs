//! Values with 32-bit keys, kept in chunks. Growing moves no value, so a large arena neither stops
//! its shard nor stands half empty, and a chunk is freed with its last value.
//!
//! A new value goes to the lowest chunk with room; so the upper chunks of a shrinking arena empty.

use std::collections::BTreeSet;
use std::num::NonZeroU32;

use slab::Slab;

/// Values of a chunk. 256, and a power of two, so that a chunk that grows by doubling ends exactly
/// full.
const CHUNK_LEN: usize = 256;

/// A table shrinks when less than 1 / `SPARSE` of it is in use...
pub(super) const SPARSE: usize = 4;
/// ...and it has room for more entries than this.
pub(super) const SPARSE_CAPACITY_MIN: usize = 64;

/// Names a value of one arena. An `Option<Key>` takes no more memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key(NonZeroU32);

impl Key {
    /// The key of the first value of an empty arena.
    pub(super) const FIRST: Self = Self(NonZeroU32::MIN);

    fn new(chunk: usize, place: usize) -> Self {
        // Four billion values need 100 GB: memory and the limits on subscriptions and retained
        // messages end first.
        let index = u32::try_from(chunk * CHUNK_LEN + place + 1).ok().and_then(NonZeroU32::new);
        Self(index.expect("fewer values than 32 bits can name"))
    }

    /// The chunk, and the index in it.
    fn split(self) -> (usize, usize) {
        let index = self.0.get() as usize - 1;
        (index / CHUNK_LEN, index % CHUNK_LEN)
    }
}

/// The values.
#[derive(Debug)]
pub(super) struct Arena<T> {
    chunks: Vec<Slab<T>>,
    /// Chunks that are not full.
    with_room: BTreeSet<usize>,
    len: usize,
}

impl<T> Default for Arena<T> {
    fn default() -> Self {
        Self { chunks: Vec::new(), with_room: BTreeSet::new(), len: 0 }
    }
}

impl<T> Arena<T> {
    /// Bytes that a value takes. Beyond that there is at most one chunk more than needed, until a
    /// value is removed.
    pub(super) const VALUE_BYTES: usize = {
        // In a slab: a vacant entry holds the index of the next one.
        let (size, align) = (size_of::<T>(), align_of::<T>());
        let aligned = if align < 8 { size.next_multiple_of(8) } else { size };
        // The chunk's own fields, divided among its values, in a vector that may be half empty.
        aligned + 1
    };

    /// Values held.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Every value, in no particular order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.chunks.iter().flat_map(|chunk| chunk.iter().map(|(_, value)| value))
    }

    /// The value with this key.
    ///
    /// # Panics
    /// It was removed. Whoever keeps a key drops it with the value.
    pub(super) fn at(&self, key: Key) -> &T {
        let (chunk, place) = key.split();
        &self.chunks[chunk][place]
    }

    /// Like `at`, to change the value.
    pub(super) fn at_mut(&mut self, key: Key) -> &mut T {
        let (chunk, place) = key.split();
        &mut self.chunks[chunk][place]
    }

    /// Adds a value.
    pub(super) fn insert(&mut self, value: T) -> Key {
        let chunk = self.with_room.first().copied().unwrap_or_else(|| {
            self.chunks.push(Slab::new());
            self.with_room.insert(self.chunks.len() - 1);
            self.chunks.len() - 1
        });
        let places = &mut self.chunks[chunk];
        let place = places.insert(value);
        if places.len() == CHUNK_LEN {
            self.with_room.remove(&chunk);
        }
        self.len += 1;
        Key::new(chunk, place)
    }

    /// Removes a value.
    ///
    /// # Panics
    /// As `at`.
    pub(super) fn remove(&mut self, key: Key) -> T {
        let (chunk, place) = key.split();
        let places = &mut self.chunks[chunk];
        let was_full = places.len() == CHUNK_LEN;
        let value = places.remove(place);
        self.len -= 1;
        if places.is_empty() {
            *places = Slab::new();
        }
        if was_full {
            self.with_room.insert(chunk);
        }
        while self.chunks.last().is_some_and(Slab::is_empty) {
            self.chunks.pop();
            self.with_room.remove(&self.chunks.len());
        }
        if self.chunks.is_empty() {
            self.chunks.shrink_to_fit();
        }
        value
    }
}

#[cfg(test)]
mod tests;

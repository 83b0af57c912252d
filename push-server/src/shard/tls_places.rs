//! How many handshakes of TLS are under way, over all shards. A client has a place from its first whole record on
//! until both sides have keys, so connections that say nothing take none. Further clients wait, in the order they
//! came to their shard.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// The places, one for all shards.
#[derive(Debug)]
pub(super) struct TlsPlaces {
    places_max: u32,
    taken: AtomicU32,
    /// Clients of all shards that wait for a place.
    waiting: AtomicU32,
}

/// A place; it is given back when this is dropped.
#[derive(Debug)]
pub(super) struct TlsPlace(Arc<TlsPlaces>);

/// One that waits for a place; it does no longer when this is dropped.
#[derive(Debug)]
pub(super) struct TlsWait(Arc<TlsPlaces>);

impl TlsPlaces {
    pub(super) fn new(places_max: u32) -> Arc<Self> {
        Arc::new(Self { places_max, taken: AtomicU32::new(0), waiting: AtomicU32::new(0) })
    }

    /// Takes a place, if one is free.
    pub(super) fn take(self: &Arc<Self>) -> Option<TlsPlace> {
        // The place gives back what was taken too much.
        let place = (self.taken.fetch_add(1, Ordering::Relaxed), TlsPlace(Arc::clone(self)));
        (place.0 < self.places_max).then_some(place.1)
    }

    /// Waits for a place.
    pub(super) fn wait(self: &Arc<Self>) -> TlsWait {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        TlsWait(Arc::clone(self))
    }

    /// Whether clients wait, on any shard.
    pub(super) fn are_short(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }
}

impl Drop for TlsPlace {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for TlsWait {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;

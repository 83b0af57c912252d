//! Which sessions live elsewhere than with the shard that their client ids hash to, because they have moved:
//! a table of exceptions, empty nearly always. It says where a CONNECT goes, and moves nothing.
//!
//! A shard adds a session while all shards rest (`rest`), so no CONNECT is between two shards then, and takes
//! it out again when the session has ended. Whatever is on its way to that shard by then is sent on.
//!
//! The table is in memory alone. After a restart the hash says again where each session lives: all of them are
//! found by it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use foldhash::fast::RandomState;

/// Sessions that live elsewhere than their client ids say. Further ones do not move (`limit="owners"`).
pub(crate) const OWNERS_MAX: usize = 65_536;

/// One table for all shards.
#[derive(Debug, Default)]
pub(super) struct Owners {
    /// How many there are. Nearly always none: then nobody looks further.
    len: AtomicUsize,
    by_client_id: RwLock<HashMap<Box<str>, u16, RandomState>>,
}

impl Owners {
    /// The shard of a session that has moved.
    pub(super) fn owner(&self, client_id: &str) -> Option<u16> {
        if self.is_empty() {
            return None;
        }
        self.read().get(client_id).copied()
    }

    /// Whether no session has moved.
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many sessions have moved.
    pub(super) fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    /// A session lives with this shard from now on. Returns whether there was room to note that.
    pub(super) fn set(&self, client_id: &str, shard: u16) -> bool {
        let mut table = self.write();
        let has_room = table.len() < OWNERS_MAX;
        match table.entry(client_id.into()) {
            Entry::Occupied(mut known) => {
                known.insert(shard);
            }
            Entry::Vacant(_) if !has_room => return false,
            Entry::Vacant(place) => {
                place.insert(shard);
            }
        }
        self.len.store(table.len(), Ordering::Relaxed);
        true
    }

    /// A session lives where its client id says again, or has ended.
    pub(super) fn remove(&self, client_id: &str) {
        let mut table = self.write();
        table.remove(client_id);
        if table.is_empty() {
            table.shrink_to_fit();
        }
        self.len.store(table.len(), Ordering::Relaxed);
    }

    /// A panic elsewhere leaves a whole table behind.
    fn read(&self) -> RwLockReadGuard<'_, HashMap<Box<str>, u16, RandomState>> {
        self.by_client_id.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<Box<str>, u16, RandomState>> {
        self.by_client_id.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;

//! Sessions that a start leaves on disk because the totals of memory have no room for them. Nothing
//! of theirs is removed: a start with more room finds them. Until then the server must not tell
//! their clients that they have no session.

use std::hash::BuildHasher;

use hashbrown::HashSet;

use super::numbers::SessionNumber;

/// The sessions left out. Each takes little more than two numbers, since there may be very many.
#[derive(Debug, Default)]
pub struct LeftOut {
    numbers: HashSet<SessionNumber, foldhash::fast::RandomState>,
    /// Hashes of client ids, with a random seed, so that two ids do not collide by chance or on
    /// purpose.
    client_ids: HashSet<u64, foldhash::fast::RandomState>,
    hasher: foldhash::quality::RandomState,
}

impl LeftOut {
    /// How many sessions there are whose clients may come back.
    pub fn sessions(&self) -> usize {
        self.client_ids.len()
    }

    /// Whether the session of this client id was left out.
    pub fn has_client(&self, client_id: &str) -> bool {
        !self.client_ids.is_empty() && self.client_ids.contains(&self.hash(client_id))
    }

    /// Whether the records of the session with this number stay on disk.
    pub(in crate::store) fn has_number(&self, number: SessionNumber) -> bool {
        !self.numbers.is_empty() && self.numbers.contains(&number)
    }

    /// Leaves out a session that has ended, or whose record cannot be read; no client comes back
    /// for it.
    pub(in crate::store) fn add_number(&mut self, number: SessionNumber) {
        self.numbers.insert(number);
    }

    /// Leaves out a session.
    pub(in crate::store) fn add(&mut self, number: SessionNumber, client_id: &str) {
        self.numbers.insert(number);
        self.client_ids.insert(self.hash(client_id));
    }

    fn hash(&self, client_id: &str) -> u64 {
        self.hasher.hash_one(client_id)
    }
}

#[cfg(test)]
mod tests;

//! Wills of sessions that ended with their connection while the server stopped or died: found by a start,
//! each due after its delay, unless its client is back before.
//!
//! A session that ends with its connection keeps nothing on disk but a record with its will, while its client is
//! connected. So a start finds wills of sessions that no client can resume.

use std::collections::{BTreeMap, HashMap};

use foldhash::fast::RandomState;
use push_common::clock::Monotonic;

use super::ended_session::EndedSession;
use crate::store::SessionNumber;

type DueWill = (Monotonic, SessionNumber);

/// The sessions that had these wills.
#[derive(Debug, Default)]
pub(crate) struct Strays {
    by_due: BTreeMap<DueWill, EndedSession>,
    by_client_id: HashMap<Box<str>, Vec<DueWill>, RandomState>,
}

impl Strays {
    /// Adds a session that has ended and left a will.
    pub(crate) fn add(&mut self, publish_at: Monotonic, found: EndedSession) {
        let due = (publish_at, found.number);
        self.by_client_id.entry(found.session.client_id().into()).or_default().push(due);
        self.by_due.insert(due, found);
    }

    /// A client is back: takes the wills that its sessions left. Wills of another user's sessions stay.
    pub(crate) fn take_back(&mut self, client_id: &str, user: Option<&str>) -> Vec<EndedSession> {
        let Some(dues) = self.by_client_id.get(client_id).cloned() else { return Vec::new() };
        let is_theirs =
            |due: &DueWill| self.by_due.get(due).is_some_and(|found| found.session.user() == user);
        let theirs: Vec<_> = dues.into_iter().filter(is_theirs).collect();
        theirs.into_iter().filter_map(|due| self.remove(due)).collect()
    }

    /// Whether a session with this client id has left one.
    pub(crate) fn has(&self, client_id: &str) -> bool {
        self.by_client_id.contains_key(client_id)
    }

    /// Whether the delay of some will has passed at `now`.
    pub(crate) fn has_due(&self, now: Monotonic) -> bool {
        self.by_due.first_key_value().is_some_and(|((publish_at, _), _)| *publish_at <= now)
    }

    /// Takes a session whose will's delay has passed at `now`.
    pub(crate) fn take_due(&mut self, now: Monotonic) -> Option<EndedSession> {
        let (&due, _) = self.by_due.first_key_value()?;
        if due.0 <= now { self.remove(due) } else { None }
    }

    fn remove(&mut self, due: DueWill) -> Option<EndedSession> {
        let found = self.by_due.remove(&due)?;
        let client_id = found.session.client_id();
        if let Some(dues) = self.by_client_id.get_mut(client_id) {
            dues.retain(|other| *other != due);
            if dues.is_empty() {
                self.by_client_id.remove(client_id);
            }
        }
        Some(found)
    }
}

#[cfg(test)]
mod tests;

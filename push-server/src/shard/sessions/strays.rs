//! Wills of sessions that ended with their connection while the server stopped or died: found by a start,
//! each due after its delay, unless its client is back before.
//!
//! A session that ends with its connection keeps nothing on disk but a record with its will, as long as
//! its client is connected. What a start finds of them here are no sessions any more: nobody can
//! resume them.

use std::collections::{BTreeMap, HashMap};

use foldhash::fast::RandomState;
use push_common::clock::Monotonic;

use super::found::Found;
use crate::store::SessionNumber;

type Due = (Monotonic, SessionNumber);

/// The sessions that had these wills.
#[derive(Debug, Default)]
pub(crate) struct Strays {
    by_due: BTreeMap<Due, Found>,
    by_client_id: HashMap<Box<str>, Vec<Due>, RandomState>,
}

impl Strays {
    /// Adds a session that has ended and left a will.
    pub(crate) fn add(&mut self, publish_at: Monotonic, found: Found) {
        let due = (publish_at, found.number);
        self.by_client_id.entry(found.session.client_id().into()).or_default().push(due);
        self.by_due.insert(due, found);
    }

    /// A client is back: takes what it had left. Another user's stays.
    pub(crate) fn take_back(&mut self, client_id: &str, user: Option<&str>) -> Vec<Found> {
        let Some(dues) = self.by_client_id.get(client_id).cloned() else { return Vec::new() };
        let is_theirs =
            |due: &Due| self.by_due.get(due).is_some_and(|found| found.session.user() == user);
        let theirs: Vec<_> = dues.into_iter().filter(is_theirs).collect();
        theirs.into_iter().filter_map(|due| self.remove(due)).collect()
    }

    /// Whether some will is due at `now`.
    pub(crate) fn has_due(&self, now: Monotonic) -> bool {
        self.by_due.first_key_value().is_some_and(|((publish_at, _), _)| *publish_at <= now)
    }

    /// Takes one whose will is due at `now`.
    pub(crate) fn take_due(&mut self, now: Monotonic) -> Option<Found> {
        let (&due, _) = self.by_due.first_key_value()?;
        if due.0 <= now { self.remove(due) } else { None }
    }

    fn remove(&mut self, due: Due) -> Option<Found> {
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
mod tests {
    use super::*;
    use crate::mqtt::Session;

    fn found(number: u64, client_id: &str, user: Option<&str>) -> Found {
        let session = Session::durable(client_id, 0).of_user(user);
        let number = SessionNumber(number);
        Found { session, shares: false, number, will: None, key: None }
    }

    fn due(strays: &mut Strays, now: u64) -> Vec<u64> {
        let due = std::iter::from_fn(|| strays.take_due(Monotonic(now)));
        let due = numbers(&due.collect::<Vec<_>>());
        assert!(!strays.has_due(Monotonic(now)));
        due
    }

    fn numbers(found: &[Found]) -> Vec<u64> {
        found.iter().map(|found| found.number.0).collect()
    }

    #[test]
    fn wills_fall_due_in_the_order_of_their_delays() {
        let mut strays = Strays::default();
        for (at, number) in [(30, 1), (10, 2), (20, 3)] {
            strays.add(Monotonic(at), found(number, &format!("device-{number}"), None));
        }
        assert_eq!(due(&mut strays, 9), []);
        assert_eq!(due(&mut strays, 20), [2, 3]);
        assert_eq!(due(&mut strays, 99), [1]);
        assert!(strays.by_client_id.is_empty());
    }

    #[test]
    fn a_client_that_is_back_takes_back_all_it_left_and_nothing_of_another_user() {
        let mut strays = Strays::default();
        strays.add(Monotonic(1), found(1, "device", None));
        strays.add(Monotonic(2), found(2, "device", Some("ada")));
        strays.add(Monotonic(3), found(3, "device", None));
        strays.add(Monotonic(3), found(4, "other", None));
        assert_eq!(numbers(&strays.take_back("device", None)), [1, 3]);
        assert_eq!(numbers(&strays.take_back("device", None)), []);
        assert_eq!(due(&mut strays, 9), [2, 4]);
        assert!(strays.by_client_id.is_empty() && strays.by_due.is_empty());
    }
}

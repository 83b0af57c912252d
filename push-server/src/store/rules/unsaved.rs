//! Sessions whose own record was to be written, and was not. Until it is, nothing is promised in them: a start
//! takes what belongs to no session for leftovers, and a record that is older than it should be may say that
//! the session has long expired.
//!
//! A caller hears of a failure some time after it, and the disk may be back by then: what the caller asks for
//! meanwhile must not be promised, however many callers, queues and shared writes it came through. Only the
//! store sees all requests in their order, so it remembers: *a request that puts something into a session is
//! committed only if the last record of it that was asked for before, or with it, is written*. A session is put
//! down here when a request with its record fails, for whatever reason, and every later request, being behind
//! that one in the queue, is looked at after that. It is crossed out when a later record joins a group, and put
//! down again if that group fails, with which everything behind it in the group fails, too. When the session is
//! removed, there is nothing in it left to promise.
//!
//! The store refuses; it cannot write the record again, because it does not have it. The caller has, and keeps a
//! list of what to write again (in `shard`, `journal/retry_list.rs`), which it learns of too late to refuse by.
//!
//! At most one number for each session that there is; usually none.

use hashbrown::HashSet;

use crate::store::{SessionNumber, Write};

/// The sessions.
#[derive(Debug, Default)]
pub(crate) struct Unsaved {
    numbers: HashSet<SessionNumber, foldhash::fast::RandomState>,
}

impl Unsaved {
    /// These changes are to be made together. Returns whether they may be promised; if so, records
    /// among them count as written.
    pub(crate) fn admits(&mut self, writes: &[Write]) -> bool {
        if self.numbers.is_empty() {
            return true;
        }
        let saved: HashSet<_> = writes.iter().filter_map(saves).collect();
        let is_owed = |number| self.numbers.contains(&number) && !saved.contains(&number);
        if writes.iter().filter_map(promises_in).any(is_owed) {
            return false;
        }
        for number in writes.iter().filter_map(ends).chain(saved) {
            self.numbers.remove(&number);
        }
        true
    }

    /// These changes have failed.
    pub(crate) fn fail(&mut self, writes: &[Write]) {
        self.numbers.extend(writes.iter().filter_map(saves));
        for number in writes.iter().filter_map(ends) {
            self.numbers.remove(&number);
        }
    }

    /// The records of these sessions have failed.
    pub(in crate::store) fn extend(&mut self, numbers: impl IntoIterator<Item = SessionNumber>) {
        self.numbers.extend(numbers);
    }
}

/// The session whose own record a change is.
pub(in crate::store) fn saves(write: &Write) -> Option<SessionNumber> {
    match write {
        Write::PutSession { number, .. } => Some(*number),
        _ => None,
    }
}

/// The session that a change removes.
fn ends(write: &Write) -> Option<SessionNumber> {
    match write {
        Write::RemoveSession { number } | Write::RemoveRecord { number } => Some(*number),
        _ => None,
    }
}

/// The session that a change promises something in. What only takes away promises nothing that was
/// not there before; but where a will is taken away, it is promised that the record has it no more.
fn promises_in(write: &Write) -> Option<SessionNumber> {
    match write {
        Write::PutSubscription { number, .. }
        | Write::PutOutbox { number, .. }
        | Write::PutExactlyOnce { number, .. } => Some(*number),
        Write::RemoveWill { session, .. } => Some(*session),
        Write::PutSession { .. }
        | Write::RemoveSession { .. }
        | Write::RemoveRecord { .. }
        | Write::RemoveSubscription { .. }
        | Write::ReleaseOutbox { .. }
        | Write::RemoveOutbox { .. }
        | Write::RemoveExactlyOnce { .. }
        | Write::PutWill { .. }
        | Write::SaveRetained { .. } => None,
    }
}

#[cfg(test)]
mod tests;

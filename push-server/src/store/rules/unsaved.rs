//! Sessions whose own record could not be written. Until it is written, the store promises nothing
//! in them: a start would remove records without a session, and an outdated record may say that the
//! session has long expired.
//!
//! A caller learns of a failure some time later, and the disk may be back by then. The caller's
//! requests in between must not be promised, through however many callers, queues and shared writes
//! they came. Only the store sees all requests in order, so it remembers: *a request that puts
//! something into a session is committed only if the session's last record, requested before or
//! with it, is written*. A session is noted here when a request with its record fails, for any
//! reason; later requests are behind that one in the queue, so they are checked after it. The note
//! goes when a later record joins a group. If that group fails, the session is noted again, and
//! everything behind it in the group fails, too. When the session is removed, nothing in it is left
//! to promise.
//!
//! The store only refuses: it does not have the record, so it cannot write it again. The caller has
//! it, and keeps a list of records to write again (in `shard`, `journal/retry_list.rs`); but it
//! learns of a failure too late to refuse by that list.
//!
//! At most one number for each session; usually none.

use hashbrown::HashSet;

use crate::store::{SessionNumber, Write};

/// Sessions whose own record could not be written.
#[derive(Debug, Default)]
pub(crate) struct Unsaved {
    numbers: HashSet<SessionNumber, foldhash::fast::RandomState>,
}

impl Unsaved {
    /// Whether these changes, which take effect together, may be promised. If so, records among
    /// them count as written.
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

/// The session whose own record this change writes.
pub(in crate::store) fn saves(write: &Write) -> Option<SessionNumber> {
    match write {
        Write::PutSession { number, .. } => Some(*number),
        _ => None,
    }
}

/// The session that this change removes.
fn ends(write: &Write) -> Option<SessionNumber> {
    match write {
        Write::RemoveSession { number } | Write::RemoveRecord { number } => Some(*number),
        _ => None,
    }
}

/// The session in which this change promises something. A removal promises nothing new; but the
/// removal of a will promises that the session's record does not have it any more.
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

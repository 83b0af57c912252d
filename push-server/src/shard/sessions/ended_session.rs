//! An ended session, before it hands on its messages.

use crate::mqtt::{PendingWill, Session};
use crate::store::SessionNumber;

/// An ended session, as its shard had it, or as a start found it on disk.
#[derive(Debug)]
pub(crate) struct EndedSession {
    pub(crate) session: Session,
    /// Whether its outbox may have messages of groups that it is or was in, which it has to hand on.
    pub(crate) shares: bool,
    pub(crate) number: SessionNumber,
    pub(crate) will: Option<Box<PendingWill>>,
    /// Its key, if it was in the shard's table.
    pub(crate) key: Option<u32>,
}

//! What is known of a session that has ended, before it has left anything to anybody.

use crate::mqtt::{PendingWill, Session};
use crate::store::SessionNumber;

/// An ended session, as its shard has had it or a start has found it on disk.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) session: Session,
    /// Whether it had shared subscriptions: what it is owed by them goes to others.
    pub(crate) shares: bool,
    pub(crate) number: SessionNumber,
    pub(crate) will: Option<Box<PendingWill>>,
    /// Under which key it was one of the shard's, if the shard has had it.
    pub(crate) key: Option<u32>,
}

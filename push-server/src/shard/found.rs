//! What is known of a session that has ended, before it has left anything to anybody.

use crate::mqtt::{PendingWill, Session};
use crate::store::SessionNumber;

/// An ended session, as its shard has had it or a start has found it on disk.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) session: Session,
    /// Whether it had shared subscriptions: what it is owed by them goes to others.
    pub(super) shares: bool,
    pub(super) number: SessionNumber,
    pub(super) will: Option<Box<PendingWill>>,
    /// Under which key it was one of the shard's, if the shard has had it.
    pub(super) key: Option<u32>,
}

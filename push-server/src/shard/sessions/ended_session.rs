//! An ended session, before it hands on its messages.

use crate::mqtt::{PendingWill, Session};
use crate::store::SessionNumber;

/// An ended session, as its shard had it, or as a start found it on disk.
#[derive(Debug)]
pub(crate) struct EndedSession {
    pub(crate) session: Session,
    /// Whether it may be owed something by groups that it is in, or was in before: that goes to others.
    pub(crate) shares: bool,
    pub(crate) number: SessionNumber,
    pub(crate) will: Option<Box<PendingWill>>,
    /// Under which key it was one of the shard's, if the shard has had it.
    pub(crate) key: Option<u32>,
}

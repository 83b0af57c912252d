//! State that all threads of a run share.

use std::sync::atomic::AtomicU64;
use std::time::Instant;

use super::super::options::Publish;

/// Values that are the same for all threads.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) options: Publish,
    /// Zero of all nanoseconds.
    pub(super) epoch: Instant,
    /// Messages sent, of all threads.
    pub(super) sent: AtomicU64,
    /// Messages acknowledged to publishers, of all threads.
    pub(super) acknowledged: AtomicU64,
    /// Messages delivered to subscribers, of all threads, without repeated ones.
    pub(super) delivered: AtomicU64,
}

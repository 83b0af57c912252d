//! State that all threads of a run share.

use std::sync::atomic::AtomicU64;
use std::time::Instant;

use super::super::options::Publish;
use super::super::transport::Kind;

/// Values that are the same for all threads.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) options: Publish,
    pub(super) layers: Kind,
    /// Zero of all nanoseconds.
    pub(super) epoch: Instant,
    /// Messages sent, of all threads.
    pub(super) sent: AtomicU64,
    /// Messages acknowledged to publishers, of all threads.
    pub(super) acknowledged: AtomicU64,
    /// Messages delivered to subscribers, of all threads, without repeated ones.
    pub(super) delivered: AtomicU64,
}

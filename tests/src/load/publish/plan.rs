//! What all threads of a run share.

use std::sync::atomic::AtomicU64;
use std::time::Instant;

use super::super::options::Publish;

/// What is the same for all threads.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) options: Publish,
    /// Where nanoseconds are counted from.
    pub(super) epoch: Instant,
    /// Messages sent, of all threads.
    pub(super) sent: AtomicU64,
    /// Messages acknowledged to publishers, of all threads.
    pub(super) acknowledged: AtomicU64,
    /// Messages that came to subscribers, of all threads, repeated ones not counted.
    pub(super) delivered: AtomicU64,
}

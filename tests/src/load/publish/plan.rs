//! What the main thread and the others tell each other.

use std::sync::atomic::AtomicU64;
use std::time::Instant;

use super::counts::Counts;
use crate::load::options::Publish;

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

/// The time in which messages count.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) from_ns: u64,
    pub(super) until_ns: u64,
}

/// What threads tell.
#[derive(Debug)]
pub(super) enum News {
    /// Sessions and publishers are there.
    Ready,
    /// All is sent and acknowledged, or nothing comes any more.
    Finished(Box<Counts>),
    /// The run is over.
    Failed(String),
}

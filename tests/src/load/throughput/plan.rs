//! State that all threads of a run share.

use std::time::Instant;

use super::super::options::Throughput;
use super::super::transport::Kind;

/// Values that are the same for all threads.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) options: Throughput,
    pub(super) layers: Kind,
    /// Zero of all nanoseconds.
    pub(super) epoch: Instant,
}

//! What all threads of a run share.

use std::time::Instant;

use super::super::options::Connects;

/// What is the same for all threads.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) options: Connects,
    /// Where nanoseconds are counted from.
    pub(super) epoch: Instant,
}

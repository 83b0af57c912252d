//! What a ring is made with, and why one cannot be had.

use std::io;

/// Sizes of a ring.
#[derive(Clone, Copy, Debug)]
pub struct RingOptions {
    /// Submission queue entries; the completion queue has four times as many.
    pub entries: u32,
    /// Provided receive buffers, a power of two.
    pub buffers: u16,
    /// Bytes of each.
    pub buffer_bytes: u32,
}

/// Why a ring cannot be had, or does not work any more.
#[derive(Debug, thiserror::Error)]
pub enum RingError {
    /// The kernel refused.
    #[error("io_uring: {what}: {source}")]
    Kernel {
        /// The step that failed, with the knob to turn.
        what: &'static str,
        /// The kernel's word.
        source: io::Error,
    },
}

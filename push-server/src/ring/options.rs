//! The sizes of a ring, and why one cannot be made.

use std::io;

/// Sizes of a ring.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RingOptions {
    /// Submission queue entries; the completion queue has four times as many.
    pub entries: u32,
    /// Provided receive buffers, a power of two.
    pub buffers: u16,
    /// Bytes of each receive buffer.
    pub buffer_bytes: u32,
}

/// Why a ring cannot be made, or no longer works.
#[derive(Debug, thiserror::Error)]
pub enum RingError {
    /// The kernel refused.
    #[error("io_uring: {what}: {source}")]
    Kernel {
        /// The step that failed, with the setting to change.
        what: &'static str,
        /// The kernel's error.
        source: io::Error,
    },
}

//! Bytes that sockets have not taken yet; the ring keeps them until then. Each connection's are bounded by
//! `SEND_BYTES_MAX`, and those of all connections by `--sending-bytes-total`. No connection is closed for that:
//! from half of the total on, each socket is handed less at a time, down to `SEND_BYTES_MIN`, so that each goes on.
//!
//! Only memory of the send itself counts: copies of small messages, heads of large ones, answers. All receivers
//! share the payload of a large message, which counts with the outboxes.

use std::sync::Arc;

use crate::broker::MemoryBudget;

/// Bytes handed to a socket at a time; a larger single frame goes alone.
pub(crate) const SEND_BYTES_MAX: usize = 128 << 10;

/// The same where the total of all connections is reached.
const SEND_BYTES_MIN: usize = 4 << 10;

/// A shard adds its bytes to the total when they differ by so much, and once a second: a send that the socket takes
/// at once does not touch memory that all shards share.
const STEP_BYTES: u64 = 64 << 10;

/// What a shard has under way.
#[derive(Debug)]
pub(crate) struct Sending {
    total: Arc<MemoryBudget>,
    bytes: u64,
    /// The part of it that the total knows of.
    told_bytes: u64,
}

impl Sending {
    pub(crate) fn new(total: &Arc<MemoryBudget>) -> Self {
        Self { total: Arc::clone(total), bytes: 0, told_bytes: 0 }
    }

    /// How much a socket may be handed now.
    pub(crate) fn bytes_max(&self) -> usize {
        let used = (self.total.used_bytes() + self.bytes).saturating_sub(self.told_bytes);
        bytes_max(used, self.total.bytes_max())
    }

    /// A socket is handed so many bytes. Returns the weight to be given to `end` when it has taken them, or failed.
    pub(crate) fn begin(&mut self, bytes: usize) -> u32 {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.bytes += u64::from(bytes);
        self.tell_from(STEP_BYTES);
        bytes
    }

    pub(crate) fn end(&mut self, bytes: u32) {
        self.bytes -= u64::from(bytes);
        self.tell_from(STEP_BYTES);
    }

    /// Makes the total exact, as far as this shard goes.
    pub(crate) fn settle(&mut self) {
        self.tell_from(1);
    }

    fn tell_from(&mut self, bytes_min: u64) {
        if self.bytes.abs_diff(self.told_bytes) < bytes_min {
            return;
        }
        let told_bytes = std::mem::replace(&mut self.told_bytes, self.bytes);
        if self.bytes > told_bytes {
            self.total.add(self.bytes - told_bytes);
        } else {
            self.total.give_back(told_bytes - self.bytes);
        }
    }
}

/// All of `SEND_BYTES_MAX` while half of the total is left, then as much less as less is left.
fn bytes_max(used: u64, total: u64) -> usize {
    const SPAN: u128 = (SEND_BYTES_MAX - SEND_BYTES_MIN) as u128;
    let half = total / 2;
    let left = total.saturating_sub(used);
    if left >= half && half > 0 {
        return SEND_BYTES_MAX;
    }
    SEND_BYTES_MIN + (SPAN * u128::from(left) / u128::from(half.max(1))) as usize
}

#[cfg(test)]
mod tests;

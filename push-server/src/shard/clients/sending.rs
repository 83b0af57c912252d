//! Bytes that sockets have not taken yet: the ring keeps them until they have. Each connection's are bounded
//! by `SEND_BYTES_MAX`, and those of all connections by `--sending-bytes-total`, which no connection is closed
//! for: from half of it on each is handed less at a time, down to `SEND_BYTES_MIN`, so that each goes on.
//!
//! What counts is memory that a send alone takes: copies of small messages, heads of large ones, answers. The
//! payloads of large messages are shared by all who are sent them, and count with what outboxes hold.

use std::sync::Arc;

use crate::broker::MemoryBudget;

/// Bytes handed to a socket at a time; a larger single frame goes alone.
pub(crate) const SEND_BYTES_MAX: usize = 128 << 10;

/// The same where the total of all connections is reached.
const SEND_BYTES_MIN: usize = 4 << 10;

/// A shard tells the total when it is so far off, and once a second: a send that the socket takes at once
/// costs no look at what all shards share.
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

    /// A socket is handed so much. Returns what is to be given to `end` when it has taken it, or failed.
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
mod tests {
    use super::*;

    #[test]
    fn from_half_of_the_total_on_a_socket_is_handed_less() {
        const TOTAL: u64 = 1 << 20;
        for (used, expected) in [
            (0, SEND_BYTES_MAX),
            (TOTAL / 2, SEND_BYTES_MAX),
            (TOTAL / 4 * 3, (SEND_BYTES_MAX + SEND_BYTES_MIN) / 2),
            (TOTAL, SEND_BYTES_MIN),
            (2 * TOTAL, SEND_BYTES_MIN),
        ] {
            assert_eq!(bytes_max(used, TOTAL), expected, "{used}");
        }
        assert_eq!((bytes_max(0, 0), bytes_max(5, 1)), (SEND_BYTES_MIN, SEND_BYTES_MIN));
        assert_eq!(bytes_max(u64::MAX / 4, u64::MAX), SEND_BYTES_MAX);
    }

    #[test]
    fn connections_that_take_nothing_keep_to_the_total_and_a_little_each() {
        const CLIENTS: u64 = 1_000;
        let total = MemoryBudget::new(8 << 20);
        let mut shards = [Sending::new(&total), Sending::new(&total)];
        for client in 0..CLIENTS {
            let shard = &mut shards[client as usize % 2];
            let bytes = shard.bytes_max();
            shard.begin(bytes);
        }
        shards.iter_mut().for_each(Sending::settle);
        let most = total.bytes_max() + CLIENTS * SEND_BYTES_MIN as u64;
        assert!((total.bytes_max()..=most).contains(&total.used_bytes()), "{}", total.used_bytes());
    }

    #[test]
    fn the_total_knows_of_all_but_a_step_and_of_nothing_that_was_taken() {
        let total = MemoryBudget::new(1 << 30);
        let mut sending = Sending::new(&total);
        let small = sending.begin(STEP_BYTES as usize - 1);
        assert_eq!(total.used_bytes(), 0);
        let large = sending.begin(1 << 20);
        assert_eq!(total.used_bytes(), (1 << 20) + STEP_BYTES - 1);
        sending.end(large);
        sending.end(small);
        sending.settle();
        assert_eq!(total.used_bytes(), 0);
    }
}

//! Totals of memory. If one is not given, the start sets it to a share of the memory of the
//! machine, or of the control group that the server runs in.
//!
//! All of them together are at most 18/32 of that memory. The rest is for connections, messages under way,
//! retained messages, the database's buffers, and the system's socket buffers.

use crate::broker::SessionMemoryMax;

/// Lowest total that a share becomes: 8 MiB, so that a small container serves a few thousand
/// clients.
const SHARE_BYTES_MIN: u64 = 8 << 20;

/// What all outboxes have at most, if nobody says: messages that wait are on disk mostly.
const QUEUE_BYTES_DEFAULT_MAX: u64 = 1 << 30;

/// Memory of all sessions and connections together, by kind. `None`: a share of the memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// `--session-bytes-total`: the sessions themselves.
    pub session_bytes: Option<u64>,
    /// `--subscription-bytes-total`.
    pub subscription_bytes: Option<u64>,
    /// `--will-bytes-total`.
    pub will_bytes: Option<u64>,
    /// `--inflight-bytes-total`.
    pub inflight_bytes: Option<u64>,
    /// `--queue-bytes-max`.
    pub outbox_bytes: Option<u64>,
    /// `--sending-bytes-total`.
    pub sending_bytes: Option<u64>,
}

impl Totals {
    /// The totals in force on a machine with this much memory.
    #[must_use]
    pub fn within(self, memory_bytes: u64) -> Self {
        let share = |said: Option<u64>, part: u64| {
            Some(said.unwrap_or_else(|| (memory_bytes / 32 * part).max(SHARE_BYTES_MIN)))
        };
        Self {
            session_bytes: share(self.session_bytes, 4),
            subscription_bytes: share(self.subscription_bytes, 4),
            will_bytes: share(self.will_bytes, 1),
            inflight_bytes: share(self.inflight_bytes, 2),
            outbox_bytes: share(self.outbox_bytes, 6)
                .map(|bytes| self.outbox_bytes.unwrap_or(bytes.min(QUEUE_BYTES_DEFAULT_MAX))),
            sending_bytes: share(self.sending_bytes, 1),
        }
    }

    /// Each total by its name in metrics; 0 if it is not known yet.
    pub fn named(&self) -> [(&'static str, u64); 6] {
        [
            ("session_bytes_total", self.session_bytes.unwrap_or(0)),
            ("subscription_bytes_total", self.subscription_bytes.unwrap_or(0)),
            ("will_bytes_total", self.will_bytes.unwrap_or(0)),
            ("inflight_bytes_total", self.inflight_bytes.unwrap_or(0)),
            ("queue_bytes", self.outbox_bytes.unwrap_or(0)),
            ("sending_bytes_total", self.sending_bytes.unwrap_or(0)),
        ]
    }
}

impl From<Totals> for SessionMemoryMax {
    fn from(totals: Totals) -> Self {
        Self {
            sessions: totals.session_bytes.unwrap_or(u64::MAX),
            subscriptions: totals.subscription_bytes.unwrap_or(u64::MAX),
            wills: totals.will_bytes.unwrap_or(u64::MAX),
            inflight: totals.inflight_bytes.unwrap_or(u64::MAX),
            outboxes: totals.outbox_bytes.unwrap_or(u64::MAX),
            sending: totals.sending_bytes.unwrap_or(u64::MAX),
        }
    }
}

#[cfg(test)]
mod tests;

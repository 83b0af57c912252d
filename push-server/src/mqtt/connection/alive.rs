//! Whether the client is still there: when the server last heard it, when it has been silent for
//! too long [MQTT-3.1.2-24], and how often it may ping. This file closes nothing.

use push_common::clock::Monotonic;
use push_common::rate::Pace;

use super::{Connection, State};
use crate::mqtt::Limits;
use crate::mqtt::codec::Reason;
use crate::mutant::{Rule, is_left_out};

/// This many bytes of an incomplete packet count as hearing the client, as a whole packet does: a
/// large packet may take long to arrive. 1 KiB, so that a client cannot stay alive by a byte at a
/// time.
const HEARD_BYTES_MIN: usize = 1 << 10;

/// What `handle_timeout` finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Timeout {
    /// The client was heard since, or has no keep alive. `Connection::poll_timeout` has the next
    /// deadline.
    Alive,
    /// The client was silent for one and a half keep alives: close with `Reason::KeepAliveTimeout`.
    Expired,
}

impl Connection {
    /// When to call `handle_timeout`. Calling it earlier or later does no harm. `None`: never.
    pub fn poll_timeout(&self) -> Option<Monotonic> {
        if self.state == State::Over || is_left_out(Rule::SilentExpires) {
            return None;
        }
        self.keep_alive.deadline(self.last_heard)
    }

    /// Checks the deadline at `now`. `seen_by_kernel`: when the kernel last heard the client; it
    /// answers pings without telling user space.
    pub fn handle_timeout(&mut self, now: Monotonic, seen_by_kernel: Monotonic) -> Timeout {
        if !is_left_out(Rule::KernelHears) {
            self.last_heard = self.last_heard.max(seen_by_kernel);
        }
        match self.poll_timeout() {
            Some(deadline) if deadline <= now => Timeout::Expired,
            _ => Timeout::Alive,
        }
    }

    /// Starts the keep alive anew, when CONNACK has left: until then the client had no reason to
    /// send.
    pub fn begin_keep_alive(&mut self, now: Monotonic) {
        self.hear_whole(now);
    }

    /// Counts pings of this connection that the kernel answered against the ping rate. `pings`: how
    /// many in all. Call this before `poll_event`.
    pub fn pings_answered_elsewhere(&mut self, pings: u64, limits: &Limits) {
        let pings = pings as u32;
        let more = pings.wrapping_sub(self.pings_elsewhere);
        self.pings_elsewhere = pings;
        self.ping_due = self.ping_pace(limits).charged_earlier(self.ping_due, more);
    }

    /// How often this client may ping.
    pub fn ping_pace(&self, limits: &Limits) -> Pace {
        limits.ping_rate.ping_pace(self.keep_alive.0)
    }

    /// Counts a PINGREQ that user space received.
    ///
    /// # Errors
    /// It came too soon.
    pub(super) fn charge_ping(&mut self, limits: &Limits, now: Monotonic) -> Result<(), Reason> {
        let pace = self.ping_pace(limits);
        if !pace.admits(self.ping_due, now) {
            return Err(Reason::MessageRateTooHigh);
        }
        self.ping_due = pace.charged(self.ping_due, now);
        Ok(())
    }

    /// Bytes came; their packet may be incomplete.
    pub(super) fn hear(&mut self, bytes_len: usize, now: Monotonic) {
        let unheard = usize::from(self.unheard_bytes) + bytes_len;
        if unheard < HEARD_BYTES_MIN {
            // Less than `HEARD_BYTES_MIN`, so it fits.
            self.unheard_bytes = unheard as u16;
        } else {
            self.hear_whole(now);
        }
    }

    /// A whole packet came.
    pub(super) fn hear_whole(&mut self, now: Monotonic) {
        self.unheard_bytes = 0;
        self.last_heard = self.last_heard.max(now);
    }
}

#[cfg(test)]
mod tests;

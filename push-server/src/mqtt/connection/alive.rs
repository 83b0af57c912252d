//! Whether the client is still there: when it was last heard, when it has been silent for too long
//! [MQTT-3.1.2-24], and how often it may ping. It closes nothing.

use push_common::clock::Monotonic;
use push_common::ping_rate::PingPace;

use super::{Connection, State};
use crate::mqtt::Limits;
use crate::mqtt::codec::Reason;
use crate::mutant::{Rule, is_left_out};

/// So many bytes of a packet under way count like a whole one: a large packet may be long under way, and a
/// client cannot live on one that never ends.
const HEARD_BYTES_MIN: usize = 1 << 10;

/// What a deadline means that has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Timeout {
    /// The client was heard since, or need not be. `Connection::poll_timeout` has the next deadline.
    Alive,
    /// The client has been silent for one and a half keep alives: close with `Reason::KeepAliveTimeout`.
    Expired,
}

impl Connection {
    /// When `handle_timeout` is to be called. A later call does no harm, and neither does an earlier one.
    /// `None`: never.
    pub fn poll_timeout(&self) -> Option<Monotonic> {
        if self.state == State::Over || is_left_out(Rule::SilentExpires) {
            return None;
        }
        self.keep_alive.deadline(self.last_heard)
    }

    /// Time has passed. `seen_by_kernel`: when the kernel last heard the client, whose pings it may answer
    /// without a word to us.
    pub fn handle_timeout(&mut self, now: Monotonic, seen_by_kernel: Monotonic) -> Timeout {
        if !is_left_out(Rule::KernelHears) {
            self.last_heard = self.last_heard.max(seen_by_kernel);
        }
        match self.poll_timeout() {
            Some(deadline) if deadline <= now => Timeout::Expired,
            _ => Timeout::Alive,
        }
    }

    /// The client may count on the server from now on: it need not have said anything while CONNACK waited.
    pub fn begin_keep_alive(&mut self, now: Monotonic) {
        self.hear_whole(now);
    }

    /// The kernel has answered so many pings of this connection so far: they count against the same
    /// ping rate. Call this before `poll_event`.
    pub fn pings_answered_elsewhere(&mut self, pings: u64, limits: &Limits) {
        let pings = pings as u32;
        let more = pings.wrapping_sub(self.pings_elsewhere);
        self.pings_elsewhere = pings;
        self.ping_due = self.ping_pace(limits).charged_earlier(self.ping_due, more);
    }

    /// How often this client may ping.
    pub fn ping_pace(&self, limits: &Limits) -> PingPace {
        limits.ping_rate.pace(self.keep_alive.0)
    }

    /// Counts a ping that came to us.
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

    /// Bytes came, of a packet that may not be whole.
    pub(super) fn hear(&mut self, bytes_len: usize, now: Monotonic) {
        let unheard = usize::from(self.unheard_bytes) + bytes_len;
        if unheard < HEARD_BYTES_MIN {
            // Less than the constant, which fits.
            self.unheard_bytes = unheard as u16;
        } else {
            self.hear_whole(now);
        }
    }

    /// A packet came whole.
    pub(super) fn hear_whole(&mut self, now: Monotonic) {
        self.unheard_bytes = 0;
        self.last_heard = self.last_heard.max(now);
    }
}

#[cfg(test)]
mod tests;

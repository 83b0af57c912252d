//! A session's time without a connection: how long it lasts, and what becomes of the will.
//!
//! A will is published when its delay has passed or its session ends, whichever comes first
//! [MQTT-3.1.2-8] [MQTT-3.1.3-9]:
//! - no delay, or a session that ends with its connection: at once;
//! - the session is resumed in time, be it by a take-over: never;
//! - a new connection with a clean start ends the session: then.
//!
//! The orderly stop publishes no will: its clients are alive and will be back. From then on all
//! wills, with a delay or not, wait on disk for the next start: with their sessions, or, where these end
//! with their connections, by themselves (`strays`).

use push_common::clock::Monotonic;

use crate::mqtt::{PendingWill, Will};
use crate::mutant::{Rule, is_left_out};
use crate::store::{Clocks, WallMillis};

/// A session's time without a connection.
#[derive(Debug)]
pub(crate) struct Absence {
    /// When the session ends, unless it is endless.
    ends_at: Monotonic,
    /// The last connection's will, while it waits for its delay.
    will: Option<Box<PendingWill>>,
    /// The low half of the tick that tells the session's current timer from stale ones.
    timer_tick: u32,
    is_endless: bool,
}

impl Absence {
    /// Begins at `now`, for a session that outlives its connection.
    pub(crate) fn new(expiry_secs: u32, will: Option<Box<PendingWill>>, now: Monotonic) -> Self {
        Self {
            ends_at: now.after_millis(u64::from(expiry_secs) * 1_000),
            will,
            timer_tick: 0,
            is_endless: expiry_secs == u32::MAX,
        }
    }

    /// Goes on after a restart of the server, `gone_millis` after it began.
    pub(crate) fn resumed(
        expiry_secs: u32,
        gone_millis: u64,
        will: Option<Box<PendingWill>>,
        now: Monotonic,
    ) -> Self {
        let gone_millis = if is_left_out(Rule::TimeWithoutServer) { 0 } else { gone_millis };
        let left_millis = (u64::from(expiry_secs) * 1_000).saturating_sub(gone_millis);
        Self { ends_at: now.after_millis(left_millis), ..Self::new(expiry_secs, will, now) }
    }

    /// When it began. Computed from its end, because it may have begun before the boot.
    pub(crate) fn begun(&self, expiry_secs: u32, clocks: Clocks) -> WallMillis {
        let ends_at = clocks.to_wall(self.ends_at);
        WallMillis(ends_at.0.saturating_sub(u64::from(expiry_secs) * 1_000))
    }

    /// The will that waits.
    pub(crate) fn will(&self) -> Option<&PendingWill> {
        self.will.as_deref()
    }

    /// The will that waits, of a session that ends.
    pub(crate) fn into_will(self) -> Option<Box<PendingWill>> {
        self.will
    }

    /// The session's timer is the one of this tick from now on.
    pub(crate) fn set_timer(&mut self, tick: u64) {
        self.timer_tick = tick as u32;
    }

    /// Whether the timer of this tick is the session's current one.
    pub(crate) fn is_timer(&self, tick: u64) -> bool {
        self.timer_tick == tick as u32
    }

    /// When its will is due or the session ends, whichever comes first.
    pub(crate) fn next_deadline(&self) -> Option<Monotonic> {
        let end = (!self.is_endless).then_some(self.ends_at);
        let will = self.will().map(|will| will.publish_at);
        end.into_iter().chain(will).min()
    }

    pub(crate) fn is_over(&self, now: Monotonic) -> bool {
        !self.is_endless && self.ends_at <= now && !is_left_out(Rule::ExpiredSession)
    }

    /// The will, if its delay has passed.
    pub(crate) fn take_due_will(&mut self, now: Monotonic) -> Option<Will> {
        let due =
            self.will.take_if(|will| will.publish_at <= now || is_left_out(Rule::WillDelay))?;
        Some(due.will)
    }
}

#[cfg(test)]
mod tests;

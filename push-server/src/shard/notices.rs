//! Log lines about single clients: which was refused, disconnected or connected, from where and why.
//! Clients can cause any number of such lines, so a kind has at most [`LINES_PER_SECOND_MAX`] a second,
//! of all shards, and then one line that counts the others.
//!
//! A client id is bytes of a peer: it is quoted, escaped and cut. Nothing else that a client sent is
//! ever logged: no password, no topic, no payload.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use push_common::clock::Monotonic;

/// Lines of a kind in one second.
pub(super) const LINES_PER_SECOND_MAX: u32 = 10;

/// Most characters of a client id that are shown.
const CLIENT_ID_CHARS_MAX: usize = 64;

const PERIOD_MILLIS: u64 = 1_000;

/// What has happened to a client. Kinds are counted apart, so that a flood of one hides no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Its CONNECT was refused.
    Refused,
    /// What it sent before CONNECT is not MQTT.
    NotMqtt,
    /// It did not send its CONNECT in time.
    ConnectTimeout,
    /// It broke the protocol or a limit that it was told.
    Fault,
    /// Its keep alive ran out.
    Expired,
    /// The same client has connected again.
    TakenOver,
    /// The server ended it for another reason.
    Ended,
}

const KINDS: [Kind; 7] = [
    Kind::Refused,
    Kind::NotMqtt,
    Kind::ConnectTimeout,
    Kind::Fault,
    Kind::Expired,
    Kind::TakenOver,
    Kind::Ended,
];

impl Kind {
    /// The line's words.
    fn words(self) -> &'static str {
        match self {
            Self::Refused => "client refused",
            Self::NotMqtt => "connection closed: no valid CONNECT",
            Self::ConnectTimeout => "connection closed: no CONNECT in time",
            Self::Fault => "client disconnected for its fault",
            Self::Expired => "client expired",
            Self::TakenOver => "client taken over",
            Self::Ended => "client disconnected by the server",
        }
    }
}

/// How often the lines of each kind are said, for all shards.
#[derive(Debug, Default)]
pub(crate) struct Notices {
    rates: Mutex<[LineRate; KINDS.len()]>,
    /// Whether lines were held back whose number is still to be logged.
    holds_back: AtomicBool,
}

impl Notices {
    /// Says what has happened to a client, unless there were too many of the kind. `address` is asked
    /// only for lines that are said.
    pub(super) fn say(
        &self,
        now: Monotonic,
        kind: Kind,
        client: Option<&str>,
        address: impl FnOnce() -> Option<SocketAddr>,
        reason: &dyn fmt::Display,
    ) {
        if !tracing::enabled!(tracing::Level::INFO) {
            return;
        }
        let mut rates = self.rates.lock().unwrap_or_else(PoisonError::into_inner);
        let rate = &mut rates[kind as usize];
        let more = rate.take_held_back(now);
        let is_admitted = rate.admit(now);
        drop(rates);
        if let Some(more) = more {
            tell_more(kind, more);
        }
        if !is_admitted {
            self.holds_back.store(true, Ordering::Relaxed);
            return;
        }
        let client = client.map(|id| tracing::field::debug(ClientId(id)));
        let address = address().map(tracing::field::display);
        tracing::info!(client, address, reason = %reason, "{}", kind.words());
    }

    /// Tells how many lines were held back in seconds that are over. To be called once in a while.
    pub(super) fn tell_held_back(&self, now: Monotonic) {
        if !self.holds_back.swap(false, Ordering::Relaxed) {
            return;
        }
        let mut rates = self.rates.lock().unwrap_or_else(PoisonError::into_inner);
        let held_back = rates.each_mut().map(|rate| rate.take_held_back(now));
        if rates.iter().any(LineRate::holds_back) {
            self.holds_back.store(true, Ordering::Relaxed);
        }
        drop(rates);
        for (kind, more) in KINDS.into_iter().zip(held_back) {
            if let Some(more) = more {
                tell_more(kind, more);
            }
        }
    }
}

fn tell_more(kind: Kind, more: u64) {
    tracing::info!("{}: {more} more of this kind", kind.words());
}

/// How often one kind of line is said.
#[derive(Clone, Copy, Debug, Default)]
struct LineRate {
    since: Option<Monotonic>,
    said: u32,
    held_back: u64,
}

impl LineRate {
    /// Whether a line may be said; counts it if not.
    fn admit(&mut self, now: Monotonic) -> bool {
        if self.is_over(now) {
            *self = Self { since: Some(now), held_back: self.held_back, said: 0 };
        }
        let is_admitted = self.said < LINES_PER_SECOND_MAX;
        if is_admitted {
            self.said += 1;
        } else {
            self.held_back += 1;
        }
        is_admitted
    }

    /// Lines held back in a second that is over, once.
    fn take_held_back(&mut self, now: Monotonic) -> Option<u64> {
        if self.held_back == 0 || !self.is_over(now) {
            return None;
        }
        Some(std::mem::take(&mut self.held_back))
    }

    fn holds_back(&self) -> bool {
        self.held_back > 0
    }

    fn is_over(&self, now: Monotonic) -> bool {
        self.since.is_none_or(|since| since.after_millis(PERIOD_MILLIS) <= now)
    }
}

/// A client id in quotes, without anything that a terminal or a reader of lines would obey.
pub(super) struct ClientId<'a>(pub(super) &'a str);

impl fmt::Debug for ClientId<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.char_indices().nth(CLIENT_ID_CHARS_MAX) {
            None => write!(formatter, "{:?}", self.0),
            Some((end, _)) => write!(formatter, "{:?}...", &self.0[..end]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Monotonic {
        Monotonic(5_000_000_000).after_millis(millis)
    }

    #[test]
    fn ten_lines_of_a_kind_are_said_in_a_second_and_the_others_counted_once() {
        let mut rate = LineRate::default();
        let admitted = (0..25).filter(|millis| rate.admit(at(*millis))).count();
        assert_eq!(admitted, 10);
        assert_eq!(rate.take_held_back(at(999)), None, "the second is not over");
        assert_eq!(rate.take_held_back(at(1_000)), Some(15));
        assert_eq!(rate.take_held_back(at(1_001)), None, "told once");
        assert!(rate.admit(at(1_002)));
    }

    #[test]
    fn a_slow_trickle_is_never_held_back() {
        let mut rate = LineRate::default();
        assert!((0..100).all(|line| rate.admit(at(line * 101))));
        assert!(!rate.holds_back());
    }

    #[test]
    fn lines_of_the_next_second_do_not_hide_those_held_back() {
        let mut rate = LineRate::default();
        for _ in 0..12 {
            rate.admit(at(0));
        }
        assert!(rate.admit(at(1_500)));
        assert_eq!(rate.take_held_back(at(2_500)), Some(2));
    }

    #[test]
    fn every_kind_has_its_own_place() {
        for (index, kind) in KINDS.into_iter().enumerate() {
            assert_eq!(kind as usize, index);
        }
    }

    #[test]
    fn a_client_id_brings_no_line_and_no_terminal_code() {
        let shown = |id: &str| format!("{:?}", ClientId(id));
        assert_eq!(shown("sensor-1"), r#""sensor-1""#);
        let forged = shown("a\n2026-11-28 ERROR disk full\u{1b}[2J\"\u{202e}\u{9b}1m\r\u{7f}");
        assert!(forged.chars().all(|char| !char.is_control() && char != '\u{202e}'), "{forged}");
        assert!(forged.contains(r"\n2026") && forged.contains(r#"\""#), "{forged}");
        let long = shown(&"é".repeat(65_000 / 2));
        assert!(long.ends_with("\"...") && long.chars().count() < 70, "{long}");
    }
}

//! Log lines about single clients: who was refused, disconnected or connected, from where and why. Clients can
//! cause any number of such lines, so a kind has at most [`LINES_PER_SECOND_MAX`] a second, of all shards, and then
//! one line that counts the others.
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
pub(crate) enum NoticeKind {
    /// Its CONNECT was refused.
    Refused,
    /// What it sent before CONNECT is not MQTT.
    NotMqtt,
    /// It speaks another protocol than its address.
    Stranger,
    /// Its handshake of TLS has failed.
    TlsFailed,
    /// It came to a listener for proxies, and is none, or did not say for which client.
    Proxy,
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

const KINDS: [NoticeKind; 10] = [
    NoticeKind::Refused,
    NoticeKind::NotMqtt,
    NoticeKind::Stranger,
    NoticeKind::TlsFailed,
    NoticeKind::Proxy,
    NoticeKind::ConnectTimeout,
    NoticeKind::Fault,
    NoticeKind::Expired,
    NoticeKind::TakenOver,
    NoticeKind::Ended,
];

impl NoticeKind {
    /// The line's words.
    fn words(self) -> &'static str {
        match self {
            Self::Refused => "client refused",
            Self::NotMqtt => "connection closed: no valid CONNECT",
            Self::Stranger => "connection closed: another protocol than the address is for",
            Self::TlsFailed => "connection closed: the TLS handshake failed",
            Self::Proxy => "connection closed: no PROXY header that counts",
            Self::ConnectTimeout => "connection closed: no CONNECT in time",
            Self::Fault => "client disconnected for its fault",
            Self::Expired => "client expired",
            Self::TakenOver => "client taken over",
            Self::Ended => "client disconnected by the server",
        }
    }
}

/// Whom a line is about.
pub(super) struct Whom<'a, A> {
    /// `None`: it is not known yet.
    pub(super) client_id: Option<&'a str>,
    /// The name of its listener.
    pub(super) listener: &'a str,
    /// Its address, asked for only if the line is said.
    pub(super) address: A,
}

/// How often the lines of each kind are said, for all shards.
#[derive(Debug, Default)]
pub(crate) struct Notices {
    rates: Mutex<[LineRate; KINDS.len()]>,
    /// Whether lines were held back, and their number has not been logged yet.
    holds_back: AtomicBool,
}

impl Notices {
    /// Says what has happened to a client, unless there were too many of the kind.
    pub(super) fn say(
        &self,
        now: Monotonic,
        kind: NoticeKind,
        whom: Whom<'_, impl FnOnce() -> Option<SocketAddr>>,
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
        let Whom { client_id, listener, address } = whom;
        let client = client_id.map(|id| tracing::field::debug(ClientId(id)));
        let address = address().map(|address| tracing::field::display(ClientAddress(address)));
        tracing::info!(client, address, %listener, reason = %reason, "{}", kind.words());
    }

    /// Logs how many lines were held back in seconds that are over. To be called about once a second.
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

fn tell_more(kind: NoticeKind, more: u64) {
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

    /// Takes the number of lines held back in a second that is over.
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

/// An address, without the port where that is not known.
pub(super) struct ClientAddress(pub(super) SocketAddr);

impl fmt::Display for ClientAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.port() {
            // A proxy told it by X-Forwarded-For.
            0 => self.0.ip().fmt(formatter),
            _ => self.0.fmt(formatter),
        }
    }
}

/// A client id in quotes, without characters that a terminal or a reader of lines would obey.
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
mod tests;

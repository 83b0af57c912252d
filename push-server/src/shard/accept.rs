//! Accepting: multishot accepts that pause when a limit is reached, and go on when there is room.

use std::collections::VecDeque;
use std::time::Duration;

use push_common::clock::Monotonic;

use super::ports::Wire;
use crate::transport::Kind;

/// How soon a paused accept is tried again when no connection of this shard ends before.
const RETRY_MILLIS: u64 = 100;

/// A pause is worth a line in the log this often; the counters tell the rest.
const WARNING_PERIOD: Duration = Duration::from_secs(10);

/// Sockets that a multishot accept may bring after the limit was seen and before it is cancelled;
/// they wait for room. More are closed.
pub(crate) const PARKED_MAX: usize = 16;

/// A shard's listeners and whether they accept.
#[derive(Debug)]
pub(super) struct Acceptor<S> {
    listeners: Vec<Listener>,
    parked: VecDeque<(S, Kind)>,
    paused_until: Option<Monotonic>,
    warned_at: Option<Monotonic>,
}

#[derive(Debug)]
struct Listener {
    kind: Kind,
    accepting: bool,
}

impl<S> Acceptor<S> {
    /// `kinds`: of the wire's listeners.
    pub(super) fn new(kinds: Vec<Kind>) -> Self {
        let listeners = kinds.into_iter().map(|kind| Listener { kind, accepting: false }).collect();
        Self { listeners, parked: VecDeque::new(), paused_until: None, warned_at: None }
    }

    /// When a paused accept is to be tried again.
    pub(super) fn retry_at(&self) -> Option<Monotonic> {
        self.paused_until
    }

    pub(super) fn is_paused(&self) -> bool {
        self.paused_until.is_some()
    }

    /// Arms every listener that is not accepting.
    pub(super) fn start(&mut self, wire: &mut impl Wire) {
        self.paused_until = None;
        for (index, listener) in (0u32..).zip(&mut self.listeners) {
            if !listener.accepting {
                listener.accepting = true;
                wire.accept(index);
            }
        }
    }

    /// Closes the listeners for ever: the server stops.
    pub(super) fn stop(&mut self, wire: &mut impl Wire) {
        self.cancel(wire);
        self.paused_until = None;
        self.parked.clear();
        // Closing the listeners lets the system refuse new connections at once.
        self.listeners.clear();
        wire.close_listeners();
    }

    /// A listener's accept has completed, and goes on or not (`more`). Returns which layers its sockets speak;
    /// `None`: the listener was closed.
    pub(super) fn brought(&mut self, listener: u32, more: bool) -> Option<Kind> {
        let listener = self.listeners.get_mut(listener as usize)?;
        listener.accepting &= more;
        Some(listener.kind)
    }

    /// A socket has no place: it waits for one, or is closed.
    pub(super) fn park(&mut self, socket: S, kind: Kind) {
        if self.parked.len() < PARKED_MAX {
            self.parked.push_back((socket, kind));
        }
    }

    /// Takes the socket that has waited longest for a place.
    pub(super) fn unpark(&mut self) -> Option<(S, Kind)> {
        self.parked.pop_front()
    }

    pub(super) fn has_parked(&self) -> bool {
        !self.parked.is_empty()
    }

    /// Accepts no more until it is tried again.
    pub(super) fn pause(&mut self, wire: &mut impl Wire, now: Monotonic) {
        self.retry_later(now);
        self.cancel(wire);
    }

    /// Not all parked sockets found a place: accepting is tried again.
    pub(super) fn retry_later(&mut self, now: Monotonic) {
        self.paused_until = Some(now.after_millis(RETRY_MILLIS));
    }

    /// Whether enough time has passed since the last warning about a pause; then one is due now.
    pub(super) fn warns(&mut self, now: Monotonic) -> bool {
        let due = self.warned_at.is_none_or(|warned_at| now - warned_at >= WARNING_PERIOD);
        if due {
            self.warned_at = Some(now);
        }
        due
    }

    fn cancel(&self, wire: &mut impl Wire) {
        for (index, listener) in (0u32..).zip(&self.listeners) {
            if listener.accepting {
                wire.cancel_accept(index);
            }
        }
    }
}

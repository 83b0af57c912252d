//! Accepting: multishot accepts that pause when a limit is reached, and go on when there is room.
//! The limit may be a listener's own: then the others go on. Who has a place may still have to wait until the connect
//! rate lets it in.

mod waiting_room;

use std::collections::VecDeque;
use std::time::Duration;

use push_common::clock::Monotonic;

use super::ports::Wire;
pub(super) use waiting_room::Newcomer;
pub(crate) use waiting_room::WAITING_ROOM_MAX;
use waiting_room::WaitingRoom;

/// How soon a paused accept is tried again when no connection of this shard ends before.
const RETRY_MILLIS: u64 = 100;

/// A pause is worth a line in the log this often; the counters tell the rest.
const WARNING_PERIOD: Duration = Duration::from_secs(10);

/// Sockets that multishot accepts may bring after the limit was seen and before they are cancelled;
/// they wait for room. More are closed.
pub(crate) const PARKED_MAX: usize = 16;

/// A shard's listeners and whether they accept.
#[derive(Debug)]
pub(super) struct Acceptor<S> {
    listeners: Vec<Gate>,
    parked: VecDeque<Parked<S>>,
    /// Sockets with a place.
    waiting: WaitingRoom<S>,
    /// When the first of them may be let in.
    opens_at: Option<Monotonic>,
    paused_until: Option<Monotonic>,
    warned_at: Option<Monotonic>,
}

/// One listener.
#[derive(Clone, Copy, Debug, Default)]
struct Gate {
    /// Its accept is under way.
    accepting: bool,
    /// It waits for room.
    is_paused: bool,
}

/// A socket that waits for a place, and its listener.
#[derive(Debug)]
pub(super) struct Parked<S> {
    pub(super) socket: S,
    pub(super) listener: u16,
}

impl<S> Acceptor<S> {
    /// For so many listeners of the wire.
    pub(super) fn new(listeners: usize) -> Self {
        Self {
            listeners: vec![Gate::default(); listeners],
            parked: VecDeque::new(),
            waiting: WaitingRoom::new(),
            opens_at: None,
            paused_until: None,
            warned_at: None,
        }
    }

    /// When a paused accept is to be tried again.
    pub(super) fn retry_at(&self) -> Option<Monotonic> {
        self.paused_until
    }

    /// A socket waits until the connect rate lets it in, which is not before `opens_at`. Gives it back if too many wait.
    pub(super) fn wait(
        &mut self,
        newcomer: Newcomer<S>,
        opens_at: Option<Monotonic>,
    ) -> Option<Newcomer<S>> {
        // Multishot accepts may bring some more before they are cancelled.
        if self.waiting.len() >= WAITING_ROOM_MAX + PARKED_MAX {
            return Some(newcomer);
        }
        self.waiting.push(newcomer);
        self.opens_at = self.opens_at.or(opens_at);
        None
    }

    /// Takes the next socket that waits for the connect rate.
    pub(super) fn next_waiting(&mut self) -> Option<Newcomer<S>> {
        self.opens_at = None;
        self.waiting.pop()
    }

    /// The next one may be let in then.
    pub(super) fn wait_until(&mut self, opens_at: Monotonic) {
        self.opens_at = Some(opens_at);
    }

    /// When sockets that wait for the connect rate are to be looked at.
    pub(super) fn opens_at(&self) -> Option<Monotonic> {
        self.opens_at
    }

    /// Whether sockets wait for the connect rate.
    pub(super) fn has_waiting(&self) -> bool {
        self.waiting.len() > 0
    }

    /// Whether as many wait for it as may.
    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() >= WAITING_ROOM_MAX
    }

    /// Whether so few wait for it that accepting goes on.
    pub(super) fn has_room(&self) -> bool {
        self.waiting.len() <= WAITING_ROOM_MAX / 2
    }

    /// Whether any listener waits for room.
    pub(super) fn is_paused(&self) -> bool {
        self.paused_until.is_some()
    }

    /// Arms every listener that neither accepts nor waits for room.
    pub(super) fn start(&mut self, wire: &mut impl Wire) {
        for (index, gate) in (0u32..).zip(&mut self.listeners) {
            if !gate.accepting && !gate.is_paused {
                gate.accepting = true;
                wire.accept(index);
            }
        }
    }

    /// Closes the listeners for ever: the server stops.
    pub(super) fn stop(&mut self, wire: &mut impl Wire) {
        for listener in (0u16..).take(self.listeners.len()) {
            self.cancel(listener, wire);
        }
        self.paused_until = None;
        self.parked.clear();
        // Closing the listeners lets the system refuse new connections at once.
        self.listeners.clear();
        wire.close_listeners();
    }

    /// A listener's accept has completed, and goes on or not (`more`). Returns the listener; `None`:
    /// it was closed.
    pub(super) fn brought(&mut self, listener: u32, more: bool) -> Option<u16> {
        let gate = self.listeners.get_mut(listener as usize)?;
        gate.accepting &= more;
        u16::try_from(listener).ok()
    }

    /// A socket has no place: it waits for one, or is closed.
    pub(super) fn park(&mut self, socket: S, listener: u16) {
        if self.parked.len() < PARKED_MAX {
            self.parked.push_back(Parked { socket, listener });
        }
    }

    /// Whether sockets of a listener wait for a place.
    pub(super) fn has_parked(&self, listener: u16) -> bool {
        self.parked.iter().any(|parked| parked.listener == listener)
    }

    /// Takes the sockets that wait, the longest first.
    pub(super) fn take_parked(&mut self) -> VecDeque<Parked<S>> {
        std::mem::take(&mut self.parked)
    }

    /// The same sockets wait on, without those that found a place.
    pub(super) fn put_back(&mut self, parked: VecDeque<Parked<S>>) {
        self.parked = parked;
    }

    /// Accepts no more at a listener until it is tried again.
    pub(super) fn pause(&mut self, listener: u16, wire: &mut impl Wire, now: Monotonic) {
        if let Some(gate) = self.listeners.get_mut(usize::from(listener)) {
            gate.is_paused = true;
            self.retry_later(now);
            self.cancel(listener, wire);
        }
    }

    /// The same at all of them.
    pub(super) fn pause_all(&mut self, wire: &mut impl Wire, now: Monotonic) {
        for listener in (0u16..).take(self.listeners.len()) {
            self.pause(listener, wire, now);
        }
    }

    /// There is room again: listeners that wait for it go on, but for those that `lacks_room` or
    /// whose sockets wait still. Those are tried again.
    pub(super) fn resume(
        &mut self,
        lacks_room: impl Fn(u16) -> bool,
        wire: &mut impl Wire,
        now: Monotonic,
    ) {
        let parked = &self.parked;
        let waits = |listener: u16| {
            lacks_room(listener) || parked.iter().any(|parked| parked.listener == listener)
        };
        for (listener, gate) in (0u16..).zip(&mut self.listeners) {
            gate.is_paused = gate.is_paused && waits(listener);
        }
        self.paused_until = None;
        if self.listeners.iter().any(|gate| gate.is_paused) {
            self.retry_later(now);
        }
        self.start(wire);
    }

    /// Nothing has found room: it is tried again.
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

    fn cancel(&self, listener: u16, wire: &mut impl Wire) {
        if self.listeners[usize::from(listener)].accepting {
            wire.cancel_accept(listener.into());
        }
    }
}

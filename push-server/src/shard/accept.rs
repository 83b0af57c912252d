//! Accepting: multishot accepts that pause when a limit is reached, and go on when there is room.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::time::Duration;

use push_common::clock::Monotonic;

use super::client::{Introduction, Phase};
use super::ports::{AcceptFault, Ports, Randomness, SocketOf, Wire};
use super::worker::Worker;
use crate::websocket::WebSocket;

/// How soon a paused accept is tried again when no connection of this shard ends before.
const RETRY_MILLIS: u64 = 100;

/// A pause is worth a line in the log this often; the counters tell the rest.
const WARNING_PERIOD: Duration = Duration::from_secs(10);

/// Sockets that a multishot accept may bring after the limit was seen and before it is cancelled;
/// they wait for room. More are closed.
pub(crate) const PARKED_MAX: usize = 16;

/// How MQTT comes over a listener's connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    /// Bytes of MQTT and nothing else.
    Tcp,
    /// In WebSocket's binary frames.
    WebSocket,
}

/// A shard's listeners and whether they accept.
#[derive(Debug)]
pub(super) struct Acceptor<S> {
    listeners: Vec<Listener>,
    parked: VecDeque<(S, Transport)>,
    paused_until: Option<Monotonic>,
    warned_at: Option<Monotonic>,
}

#[derive(Debug)]
struct Listener {
    transport: Transport,
    accepting: bool,
}

impl<S> Acceptor<S> {
    /// `transports`: of the wire's listeners.
    pub(super) fn new(transports: Vec<Transport>) -> Self {
        let listeners = transports
            .into_iter()
            .map(|transport| Listener { transport, accepting: false })
            .collect();
        Self { listeners, parked: VecDeque::new(), paused_until: None, warned_at: None }
    }

    /// When a paused accept is to be tried again.
    pub(super) fn retry_at(&self) -> Option<Monotonic> {
        self.paused_until
    }
}

impl<P: Ports> Worker<P> {
    /// Arms every listener that is not accepting.
    pub(super) fn start_accepting(&mut self) {
        self.acceptor.paused_until = None;
        for (index, listener) in (0u32..).zip(&mut self.acceptor.listeners) {
            if !listener.accepting {
                listener.accepting = true;
                self.wire.accept(index);
            }
        }
    }

    /// For ever: the server stops.
    pub(super) fn stop_accepting(&mut self) {
        self.cancel_accepts();
        self.acceptor.paused_until = None;
        self.acceptor.parked.clear();
        // Closing the listeners lets the system refuse new connections at once.
        self.acceptor.listeners.clear();
        self.wire.close_listeners();
    }

    pub(super) fn on_accepted(
        &mut self,
        listener: u32,
        result: Result<SocketOf<P>, AcceptFault>,
        more: bool,
    ) {
        if self.stop.has_begun() {
            return;
        }
        let Some(listener) = self.acceptor.listeners.get_mut(listener as usize) else { return };
        listener.accepting &= more;
        let transport = listener.transport;
        match result {
            Ok(socket) if self.acceptor.parked.is_empty() && self.take_place() => {
                self.admit(socket, transport);
            }
            Ok(socket) => {
                self.here.counters().limit_connections.add(1);
                if self.warning_is_due() {
                    tracing::warn!(
                        limit = self.here.shared().connections_max,
                        "accepting pauses: --max-connections is reached"
                    );
                }
                if self.acceptor.parked.len() < PARKED_MAX {
                    self.acceptor.parked.push_back((socket, transport));
                }
                self.pause_accepting();
            }
            Err(fault) => self.on_accept_fault(&fault),
        }
        if self.acceptor.paused_until.is_none() {
            self.start_accepting();
        }
    }

    /// A place has become free, or the retry time has come.
    pub(super) fn resume_accepting(&mut self) {
        if self.acceptor.paused_until.is_none() || self.stop.has_begun() {
            return;
        }
        while self.take_place() {
            let Some((socket, transport)) = self.acceptor.parked.pop_front() else {
                self.give_place_back();
                self.start_accepting();
                return;
            };
            self.admit(socket, transport);
        }
        self.acceptor.paused_until = Some(self.agenda.now().after_millis(RETRY_MILLIS));
    }

    /// Takes one of the `--max-connections` places, which all shards share.
    fn take_place(&self) -> bool {
        let taken = self.here.shared().open.fetch_add(1, Ordering::Relaxed)
            < self.here.shared().connections_max;
        if !taken {
            self.give_place_back();
        }
        taken
    }

    pub(super) fn give_place_back(&self) {
        self.here.shared().open.fetch_sub(1, Ordering::Relaxed);
    }

    fn on_accept_fault(&mut self, fault: &AcceptFault) {
        match fault {
            AcceptFault::Passing => return,
            AcceptFault::Exhausted(error) => {
                self.here.counters().limit_descriptors.add(1);
                if self.warning_is_due() {
                    tracing::warn!(
                        %error,
                        "accepting pauses; raise the limit (`ulimit -n`, LimitNOFILE=) or lower \
                         --max-connections"
                    );
                }
            }
            AcceptFault::Failed(error) => {
                tracing::warn!(%error, "accept failed; it is tried again");
            }
        }
        self.pause_accepting();
    }

    /// Whether enough time has passed since the last warning about a pause.
    fn warning_is_due(&mut self) -> bool {
        let warned_at = self.acceptor.warned_at;
        let due = warned_at.is_none_or(|warned_at| self.agenda.now() - warned_at >= WARNING_PERIOD);
        if due {
            self.acceptor.warned_at = Some(self.agenda.now());
        }
        due
    }

    fn pause_accepting(&mut self) {
        if self.acceptor.paused_until.is_none() {
            tracing::debug!(shard = self.here.index(), "accepting pauses");
        }
        self.acceptor.paused_until = Some(self.agenda.now().after_millis(RETRY_MILLIS));
        self.cancel_accepts();
    }

    fn cancel_accepts(&mut self) {
        for (index, listener) in (0u32..).zip(&self.acceptor.listeners) {
            if listener.accepting {
                self.wire.cancel_accept(index);
            }
        }
    }

    /// A new client, its place taken: it has until the deadline to send its CONNECT, what WebSocket
    /// asks for before it included.
    fn admit(&mut self, socket: SocketOf<P>, transport: Transport) {
        let timeout = u64::from(self.here.shared().config.connect_timeout_secs) * 1_000;
        let deadline = self.agenda.now().after_millis(timeout);
        let phase = Phase::Handshake(Introduction::new(self.here.randomness().array(), deadline));
        let index = self.add_client(socket, phase, self.agenda.now());
        self.arm_client_timer(index, deadline);
        // Not multishot: a client whose session lives elsewhere leaves without an operation to
        // cancel.
        let client = &mut self.clients[index];
        if transport == Transport::WebSocket {
            client.websocket = Some(Box::new(WebSocket::new(self.agenda.now())));
        }
        client.receiving = true;
        let token = client.token(index);
        self.wire.receive_once(&client.socket, token);
    }

    /// Puts a client into the slab, under a new generation.
    pub(super) fn add_client(&mut self, socket: SocketOf<P>, phase: Phase, seen: Monotonic) -> u32 {
        self.here.counters().connections.add(1);
        self.clients.add(socket, phase, seen)
    }
}

//! New connections: a place for each, the rate at which they are let in, and the time limit for their CONNECT.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Shard;
use crate::shard::accept::{Newcomer, Parked};
use crate::shard::addresses::{AddressKey, NoPlaceLeft};
use crate::shard::clients::{Client, PendingClient};
use crate::shard::entrance::{Entrance, NoRoom};
use crate::shard::notices::{NoticeKind, Whom};
use crate::shard::ports::{AcceptFault, Ports, Randomness, Socket, SocketOf, Wire};
use crate::transport::{Opening, Transport};

/// What the log says of a socket that is one too many of its address.
const TOO_MANY_WAIT: &str = "--address-waiting-max is reached";

/// Sockets that wait for the connect rate are let in no more often than this.
const LET_IN_MILLIS: u64 = 1;

impl<P: Ports> Shard<P> {
    /// Arms every listener that is not accepting.
    pub(super) fn start_accepting(&mut self) {
        self.acceptor.start(&mut self.wire);
    }

    /// Closes the listeners for ever: the server stops.
    pub(super) fn stop_accepting(&mut self) {
        while let Some(newcomer) = self.acceptor.next_waiting() {
            self.give_place_back(newcomer.listener);
        }
        self.acceptor.stop(&mut self.wire);
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
        let Some(listener) = self.acceptor.brought(listener, more) else { return };
        match result {
            Ok(socket) => match self.take_place(listener) {
                Ok(()) => self.let_in_or_wait(socket, listener),
                Err(no_room) => {
                    self.acceptor.park(socket, listener);
                    self.pause_accepting(listener, no_room);
                }
            },
            Err(fault) => self.on_accept_fault(&fault),
        }
        self.start_accepting();
    }

    /// A place has become free, or the retry time has come.
    pub(super) fn resume_accepting(&mut self) {
        if !self.acceptor.is_paused() || self.stop.has_begun() {
            return;
        }
        if self.acceptor.is_full() {
            self.acceptor.retry_later(self.agenda.now());
            return;
        }
        let mut waiting = VecDeque::new();
        for Parked { socket, listener } in self.acceptor.take_parked() {
            let is_behind = waiting.iter().any(|other: &Parked<_>| other.listener == listener);
            let taken = match is_behind {
                true => Err(NoRoom::Listener),
                false => self.here.shared().entrance.take_place(listener),
            };
            match taken {
                Ok(()) => self.let_in_or_wait(socket, listener),
                Err(_) => waiting.push_back(Parked { socket, listener }),
            }
        }
        self.acceptor.put_back(waiting);
        let entrance = &self.here.shared().entrance;
        let now = self.agenda.now();
        if entrance.has_place() {
            let is_full = |listener| !entrance.listeners()[listener].has_place();
            self.acceptor.resume(is_full, &mut self.wire, now);
        } else {
            self.acceptor.retry_later(now);
        }
    }

    /// A socket has a place. It is let in at once, or waits until the connect rate lets it in; or it is closed, since as
    /// many of its address wait as may.
    fn let_in_or_wait(&mut self, socket: SocketOf<P>, listener: u16) {
        let key = self.address_key(&socket, listener);
        let entrance = &self.here.shared().entrance;
        let Ok(place) = key.map_or(Ok(None), |key| entrance.addresses().wait(key)) else {
            self.here.counters().limit_address_waiting.add(1);
            let address = || socket.peer_address().ok();
            let listeners = entrance.listeners();
            let whom = Whom { client_id: None, listener: listeners[listener].name(), address };
            let notices = &self.here.shared().notices;
            notices.say(self.agenda.now(), NoticeKind::Refused, whom, &TOO_MANY_WAIT);
            self.give_place_back(listener);
            return;
        };
        let newcomer = Newcomer { socket, listener, key, place };
        // Nobody overtakes those that wait already.
        let opens_at = match self.acceptor.has_waiting() {
            true => None,
            false => match entrance.connect_rate().take(self.agenda.now()) {
                Ok(()) => return self.admit(newcomer),
                Err(opens_at) => Some(opens_at),
            },
        };
        self.here.counters().limit_connect_rate.add(1);
        if let Some(newcomer) = self.acceptor.wait(newcomer, opens_at) {
            self.give_place_back(newcomer.listener);
        }
        if self.acceptor.is_full() {
            let now = self.agenda.now();
            if self.acceptor.warns(now) {
                tracing::warn!("accepting pauses: more clients come than --connect-rate lets in");
            }
            self.acceptor.pause_all(&mut self.wire, now);
        }
    }

    /// Lets in sockets that have waited for the connect rate; their addresses take turns.
    pub(super) fn let_in_waiting(&mut self) {
        let now = self.agenda.now();
        if self.acceptor.opens_at().is_none_or(|opens_at| opens_at > now) {
            return;
        }
        while self.acceptor.has_waiting() {
            if let Err(opens_at) = self.here.shared().entrance.connect_rate().take(now) {
                self.acceptor.wait_until(opens_at.max(now.after_millis(LET_IN_MILLIS)));
                break;
            }
            if let Some(newcomer) = self.acceptor.next_waiting() {
                self.admit(newcomer);
            }
        }
        if self.acceptor.has_room() {
            self.resume_accepting();
        }
    }

    /// By what a socket's address counts. `None`: it comes by a Unix socket, or a proxy that will say for which client
    /// it connects, whose own address never counts.
    pub(super) fn address_key(&self, socket: &SocketOf<P>, listener: u16) -> Option<AddressKey> {
        let peer = socket.peer_address().ok()?.ip();
        let listeners = self.here.shared().entrance.listeners();
        let told = listeners[listener].is_proxied() || listeners[listener].kind().is_web();
        let is_proxy = told && listeners.proxies().trust(Some(peer));
        (!is_proxy).then(|| peer.into())
    }

    /// A client is one too many of the address that its proxy has told.
    pub(super) fn turn_away_waiting(&mut self, index: u32) {
        self.here.counters().limit_address_waiting.add(1);
        self.tell(index, NoticeKind::Refused, &TOO_MANY_WAIT);
        self.finish(index, Vec::new());
    }

    /// A socket of a listener is closed.
    pub(super) fn give_place_back(&self, listener: u16) {
        self.here.shared().entrance.give_place_back(listener);
    }

    /// Takes a place for a new socket of a listener, one of `--max-connections`, which all shards share, and one of
    /// its listener's.
    ///
    /// # Errors
    /// There is none, or others of its listener have waited for longer.
    fn take_place(&self, listener: u16) -> Result<(), NoRoom> {
        let entrance = &self.here.shared().entrance;
        match self.acceptor.has_parked(listener) {
            true if entrance.listeners()[listener].has_place() => Err(NoRoom::Server),
            true => Err(NoRoom::Listener),
            false => entrance.take_place(listener),
        }
    }

    fn on_accept_fault(&mut self, fault: &AcceptFault) {
        match fault {
            AcceptFault::Passing => return,
            AcceptFault::Exhausted(error) => {
                self.here.counters().limit_descriptors.add(1);
                if self.acceptor.warns(self.agenda.now()) {
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
        self.acceptor.pause_all(&mut self.wire, self.agenda.now());
    }

    /// The server, or a listener, has as many sockets as it may have.
    fn pause_accepting(&mut self, listener: u16, no_room: NoRoom) {
        let now = self.agenda.now();
        let is_warned = self.acceptor.warns(now);
        let entrance = &self.here.shared().entrance;
        match no_room {
            NoRoom::Server => {
                self.here.counters().limit_connections.add(1);
                if is_warned {
                    let limit = entrance.connections_max();
                    tracing::warn!(limit, "accepting pauses: --max-connections is reached");
                }
                self.acceptor.pause_all(&mut self.wire, now);
            }
            NoRoom::Listener => {
                self.here.counters().limit_listener_connections.add(1);
                let full = &entrance.listeners()[listener];
                if is_warned {
                    let (limit, listener) = (full.connections_max(), full.name());
                    tracing::warn!(limit, %listener, "accepting pauses: its max-connections is reached");
                }
                self.acceptor.pause(listener, &mut self.wire, now);
            }
        }
    }

    /// A new client has a place. Until the deadline it has to send its CONNECT, and before that all that its layers
    /// need.
    fn admit(&mut self, newcomer: Newcomer<SocketOf<P>>) {
        let Newcomer { socket, listener, key, place } = newcomer;
        let is_proxied = self.here.shared().entrance.listeners()[listener].is_proxied();
        if is_proxied && !self.is_proxy(&socket, listener) {
            self.give_place_back(listener);
            return;
        }
        let timeout = u64::from(self.here.shared().config.connect_timeout_secs) * 1_000;
        let deadline = self.agenda.now().after_millis(timeout);
        // Before anything is read that a reload may change.
        let review = self.here.shared().entrance.reviews().number();
        let tls = self.here.shared().tls(listener);
        let has_tls = tls.is_some();
        let (kind, upgrade) = {
            let listener = &self.here.shared().entrance.listeners()[listener];
            (listener.kind(), Arc::clone(listener.upgrade()))
        };
        let opening = Opening { kind, tls, upgrade, is_proxied };
        let Some(transport) = Transport::new(opening, self.agenda.now()) else {
            tracing::error!("a listener for TLS has no certificate");
            self.give_place_back(listener);
            return;
        };
        let mut pending =
            PendingClient::new(self.here.randomness().array(), has_tls, deadline, review);
        if let Some(key) = key {
            pending.count_at(key, place);
        }
        self.here.counters().connections.add(1);
        let index = self.clients.add(socket, listener, transport, pending);
        self.arm_client_timer(index, deadline);
        // Not multishot: a client whose session lives elsewhere can leave without an operation to cancel.
        let client = &mut self.clients[index];
        client.intake.begin_receive();
        let token = client.token(index);
        self.wire.receive_once(&client.socket, token);
    }

    /// Whether whoever has connected may say for which client. Otherwise it is closed: what it sent would be taken for
    /// somebody else's.
    fn is_proxy(&self, socket: &SocketOf<P>, listener: u16) -> bool {
        let listeners = self.here.shared().entrance.listeners();
        let peer = socket.peer_address().ok();
        if listeners.proxies().trust(peer.map(|peer| peer.ip())) {
            return true;
        }
        self.here.counters().proxied_untrusted.add(1);
        let whom = Whom { client_id: None, listener: listeners[listener].name(), address: || peer };
        let why = "not one of --trusted-proxies";
        self.here.shared().notices.say(self.agenda.now(), NoticeKind::Proxy, whom, &why);
        false
    }
}

/// A proxy may have said for which client it connects: from then on that one's address counts, unless it is a further
/// proxy's that will say. Returns whether the socket may stay.
pub(super) fn count_told_address<P: Ports>(client: &mut Client<P>, entrance: &Entrance) -> bool {
    let Some(ip) = client.transport.client().map(|address| address.ip()) else { return true };
    let listeners = entrance.listeners();
    let is_web = listeners[client.intake.listener()].kind().is_web();
    let Some(pending) = client.pending_mut() else { return true };
    let is_proxy = is_web && listeners.proxies().trust(Some(ip));
    if is_proxy || pending.address_key() == Some(ip.into()) {
        return true;
    }
    match entrance.addresses().wait(ip.into()) {
        Ok(place) => {
            pending.count_at(ip.into(), place);
            true
        }
        Err(NoPlaceLeft) => false,
    }
}

//! New connections: a place for each, and the time limit for its CONNECT.

use super::Shard;
use crate::shard::clients::PendingClient;
use crate::shard::ports::{AcceptFault, Ports, Randomness, SocketOf, Wire};
use crate::transport::{Kind, Transport};

impl<P: Ports> Shard<P> {
    /// Arms every listener that is not accepting.
    pub(super) fn start_accepting(&mut self) {
        self.acceptor.start(&mut self.wire);
    }

    /// Closes the listeners for ever: the server stops.
    pub(super) fn stop_accepting(&mut self) {
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
        let Some(kind) = self.acceptor.brought(listener, more) else { return };
        match result {
            Ok(socket) if !self.acceptor.has_parked() && self.take_place() => {
                self.admit(socket, kind);
            }
            Ok(socket) => {
                self.here.counters().limit_connections.add(1);
                if self.acceptor.warns(self.agenda.now()) {
                    tracing::warn!(
                        limit = self.here.shared().entrance.connections_max(),
                        "accepting pauses: --max-connections is reached"
                    );
                }
                self.acceptor.park(socket, kind);
                self.pause_accepting();
            }
            Err(fault) => self.on_accept_fault(&fault),
        }
        if !self.acceptor.is_paused() {
            self.start_accepting();
        }
    }

    /// A place has become free, or the retry time has come.
    pub(super) fn resume_accepting(&mut self) {
        if !self.acceptor.is_paused() || self.stop.has_begun() {
            return;
        }
        while self.take_place() {
            let Some((socket, kind)) = self.acceptor.unpark() else {
                self.give_place_back();
                self.start_accepting();
                return;
            };
            self.admit(socket, kind);
        }
        self.acceptor.retry_later(self.agenda.now());
    }

    /// Takes one of the `--max-connections` places, which all shards share.
    fn take_place(&self) -> bool {
        self.here.shared().entrance.take_place()
    }

    pub(super) fn give_place_back(&self) {
        self.here.shared().entrance.give_place_back();
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
        self.pause_accepting();
    }

    fn pause_accepting(&mut self) {
        if !self.acceptor.is_paused() {
            tracing::debug!(shard = self.here.index(), "accepting pauses");
        }
        self.acceptor.pause(&mut self.wire, self.agenda.now());
    }

    /// A new client has a place. Until the deadline it has to send its CONNECT, and before that all that its layers
    /// need.
    fn admit(&mut self, socket: SocketOf<P>, kind: Kind) {
        let timeout = u64::from(self.here.shared().config.connect_timeout_secs) * 1_000;
        let deadline = self.agenda.now().after_millis(timeout);
        let tls = self.here.shared().tls(kind);
        let has_tls = tls.is_some();
        let Some(transport) = Transport::new(kind, tls, self.agenda.now()) else {
            tracing::error!("a listener for TLS has no certificate");
            self.give_place_back();
            return;
        };
        let pending = PendingClient::new(self.here.randomness().array(), has_tls, deadline);
        self.here.counters().connections.add(1);
        let index = self.clients.add(socket, transport, pending);
        self.arm_client_timer(index, deadline);
        // Not multishot: a client whose session lives elsewhere can leave without an operation to cancel.
        let client = &mut self.clients[index];
        client.intake.begin_receive();
        let token = client.token(index);
        self.wire.receive_once(&client.socket, token);
    }
}

//! Before a client is served: CONNECT, authentication, and the hand-over to its session's shard. The
//! hand-over comes before the server's first byte, because that byte is what the kernel's record of the
//! connection begins with, and the record belongs to a shard.

use bytes::Bytes;

use super::Shard;
use super::authenticate::RefusalText;
use crate::mqtt::codec::Reason;
use crate::mqtt::{Connect, Connecting, HandshakeProgress, Refusal};
use crate::shard::clients::{Client, Phase};
use crate::shard::notices::Kind;
use crate::shard::ports::{Ports, Randomness};
use crate::shard::post::{Adoption, Arrival, Mail};

/// How long a stopping server that names another one waits for the CONNECT of clients that have
/// connected already.
const LAST_CONNECT_MILLIS: u64 = 500;

impl<P: Ports> Shard<P> {
    /// Acts on how far a client has come with its handshake.
    pub(super) fn on_handshake(&mut self, index: u32, mut progress: HandshakeProgress) {
        if let HandshakeProgress::Asks = progress {
            self.note_connect(index);
            progress = self.ask(index);
        }
        match progress {
            // Asked, it is told later.
            HandshakeProgress::More | HandshakeProgress::Asks => {}
            HandshakeProgress::Reply(frame) => self.on_reply(index, frame),
            HandshakeProgress::Connect(connecting) => {
                let authenticated = connecting.connect.user().is_some();
                self.here.counters().authentications_accepted.add(u64::from(authenticated));
                self.on_connecting(index, *connecting);
            }
            HandshakeProgress::Refused(refusal) => {
                let kind = if refusal.frame.is_empty() {
                    self.here.counters().connects_malformed.add(1);
                    Kind::NotMqtt
                } else {
                    self.here.counters().connects_refused.add(1);
                    Kind::Refused
                };
                // It may have said goodbye.
                if refusal.reason.is_error() {
                    let client_id = refusal.client_id.as_deref();
                    self.tell_of(index, kind, client_id, &RefusalText::from(&refusal));
                }
                if let Some(denial) = refusal.denial {
                    self.count_denial(denial);
                }
                let mut frames = match &mut self.clients[index].phase {
                    Phase::Handshake(pending) => std::mem::take(&mut pending.frames),
                    _ => Vec::new(),
                };
                frames.push(refusal.frame);
                self.finish(index, frames);
            }
        }
    }

    /// A client has to authenticate before it is served. Before the first reply it moves to its
    /// session's shard, which then sends that.
    fn on_reply(&mut self, index: u32, frame: Bytes) {
        let Phase::Handshake(pending) = &mut self.clients[index].phase else {
            return;
        };
        pending.frames.push(frame);
        if pending.is_home {
            self.mark_dirty(index);
            return;
        }
        let Some(connect) = pending.handshake.pending_mut() else { return };
        let home = self.here.shared().home_of(&connect.client_id);
        if home == self.here.index() {
            self.question(index);
            return;
        }
        let client = self.clients.remove(index);
        debug_assert!(client.is_quiet(), "an operation of this ring would follow it");
        self.here.counters().connections.sub(1);
        let sent_bytes = client.sent_bytes();
        let Client { socket, phase, transport, connect_number, slot, .. } = client;
        if let Phase::Handshake(pending) = phase {
            let arrival = Arrival::Questioned(pending);
            let adoption =
                Adoption { socket, arrival, transport, connect_number, sent_bytes, slot };
            self.post(home, Mail::Adopt(Box::new(adoption)));
        }
    }

    /// A client's CONNECT has been read whole, now or before: it has a place among all of them, and a name.
    pub(super) fn note_connect(&mut self, index: u32) {
        let client = &mut self.clients[index];
        client.connect_number = self.here.shared().entrance.number(client.connect_number);
        if let Phase::Handshake(pending) = &mut client.phase
            && let Some(connect) = pending.handshake.pending_mut()
        {
            name(connect, self.here.randomness());
        }
    }

    /// Begins to authenticate a client whose session belongs here.
    fn question(&mut self, index: u32) {
        let limits = &self.here.shared().config.limits;
        let Phase::Handshake(pending) = &mut self.clients[index].phase else {
            return;
        };
        pending.is_home = true;
        let keep_alive = pending.handshake.pending_mut().map(|connect| connect.keep_alive(limits));
        self.register_with_kernel(index, keep_alive.unwrap_or_default().0);
        self.mark_dirty(index);
    }

    /// A client may connect: this shard serves it, or the shard of its session does.
    fn on_connecting(&mut self, index: u32, connecting: Connecting) {
        if self.stop.has_begun() {
            self.turn_away(index, &connecting);
            return;
        }
        let id_bytes_max = usize::from(self.here.shared().config.limits.client_id_bytes_max);
        if connecting.connect.client_id.len() > id_bytes_max {
            self.here.counters().limit_client_id_bytes.add(1);
            self.refuse(index, connecting.refuse(Reason::ClientIdentifierNotValid));
            return;
        }
        if let Some(refusal) = connecting.unanswerable(&self.here.shared().config.limits) {
            self.refuse(index, refusal);
            return;
        }
        let home = self.here.shared().home_of(&connecting.connect.client_id);
        if home == self.here.index() {
            self.serve(index, connecting);
            return;
        }
        let client = self.clients.remove(index);
        debug_assert!(client.is_quiet(), "an operation of this ring would follow it");
        self.here.counters().connections.sub(1);
        let sent_bytes = client.sent_bytes();
        let Client { socket, transport, connect_number, slot, .. } = client;
        let arrival = Arrival::Admitted(connecting);
        let adoption = Adoption { socket, arrival, transport, connect_number, sent_bytes, slot };
        self.post(home, Mail::Adopt(Box::new(adoption)));
    }

    /// A client that another shard accepted; its place is taken already. If the session has ended meanwhile that
    /// lived here, though its client id hashes to another shard, that one adopts the client.
    pub(super) fn on_adoption(&mut self, adoption: Adoption<P>) {
        let client_id = adoption.arrival.client_id();
        let home = client_id.map(|client_id| self.here.shared().home_of(client_id));
        if let Some(home) = home.filter(|home| *home != self.here.index() && !self.stop.has_begun())
        {
            self.post(home, Mail::Adopt(Box::new(adoption)));
            return;
        }
        let Adoption { socket, arrival, transport, connect_number, sent_bytes, slot } = adoption;
        self.path.adopt(slot.as_ref(), self.here.counters());
        let adopt = |client: &mut Client<P>| {
            (client.transport, client.connect_number) = (transport, connect_number);
            client.count_sent(sent_bytes as usize);
            client.slot = slot;
        };
        match arrival {
            Arrival::Admitted(connecting) => {
                let phase = Phase::Lingering { deadline: self.agenda.now() };
                let index = self.add_client(socket, phase);
                adopt(&mut self.clients[index]);
                if self.stop.has_begun() {
                    self.turn_away(index, &connecting);
                } else {
                    self.serve(index, connecting);
                }
                self.after_layers(index);
                self.after_receive(index);
            }
            Arrival::Questioned(pending) => {
                let deadline = pending.deadline;
                let index = self.add_client(socket, Phase::Handshake(pending));
                adopt(&mut self.clients[index]);
                self.arm_client_timer(index, deadline);
                if self.stop.has_begun() {
                    self.close_for_stop(index);
                } else {
                    self.question(index);
                }
                self.after_layers(index);
                self.after_receive(index);
            }
        }
    }

    /// A client that has connected and not said so yet has little time left for it.
    pub(super) fn await_last_connect(&mut self, index: u32) {
        let last = self.agenda.now().after_millis(LAST_CONNECT_MILLIS);
        if let Some(client) = self.clients.get_mut(index)
            && let Phase::Handshake(pending) = &mut client.phase
        {
            let deadline = last.min(pending.deadline);
            pending.deadline = deadline;
            self.arm_client_timer(index, deadline);
        }
    }

    /// A valid CONNECT came while the server stops: it is sent on, if there is where to.
    fn turn_away(&mut self, index: u32, connecting: &Connecting) {
        let refusal = match &self.here.shared().config.redirect_to {
            Some(reference) => connecting.redirect(reference),
            None => connecting.refuse(Reason::ServerUnavailable),
        };
        self.refuse(index, refusal);
    }

    /// A client whose CONNECT was valid is refused.
    pub(super) fn refuse(&mut self, index: u32, refusal: Refusal) {
        self.here.counters().connects_refused.add(1);
        self.tell_of(index, Kind::Refused, refusal.client_id.as_deref(), &refusal.reason);
        self.finish(index, vec![refusal.frame]);
    }
}

/// Gives a client an id that has none.
fn name(connect: &mut Connect, randomness: &mut impl Randomness) {
    if connect.client_id.is_empty() {
        connect.client_id = format!("auto-{:032x}", u128::from_ne_bytes(randomness.array()));
        connect.client_id_assigned = true;
    }
}

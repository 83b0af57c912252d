//! Before a client is served: CONNECT, authentication, and the hand-over to its session's shard. The hand-over
//! comes before the server's first byte: the kernel's record of the connection begins with that byte, and belongs
//! to a shard.

use bytes::Bytes;

use super::Shard;
use super::authenticate::RefusalText;
use crate::mqtt::codec::Reason;
use crate::mqtt::{Connect, ConnectRefusal, Connecting, HandshakeProgress};
use crate::shard::clients::PendingClient;
use crate::shard::notices::NoticeKind;
use crate::shard::ports::{Ports, Randomness};
use crate::shard::post::{Adoption, Mail};

/// How long a stopping server that redirects clients waits for the CONNECT of those whose socket it has.
const LAST_CONNECT_MILLIS: u64 = 500;

impl<P: Ports> Shard<P> {
    /// Acts on how far a client has come with its handshake.
    pub(super) fn on_handshake(&mut self, index: u32, mut progress: HandshakeProgress) {
        if let HandshakeProgress::Asks = progress {
            self.note_connect(index);
            progress = self.ask(index);
        }
        match progress {
            // The answer to a question comes later.
            HandshakeProgress::More | HandshakeProgress::Asks => {}
            HandshakeProgress::Reply(frame) => self.on_reply(index, frame),
            HandshakeProgress::Connect(connecting) => {
                let authenticated = connecting.connect.user().is_some();
                self.here.counters().authentications_accepted.add(u64::from(authenticated));
                let connect = &connecting.connect;
                let is_judged = connect.will.is_some() && connect.identity.rights().has_rules();
                self.here.counters().authorized_will.add(u64::from(is_judged));
                self.on_connecting(index, *connecting);
            }
            HandshakeProgress::Refused(refusal) => {
                let kind = if refusal.frame.is_empty() {
                    self.here.counters().connects_malformed.add(1);
                    NoticeKind::NotMqtt
                } else {
                    self.here.counters().connects_refused.add(1);
                    NoticeKind::Refused
                };
                // A client that has said goodbye itself is not logged.
                if refusal.reason.is_error() {
                    let client_id = refusal.client_id.as_deref();
                    self.tell_of(index, kind, client_id, &RefusalText::from(&refusal));
                }
                if refusal.frame.is_empty() && refusal.reason == Reason::PacketTooLarge {
                    self.here.counters().limit_connect_bytes.add(1);
                }
                if let Some(denial) = refusal.denial {
                    self.count_denial(denial);
                }
                let pending = self.clients[index].pending_mut();
                let mut frames = pending.map(PendingClient::take_replies).unwrap_or_default();
                frames.push(refusal.frame);
                self.finish(index, frames);
            }
        }
    }

    /// A client has to authenticate before it is served. It moves to its session's shard first, which then sends
    /// the reply.
    fn on_reply(&mut self, index: u32, frame: Bytes) {
        let Some(pending) = self.clients[index].pending_mut() else {
            return;
        };
        if pending.push_reply(frame) {
            self.mark_dirty(index);
            return;
        }
        let Some(connect) = pending.handshake.pending_mut() else { return };
        let home = self.here.shared().home_of(&connect.client_id);
        if home == self.here.index() {
            self.question(index);
            return;
        }
        self.depart(index, home, None);
    }

    /// A client leaves for its session's shard. `connecting`: it is accepted.
    fn depart(&mut self, index: u32, home: u16, connecting: Option<Connecting>) {
        self.here.counters().connections.sub(1);
        let (client, _) = self.clients.take_away(index);
        self.post(home, Mail::Adopt(Box::new(Adoption { client, connecting })));
    }

    /// A client's CONNECT has been read whole, now or before: gives it a number, and a client id if it has none.
    pub(super) fn note_connect(&mut self, index: u32) {
        let client = &mut self.clients[index];
        client.set_connect_number(self.here.shared().entrance.number(client.connect_number()));
        if let Some(pending) = client.pending_mut()
            && let Some(connect) = pending.handshake.pending_mut()
        {
            name(connect, self.here.randomness());
        }
    }

    /// Begins to authenticate a client whose session belongs here.
    fn question(&mut self, index: u32) {
        let limits = &self.here.shared().config.limits;
        let Some(pending) = self.clients[index].pending_mut() else {
            return;
        };
        pending.come_home();
        let keep_alive = pending.handshake.pending_mut().map(|connect| connect.keep_alive(limits));
        self.register_with_kernel(index, keep_alive.unwrap_or_default().0);
        self.mark_dirty(index);
    }

    /// A client is accepted: this shard serves it, or the shard of its session does.
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
        self.depart(index, home, Some(connecting));
    }

    /// Takes over a client that another shard has accepted. It has a place already. If the session that lived here
    /// has ended meanwhile, though its client id hashes to another shard, that one adopts the client.
    pub(super) fn on_adoption(&mut self, adoption: Adoption<P>) {
        let home = adoption.client_id().map(|client_id| self.here.shared().home_of(client_id));
        if let Some(home) = home.filter(|home| *home != self.here.index() && !self.stop.has_begun())
        {
            self.post(home, Mail::Adopt(Box::new(adoption)));
            return;
        }
        let Adoption { client, connecting } = adoption;
        let index = self.take_in(client);
        match connecting {
            Some(connecting) if self.stop.has_begun() => self.turn_away(index, &connecting),
            Some(connecting) => self.serve(index, connecting),
            None => {
                let pending = self.clients[index].pending();
                if let Some(deadline) = pending.map(PendingClient::deadline) {
                    self.arm_client_timer(index, deadline);
                }
                if self.stop.has_begun() {
                    self.close_for_stop(index);
                } else {
                    self.question(index);
                }
            }
        }
        self.after_layers(index);
        self.after_receive(index);
    }

    /// The server stops: a client that has not sent its CONNECT has little time left for it.
    pub(super) fn await_last_connect(&mut self, index: u32) {
        let last = self.agenda.now().after_millis(LAST_CONNECT_MILLIS);
        if let Some(client) = self.clients.get_mut(index)
            && let Some(pending) = client.pending_mut()
        {
            let deadline = pending.hasten(last);
            self.arm_client_timer(index, deadline);
        }
    }

    /// A valid CONNECT came while the server stops: redirects the client, if there is another server.
    fn turn_away(&mut self, index: u32, connecting: &Connecting) {
        let refusal = match &self.here.shared().config.redirect_to {
            Some(reference) => connecting.redirect(reference),
            None => connecting.refuse(Reason::ServerUnavailable),
        };
        self.refuse(index, refusal);
    }

    /// A client whose CONNECT was valid is refused.
    pub(super) fn refuse(&mut self, index: u32, refusal: ConnectRefusal) {
        self.here.counters().connects_refused.add(1);
        self.tell_of(index, NoticeKind::Refused, refusal.client_id.as_deref(), &refusal.reason);
        self.finish(index, vec![refusal.frame]);
    }
}

/// Gives a client without an id one.
fn name(connect: &mut Connect, randomness: &mut impl Randomness) {
    if connect.client_id.is_empty() {
        connect.client_id = format!("auto-{:032x}", u128::from_ne_bytes(randomness.array()));
        connect.client_id_assigned = true;
    }
}

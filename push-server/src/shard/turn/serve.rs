//! A served client, from take-over to expiry and close.

use std::io;

use bytes::Bytes;
use push_common::clock::Monotonic;

use super::Shard;
use super::input::ANSWERS_WAIT_MILLIS;
use super::tls::TlsResult;
use crate::broker::{Charge, Holder, PeerNetwork};
use crate::mqtt::codec::Reason;
use crate::mqtt::{Claim, Connecting, Connection, Session, Timeout, Transmit, Version};
use crate::mutant::{Rule, is_left_out};
use crate::shard::clients::{EndedConnection, PendingClient, Phase};
use crate::shard::liveness::Applicant;
use crate::shard::notices::NoticeKind;
use crate::shard::ports::{Ports, Socket, Wire};
use crate::shard::sessions::{EndedSession, NoPlace, Presence};
use crate::transport::{Goodbye, ProxyHeader};

/// How soon a client that was due to expire, but has bytes waiting, is looked at again.
const UNREAD_RETRY_MILLIS: u64 = 16;

impl<P: Ports> Shard<P> {
    /// Begins to serve a client whose session belongs here.
    pub(super) fn serve(&mut self, index: u32, mut connecting: Connecting) {
        let ends_at = connecting.connect.identity.ends_at();
        if self.claim(&connecting) == Some(Claim::Refused) {
            self.refuse(index, connecting.refuse(Reason::NotAuthorized));
            return;
        }
        if self.is_overtaken(index, &connecting) {
            self.here.counters().connects_refused.add(1);
            let client_id = Some(&*connecting.connect.client_id);
            self.tell_of(
                index,
                NoticeKind::TakenOver,
                client_id,
                &"it has connected again meanwhile",
            );
            self.finish(index, Vec::new());
            return;
        }
        if let Some(limit) = self.lacks_memory(index, &mut connecting) {
            limit(self.here.counters()).add(1);
            self.refuse(index, connecting.refuse(Reason::QuotaExceeded));
            return;
        }
        let account = match self.open_account(index, &connecting) {
            Ok(account) => account,
            Err(limit) => {
                limit(self.here.counters()).add(1);
                self.refuse(index, connecting.refuse(Reason::QuotaExceeded));
                return;
            }
        };
        let (key, session_present, ended) = match self.session_for(index, &connecting) {
            Ok(found) => found,
            Err(no_place) => {
                self.count_no_place(no_place);
                self.refuse(index, connecting.refuse(Reason::QuotaExceeded));
                return;
            }
        };
        let strays = self.sessions.take_strays_back(key);
        let Some(session) = self.sessions.session_mut(key) else { return };
        let limits = &self.here.shared().config.limits;
        let warrant = connecting.connect.identity.warrant();
        let rights_before = session.rights().clone();
        let connection =
            Connection::accept(connecting, session, session_present, limits, self.agenda.now());
        self.here.counters().connects_accepted.add(1);
        match connection.version() {
            Version::V31 => self.here.counters().connects_v31.add(1),
            Version::V311 => self.here.counters().connects_v311.add(1),
            Version::V5 => self.here.counters().connects_v5.add(1),
        }
        self.here.counters().connects_bridge.add(u64::from(connection.is_bridge()));
        for found in strays {
            // A will may have become due in this turn, before the client was back.
            let now = self.agenda.now();
            let will = found.will.filter(|will| will.publish_at <= now);
            self.end_stray(EndedSession { will, ..found });
        }
        let keep_alive = connection.keep_alive();
        let flow = self.sessions.number(key).into();
        let client = &mut self.clients[index];
        let review = client.pending().map_or(0, PendingClient::review);
        client.serve(connection, (key, flow), warrant, account);
        if session_present {
            self.review_return(key, &rights_before);
        }
        self.review_newcomer(index, review);
        self.save_connected(index, key, ended);
        self.tell_ordinary(index, &"client connected");
        if let Some(deadline) = self.serving_deadline(index) {
            self.arm_client_timer(index, deadline);
        }
        if let Some(secs) = ends_at {
            self.timers.ends_mut().set(index, secs);
        }
        if self.clients[index].slot.is_none() {
            // Before CONNACK leaves, because CONNACK's first byte anchors the flow.
            self.register_with_kernel(index, keep_alive.0);
        }
        self.take_input(index);
        self.mark_dirty(index);
    }

    /// Whether the same client has connected again while this CONNECT was on its way between shards, or
    /// while the client was being authenticated.
    fn is_overtaken(&mut self, index: u32, connecting: &Connecting) -> bool {
        if is_left_out(Rule::LaterConnect) {
            return false;
        }
        let number = self.clients[index].connect_number();
        let Some(key) = self.sessions.find(&connecting.connect.client_id) else { return false };
        self.sessions
            .client(key)
            .and_then(|other| self.clients.get(other))
            .is_some_and(|other| number.is_overtaken_by(other.connect_number()))
    }

    /// Whether a CONNECT resumes or ends the session with its client id. `None`: there is none, or its time is
    /// over.
    fn claim(&mut self, connecting: &Connecting) -> Option<Claim> {
        let key = self.sessions.find(&connecting.connect.client_id)?;
        if self.is_over(key) {
            return None;
        }
        self.sessions.session_mut(key).map(|session| session.claimed_by(&connecting.connect))
    }

    /// How many bytes the will of the session with this client id counts.
    pub(super) fn will_bytes(&mut self, client_id: &str) -> u64 {
        let Some(key) = self.sessions.find(client_id) else { return 0 };
        let Some(entry) = self.sessions.entry_mut(key) else { return 0 };
        let will = match entry.presence() {
            Presence::Absent(absence) => absence.will().map(|pending| &pending.will),
            Presence::Connected(index) => {
                self.clients[*index].connection().and_then(Connection::will)
            }
        };
        will.and_then(|will| will.charge.as_ref()).map_or(0, Charge::bytes)
    }

    /// Finds or makes the session that a CONNECT asks for, after ending the connection and the session that it
    /// replaces. Returns its key, whether it was there, and whether a durable one has ended for it.
    ///
    /// # Errors
    /// There may be no more sessions.
    fn session_for(
        &mut self,
        index: u32,
        connecting: &Connecting,
    ) -> Result<(u32, bool, bool), NoPlace> {
        let connect = &connecting.connect;
        let network = self.network_of(index);
        let replaced = self.sessions.find(&connect.client_id);
        if let Some(key) = replaced
            && let Some(other) = self.sessions.client(key)
        {
            self.close_client(other, Some(Reason::SessionTakenOver));
        }
        let mut found = self.sessions.find(&connect.client_id);
        let mut ended = false;
        if let Some(key) = found
            && self.claim(connecting) != Some(Claim::Resumed)
        {
            ended = self.number_of(key).is_some();
            self.end_session(key);
            found = None;
        }
        if let Some(key) = found {
            // Its time may have come before its timer.
            self.publish_due_will(key);
        }
        if let Some(key) = found
            && let Some(entry) = self.sessions.entry_mut(key)
        {
            entry.connect(index);
            let before = self.sessions.set_network(key, network);
            self.hand_over(key, before);
            self.return_to_shares(index, key, connect.packet_bytes_max);
            return Ok((key, true, false));
        }
        let holder = self.here.shared().holders.holder(network, connect.user());
        // The session that has ended for this client leaves it its place, even if all places are taken.
        if replaced.is_some() {
            self.here.shared().totals.session_shares().take_unasked(holder);
        } else {
            self.take_session_place(holder)?;
        }
        let (session, number) = self.new_session(connect);
        if !self.sessions.take_memory(&session, replaced.is_some()) {
            self.here.shared().totals.session_shares().give_back(holder);
            return Err(NoPlace::Memory);
        }
        self.here.counters().sessions.add(1);
        let key = self.sessions.insert(session, Presence::Connected(index), number);
        self.sessions.set_network(key, network);
        Ok((key, false, ended))
    }

    /// The network that a client has connected from.
    pub(super) fn network_of(&self, index: u32) -> PeerNetwork {
        let address = self.clients[index].address();
        address.map(|address| self.here.shared().holders.network(address.ip())).unwrap_or_default()
    }

    /// A session's client may have come from another network: what the session has counts there now.
    fn hand_over(&mut self, key: u32, before: PeerNetwork) {
        let holder = self.holder(key);
        let from = holder.at(before);
        let Some(session) = self.sessions.session_mut(key).filter(|_| holder != from) else {
            return;
        };
        session.hand_over(holder);
        let subscription_bytes = session.subscriptions().bytes() as u64;
        self.here.shared().memory.subscriptions.hand_over(from, holder, subscription_bytes);
        self.here.shared().totals.session_shares().hand_over(from, holder);
    }

    /// The holder that a session counts for.
    pub(super) fn holder(&self, key: u32) -> Holder {
        let user = self.sessions.session(key).and_then(Session::user);
        self.here.shared().holders.holder(self.sessions.network(key), user)
    }

    pub(super) fn register_with_kernel(&mut self, index: u32, keep_alive_secs: u16) {
        let listener = self.clients[index].intake.listener();
        if self.here.shared().entrance.listeners()[listener].is_unix() {
            self.path.leave_to_user(self.here.counters());
            return;
        }
        // A lagging `rx` does no harm: the programs leave pings to user space until it is right.
        let rx = self.whole_wire_bytes(index).unwrap_or_default();
        let client = &mut self.clients[index];
        let pace = self.here.shared().config.limits.ping_rate.ping_pace(keep_alive_secs);
        let applicant = Applicant {
            heartbeat: client.transport.heartbeat(),
            tx: (!client.output.is_sending()).then_some(client.sent_bytes()),
            socket: &client.socket,
            client: index,
            numbers: client.transport.numbers(),
            ping_interval_ns: pace.interval_ns,
            rx,
        };
        client.slot = self.path.register(applicant, self.agenda.now(), self.here.counters());
    }

    /// Bytes were sent: tells the kernel path how many, and the first time lets it serve.
    fn publish_tx(&mut self, index: u32) {
        let client = &mut self.clients[index];
        // Before CONNACK, the bytes were AUTH.
        let is_served = client.connection().is_some_and(|served| !served.has_answers());
        let sent = (client.sent_bytes(), is_served);
        let now = self.agenda.now();
        let of_socket = (&client.socket, client.transport.numbers());
        self.path.sent(&mut client.slot, of_socket, sent, now, self.here.counters());
    }

    /// The timer of a client fired: what it means depends on the phase.
    pub(super) fn on_client_timer(&mut self, index: u32) {
        let Some(client) = self.clients.get(index) else { return };
        let deadline = match client.phase() {
            Phase::Handshake(pending) => pending.deadline(),
            Phase::Flushing { deadline, .. } | Phase::Lingering { deadline } => *deadline,
            Phase::Serving { .. } => return self.on_serving_timer(index),
        };
        let now = self.agenda.now();
        if deadline > now {
            if self.gives_way(index) {
                return;
            }
            let next_look = match self.clients[index].phase() {
                Phase::Handshake(pending) => pending.next_look(now),
                _ => deadline,
            };
            self.arm_client_timer(index, next_look);
            return;
        }
        let client = &self.clients[index];
        match client.phase() {
            Phase::Handshake(_) if self.stop.has_begun() => self.abort(index),
            Phase::Handshake(pending) if pending.handshake.is_asking() => {
                self.on_unanswered(index);
            }
            Phase::Handshake(_)
                if client.transport.proxy_header() == Some(ProxyHeader::Awaited) =>
            {
                self.on_proxy_fault(index, &"no whole PROXY header in time");
                self.abort(index);
            }
            Phase::Handshake(_) => {
                if self.end_tls_handshake(index, TlsResult::TimedOut) {
                    self.tell(index, NoticeKind::TlsFailed, &"it was not done in time");
                } else {
                    self.here.counters().connects_timeout.add(1);
                    self.tell(index, NoticeKind::ConnectTimeout, &"no whole CONNECT in time");
                }
                self.abort(index);
            }
            _ => self.abort(index),
        }
    }

    /// The timer of a served client fired: its connection says whether it has been silent for too long.
    fn on_serving_timer(&mut self, index: u32) {
        let (now, seen) = (self.agenda.now(), self.seen_by_kernel(index));
        let Some(connection) = self.clients[index].connection_mut() else { return };
        let timeout = connection.handle_timeout(now, seen);
        let Some(deadline) = self.serving_deadline(index) else { return };
        let is_slow = self.progress_deadline(index).is_some_and(|deadline| deadline <= now);
        if deadline > now {
            self.arm_client_timer(index, deadline);
        } else if self.clients[index].intake.throttled_since().is_some() {
            self.on_throttled_long(index);
        } else if self.clients[index].account.pause_deadline().is_some_and(|at| at <= now) {
            self.on_pause_due(index);
        } else if !self.is_unheard(index) {
            self.arm_client_timer(index, now.after_millis(UNREAD_RETRY_MILLIS));
        } else if is_slow {
            self.on_progress_due(index);
        } else if timeout == Timeout::Expired {
            self.expire(index);
        }
    }

    /// When a served client's timer has to fire: for its connection, for input that waits too long for its answers,
    /// or to measure a large packet.
    pub(super) fn serving_deadline(&self, index: u32) -> Option<Monotonic> {
        let client = &self.clients[index];
        let connection = client.connection()?;
        let silent = connection.poll_timeout();
        let paused = client.account.pause_deadline();
        let deaf =
            client.intake.throttled_since().map(|since| since.after_millis(ANSWERS_WAIT_MILLIS));
        silent.into_iter().chain(deaf).chain(paused).chain(self.progress_deadline(index)).min()
    }

    /// When the kernel last heard a client, for its connection.
    fn seen_by_kernel(&self, index: u32) -> Monotonic {
        let client = &self.clients[index];
        if client.output.is_held() {
            // A client that waits for its CONNACK need not say anything before.
            return self.agenda.now();
        }
        self.path.last_seen(client.slot.as_ref())
    }

    /// Whether a client has truly been silent. A busy shard may not have read its bytes yet.
    fn is_unheard(&self, index: u32) -> bool {
        let client = &self.clients[index];
        // Its bytes may be among the completions that the turn has left. A socket that cannot be asked has failed.
        !self.agenda.leaves_completions()
            && !client.intake.is_stalled()
            && client.socket.unread_bytes().unwrap_or(0) == 0
    }

    /// A client has been silent for too long.
    fn expire(&mut self, index: u32) {
        self.here.counters().expired.add(1);
        let blocked = self.clients[index].output.is_sending();
        self.close_client(index, Some(Reason::KeepAliveTimeout));
        if blocked {
            // It has not taken earlier bytes, so it will not take a goodbye.
            self.abort(index);
        }
    }

    /// What has proved who a client is does not count any longer. Its session stays, as with any end.
    pub(super) fn on_identity_ended(&mut self, index: u32) {
        self.here.counters().authentications_expired.add(1);
        let why = "what has proved who it is has expired";
        self.close_client_for(index, Reason::NotAuthorized, why);
    }

    /// The peer ended the connection, or the socket failed.
    pub(super) fn on_peer_gone(&mut self, index: u32) {
        self.end_tls_handshake(index, TlsResult::Left);
        let Some(client) = self.clients.get_mut(index) else { return };
        client.intake.end_peer();
        match client.phase() {
            Phase::Serving { .. } if client.intake.is_stalled() => {}
            Phase::Serving { .. } if self.agenda.is_resting() => self.hold_input(index),
            Phase::Serving { .. } => {
                self.tell_ordinary(index, &"client gone without a DISCONNECT");
                self.detach(index);
                self.abort(index);
            }
            Phase::Flushing { .. } => {
                self.flush(index);
            }
            Phase::Handshake(_) | Phase::Lingering { .. } => self.abort(index),
        }
    }

    /// Whether a served client is owed more that could be sent now.
    pub(super) fn has_more_for(&mut self, index: u32) -> bool {
        let client = &self.clients[index];
        let Phase::Serving { connection, session: key, .. } = client.phase() else { return false };
        let Some(session) = self.sessions.session_mut(*key) else { return false };
        client.transport.owes()
            || connection.has_transmit(session, &self.here.shared().config.limits)
            || self.has_backlog(*key)
    }

    /// A send has ended.
    pub(super) fn on_sent(&mut self, index: u32, result: &io::Result<usize>) {
        let client = &mut self.clients[index];
        client.output.end_send();
        match result {
            Ok(bytes) => {
                client.count_sent(*bytes);
                self.publish_tx(index);
                let has_more = self.has_more_for(index);
                match self.clients[index].phase() {
                    Phase::Lingering { .. } => self.remove_if_quiet(index),
                    Phase::Handshake(_) => {
                        self.after_receive(index);
                        self.mark_dirty(index);
                    }
                    &Phase::Serving { session, .. } if !has_more => {
                        self.on_all_sent(index, session);
                    }
                    Phase::Serving { .. } | Phase::Flushing { .. } => self.mark_dirty(index),
                }
            }
            Err(_) if client.is_served() => {
                // The client's last bytes (a DISCONNECT, say) may still be unread: the receive brings them, then
                // the end.
                client.output.fail();
                client.socket.end_both_ways();
                self.unthrottle(index);
                let client = &self.clients[index];
                let waits = client.intake.is_receiving() || client.intake.is_stalled();
                if !waits && !self.clients.is_moving(index) {
                    self.on_peer_gone(index);
                }
            }
            Err(_) => self.abort(index),
        }
    }

    /// Ends a served connection for a reason of the server's, which is logged. Without a reason, the client has
    /// ended it, or the caller has logged why. See `end_client`.
    pub(super) fn close_client(&mut self, index: u32, reason: Option<Reason>) {
        match reason {
            // The stop is logged once for all clients.
            None | Some(Reason::ServerShuttingDown) => {}
            Some(reason @ Reason::KeepAliveTimeout) => {
                self.tell(index, NoticeKind::Expired, &reason);
            }
            Some(reason @ Reason::SessionTakenOver) => {
                self.tell(index, NoticeKind::TakenOver, &reason);
            }
            Some(reason) => self.tell(index, NoticeKind::Ended, &reason),
        }
        self.end_client(index, reason);
    }

    /// The same, where the log says more than the protocol: `why`.
    pub(super) fn close_client_for(&mut self, index: u32, reason: Reason, why: &str) {
        self.tell(index, NoticeKind::Ended, &why);
        self.end_client(index, Some(reason));
    }

    /// Sends the goodbye (MQTT 5) and the answers that wait, then FIN. Publishes the will, unless the client took
    /// it back.
    fn end_client(&mut self, index: u32, reason: Option<Reason>) {
        let Some(client) = self.clients.get_mut(index) else { return };
        let Some((connection, key)) = client.served_mut() else { return };
        if let Some(reason) = reason {
            connection.close(reason);
        }
        let mut frames = Vec::new();
        if let Some(session) = self.sessions.session_mut(key) {
            let limits = &self.here.shared().config.limits;
            let mut transmit = Transmit::default();
            // A connection that is over has nothing but answers to send.
            connection.poll_transmit(session, &mut transmit, usize::MAX, limits, self.agenda.now());
            frames = transmit.chunks;
        }
        self.detach(index);
        self.finish(index, frames);
    }

    /// The orderly stop: tells a client. Its will is not published.
    pub(super) fn close_for_stop(&mut self, index: u32) {
        match self.clients[index].phase() {
            Phase::Serving { .. } if self.here.shared().config.redirect_to.is_some() => {
                self.redirect_client(index);
            }
            Phase::Serving { .. } => self.close_client(index, Some(Reason::ServerShuttingDown)),
            Phase::Handshake(_) if self.here.shared().config.redirect_to.is_some() => {
                self.await_last_connect(index);
            }
            Phase::Handshake(_) => self.abort(index),
            Phase::Flushing { .. } | Phase::Lingering { .. } => {}
        }
    }

    fn redirect_client(&mut self, index: u32) {
        if let Some(client) = self.clients.get_mut(index)
            && let Some(connection) = client.connection_mut()
            && let Some(reference) = &self.here.shared().config.redirect_to
        {
            connection.redirect(reference);
            self.close_client(index, None);
        }
    }

    /// Takes a served connection from its session, and its will with it.
    fn detach(&mut self, index: u32) {
        let Some(client) = self.clients.get_mut(index) else { return };
        let Some(ended) = client.end_connection(self.agenda.now()) else { return };
        let EndedConnection { session: key, will, input: (input, charge), receipts } = ended;
        self.path.closing(client.slot.as_ref(), self.here.counters());
        self.timers.ends_mut().take(index);
        self.clients.discard(input, charge);
        if let Some(receipts) = receipts {
            self.settle_unanswered(key, *receipts);
        }
        let ends = self.sessions.session_mut(key).is_none_or(|session| session.expiry_secs() == 0);
        self.leave_backlog(key, ends);
        self.leave_session(key, will);
    }

    /// Sends the last frames, then FIN.
    pub(super) fn finish(&mut self, index: u32, mut frames: Vec<Bytes>) {
        frames.retain(|frame| !frame.is_empty());
        let goodbye = if self.stop.has_begun() { Goodbye::Stopping } else { Goodbye::Done };
        let deadline = self.clients[index].finish(frames, goodbye, self.agenda.now());
        self.arm_client_timer(index, deadline);
        self.mark_dirty(index);
        // A stalled client may have no receive under way; its FIN has to be noticed.
        self.after_receive(index);
    }

    /// All frames are sent: sends FIN, and waits for the peer's.
    pub(super) fn send_fin(&mut self, index: u32) {
        let deadline = self.clients[index].end_sending(self.agenda.now());
        self.arm_client_timer(index, deadline);
        if self.clients[index].intake.is_peer_gone() {
            self.abort(index);
        }
    }

    /// Cancels the ring's operations on the socket, and closes it as soon as they have ended.
    pub(super) fn abort(&mut self, index: u32) {
        let client = &mut self.clients[index];
        client.give_up(self.agenda.now());
        let token = client.token(index);
        if client.intake.is_receiving() {
            self.wire.cancel_receive(token);
        }
        if client.output.is_sending() {
            self.wire.cancel_send(token);
        }
        self.remove_if_quiet(index);
    }

    pub(super) fn remove_if_quiet(&mut self, index: u32) {
        if !self.clients[index].is_over() {
            return;
        }
        let mut client = self.clients.remove(index);
        let listener = client.intake.listener();
        let (slot, now) = (client.slot.take(), self.agenda.now());
        self.path.release(slot, &client.socket, self.stop.has_begun(), now);
        if self.stop.is_resetting() {
            client.socket.reset_on_close();
        }
        self.here.counters().connections.sub(1);
        self.give_place_back(listener);
        // The descriptor has to be free before the next accept.
        drop(client);
        self.resume_accepting();
    }
}

//! Input of clients: from the socket to the protocol state and on, until something blocks it. Waiting input is
//! bounded; more waits in the socket.

use push_common::clock::Monotonic;
use push_common::rate::Pace;

use super::Shard;
use super::admit::count_told_address;
use super::errand::Errand;
use super::layers::{count_proxy_header, take_forwarded};
use super::tls::{TlsResult, count_tls_handshake};
use crate::access;
use crate::broker::Budget;
use crate::mqtt::codec::Reason;
use crate::mqtt::{Connection, Event};
use crate::shard::agenda::Progress;
use crate::shard::clients::{Pause, PendingClient, Phase};
use crate::shard::journal::Done;
use crate::shard::notices::NoticeKind;
use crate::shard::ports::{PieceOf, Ports, Socket, Token, Wire};
use crate::store::Outcome;
use crate::transport::ProxyHeader;

/// Input that a stalled publisher may have waiting before the shard stops reading from it.
const STALLED_INPUT_BYTES_MAX: usize = 64 << 10;

/// How long a client's input waits for its answers to leave. A client that takes no bytes for so long is closed
/// (`limit="answers"`).
pub(super) const ANSWERS_WAIT_MILLIS: u64 = 10_000;

/// What the log says of a client that is closed for the budget of input.
const INPUT_IS_FULL: &str = "unfinished packets of all clients have reached --input-bytes-max";

/// Units that it costs to take a PUBLISH in, and to parse a filter of a SUBSCRIBE or UNSUBSCRIBE.
const PUBLISH_UNITS: u32 = 8;
const FILTER_PARSED_UNITS: u32 = 2;

/// So many bytes of packets cost a unit to read. Acknowledgements cost nothing else.
const INPUT_BYTES_PER_UNIT: u64 = 64;

/// What blocks a client's input.
#[derive(Clone, Copy, Debug)]
enum Obstacle {
    /// The store is behind, and the session is durable.
    Store,
    /// Its answers have to leave first.
    Answers,
    /// It has published too much.
    Rate,
}

/// Why a client's input waits for its session's next turn.
#[derive(Debug)]
pub(super) enum Halt {
    /// The session has used up its share.
    Turn,
    /// A packet is not done: its errand waits for the session's turn, for another shard, or for the store.
    Packet(Errand, Progress),
}

impl<P: Ports> Shard<P> {
    /// Takes received bytes to the client's protocol state.
    pub(super) fn on_bytes(&mut self, index: u32, piece: &PieceOf<P>) {
        self.unwrap(index, Some(piece));
    }

    /// Does a step of a client's handshake of TLS, and takes what it has brought to the client's protocol state.
    pub(super) fn on_tls_step(&mut self, index: u32) {
        self.unwrap(index, None);
    }

    /// `None`: what has come before lets the layers go on.
    fn unwrap(&mut self, index: u32, piece: Option<&PieceOf<P>>) {
        let (client, scratch) = self.clients.with_scratch(index);
        let limits = &self.here.shared().config.limits;
        let pace = match client.phase() {
            // No layer has pings of its own.
            _ if client.transport.is_plain() => Pace::OFF,
            Phase::Serving { connection, .. } => connection.ping_pace(limits),
            _ => limits.ping_rate.ping_pace(0),
        };
        let now = self.agenda.now();
        let awaits_header = client.transport.proxy_header() == Some(ProxyHeader::Awaited);
        let bytes = match piece {
            Some(piece) => client.transport.take(self.wire.bytes(piece), pace, now, scratch),
            None => client.transport.step(pace, now, scratch),
        };
        if client.pending().is_some() {
            take_forwarded(client, self.here.shared().entrance.listeners().proxies());
        }
        let handshake = client.transport.tls_handshake().filter(|handshake| handshake.is_done);
        if let Some(handshake) = handshake
            && let Some(pending) = client.pending_mut()
            && pending.tls.take().is_some()
        {
            count_tls_handshake(self.here.counters(), TlsResult::Completed, handshake);
            let named = self.here.shared().config.authentication.certificate_user.field();
            let named = named.and_then(|field| {
                let certificate = client.transport.client_chain()?.first()?;
                Some(access::user_of(certificate, field))
            });
            if let Some(pending) = client.pending_mut() {
                pending.show(named);
            }
        }
        if awaits_header && let Some(header) = client.transport.proxy_header() {
            count_proxy_header(self.here.counters(), header);
        }
        if !count_told_address(client, &self.here.shared().entrance) {
            self.turn_away_waiting(index);
            self.after_layers(index);
            return;
        }
        if bytes.is_empty() {
            // All bytes were the layers' own.
            self.publish_rx(index);
            self.charge_input(index);
            self.after_layers(index);
            return;
        }
        let pings = self.path.pings(client.slot.as_ref());
        // What a peer says after the end is not read.
        if let Some(connection) = client.connection_mut() {
            if let Some(pings) = pings {
                connection.pings_answered_elsewhere(pings, limits);
            }
            connection.handle_bytes(bytes, self.agenda.now());
            self.take_input(index);
        } else if client.transport.is_plain()
            && let Some(stranger) = client.stranger(bytes)
        {
            self.turn_stranger_away(index, stranger);
        } else if let Some(pending) = client.pending_mut() {
            let progress = pending.handshake.handle_bytes(limits, bytes);
            if self.agenda.is_resting() {
                self.hold_handshake(index, progress);
            } else {
                self.on_handshake(index, progress);
            }
            self.charge_input(index);
        }
        self.after_layers(index);
    }

    /// Arms the next receive, or removes a client that waits for nothing else.
    pub(super) fn after_receive(&mut self, index: u32) {
        let is_moving = self.clients.is_moving(index);
        let Some(client) = self.clients.get_mut(index) else { return };
        if client.intake.is_receiving() || is_moving || client.is_asking() {
            return;
        }
        let token = client.token(index);
        match client.phase() {
            // It may leave for another shard, and must have no send under way then; or it waits for a rest to end.
            Phase::Handshake(_)
                if client.output.is_sending()
                    || client.transport.owes()
                    || client.transport.wants_step()
                    || client.intake.is_stalled() => {}
            Phase::Handshake(_) => {
                client.intake.begin_receive();
                self.wire.receive_once(&client.socket, token);
            }
            Phase::Serving { connection, .. } => {
                if !client.intake.is_stalled() || connection.input_len() < STALLED_INPUT_BYTES_MAX {
                    client.intake.begin_receive();
                    self.wire.receive(&client.socket, token);
                }
            }
            Phase::Flushing { .. } | Phase::Lingering { .. } => {
                if client.intake.is_peer_gone() {
                    self.remove_if_quiet(index);
                } else {
                    client.intake.begin_receive();
                    self.wire.receive(&client.socket, token);
                }
            }
        }
    }

    /// Parses and handles a client's input until something blocks it. Returns why it has to be queued; `None`: it
    /// is done, or the obstacle resumes it.
    pub(super) fn pump(&mut self, index: u32, budget: &mut Budget) -> Option<Halt> {
        let served = self.clients.get(index).map(|client| client.phase());
        let Some(&Phase::Serving { session: key, .. }) = served else { return None };
        let parsed_bytes = self.parsed_bytes(index);
        self.clients[index].intake.hold(0);
        let mut halt = None;
        loop {
            let client = self.clients.get_mut(index)?;
            if client.intake.is_stalled() {
                break;
            }
            if budget.is_spent() {
                client.intake.stall();
                halt = Some(Halt::Turn);
                break;
            }
            if let Some(obstacle) = self.obstacle(index) {
                self.stall(index, obstacle);
                break;
            }
            let client = self.clients.get_mut(index)?;
            let connection = client.connection_mut()?;
            let session = self.sessions.session_mut(key)?;
            let limits = &self.here.shared().config.limits;
            let (now, begun) = (self.agenda.now(), connection.parsed_bytes());
            let Some(event) = connection.poll_event(session, limits, now) else {
                self.catch_up(index);
                break;
            };
            if matches!(event, Event::Publish(..) | Event::PublishRefused(..)) {
                let bytes = connection.parsed_bytes() - begun;
                client.account.publish(bytes, now);
            }
            budget.charge(units(&event));
            if let Some((errand, progress)) = self.on_event(index, key, event, budget) {
                let client = self.clients.get_mut(index)?;
                client.intake.stall();
                client.intake.hold(errand.held_bytes());
                halt = Some(Halt::Packet(errand, progress));
                break;
            }
        }
        let parsed_bytes_now = self.parsed_bytes(index);
        if parsed_bytes_now > parsed_bytes {
            budget.charge(((parsed_bytes_now - parsed_bytes) / INPUT_BYTES_PER_UNIT) as u32);
        }
        self.keep_input(index);
        self.file_changes(key, None);
        self.publish_rx(index);
        self.mark_dirty(index);
        halt
    }

    /// Applies the limits of waiting input.
    pub(super) fn keep_input(&mut self, index: u32) {
        self.charge_input(index);
        self.limit_stalled_input(index);
    }

    /// Counts a client's unfinished packet against the budget of all clients. When that is used up, the client that
    /// has held the most for the longest is disconnected, on whichever shard it is.
    fn charge_input(&mut self, index: u32) {
        let Some(client) = self.clients.get_mut(index) else { return };
        let (bytes, behind) = match client.phase() {
            Phase::Handshake(PendingClient { handshake, .. }) => {
                (handshake.input_len(), handshake.parsed_bytes())
            }
            Phase::Serving { connection, .. } => {
                (connection.input_len() + client.intake.held_bytes(), connection.parsed_bytes())
            }
            Phase::Flushing { .. } | Phase::Lingering { .. } => (0, 0),
        };
        let is_over = matches!(client.phase(), Phase::Flushing { .. } | Phase::Lingering { .. });
        let held_bytes = if is_over { 0 } else { client.transport.held_bytes() };
        let bytes = bytes + held_bytes;
        let own = (self.here.index(), client.token(index));
        let (budget, now) = (self.here.shared().totals.input_budget(), self.agenda.now());
        let (condemned, is_new) = client.intake.charge(budget, own, (bytes, behind), now);
        let goes = condemned.contains(&own);
        for (shard, client) in condemned.into_iter().filter(|holder| *holder != own) {
            let done = (Done::EndInput { client }, Outcome::Committed);
            self.here.shared().journal.completions(shard).push(&mut vec![done]);
        }
        if goes && self.agenda.is_resting() {
            self.hold_news(Done::EndInput { client: own.1 });
        } else if goes {
            self.end_input(index);
        } else if is_new {
            self.watch_progress(index);
        }
    }

    /// Another client's input needs the room of this one's. It ends, unless its packet has become whole meanwhile.
    pub(super) fn on_end_input(&mut self, client: Token) {
        if let Some(index) = self.resolve(client)
            && self.clients[index].intake.is_condemned()
        {
            self.end_input(index);
        }
    }

    /// Disconnects a client that holds too much of the budget of input.
    fn end_input(&mut self, index: u32) {
        self.here.counters().limit_input_bytes.add(1);
        let client = &mut self.clients[index];
        client.intake.discharge();
        match client.phase() {
            // Its protocol version is not known yet.
            Phase::Handshake(_) => {
                self.tell(index, NoticeKind::Ended, &INPUT_IS_FULL);
                self.finish(index, Vec::new());
            }
            _ => self.close_client_for(index, Reason::QuotaExceeded, INPUT_IS_FULL),
        }
    }

    /// A large packet has begun: its progress is measured from time to time.
    fn watch_progress(&mut self, index: u32) {
        if let Some(deadline) = self.progress_deadline(index)
            && !self.is_client_timer_before(index, deadline)
        {
            self.arm_client_timer(index, deadline);
        }
    }

    /// When a served client's large packet is next measured, while the server reads it.
    pub(super) fn progress_deadline(&self, index: u32) -> Option<Monotonic> {
        let client = self.clients.get(index)?;
        let is_watched = client.is_served() && self.here.shared().config.packet_rate_min > 0;
        client.intake.progress_deadline().filter(|_| is_watched)
    }

    /// Measures a served client's large packet. Ends the connection if it comes too slowly.
    pub(super) fn on_progress_due(&mut self, index: u32) {
        let (now, rate_min) = (self.agenda.now(), self.here.shared().config.packet_rate_min);
        let client = &mut self.clients[index];
        let Some(connection) = client.connection() else { return };
        let bytes = connection.input_len() + client.transport.held_bytes();
        if client.intake.is_too_slow(bytes, rate_min, now) {
            self.here.counters().limit_packet_rate.add(1);
            self.close_client(index, Some(Reason::QuotaExceeded));
        } else if let Some(deadline) = self.serving_deadline(index) {
            self.arm_client_timer(index, deadline);
        }
    }

    /// Moves the slot's `rx` to the end of the last packet parsed.
    fn publish_rx(&mut self, index: u32) {
        if let Some(rx) = self.whole_wire_bytes(index) {
            let client = &mut self.clients[index];
            self.path.parsed(client.slot.as_ref(), client.transport.numbers(), rx);
        }
    }

    /// Bytes that a client has sent on the wire, up to the end of the last packet parsed; `None` while the layers
    /// do not know that, and after the connection has ended.
    pub(super) fn whole_wire_bytes(&self, index: u32) -> Option<u64> {
        let client = self.clients.get(index)?;
        let (parsed, pending) = match client.phase() {
            Phase::Handshake(PendingClient { handshake, .. }) => {
                (handshake.parsed_bytes(), handshake.input_len())
            }
            Phase::Serving { connection, .. } => {
                (connection.parsed_bytes(), connection.input_len())
            }
            Phase::Flushing { .. } | Phase::Lingering { .. } => return None,
        };
        client.transport.whole_wire_bytes(parsed, pending)
    }

    /// Bytes of whole packets that a client has sent, while it is served.
    fn parsed_bytes(&self, index: u32) -> u64 {
        match self.clients.get(index).map(|client| client.phase()) {
            Some(Phase::Serving { connection, .. }) => connection.parsed_bytes(),
            _ => 0,
        }
    }

    /// What blocks a client's input.
    fn obstacle(&self, index: u32) -> Option<Obstacle> {
        let client = self.clients.get(index)?;
        let Phase::Serving { connection, session, .. } = client.phase() else { return None };
        if self.journal.is_behind() && self.sessions.is_durable(*session) {
            return Some(Obstacle::Store);
        }
        let is_throttled = connection.answers_due_bytes() > self.answers_due_bytes_max();
        if is_throttled && !client.output.has_failed() {
            return Some(Obstacle::Answers);
        }
        client.account.has_to_pause(self.agenda.now()).then_some(Obstacle::Rate)
    }

    /// With so many bytes of answers due, a client's input waits. The other half of the limit is for answers that
    /// are larger than expected, and for packets that answer no input.
    fn answers_due_bytes_max(&self) -> usize {
        self.here.shared().config.limits.answers_bytes_max as usize / 2
    }

    fn stall(&mut self, index: u32, obstacle: Obstacle) {
        let client = &mut self.clients[index];
        client.intake.stall();
        match obstacle {
            Obstacle::Store => self.clients.push_stalled(index),
            Obstacle::Rate => {
                let is_new = client.account.pause(self.agenda.now());
                self.here.counters().limit_publish_rate.add(u64::from(is_new));
                if let Some(deadline) = self.serving_deadline(index) {
                    self.arm_client_timer(index, deadline);
                }
            }
            Obstacle::Answers => {
                client.intake.throttle(self.agenda.now());
                if let Some(deadline) = self.serving_deadline(index) {
                    self.arm_client_timer(index, deadline);
                }
            }
        }
    }

    /// No whole packet of a client waits any more. If it had published too much, it has caught up when nothing is in its
    /// socket either.
    fn catch_up(&mut self, index: u32) {
        let client = &mut self.clients[index];
        if client.account.is_over() && client.socket.unread_bytes().unwrap_or(0) == 0 {
            client.account.catch_up();
        }
    }

    /// It is time to look at a client whose input waits because it has published too much.
    pub(super) fn on_pause_due(&mut self, index: u32) {
        let client = &mut self.clients[index];
        let pause = client.account.look_at_pause(self.agenda.now());
        let waiting = client.connection().map_or(0, Connection::input_len) as u64;
        let has_more = waiting > 0 || client.socket.unread_bytes().unwrap_or(0) > 0;
        match pause {
            Pause::TooLong if has_more => {
                self.here.counters().limit_publish_rate_closed.add(1);
                let why = "it publishes more than --publish-rate or --publish-bytes-rate allows";
                self.close_client_for(index, Reason::MessageRateTooHigh, why);
            }
            // One large message has to be paid for; nothing waits behind it.
            Pause::TooLong => {
                client.account.catch_up();
                self.queue_input(index);
            }
            Pause::Over => self.queue_input(index),
            Pause::Until(_) => {
                if let Some(deadline) = self.serving_deadline(index) {
                    self.arm_client_timer(index, deadline);
                }
            }
        }
    }

    /// Stops reading from a client whose waiting input is large enough.
    fn limit_stalled_input(&mut self, index: u32) {
        if let Some(client) = self.clients.get(index)
            && let Phase::Serving { connection, .. } = client.phase()
            && client.intake.is_stalled()
            && client.intake.is_receiving()
            && connection.input_len() >= STALLED_INPUT_BYTES_MAX
        {
            let token = client.token(index);
            self.wire.cancel_receive(token);
        }
    }

    /// A client's answers were handed to the socket, or never will be: its input goes on in the next turn, unless
    /// too many answers are still due.
    pub(super) fn unthrottle(&mut self, index: u32) {
        let due_bytes_max = self.answers_due_bytes_max();
        let client = &mut self.clients[index];
        if let Phase::Serving { connection, .. } = client.phase()
            && client.intake.throttled_since().is_some()
            && (client.output.has_failed() || connection.answers_due_bytes() <= due_bytes_max)
        {
            client.intake.unthrottle();
            self.queue_input(index);
        }
    }

    /// It is a stalled client's turn: takes up its input. Returns why it has to wait again.
    pub(super) fn resume_stalled(&mut self, index: u32, budget: &mut Budget) -> Option<Halt> {
        let client = self.clients.get_mut(index)?;
        if !client.intake.resume() {
            return None;
        }
        let halt = self.pump(index, budget);
        self.after_layers(index);
        let Some(client) = self.clients.get(index) else { return halt };
        if client.intake.is_peer_gone() && !client.intake.is_stalled() {
            self.on_peer_gone(index);
        } else {
            self.after_receive(index);
        }
        halt
    }

    /// A client's answers have waited long to leave. Answers may wait for the store; but if a send is still under
    /// way, the client does not read, and is closed.
    pub(super) fn on_throttled_long(&mut self, index: u32) {
        let client = &mut self.clients[index];
        let Some(connection) = client.connection() else { return };
        let waited = client.intake.throttled_since().map_or(Monotonic(0), |since| since);
        let is_over = waited.after_millis(ANSWERS_WAIT_MILLIS) <= self.agenda.now();
        if is_over && client.output.is_sending() && connection.has_answers() {
            self.here.counters().limit_answers.add(1);
            self.close_client_for(index, Reason::QuotaExceeded, "it takes none of its answers");
            self.abort(index);
            return;
        }
        if is_over {
            client.intake.throttle(self.agenda.now());
        }
        let again = client
            .intake
            .throttled_since()
            .unwrap_or(self.agenda.now())
            .after_millis(ANSWERS_WAIT_MILLIS);
        self.arm_client_timer(index, again);
    }
}

/// Units that an event costs, without the fan-out of a message.
fn units(event: &Event) -> u32 {
    match event {
        Event::Subscribe(subscribe) => subscribe.entries.len() as u32 * FILTER_PARSED_UNITS,
        Event::Unsubscribe(unsubscribe) => unsubscribe.filters.len() as u32 * FILTER_PARSED_UNITS,
        Event::Publish(..) => PUBLISH_UNITS,
        _ => 2,
    }
}

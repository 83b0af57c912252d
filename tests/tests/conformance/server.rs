//! The protocol core as a shard would drive it, in virtual time, with its input cut in two at every
//! offset in turn.

use std::sync::Arc;

use crate::wire::Connect;
use push_common::clock::Monotonic;
use push_server::access::scram::Nonce;
use push_server::access::{Access, Credentials, Origin, Verdict};
use push_server::broker::{
    Held, MemoryBudget, Message, QoS, SubscriptionId, SubscriptionOptions, TopicFilter, TopicName,
    Via,
};
use push_server::mqtt::codec::Reason;
use push_server::mqtt::{
    Claim, ConnectRefusal, Connection, Delivered, Delivery, Event, Filing, Handshake,
    HandshakeProgress, Limits, PublishReceipt, Session, Subscribe, SubscribeEntry, Transmit,
    Unsubscribe,
};

/// Runs a test with whole packets, byte by byte, and cut in two at every offset of its input.
pub(crate) fn at_every_split(test: impl Fn(&mut Server)) {
    let mut whole = Server::new(Split::Never);
    test(&mut whole);
    test(&mut Server::new(Split::Everywhere));
    for offset in 1..whole.offset {
        test(&mut Server::new(Split::At(offset)));
    }
}

/// Runs a test with whole packets only, for tables too long for the others.
pub(crate) fn whole(mut test: impl FnMut(&mut Server)) {
    test(&mut Server::new(Split::Never));
}

#[derive(Clone, Copy, Debug)]
enum Split {
    Never,
    Everywhere,
    At(usize),
}

/// What the core told.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Publish {
        topic: String,
        payload: Vec<u8>,
        qos: QoS,
        retain: bool,
    },
    PublishRefused(Reason),
    /// Filters, or the reason against them.
    Subscribe(Vec<Result<String, Reason>>),
    Unsubscribe(Vec<Result<String, Reason>>),
    Ping,
    /// Once more.
    Authenticated,
    Disconnected,
    Failed(Reason),
    Refused(Reason),
}

enum Link {
    Handshake(Handshake),
    Open(Box<Connection>),
    Closed,
}

/// One client's server.
pub(crate) struct Server {
    pub(crate) limits: Limits,
    memory: Arc<MemoryBudget>,
    pub(crate) now: Monotonic,
    /// Whether publishes wait for `route_held` instead of being routed at once.
    pub(crate) hold: bool,
    /// What publishes are answered with.
    pub(crate) routed: Reason,
    /// The server stops, and sends those who connect there.
    pub(crate) redirect_to: Option<&'static str>,
    /// Who may connect.
    pub(crate) access: Access,
    /// Whether questions wait for `answer`.
    pub(crate) answers_late: bool,
    /// What was asked last.
    pub(crate) asked: Option<Credentials>,
    pub(crate) session: Option<Session>,
    pub(crate) messages: Vec<Message>,
    /// Of every filter subscribed to, in order.
    pub(crate) subscription_ids: Vec<Option<SubscriptionId>>,
    pub(crate) options: Vec<SubscriptionOptions>,
    pub(crate) transmit: Transmit,
    link: Link,
    nonces: u8,
    held: Vec<PublishReceipt>,
    events: Vec<Seen>,
    output: Vec<u8>,
    split: Split,
    offset: usize,
}

impl Server {
    fn new(split: Split) -> Self {
        Self {
            limits: Limits::default(),
            memory: MemoryBudget::new(u64::MAX),
            now: Monotonic(1_000_000_000),
            hold: false,
            routed: Reason::Success,
            redirect_to: None,
            access: Access::default(),
            answers_late: false,
            asked: None,
            session: None,
            messages: Vec::new(),
            subscription_ids: Vec::new(),
            options: Vec::new(),
            transmit: Transmit::default(),
            link: Link::Closed,
            nonces: 0,
            held: Vec::new(),
            events: Vec::new(),
            output: Vec::new(),
            split,
            offset: 0,
        }
    }

    /// A new socket, and its first bytes.
    pub(crate) fn connect(&mut self, bytes: &[u8]) {
        self.link = Link::Handshake(Handshake::new(self.nonce()));
        self.send(bytes);
    }

    /// A new socket whose client is accepted; the CONNACK is dealt with.
    pub(crate) fn open(&mut self, connect: &Connect) {
        self.connect(&connect.bytes());
        self.accepted();
    }

    /// The kernel has answered so many pings so far.
    pub(crate) fn pings_answered_elsewhere(&mut self, pings: u64) {
        let Link::Open(connection) = &mut self.link else { panic!("not connected") };
        connection.pings_answered_elsewhere(pings, &self.limits);
    }

    /// Takes the CONNACK from what the client received first, and drops it. Returns what follows.
    pub(crate) fn accepted(&mut self) -> Vec<u8> {
        let mut received = self.received();
        assert_eq!((received[0], received[3]), (0x20, 0x00), "CONNACK that accepts");
        received.split_off(2 + usize::from(received[1]))
    }

    /// The client sends.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        let begin = self.offset;
        self.offset += bytes.len();
        match self.split {
            Split::Everywhere => bytes.chunks(1).for_each(|byte| self.feed(byte)),
            Split::At(offset) if begin < offset && offset < self.offset => {
                let (first, second) = bytes.split_at(offset - begin);
                self.feed(first);
                self.feed(second);
            }
            _ => self.feed(bytes),
        }
    }

    /// The client sends, and it arrives in one piece: for what is too long to be cut everywhere.
    pub(crate) fn send_whole(&mut self, bytes: &[u8]) {
        self.feed(bytes);
    }

    /// What the client receives from now until nothing more can be sent.
    pub(crate) fn received(&mut self) -> Vec<u8> {
        self.flush();
        std::mem::take(&mut self.output)
    }

    /// What the core told since the last call.
    pub(crate) fn events(&mut self) -> Vec<Seen> {
        std::mem::take(&mut self.events)
    }

    /// The socket is gone. Returns the will to publish.
    pub(crate) fn hang_up(&mut self) -> Option<Message> {
        let link = std::mem::replace(&mut self.link, Link::Closed);
        self.held.clear();
        if let Some(session) = &mut self.session {
            session.connection_ended(self.now);
        }
        let Link::Open(mut connection) = link else { return None };
        connection.take_will().map(|will| will.into_message(self.now))
    }

    /// A message for the client.
    pub(crate) fn deliver(&mut self, topic: &str, payload: &[u8], qos: QoS) -> Delivered {
        let message = Message {
            topic: TopicName::parse(topic, 128).expect("a valid topic"),
            payload: payload.to_vec().into(),
            qos,
            retain: false,
            properties: None,
            expires_at: None,
            held: Held::default(),
        };
        self.deliver_message(message)
    }

    /// The same, with everything a message may have.
    pub(crate) fn deliver_message(&mut self, message: Message) -> Delivered {
        self.deliver_via(message, Via::default())
    }

    /// The same, by these subscriptions.
    pub(crate) fn deliver_via(&mut self, message: Message, via: Via) -> Delivered {
        let qos = message.qos;
        let delivery = Delivery { qos, retain: false, message: Arc::new(message), via };
        let connected = matches!(self.link, Link::Open(_));
        let session = self.session.as_mut().expect("a session");
        session.deliver(delivery, connected, Filing::Never, &self.limits, &self.memory)
    }

    /// Routes the publishes held back.
    pub(crate) fn route_held(&mut self) {
        for receipt in std::mem::take(&mut self.held) {
            self.publish_done(receipt);
        }
    }

    pub(crate) fn connection(&mut self) -> &mut Connection {
        match &mut self.link {
            Link::Open(connection) => connection,
            _ => panic!("no connection"),
        }
    }

    pub(crate) fn after_secs(&mut self, secs: u64) {
        self.now = self.now.after_millis(secs * 1_000);
    }

    fn publish_done(&mut self, receipt: PublishReceipt) {
        if let (Link::Open(connection), Some(session)) = (&mut self.link, &mut self.session) {
            connection.publish_done(session, receipt, self.routed);
        }
    }

    fn feed(&mut self, bytes: &[u8]) {
        match &mut self.link {
            Link::Closed => {}
            Link::Handshake(handshake) => {
                let progress = handshake.handle_bytes(&self.limits, bytes);
                self.go_on(progress);
            }
            Link::Open(connection) => {
                connection.handle_bytes(bytes, self.now);
                self.poll();
            }
        }
    }

    /// Somebody answers who the client is.
    pub(crate) fn answer(&mut self, verdict: Verdict) {
        match &mut self.link {
            Link::Closed => {}
            Link::Handshake(handshake) => {
                let progress = handshake.answer(&self.limits, verdict);
                self.go_on(progress);
            }
            Link::Open(_) => self.judged(verdict),
        }
    }

    fn go_on(&mut self, mut progress: HandshakeProgress) {
        while let (HandshakeProgress::Asks, Link::Handshake(handshake)) =
            (&progress, &mut self.link)
        {
            let credentials = handshake.question().expect("a question");
            if self.answers_late {
                self.asked = Some(credentials);
                return;
            }
            let client_id = handshake.client_id().unwrap_or_default();
            let verdict = self.access.verdict(&credentials);
            let verdict = self.access.authorize(verdict, client_id, Origin::default);
            progress = handshake.answer(&self.limits, verdict);
        }
        match progress {
            HandshakeProgress::More | HandshakeProgress::Asks => {}
            HandshakeProgress::Reply(frame) => self.output.extend(&frame),
            HandshakeProgress::Refused(refusal) => self.refuse(&refusal),
            HandshakeProgress::Connect(connecting) if self.redirect_to.is_some() => {
                self.refuse(&connecting.redirect(self.redirect_to.unwrap_or_default()));
            }
            HandshakeProgress::Connect(mut connecting) => {
                let connect = &mut connecting.connect;
                if connect.client_id.is_empty() {
                    connect.client_id = "assigned".to_owned();
                    connect.client_id_assigned = true;
                }
                if let Some(refusal) = connecting.unanswerable(&self.limits) {
                    return self.refuse(&refusal);
                }
                let connect = &connecting.connect;
                match self.session.as_ref().map(|session| session.claimed_by(connect)) {
                    Some(Claim::Refused) => {
                        return self.refuse(&connecting.refuse(Reason::NotAuthorized));
                    }
                    Some(Claim::Replaced) => self.session = None,
                    Some(Claim::Resumed) | None => {}
                }
                let present = self.session.is_some();
                let session = self.session.get_or_insert_with(|| {
                    Session::new(&connect.client_id, connect.session_expiry_secs)
                        .of_user(connect.user())
                });
                let connection =
                    Connection::accept(*connecting, session, present, &self.limits, self.now);
                self.link = Link::Open(Box::new(connection));
                self.poll();
            }
        }
    }

    fn judged(&mut self, verdict: Verdict) {
        let Link::Open(connection) = &mut self.link else { return };
        match connection.judged(verdict) {
            Ok(false) => {}
            Ok(true) => self.events.push(Seen::Authenticated),
            Err(denial) => {
                let reason = Reason::from(denial);
                connection.close(reason);
                self.events.push(Seen::Failed(reason));
            }
        }
    }

    fn refuse(&mut self, refusal: &ConnectRefusal) {
        self.output.extend(&refusal.frame);
        self.events.push(Seen::Refused(refusal.reason));
        self.link = Link::Closed;
    }

    fn poll(&mut self) {
        while let (Link::Open(connection), Some(session)) = (&mut self.link, &mut self.session) {
            let Some(event) = connection.poll_event(session, &self.limits, self.now) else { break };
            self.handle(event);
        }
    }

    fn handle(&mut self, event: Event) {
        let seen = match event {
            Event::Publish(message, receipt) => {
                let seen = Seen::Publish {
                    topic: message.topic.as_str().to_owned(),
                    payload: message.payload.to_vec(),
                    qos: message.qos,
                    retain: message.retain,
                };
                self.messages.push(message);
                match receipt {
                    Some(receipt) if self.hold => self.held.push(receipt),
                    Some(receipt) => self.publish_done(receipt),
                    None => {}
                }
                seen
            }
            Event::PublishRefused(refusal, receipt) => {
                let reason = refusal.reason();
                if let (Some(receipt), Link::Open(connection), Some(session)) =
                    (receipt, &mut self.link, &mut self.session)
                {
                    connection.publish_done(session, receipt, reason);
                }
                Seen::PublishRefused(reason)
            }
            Event::Subscribe(subscribe) => self.subscribe(&subscribe),
            Event::Unsubscribe(unsubscribe) => self.unsubscribe(&unsubscribe),
            Event::Owes(answer) => {
                self.connection().answer_now(answer);
                return;
            }
            Event::Ping => Seen::Ping,
            Event::Authenticate(auth) => {
                let nonce = self.nonce();
                let (Link::Open(connection), Some(session)) = (&mut self.link, &self.session)
                else {
                    return;
                };
                match connection.authenticate(auth, nonce, session) {
                    Ok(None) => {}
                    Ok(Some(credentials)) if self.answers_late => self.asked = Some(credentials),
                    Ok(Some(credentials)) => self.judged(self.access.verdict(&credentials)),
                    Err(event) => self.handle(event),
                }
                return;
            }
            Event::Disconnected => Seen::Disconnected,
            Event::Failed(reason) => Seen::Failed(reason),
        };
        self.events.push(seen);
    }

    fn subscribe(&mut self, subscribe: &Subscribe) -> Seen {
        let entries = &subscribe.entries;
        let granted: Vec<_> = entries
            .iter()
            .map(|entry| entry.as_ref().map(|entry| entry.options.qos).map_err(|r| *r))
            .collect();
        let ids = entries.iter().flatten().map(|entry| entry.options.id);
        self.subscription_ids.extend(ids);
        self.options.extend(entries.iter().flatten().map(|entry| entry.options));
        self.connection().subscribed(subscribe.packet_id, &granted);
        let filter = |entry: &Result<SubscribeEntry, Reason>| {
            entry.as_ref().map(|e| e.filter.as_str().to_owned()).map_err(|r| *r)
        };
        Seen::Subscribe(entries.iter().map(filter).collect())
    }

    fn unsubscribe(&mut self, unsubscribe: &Unsubscribe) -> Seen {
        let filters = &unsubscribe.filters;
        let reasons = filters.iter().map(|f| f.as_ref().err().copied().unwrap_or(Reason::Success));
        let reasons: Vec<_> = reasons.collect();
        self.connection().unsubscribed(unsubscribe.packet_id, &reasons);
        let text = |f: &Result<TopicFilter, Reason>| {
            f.as_ref().map(|f| f.as_str().to_owned()).map_err(|r| *r)
        };
        Seen::Unsubscribe(filters.iter().map(text).collect())
    }

    /// Another one each time.
    fn nonce(&mut self) -> Nonce {
        self.nonces += 1;
        [self.nonces; 18]
    }

    /// Takes everything out of the core, a frame or so at a time.
    fn flush(&mut self) {
        let (Link::Open(connection), Some(session)) = (&mut self.link, &mut self.session) else {
            return;
        };
        while connection.has_transmit(session, &self.limits) {
            let mut transmit = Transmit::default();
            connection.poll_transmit(session, &mut transmit, 1, &self.limits, self.now);
            assert_eq!(transmit.len, transmit.chunks.iter().map(|c| c.len()).sum::<usize>());
            self.transmit.publishes += transmit.publishes;
            self.transmit.dropped_too_large += transmit.dropped_too_large;
            self.transmit.dropped_expired += transmit.dropped_expired;
            self.transmit.dropped_denied += transmit.dropped_denied;
            self.transmit.allowed += transmit.allowed;
            transmit.chunks.iter().for_each(|chunk| self.output.extend(chunk));
        }
    }
}

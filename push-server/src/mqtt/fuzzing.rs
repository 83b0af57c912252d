//! A whole conversation: a handshake, and the connection that it leads to. Whatever a client's bytes
//! are:
//! - it makes no difference how they were cut;
//! - the unparsed input stays within the longest packet, and the answers within their limit;
//! - no more is parsed than has come.

use std::fmt::Write as _;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use push_common::clock::Monotonic;

use super::allowing::allow;
use super::codec::Reason;
use super::{
    Connecting, Connection, Delivery, Event, Filing, Handshake, HandshakeProgress, Limits,
    OutboxFull, Session, Transmit,
};
use crate::access::{
    Access, Credentials, Denial, Identity, Judgement, Origin, Users, Verdict, scram,
};
use crate::broker::{
    Held, MemoryBudget, Message, MessageProperties, QoS, TopicName, UserProperties, Via,
};
use crate::fuzzing::outcome::Outcome;

const NOW: Monotonic = Monotonic(5_000_000_000);

const NONCE: scram::Nonce = [7; 18];

/// The first byte of the input chooses how the rest, a client's bytes, is cut.
pub(crate) fn connection(input: &[u8]) -> Outcome {
    let Some((&choice, bytes)) = input.split_first() else { return Outcome::Partial };
    let (whole, outcome) = converse(bytes, bytes.len().max(1));
    let cut = 1 + usize::from(choice % 16);
    let (pieces, _) = converse(bytes, cut);
    assert_eq!(pieces, whole, "in pieces of {cut} bytes");
    outcome
}

/// Small ones, so that they are reached.
fn limits() -> Limits {
    Limits {
        packet_bytes_max: 400,
        answers_bytes_max: 200,
        receive_max: 4,
        inflight_max: 3,
        outbox_full: OutboxFull::DropOldest,
        client_id_bytes_max: 32,
        topic_levels_max: 8,
        topic_alias_max: 3,
        ..Limits::default()
    }
}

/// One user, who may authenticate by SCRAM.
static ACCESS: LazyLock<Access> = LazyLock::new(|| {
    let line = "user SCRAM-SHA-256$4096:AAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:\
                AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let users = Users::parse(line, [7; 32]).expect("a valid line");
    Access { users: Some(users), ..Access::default() }
});

/// The verdict; passwords are not hashed, which would take most of the time: an empty one is right.
fn judge(credentials: &Credentials) -> Verdict {
    let verdict = match ACCESS.judge(credentials) {
        Judgement::Now(_, verdict) => verdict,
        Judgement::Token(_) | Judgement::Hook => Verdict::Refused(Denial::Unanswered),
        Judgement::Check(_) => match credentials.password.as_ref() {
            Some(password) if password.bytes().is_empty() => {
                Verdict::Allowed(Identity::of_user("user".into()), None)
            }
            _ => Verdict::Refused(Denial::WrongPassword),
        },
    };
    ACCESS.authorize(verdict, &credentials.client_id, Origin::default)
}

/// Serves `bytes` in pieces of `cut`. Returns all that was understood and said, and the outcome.
fn converse(bytes: &[u8], cut: usize) -> (String, Outcome) {
    let limits = limits();
    let mut pieces = bytes.chunks(cut);
    let connecting = match shake_hands(&mut pieces, &limits) {
        Ok(connecting) => connecting,
        Err(end) => return end,
    };
    let arrived = connecting.wire_bytes as usize + connecting.rest.len();
    let mut talk = Talk::new(*connecting, limits);
    talk.take(&[], arrived);
    let mut arrived = arrived;
    for piece in pieces {
        arrived += piece.len();
        talk.take(piece, arrived);
    }
    talk.end()
}

/// Everything up to the verdict.
///
/// # Errors
/// It has not come, or the client was refused: what the client was told, and the outcome.
fn shake_hands<'a>(
    pieces: &mut impl Iterator<Item = &'a [u8]>,
    limits: &Limits,
) -> Result<Box<Connecting>, (String, Outcome)> {
    let mut handshake = Handshake::new(NONCE);
    // Where one frame ends and the next begins depends on when it could be sent.
    let mut said = Vec::new();
    for piece in pieces {
        let mut progress = handshake.handle_bytes(limits, piece);
        while let HandshakeProgress::Asks = progress {
            let Some(credentials) = handshake.question() else { break };
            progress = handshake.answer(limits, judge(&credentials));
        }
        let refusal = match progress {
            HandshakeProgress::More | HandshakeProgress::Asks => continue,
            HandshakeProgress::Reply(frame) => {
                said.extend_from_slice(&frame);
                continue;
            }
            HandshakeProgress::Connect(connecting) => match connecting.unanswerable(limits) {
                Some(refusal) => refusal,
                None => return Ok(connecting),
            },
            HandshakeProgress::Refused(refusal) => refusal,
        };
        said.extend_from_slice(&refusal.frame);
        let told = format!("{said:02x?} {:?} {:?}", refusal.reason, refusal.denial);
        return Err((told, Outcome::Refused));
    }
    Err((format!("{said:02x?}"), Outcome::Partial))
}

/// A connection under way.
struct Talk {
    limits: Limits,
    session: Session,
    connection: Connection,
    told: String,
    failed: bool,
}

impl Talk {
    /// Messages wait for the client, so that it may acknowledge some.
    fn new(connecting: Connecting, limits: Limits) -> Self {
        let mut session = Session::new(&connecting.connect.client_id, 60);
        let memory = MemoryBudget::new(u64::MAX);
        let connection = Connection::accept(connecting, &mut session, false, &limits, NOW);
        for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce, QoS::AtMostOnce, QoS::AtLeastOnce] {
            session.deliver(delivery(qos), true, Filing::Never, &limits, &memory);
        }
        let told = String::new();
        let mut talk = Self { limits, session, connection, told, failed: false };
        talk.transmit();
        talk
    }

    /// Takes a piece, and does what the server would.
    fn take(&mut self, piece: &[u8], arrived: usize) {
        let Self { limits, session, connection, told, .. } = self;
        connection.handle_bytes(piece, NOW);
        while let Some(event) = connection.poll_event(session, limits, NOW) {
            writeln!(told, "{event:?}").expect("a string");
            let Some(event) = allow(connection, session, event) else { continue };
            match event {
                Event::Owes(answer) => connection.answer_now(answer),
                Event::Authenticate(auth) => match connection.authenticate(auth, NONCE, session) {
                    Ok(Some(credentials)) => {
                        if connection.judged(judge(&credentials)).is_err() {
                            connection.close(Reason::NotAuthorized);
                        }
                    }
                    Ok(None) => {}
                    Err(event) => writeln!(told, "{event:?}").expect("a string"),
                },
                Event::Failed(_) => self.failed = true,
                _ => {}
            }
        }
        assert!(self.connection.input_len() <= self.limits.packet_bytes_max as usize);
        let known = self.connection.parsed_bytes() + self.connection.input_len() as u64;
        assert!(known <= arrived as u64, "{known} of {arrived}");
    }

    fn transmit(&mut self) {
        let mut out = Transmit::default();
        self.connection.poll_transmit(&mut self.session, &mut out, usize::MAX, &self.limits, NOW);
        let sent = out.chunks.concat();
        // One answer more than the limit, and the messages.
        let max = self.limits.answers_bytes_max + 2 * self.limits.packet_bytes_max;
        assert!(sent.len() <= max as usize, "{} bytes", sent.len());
        writeln!(self.told, "{sent:02x?}").expect("a string");
    }

    fn end(mut self) -> (String, Outcome) {
        let is_whole = self.connection.input_len() == 0;
        self.transmit();
        let outcome = match (self.failed, is_whole) {
            (true, _) => Outcome::Refused,
            (false, true) => Outcome::Taken,
            (false, false) => Outcome::Partial,
        };
        (self.told, outcome)
    }
}

fn delivery(qos: QoS) -> Delivery {
    let properties = MessageProperties {
        payload_format: Some(1),
        content_type: Some("text".to_owned()),
        response_topic: None,
        correlation_data: Some(Bytes::from_static(b"7")),
        user_properties: UserProperties::collect([("k", "v")]).expect("short"),
    };
    let message = Message {
        topic: TopicName::parse("a/topic/of/the/server", 8).expect("valid"),
        payload: Bytes::from_static(b"payload"),
        qos,
        retain: false,
        properties: Some(Arc::new(properties)),
        expires_at: None,
        held: Held::default(),
    };
    Delivery { message: Arc::new(message), qos, retain: false, via: Via::default() }
}

//! A connection before CONNACK. CONNECT must come first [MQTT-3.1.0-1]; a client that authenticates
//! by an exchange may send AUTH after it, and nothing else [MQTT5 4.12].
//!
//! The handshake does not decide who may connect. It hands out what the client has sent as
//! credentials, and goes on when the caller brings the verdict, at once or later. Until then it
//! parses nothing more.

use bytes::{Bytes, BytesMut};

use super::codec::{
    self, AUTH_FIRST, Audience, AuthReason, CONNECT_FIRST, DISCONNECT_FIRST, Header, Input, Reason,
};
use super::connect::{Authenticated, Authentication, Connect};
use super::{Limits, Version};
use crate::access::scram::{Exchange, Nonce};
use crate::access::{Access, Credentials, Denial, Identity, Origin, Proof, Subject, Verdict};

/// The longest AUTH, in bytes; `scram::MESSAGE_BYTES_MAX` of them may be its data.
pub(crate) const AUTH_BYTES_MAX: u32 = 4 << 10;

/// A connection whose CONNECT has not arrived whole, or whose client may not connect yet.
#[derive(Debug)]
pub struct Handshake {
    input: Input,
    nonce: Nonce,
    pending: Option<Box<PendingConnect>>,
}

/// A CONNECT whose client may not connect yet.
#[derive(Debug)]
struct PendingConnect {
    connect: Connect,
    /// The Authentication Method, if the client named one.
    method: Option<Box<str>>,
    stage: Stage,
    /// How many questions the handshake has asked: the number of the latest.
    questions: u32,
    /// Frames for the client that the caller has not taken yet.
    said: BytesMut,
    /// Length of the client's packets so far, in bytes.
    wire_bytes: u64,
}

/// The state of the handshake, by whom it waits for.
#[derive(Debug)]
enum Stage {
    /// The caller, which takes the credentials, with this step of an exchange, if any.
    Offers(Option<Box<Proof>>),
    /// The caller, which brings the verdict.
    Asks,
    /// The client, with an AUTH that continues the exchange.
    Awaits(Exchange),
}

/// How far a handshake has come.
#[derive(Debug)]
pub enum HandshakeProgress {
    /// More bytes are needed, or a verdict.
    More,
    /// Send the frame; then more bytes are needed.
    Reply(Bytes),
    /// The server has to find out who the client is: take the `question`, and bring the verdict to
    /// `answer`.
    Asks,
    /// A valid CONNECT of a client that may connect.
    Connect(Box<Connecting>),
    /// The client is refused: send the frame if it is not empty, then close.
    Refused(ConnectRefusal),
}

/// Why a client is refused, and the CONNACK that says so.
#[derive(Debug)]
pub struct ConnectRefusal {
    /// CONNACK, or empty if the client is to be told nothing.
    pub frame: Bytes,
    /// The reason, for counters and logs; MQTT 5 numbering.
    pub reason: Reason,
    /// The exact cause, which the reason code does not tell the client.
    pub denial: Option<Denial>,
    /// Its client id, for logs, if known.
    pub client_id: Option<String>,
}

impl ConnectRefusal {
    fn with_connack(audience: Audience, reason: Reason, client_id: Option<String>) -> Self {
        let mut frame = BytesMut::new();
        codec::connack_refusal(&mut frame, audience, reason);
        Self { frame: frame.freeze(), reason, denial: None, client_id }
    }

    /// Puts `said` in front of the frame.
    fn after(self, mut said: BytesMut) -> Self {
        if said.is_empty() {
            return self;
        }
        said.extend_from_slice(&self.frame);
        Self { frame: said.freeze(), ..self }
    }
}

/// A valid CONNECT, and the bytes that arrived after it.
#[derive(Debug)]
pub struct Connecting {
    /// The request.
    pub connect: Connect,
    /// Bytes behind the CONNECT packet, not parsed.
    pub rest: BytesMut,
    /// Length of CONNECT and of every AUTH after it, in bytes.
    pub wire_bytes: u64,
}

impl Handshake {
    /// For a new socket. `nonce` is random, and used if the client authenticates.
    pub fn new(nonce: Nonce) -> Self {
        Self { input: Input::default(), nonce, pending: None }
    }

    /// The CONNECT that waits for a verdict; the caller may fill in an empty client id.
    pub fn pending_mut(&mut self) -> Option<&mut Connect> {
        self.pending.as_mut().map(|pending| &mut pending.connect)
    }

    /// The client id, once CONNECT has arrived.
    pub fn client_id(&self) -> Option<&str> {
        self.pending.as_ref().map(|pending| &*pending.connect.client_id)
    }

    /// Bytes received and not parsed yet.
    pub fn input_len(&self) -> usize {
        self.input.len()
    }

    /// Bytes of packets parsed so far.
    pub fn parsed_bytes(&self) -> u64 {
        self.pending.as_ref().map_or(0, |pending| pending.wire_bytes)
    }

    /// Whether the handshake waits for a verdict and parses nothing until then.
    pub fn is_asking(&self) -> bool {
        self.pending.as_ref().is_some_and(|pending| !matches!(pending.stage, Stage::Awaits(_)))
    }

    /// The number of the latest question.
    pub fn question_number(&self) -> u32 {
        self.pending.as_ref().map_or(0, |pending| pending.questions)
    }

    /// Takes the bytes that arrived. Do not call it again after it returned `Connect` or `Refused`.
    pub fn handle_bytes(&mut self, limits: &Limits, bytes: &[u8]) -> HandshakeProgress {
        self.input.extend(bytes);
        self.advance(limits)
    }

    /// Like `handle_bytes`, and lets `access` answer every question at once. Passwords are hashed here.
    pub fn handle_bytes_judged(
        &mut self,
        limits: &Limits,
        access: &Access,
        bytes: &[u8],
    ) -> HandshakeProgress {
        let mut progress = self.handle_bytes(limits, bytes);
        while let HandshakeProgress::Asks = progress {
            let Some(credentials) = self.question() else { break };
            let verdict = self.named(limits, access.verdict(&credentials));
            let client_id = self.client_id().unwrap_or_default();
            let verdict = access.authorize(verdict, client_id, Origin::default);
            progress = self.answer(limits, verdict);
        }
        progress
    }

    /// Takes the client's credentials, once for each time that the handshake `Asks`. The caller
    /// adds the client's address and the listener.
    pub fn question(&mut self) -> Option<Credentials> {
        let pending = self.pending.as_mut()?;
        let Stage::Offers(proof) = &mut pending.stage else { return None };
        let proof = proof.take().map(|proof| *proof);
        pending.stage = Stage::Asks;
        pending.questions = pending.questions.wrapping_add(1);
        let connect = &mut pending.connect;
        Some(Credentials {
            client_id: connect.client_id.as_str().into(),
            user_name: connect.user_name.take().map(String::into_boxed_str),
            password: connect.password.take(),
            proof,
            certificate: None,
            peer: None,
            listener: None,
            protocol: "mqtt",
        })
    }

    /// Gives the client the name of its user for an id, if that is asked for: right before its rights are looked up,
    /// which may depend on its id. Within an exchange it is the name that it says, so that it is with its session's
    /// shard from then on. Returns the verdict, which refuses a client without a user.
    #[must_use]
    pub fn named(&mut self, limits: &Limits, verdict: Verdict) -> Verdict {
        let Some(pending) = self.pending.as_mut().filter(|_| limits.client_id_from_user) else {
            return verdict;
        };
        let user = match &verdict {
            Verdict::Allowed(identity, _) => identity.user(),
            Verdict::Continue(exchange, _) => exchange.user_name(),
            Verdict::Refused(_) => None,
        };
        match user {
            Some(user) if *user != *pending.connect.client_id => {
                pending.connect.client_id = user.to_owned();
                // So that MQTT 5 clients are told.
                pending.connect.client_id_assigned = true;
            }
            None if matches!(verdict, Verdict::Allowed(..)) => {
                return Verdict::Refused(Denial::NoUser);
            }
            Some(_) | None => {}
        }
        verdict
    }

    /// Takes the verdict on the latest question, with the client's rights if it may connect, and goes on. Ignored if
    /// no question is open.
    pub fn answer(&mut self, limits: &Limits, verdict: Verdict) -> HandshakeProgress {
        let Some(mut pending) = self.pending.take_if(|one| matches!(one.stage, Stage::Asks)) else {
            return HandshakeProgress::More;
        };
        match verdict {
            Verdict::Allowed(identity, data) => self.allow(limits, *pending, identity, data),
            Verdict::Refused(denial) => self.deny(*pending, denial),
            Verdict::Continue(exchange, data) => {
                let Some(method) = pending.method.as_deref() else {
                    // There is no exchange that could go on.
                    return self.deny(*pending, Denial::Unanswered);
                };
                // [MQTT-4.12.0-2]
                let mut frame = BytesMut::new();
                codec::put_auth(&mut frame, AuthReason::Continue, method, data.as_deref());
                if frame.len() > Audience::of(&pending.connect).packet_len_max {
                    return HandshakeProgress::Refused(
                        self.refusal(*pending, Reason::PacketTooLarge),
                    );
                }
                pending.said.extend_from_slice(&frame);
                pending.stage = Stage::Awaits(exchange);
                self.pending = Some(pending);
                self.advance(limits)
            }
        }
    }

    /// Parses the input, as far as the stage allows.
    fn advance(&mut self, limits: &Limits) -> HandshakeProgress {
        let Some(mut pending) = self.pending.take() else {
            return self
                .take_connect(limits)
                .unwrap_or_else(|reason| HandshakeProgress::Refused(self.silent_refusal(reason)));
        };
        let progress = match std::mem::replace(&mut pending.stage, Stage::Asks) {
            Stage::Asks => HandshakeProgress::More,
            offers @ Stage::Offers(_) => {
                pending.stage = offers;
                HandshakeProgress::Asks
            }
            Stage::Awaits(exchange) => match self.take_auth() {
                Ok(Some((message, len))) if Some(&message.method) == pending.method.as_ref() => {
                    pending.wire_bytes += len as u64;
                    let method = message.method;
                    let proof =
                        Proof { method, exchange, nonce: self.nonce, message: message.data };
                    pending.stage = Stage::Offers(Some(Box::new(proof)));
                    HandshakeProgress::Asks
                }
                Ok(None) => {
                    pending.stage = Stage::Awaits(exchange);
                    match pending.said.is_empty() {
                        true => HandshakeProgress::More,
                        false => {
                            HandshakeProgress::Reply(std::mem::take(&mut pending.said).freeze())
                        }
                    }
                }
                // [MQTT-4.12.0-5]
                Ok(Some(_)) => {
                    return HandshakeProgress::Refused(
                        self.refusal(*pending, Reason::ProtocolError),
                    );
                }
                // The client sent DISCONNECT.
                Err(Reason::Success) => {
                    let refusal = self.silent_refusal(Reason::Success);
                    return HandshakeProgress::Refused(refusal.after(pending.said));
                }
                Err(reason) => return HandshakeProgress::Refused(self.refusal(*pending, reason)),
            },
        };
        self.pending = Some(pending);
        progress
    }

    /// Takes CONNECT. On an error close without CONNACK, since there was no CONNECT to answer.
    fn take_connect(&mut self, limits: &Limits) -> Result<HandshakeProgress, Reason> {
        let Some(&first) = self.input.bytes().first() else { return Ok(HandshakeProgress::More) };
        // [MQTT-3.1.0-1]; the flags are reserved [MQTT-2.2.2-1].
        if first != CONNECT_FIRST {
            return Err(Reason::ProtocolError);
        }
        // The version is not known yet; 3.1.1 has the laxer rules for the length.
        let Some(header) = Header::parse(self.input.bytes(), Version::V311)? else {
            return Ok(HandshakeProgress::More);
        };
        let len = header.packet_len();
        if len > limits.packet_bytes_max.min(limits.connect_bytes_max) as usize {
            return Err(Reason::PacketTooLarge);
        }
        let Some(body) = self.input.bytes().get(header.len..len) else {
            return Ok(HandshakeProgress::More);
        };
        match codec::connect(body, limits) {
            Ok(connect) => {
                // Now the version is known: check the length by its rules [MQTT-1.5.5-1].
                if let Err(reason) = Header::parse(self.input.bytes(), connect.version) {
                    let audience = Audience::of(&connect);
                    let refusal =
                        ConnectRefusal::with_connack(audience, reason, Some(connect.client_id));
                    self.input.clear();
                    return Ok(HandshakeProgress::Refused(refusal));
                }
                self.input.advance(len);
                self.offer(connect, len as u64);
                Ok(HandshakeProgress::Asks)
            }
            Err(codec::ConnectError { audience: None, reason }) => Err(reason),
            Err(codec::ConnectError { audience: Some(audience), reason }) => {
                self.input.clear();
                Ok(HandshakeProgress::Refused(ConnectRefusal::with_connack(audience, reason, None)))
            }
        }
    }

    /// Turns a CONNECT into a question: who is this client [MQTT-4.12.0-1]?
    fn offer(&mut self, mut connect: Connect, wire_bytes: u64) {
        let authentication = connect.authentication.take();
        let method = authentication.as_ref().map(|asked| asked.method.clone());
        let proof = authentication.map(|Authentication { method, data }| {
            let exchange = Exchange::default();
            Box::new(Proof { method, exchange, nonce: self.nonce, message: data })
        });
        let stage = Stage::Offers(proof);
        let said = BytesMut::new();
        let pending = PendingConnect { connect, method, stage, questions: 0, said, wire_bytes };
        self.pending = Some(Box::new(pending));
    }

    /// Takes an AUTH or DISCONNECT of a client that is authenticating [MQTT-3.1.2-30]. Returns the
    /// AUTH and its length.
    fn take_auth(&mut self) -> Result<Option<(codec::Auth, usize)>, Reason> {
        match self.input.bytes().first().copied() {
            None => return Ok(None),
            Some(AUTH_FIRST) => {}
            Some(DISCONNECT_FIRST) => return Err(Reason::Success),
            // Reserved flags [MQTT-3.15.1-1].
            Some(first) if first & 0xF0 == AUTH_FIRST => return Err(Reason::MalformedPacket),
            Some(_) => return Err(Reason::ProtocolError),
        }
        let header = Header::parse(self.input.bytes(), Version::V5)?;
        let len = header.map_or(0, Header::packet_len);
        if len > AUTH_BYTES_MAX as usize {
            return Err(Reason::PacketTooLarge);
        }
        let body = header.and_then(|header| self.input.bytes().get(header.len..len));
        let Some(body) = body else { return Ok(None) };
        let auth = codec::auth(body)?;
        self.input.advance(len);
        // [MQTT-4.12.0-3]
        match auth.reason {
            AuthReason::Continue => Ok(Some((auth, len))),
            _ => Err(Reason::ProtocolError),
        }
    }

    /// The client may connect.
    fn allow(
        &mut self,
        limits: &Limits,
        pending: PendingConnect,
        identity: Identity,
        data: Option<Bytes>,
    ) -> HandshakeProgress {
        // The client answered a challenge that it was not sent yet.
        if !pending.said.is_empty() {
            let refusal = self.silent_refusal(Reason::ProtocolError);
            return HandshakeProgress::Refused(refusal.after(pending.said));
        }
        let client_id = &*pending.connect.client_id;
        let subject = Subject { user: identity.user(), client_id, rights: identity.rights() };
        if let Some(will) = &pending.connect.will
            && limits.policy.will(&will.message.topic, subject).is_err()
        {
            return self.deny(pending, Denial::Will);
        }
        let PendingConnect { mut connect, method, questions, wire_bytes, .. } = pending;
        connect.identity = identity;
        connect.authenticated = method.map(|method| Authenticated { method, data, questions });
        let rest = self.input.take_rest();
        HandshakeProgress::Connect(Box::new(Connecting { connect, rest, wire_bytes }))
    }

    fn deny(&mut self, pending: PendingConnect, denial: Denial) -> HandshakeProgress {
        let refusal = self.refusal(pending, denial.into());
        HandshakeProgress::Refused(ConnectRefusal { denial: Some(denial), ..refusal })
    }

    /// Refuses with a CONNACK, after the frames that still wait.
    fn refusal(&mut self, pending: PendingConnect, reason: Reason) -> ConnectRefusal {
        self.input.clear();
        let audience = Audience::of(&pending.connect);
        let client_id = Some(pending.connect.client_id);
        ConnectRefusal::with_connack(audience, reason, client_id).after(pending.said)
    }

    /// Refuses without a CONNACK.
    fn silent_refusal(&mut self, reason: Reason) -> ConnectRefusal {
        self.input.clear();
        ConnectRefusal { frame: Bytes::new(), reason, denial: None, client_id: None }
    }
}

impl Connecting {
    /// Refuses the client and names another server, `reference` (Server Reference).
    pub fn redirect(&self, reference: &str) -> ConnectRefusal {
        let mut frame = BytesMut::new();
        codec::connack_to(&mut frame, Audience::of(&self.connect), reference);
        let client_id = Some(self.connect.client_id.clone());
        let reason = Reason::UseAnotherServer;
        ConnectRefusal { frame: frame.freeze(), reason, denial: None, client_id }
    }

    /// Refuses the client if its CONNACK would exceed its Maximum Packet Size [MQTT-3.1.2-24]. Call
    /// this once the client id is filled in, and before finding or making a session: a refused
    /// client must not end or change one.
    pub fn unanswerable(&self, limits: &Limits) -> Option<ConnectRefusal> {
        let max = self.connect.packet_bytes_max?;
        let keep_alive_secs = self.connect.keep_alive(limits).0;
        let mut frame = BytesMut::new();
        // Session Present is one bit of the same byte, so the length does not depend on it.
        codec::connack(&mut frame, &self.connect, false, keep_alive_secs, limits);
        (frame.len() > max as usize).then(|| self.refuse(Reason::PacketTooLarge))
    }

    /// Refuses the client for `reason`, without a CONNACK if that would exceed its Maximum Packet
    /// Size [MQTT-3.1.2-24].
    pub fn refuse(&self, reason: Reason) -> ConnectRefusal {
        let client_id = Some(self.connect.client_id.clone());
        let refusal = ConnectRefusal::with_connack(Audience::of(&self.connect), reason, client_id);
        match self.connect.packet_bytes_max {
            Some(max) if refusal.frame.len() > max as usize => {
                ConnectRefusal { frame: Bytes::new(), ..refusal }
            }
            _ => refusal,
        }
    }
}

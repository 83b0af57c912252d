//! A connection before CONNACK. CONNECT must come first [MQTT-3.1.0-1]; a client that authenticates
//! itself may send AUTH after it, and nothing else [MQTT5 4.12].

use bytes::{Bytes, BytesMut};

use super::codec::{
    self, AUTH_FIRST, Audience, AuthReason, CONNECT_FIRST, DISCONNECT_FIRST, Header, Input, Reason,
};
use super::connect::{Authenticated, Authentication, Connect};
use super::scram::{Exchange, METHOD, Nonce, Step, Users};
use super::{Limits, Version};

/// The longest CONNECT, in bytes, whatever `Limits::packet_bytes_max`: an unknown client gets no more
/// memory than the largest CONNECT needs (five fields of at most 64 KiB each).
pub const CONNECT_BYTES_MAX: u32 = 512 << 10;

/// The longest AUTH, in bytes; `scram::MESSAGE_BYTES_MAX` of them may be its data.
pub const AUTH_BYTES_MAX: u32 = 4 << 10;

/// Who may connect.
#[derive(Debug, Default)]
pub struct Access {
    /// Users that clients can authenticate as by SCRAM-SHA-256; `None`: clients cannot.
    pub users: Option<Users>,
    /// Whether clients that do not authenticate are refused.
    pub scram_required: bool,
}

/// A connection whose CONNECT has not arrived whole, or whose client is being authenticated.
#[derive(Debug)]
pub struct Handshake {
    input: Input,
    nonce: Nonce,
    pending: Option<Box<Pending>>,
}

/// A CONNECT whose client is being authenticated.
#[derive(Debug)]
struct Pending {
    connect: Connect,
    exchange: Exchange,
    /// Length of the client's packets so far, in bytes.
    wire_bytes: u64,
}

/// How far a handshake has come.
#[derive(Debug)]
pub enum Progress {
    /// More bytes are needed.
    More,
    /// Send the frame; then more bytes are needed.
    Reply(Bytes),
    /// A valid CONNECT.
    Connect(Box<Connecting>),
    /// The client is refused: send the frame, which may be empty, then close.
    Refused(Refusal),
}

/// Why a client is refused, and what to tell it.
#[derive(Debug)]
pub struct Refusal {
    /// CONNACK, where the protocol allows one; else empty.
    pub frame: Bytes,
    /// The reason, for counters and logs; MQTT 5 numbering.
    pub reason: Reason,
    /// Its client id, for logs, if known.
    pub client_id: Option<String>,
}

impl Refusal {
    fn with_connack(audience: Audience, reason: Reason, client_id: Option<String>) -> Self {
        let mut frame = BytesMut::new();
        codec::connack_refusal(&mut frame, audience, reason);
        Self { frame: frame.freeze(), reason, client_id }
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

    /// The CONNECT of a client that is being authenticated; the caller may fill in an empty client id.
    pub fn pending_mut(&mut self) -> Option<&mut Connect> {
        self.pending.as_mut().map(|pending| &mut pending.connect)
    }

    /// The client id, once CONNECT has arrived.
    pub fn client_id(&self) -> Option<&str> {
        self.pending.as_ref().map(|pending| &*pending.connect.client_id)
    }

    /// Bytes that have arrived and are not parsed yet.
    pub fn input_len(&self) -> usize {
        self.input.len()
    }

    /// Bytes of packets parsed so far.
    pub fn parsed_bytes(&self) -> u64 {
        self.pending.as_ref().map_or(0, |pending| pending.wire_bytes)
    }

    /// Takes the bytes that arrived. Do not call it again after it returned anything but `More` or
    /// `Reply`.
    pub fn handle_bytes(&mut self, limits: &Limits, access: &Access, bytes: &[u8]) -> Progress {
        self.input.extend(bytes);
        let mut said = BytesMut::new();
        loop {
            match self.progress(limits, access) {
                Ok(Progress::Reply(frame)) => said.extend_from_slice(&frame),
                Ok(Progress::More) if said.is_empty() => return Progress::More,
                Ok(Progress::More) => return Progress::Reply(said.freeze()),
                Ok(Progress::Connect(connecting)) if said.is_empty() => {
                    return Progress::Connect(connecting);
                }
                // The client answered a message that has not been sent yet.
                Ok(Progress::Connect(_)) => return self.refused(Reason::ProtocolError, said),
                Ok(Progress::Refused(refusal)) => {
                    self.input.clear();
                    said.extend_from_slice(&refusal.frame);
                    return Progress::Refused(Refusal { frame: said.freeze(), ..refusal });
                }
                Err(reason) => return self.refused(reason, said),
            }
        }
    }

    /// Refuses the client without a CONNACK, after the frames of `said`.
    fn refused(&mut self, reason: Reason, said: BytesMut) -> Progress {
        self.input.clear();
        Progress::Refused(Refusal { frame: said.freeze(), reason, client_id: None })
    }

    /// Takes one step. An error means: close without CONNACK, since there was no CONNECT to answer.
    fn progress(&mut self, limits: &Limits, access: &Access) -> Result<Progress, Reason> {
        let Some(&first) = self.input.bytes().first() else { return Ok(Progress::More) };
        if let Some(pending) = self.pending.take() {
            let audience = Audience::of(&pending.connect);
            let client_id = pending.connect.client_id.clone();
            return match self.exchange(first, pending, access) {
                // The client sent DISCONNECT.
                Err(Reason::Success) => Err(Reason::Success),
                Err(reason) => {
                    let refusal = Refusal::with_connack(audience, reason, Some(client_id));
                    Ok(Progress::Refused(refusal))
                }
                Ok(progress) => Ok(progress),
            };
        }
        // [MQTT-3.1.0-1]; the flags are reserved [MQTT-2.2.2-1].
        if first != CONNECT_FIRST {
            return Err(Reason::ProtocolError);
        }
        // The version is not known yet; 3.1.1 has the laxer rules for the length.
        let Some(header) = Header::parse(self.input.bytes(), Version::V311)? else {
            return Ok(Progress::More);
        };
        let len = header.packet_len();
        if len > limits.packet_bytes_max.min(CONNECT_BYTES_MAX) as usize {
            return Err(Reason::PacketTooLarge);
        }
        let Some(body) = self.input.bytes().get(header.len..len) else {
            return Ok(Progress::More);
        };
        match codec::connect(body, limits) {
            Ok(connect) => {
                let audience = Audience::of(&connect);
                // Now the version is known: check the length by its rules [MQTT-1.5.5-1].
                if let Err(reason) = Header::parse(self.input.bytes(), connect.version) {
                    let refusal = Refusal::with_connack(audience, reason, Some(connect.client_id));
                    return Ok(Progress::Refused(refusal));
                }
                self.input.advance(len);
                let admitted = self.admit(connect, len as u64, access);
                Ok(admitted.unwrap_or_else(|(client_id, reason)| {
                    Progress::Refused(Refusal::with_connack(audience, reason, Some(client_id)))
                }))
            }
            Err(codec::Refused { audience: None, reason }) => Err(reason),
            Err(codec::Refused { audience: Some(audience), reason }) => {
                Ok(Progress::Refused(Refusal::with_connack(audience, reason, None)))
            }
        }
    }

    /// Accepts the CONNECT, or begins to authenticate its client [MQTT-4.12.0-1]. An error is the
    /// client id, and the reason for refusing it.
    fn admit(
        &mut self,
        mut connect: Connect,
        wire_bytes: u64,
        access: &Access,
    ) -> Result<Progress, (String, Reason)> {
        match connect.authentication.take() {
            None if access.scram_required => Err((connect.client_id, Reason::NotAuthorized)),
            None => {
                let rest = self.input.take_rest();
                Ok(Progress::Connect(Box::new(Connecting { connect, rest, wire_bytes })))
            }
            Some(Authentication { method, data }) => {
                if &*method != METHOD || access.users.is_none() {
                    return Err((connect.client_id, Reason::BadAuthenticationMethod));
                }
                let client_id = connect.client_id.clone();
                let pending = Pending { connect, exchange: Exchange::Begun, wire_bytes };
                let begun = match data {
                    Some(data) => self.step(pending, Some(&data), access),
                    None => self.reply(pending, None),
                };
                begun.map_err(|reason| (client_id, reason))
            }
        }
    }

    /// Takes a packet of a client that is being authenticated: AUTH or DISCONNECT [MQTT-3.1.2-30].
    fn exchange(
        &mut self,
        first: u8,
        mut pending: Box<Pending>,
        access: &Access,
    ) -> Result<Progress, Reason> {
        match first {
            AUTH_FIRST => {}
            DISCONNECT_FIRST => return Err(Reason::Success),
            // Reserved flags [MQTT-3.15.1-1].
            _ if first & 0xF0 == AUTH_FIRST => return Err(Reason::MalformedPacket),
            _ => return Err(Reason::ProtocolError),
        }
        let header = Header::parse(self.input.bytes(), Version::V5)?;
        let len = header.map_or(0, Header::packet_len);
        if len > AUTH_BYTES_MAX as usize {
            return Err(Reason::PacketTooLarge);
        }
        let body = header.and_then(|header| self.input.bytes().get(header.len..len));
        let Some(body) = body else {
            self.pending = Some(pending);
            return Ok(Progress::More);
        };
        let auth = codec::auth(body)?;
        self.input.advance(len);
        pending.wire_bytes += len as u64;
        // [MQTT-4.12.0-3] [MQTT-4.12.0-5]
        if auth.reason != AuthReason::Continue || &*auth.method != METHOD {
            return Err(Reason::ProtocolError);
        }
        self.step(*pending, auth.data.as_deref(), access)
    }

    fn step(
        &mut self,
        pending: Pending,
        data: Option<&[u8]>,
        access: &Access,
    ) -> Result<Progress, Reason> {
        let Pending { mut connect, exchange, wire_bytes } = pending;
        let users = access.users.as_ref().ok_or(Reason::NotAuthorized)?;
        match exchange.step(users, &self.nonce, data) {
            Ok(Step::Continue(exchange, data)) => {
                self.reply(Pending { connect, exchange, wire_bytes }, Some(&data))
            }
            Ok(Step::Done(user, data)) => {
                connect.authenticated = Some(Authenticated { user, data });
                let rest = self.input.take_rest();
                Ok(Progress::Connect(Box::new(Connecting { connect, rest, wire_bytes })))
            }
            Err(_) => Err(Reason::NotAuthorized),
        }
    }

    /// Sends AUTH and waits for the client's next one [MQTT-4.12.0-2].
    fn reply(&mut self, pending: Pending, data: Option<&[u8]>) -> Result<Progress, Reason> {
        let mut frame = BytesMut::new();
        codec::put_auth(&mut frame, AuthReason::Continue, METHOD, data);
        if frame.len() > Audience::of(&pending.connect).packet_len_max {
            return Err(Reason::PacketTooLarge);
        }
        self.pending = Some(Box::new(pending));
        Ok(Progress::Reply(frame.freeze()))
    }
}

impl Connecting {
    /// Refuses the client and names another server, `reference` (Server Reference).
    pub fn redirect(&self, reference: &str) -> Refusal {
        let mut frame = BytesMut::new();
        codec::connack_to(&mut frame, Audience::of(&self.connect), reference);
        let client_id = Some(self.connect.client_id.clone());
        Refusal { frame: frame.freeze(), reason: Reason::UseAnotherServer, client_id }
    }

    /// Refuses the client if its CONNACK would exceed its Maximum Packet Size [MQTT-3.1.2-24]. Call this
    /// with the client id filled in, and before a session is found or made: a refused client must not
    /// end or change a session.
    pub fn unanswerable(&self, limits: &Limits) -> Option<Refusal> {
        let max = self.connect.packet_bytes_max?;
        let keep_alive_secs = self.connect.keep_alive(limits).0;
        let mut frame = BytesMut::new();
        // Session Present is a bit: the length is the same with it.
        codec::connack(&mut frame, &self.connect, false, keep_alive_secs, limits);
        (frame.len() > max as usize).then(|| self.refuse(Reason::PacketTooLarge))
    }

    /// Refuses the client for `reason`; without a CONNACK where that would exceed its Maximum Packet Size
    /// [MQTT-3.1.2-24].
    pub fn refuse(&self, reason: Reason) -> Refusal {
        let client_id = Some(self.connect.client_id.clone());
        let refusal = Refusal::with_connack(Audience::of(&self.connect), reason, client_id);
        match self.connect.packet_bytes_max {
            Some(max) if refusal.frame.len() > max as usize => {
                Refusal { frame: Bytes::new(), ..refusal }
            }
            _ => refusal,
        }
    }
}

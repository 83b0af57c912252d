//! Before CONNECT: the only packet that this type understands [MQTT-3.1.0-1].

use bytes::{Bytes, BytesMut};

use super::codec::{self, Audience, CONNECT_FIRST, Header, Input, Reason};
use super::will::Will;
use super::{Limits, Version};

/// The longest CONNECT taken, in bytes, whatever `Limits::packet_bytes_max`: whoever has not
/// introduced himself gets no more memory than an introduction needs (its five fields are at most
/// 64 KiB each).
pub const CONNECT_BYTES_MAX: u32 = 512 << 10;

/// A connection whose CONNECT has not arrived whole.
#[derive(Debug, Default)]
pub struct Handshake {
    input: Input,
}

/// How far a handshake has come.
#[derive(Debug)]
pub enum Progress {
    /// More bytes are needed.
    More,
    /// A valid CONNECT.
    Connect(Box<Connecting>),
    /// Not to be served: send the frame (may be empty), then close.
    Refused(Refusal),
}

/// Why and how a client is turned away.
#[derive(Debug)]
pub struct Refusal {
    /// CONNACK, where the protocol allows one; else empty.
    pub frame: Bytes,
    /// The reason, for counters and logs; MQTT 5 numbering.
    pub reason: Reason,
}

impl Refusal {
    /// Closes without a word.
    fn silent(reason: Reason) -> Self {
        Self { frame: Bytes::new(), reason }
    }

    fn with_connack(audience: Audience, reason: Reason) -> Self {
        let mut frame = BytesMut::new();
        codec::connack_refusal(&mut frame, audience, reason);
        Self { frame: frame.freeze(), reason }
    }
}

/// What a client asked for.
#[derive(Debug)]
#[expect(missing_docs, reason = "names are the specification's; units are in the names")]
pub struct Connect {
    pub version: Version,
    /// Empty when the server is to assign one.
    pub client_id: String,
    /// Whether the server chose the client id; to be set by who fills it in.
    pub client_id_assigned: bool,
    /// Clean session (3.1.1) or clean start (5).
    pub clean_start: bool,
    pub keep_alive_secs: u16,
    /// For 3.1.1: 0 with clean session, else the most granted. Capped for MQTT 5.
    pub session_expiry_secs: u32,
    /// Whether the client asked for a longer one.
    pub session_expiry_capped: bool,
    pub receive_max: u16,
    pub packet_bytes_max: Option<u32>,
    /// 0 in 3.1.1, which has none.
    pub topic_alias_max: u16,
    pub request_problem_information: bool,
    pub request_response_information: bool,
    pub user_name: Option<String>,
    pub password: Option<Bytes>,
    pub will: Option<Box<Will>>,
}

impl Connect {
    pub(super) fn audience(&self) -> Audience {
        let wants_words = self.request_problem_information;
        Audience::new(self.version, self.packet_bytes_max, wants_words)
    }
}

/// A valid CONNECT and what came after it in the same bytes.
#[derive(Debug)]
pub struct Connecting {
    /// The request.
    pub connect: Connect,
    /// Bytes behind the CONNECT packet, not parsed.
    pub rest: BytesMut,
    /// Length of the CONNECT packet on the wire, in bytes.
    pub wire_bytes: u64,
}

impl Handshake {
    /// Takes what arrived. To be called no more once it has returned anything but `More`.
    pub fn handle_bytes(&mut self, limits: &Limits, bytes: &[u8]) -> Progress {
        self.input.extend(bytes);
        match self.progress(limits) {
            Ok(progress) => progress,
            Err(reason) => {
                self.input.clear();
                Progress::Refused(Refusal::silent(reason))
            }
        }
    }

    /// Errors are those that no CONNACK answers: what came is not even a CONNECT.
    fn progress(&mut self, limits: &Limits) -> Result<Progress, Reason> {
        match self.input.bytes().first() {
            None => return Ok(Progress::More),
            // [MQTT-3.1.0-1]; the flags are reserved [MQTT-2.2.2-1].
            Some(&first) if first != CONNECT_FIRST => return Err(Reason::ProtocolError),
            Some(_) => {}
        }
        // Which version's rules the length obeys is not known yet.
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
        Ok(match codec::connect(body, limits) {
            Ok(connect) => {
                self.input.advance(len);
                let rest = self.input.take_rest();
                Progress::Connect(Box::new(Connecting { connect, rest, wire_bytes: len as u64 }))
            }
            Err(codec::Refused { audience: None, reason }) => return Err(reason),
            Err(codec::Refused { audience: Some(audience), reason }) => {
                self.input.clear();
                Progress::Refused(Refusal::with_connack(audience, reason))
            }
        })
    }
}

impl Connecting {
    /// The CONNACK that sends this client to another server; `reference` is its Server Reference.
    pub fn redirect(&self, reference: &str) -> Refusal {
        let mut frame = BytesMut::new();
        codec::connack_to(&mut frame, self.connect.audience(), reference);
        Refusal { frame: frame.freeze(), reason: Reason::UseAnotherServer }
    }

    /// The CONNACK that turns this client away for a reason of the server's.
    pub fn refuse(&self, reason: Reason) -> Refusal {
        Refusal::with_connack(self.connect.audience(), reason)
    }
}

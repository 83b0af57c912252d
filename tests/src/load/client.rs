//! One client: how far its connection has come, and what a packet means at that point. It does no
//! I/O but on the socket that it holds for its engine.

use std::io::{self, Write};

use mio::net::TcpStream;

use super::transport::Transport;
use super::wire::{
    CONNACK, DISCONNECT, Decoder, PINGRESP, PUBLISH_QOS0, Packet, RETAIN, SUBACK, Version,
};

/// A client. 20,000 of them are a small machine's worth, so it is kept small.
#[derive(Debug, Default)]
pub(super) struct Client {
    pub(super) stream: Option<TcpStream>,
    pub(super) stage: Stage,
    pub(super) transport: Transport,
    pub(super) decoder: Decoder,
    /// When the unanswered ping was sent.
    pub(super) pinged_at_ns: Option<u64>,
    /// When the attempt to connect began.
    pub(super) connecting_since_ns: u64,
}

/// How far a connection has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Stage {
    /// There is none.
    #[default]
    Down,
    /// TCP is shaking hands.
    Connecting,
    /// The layers around MQTT are: TLS, WebSocket.
    Opening,
    /// CONNECT is sent, CONNACK awaited.
    Greeting,
    /// In service.
    Up,
    /// DISCONNECT is sent, the server's close awaited.
    Leaving,
}

impl Stage {
    /// Whether a connection is begun and not up.
    pub(super) fn is_connecting(self) -> bool {
        matches!(self, Self::Connecting | Self::Opening | Self::Greeting)
    }
}

/// The meaning of a valid packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// CONNACK: in service now.
    Accepted,
    /// PINGRESP to the ping sent then.
    Pong { pinged_at_ns: u64 },
    /// PUBLISH.
    Publish,
    /// SUBACK.
    Subscribed,
    /// DISCONNECT with its reason.
    Goodbye(u8),
}

/// A packet that a server must not send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// CONNACK that refuses: allowed, but the end.
    Refused(u8),
    /// A packet that is wrong, or wrong at this point.
    Unexpected(Packet, Stage),
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused(code) => write!(f, "the server refused: CONNACK with code {code:#04x}"),
            Self::Unexpected(packet, stage) => write!(
                f,
                "bad packet: first byte {:#04x}, remaining length {}, body begins {:02x?}, {}",
                packet.first,
                packet.remaining,
                &packet.head[..packet.head.len().min(packet.remaining as usize)],
                match stage {
                    Stage::Greeting => "where CONNACK was due",
                    _ => "not valid or not asked for",
                }
            ),
        }
    }
}

impl Client {
    /// The meaning of `packet` now.
    pub(super) fn hear(&mut self, packet: Packet, version: Version) -> Result<Heard, Fault> {
        let unexpected = Err(Fault::Unexpected(packet, self.stage));
        if self.stage == Stage::Greeting {
            let short = packet.remaining < 2 || version == Version::V311 && packet.remaining != 2;
            if packet.first != CONNACK || short {
                return unexpected;
            }
            if packet.head[1] != 0 {
                return Err(Fault::Refused(packet.head[1]));
            }
            self.stage = Stage::Up;
            return Ok(Heard::Accepted);
        }
        match packet.first {
            PINGRESP if packet.remaining == 0 => match self.pinged_at_ns.take() {
                Some(pinged_at_ns) => Ok(Heard::Pong { pinged_at_ns }),
                None => unexpected,
            },
            first if first & !RETAIN == PUBLISH_QOS0 && packet.remaining >= 2 => Ok(Heard::Publish),
            // Packet id 1, one granted QoS 0; MQTT 5 has the length of its properties between.
            SUBACK if packet.head[..2] == [0, 1] && self.is_granted(packet, version) => {
                Ok(Heard::Subscribed)
            }
            DISCONNECT if version == Version::V5 => Ok(Heard::Goodbye(packet.head[0])),
            _ => unexpected,
        }
    }

    /// Writes a few bytes of MQTT, and what the layers owe, all of it. A socket that does not take
    /// them counts as lost, since the server never has more than a few of ours unread. `wrapped` is
    /// used on the way.
    pub(super) fn write(&mut self, mqtt: &[u8], wrapped: &mut Vec<u8>) -> io::Result<()> {
        let stream = self.stream.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        let bytes = if self.transport.is_plain() {
            mqtt
        } else {
            wrapped.clear();
            self.transport.wrap(mqtt, wrapped).map_err(io::Error::other)?;
            wrapped.as_slice()
        };
        if bytes.is_empty() {
            return Ok(());
        }
        match stream.write(bytes)? {
            written if written == bytes.len() => Ok(()),
            _ => Err(io::ErrorKind::WriteZero.into()),
        }
    }

    fn is_granted(&self, packet: Packet, version: Version) -> bool {
        match version {
            Version::V311 => packet.remaining == 3 && packet.head[2] == 0,
            // With properties the code lies further behind, so assume that it was granted.
            Version::V5 => packet.remaining >= 4 && (packet.head[2] != 0 || packet.head[3] == 0),
        }
    }
}

#[cfg(test)]
mod tests;

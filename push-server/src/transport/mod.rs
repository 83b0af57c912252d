//! The layers around the MQTT bytes of a connection: none, or WebSocket's frames. Sans I/O: a
//! peer's bytes in, MQTT's bytes out, and the reverse. It knows no MQTT packet, no socket and no
//! clock.
//!
//! A [`Transport`] is a stack of layers, the outermost first; MQTT is inside the last. Its user
//! does not know which layers there are:
//! - [`Transport::take`] unwraps received bytes. Afterwards look at [`Transport::owes`] (a layer
//!   has an answer of its own to send: call `wrap` soon, with or without bytes of MQTT) and
//!   [`Transport::ended`].
//! - [`Transport::wrap`] wraps the next bytes to send. Call it in the order in which bytes leave,
//!   and send all that it returns.
//! - [`Transport::close`] makes the layers say goodbye after the bytes that are wrapped next.
//! - [`Transport::freeze`] and [`Transport::thaw`] are for a client that moves.
//! - [`Transport::heartbeat`] and [`Transport::whole_wire_bytes`] are for the kernel path, which
//!   answers pings by their form on the wire and only while both streams are at rest.
//!
//! # How TLS fits
//! TLS will be a variant of `layer::Layer`, with `Kind`s of its own (alone, and around WebSocket);
//! its configuration becomes an argument of [`Transport::new`]. Its parts map so:
//! - Handshake: the layer owes its flights; MQTT's bytes begin when `take` first returns some.
//!   Nothing is wrapped before, since a server says nothing before CONNECT. `heartbeat` is `None`
//!   until the keys are there.
//! - An incomplete record stays in the layer, and `is_whole` says so: `rx` keeps its value, and the
//!   kernel declines. An idle connection holds no part of a record, so no buffer.
//! - `wrap` seals, which takes the claim of the kernel path (`HELD`). The claim may be released
//!   when TCP has all sealed bytes, `tx` is published, and `owes` is false: rustls seals its answer
//!   to a KeyUpdate at once and holds it until the next write, and `owes` is true meanwhile. The
//!   shard publishes `tx` at the end of a send already, so the release belongs there.
//! - The layer owes alerts and close_notify after an end or `close`; their causes are variants of
//!   [`Ended`], of which callers only ask text and limit.
//! - [`Transport::heartbeat`] asks the layers from the inside out: 2 and 2 bytes become 24 and 24
//!   in TLS 1.3, 8 and 4 in WebSocket, and 30 and 26 in WebSocket in TLS 1.3.
//! - `freeze` yields suite, keys, record numbers and traffic secrets, with an incomplete record.
//!
//! Not covered: how many handshakes advance in a turn, and whom a client certificate names. The
//! shard will have to ask the transport for both.

mod end;
mod frozen;
mod layer;
mod websocket;

#[cfg(test)]
mod tests;

use bytes::Bytes;
use push_common::clock::Monotonic;
use push_common::heartbeat::Heartbeat;
use push_common::ping_rate::PingPace;

use layer::Layer;
use websocket::WebSocket;

pub(crate) use end::{Ended, Goodbye, Limit};
pub(crate) use frozen::FrozenTransport;
pub(crate) use websocket::UPGRADE_HEAD_BYTES_MAX;

/// Which layers a listener's connections have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// None: only bytes of MQTT.
    Plain,
    /// WebSocket's binary frames.
    WebSocket,
    /// TLS records.
    Tls,
    /// TLS records around WebSocket's binary frames.
    TlsWebSocket,
}

/// What TLS layers are made with: certificates, what is asked of clients, ticket keys.
pub(crate) type ServerTls = rustls::ServerConfig;

/// The layers of one connection; a null pointer if there are none.
#[derive(Debug, Default)]
pub(crate) struct Transport(Option<Box<Layers>>);

#[derive(Debug)]
struct Layers {
    /// Bytes received by the outermost layer.
    received_bytes: u64,
    outer: Layer,
    inside: Transport,
}

/// Buffers to unwrap into, one for each layer. All connections use the same, so none owns any.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    unwrapped: Vec<u8>,
    inside: Option<Box<Scratch>>,
}

impl Transport {
    /// The transport of a new connection. Pings of its layers count from `now` on.
    pub(crate) fn new(kind: Kind, now: Monotonic) -> Self {
        match kind {
            Kind::Plain => Self(None),
            Kind::WebSocket => Self::around(Layer::WebSocket(WebSocket::new(now)), Self(None)),
            Kind::Tls | Kind::TlsWebSocket => unreachable!("the layer for TLS comes next"),
        }
    }

    fn around(outer: Layer, inside: Self) -> Self {
        Self(Some(Box::new(Layers { received_bytes: 0, outer, inside })))
    }

    /// Whether MQTT's bytes go to the socket as they are.
    pub(crate) fn is_plain(&self) -> bool {
        self.0.is_none()
    }

    /// Takes received bytes, and returns the bytes of MQTT in them. `pace`: how often the peer may
    /// ping, for layers with pings of their own.
    pub(crate) fn take<'a>(
        &mut self,
        bytes: &'a [u8],
        pace: PingPace,
        now: Monotonic,
        scratch: &'a mut Scratch,
    ) -> &'a [u8] {
        let Some(layers) = &mut self.0 else { return bytes };
        let Scratch { unwrapped, inside } = scratch;
        layers.received_bytes += bytes.len() as u64;
        unwrapped.clear();
        layers.outer.take(bytes, pace, now, unwrapped);
        layers.inside.take(unwrapped, pace, now, inside.get_or_insert_default())
    }

    /// Wraps bytes of MQTT, if any, and adds what the layers have to send.
    pub(crate) fn wrap(&mut self, chunks: &mut Vec<Bytes>) {
        if let Some(layers) = &mut self.0 {
            layers.inside.wrap(chunks);
            layers.outer.wrap(chunks);
        }
    }

    /// Whether `wrap` would return something without bytes of MQTT.
    pub(crate) fn owes(&self) -> bool {
        self.0.as_ref().is_some_and(|layers| layers.outer.owes() || layers.inside.owes())
    }

    /// Takes no more input. Layers that can say goodbye do so after the bytes that are wrapped
    /// next: they answer the peer's own, or name its fault, or say `goodbye`.
    pub(crate) fn close(&mut self, goodbye: Goodbye) {
        if let Some(layers) = &mut self.0 {
            layers.inside.close(goodbye);
            layers.outer.close(goodbye);
        }
    }

    /// Why the layers take no more input from the peer. `None`: they still do, or `close` was
    /// called.
    pub(crate) fn ended(&self) -> Option<Ended> {
        let layers = self.0.as_ref()?;
        // The inner layer's end came first in the stream.
        layers.inside.ended().or_else(|| layers.outer.ended())
    }

    /// What a heartbeat is on the wire. `None`: no heartbeat can come yet, or any more.
    pub(crate) fn heartbeat(&self) -> Option<Heartbeat> {
        match &self.0 {
            None => Some(Heartbeat::PLAIN),
            Some(layers) => layers.outer.around(layers.inside.heartbeat()?),
        }
    }

    /// How many bytes came on the wire up to the end of the last whole packet. `parsed_bytes` is
    /// that end in bytes of MQTT, `pending_bytes` what MQTT has of the packet after it. `None`: a
    /// packet, a frame or a message of frames has come in part, and where the last whole packet
    /// ended is not known.
    pub(crate) fn whole_wire_bytes(&self, parsed_bytes: u64, pending_bytes: usize) -> Option<u64> {
        let Some(layers) = &self.0 else { return Some(parsed_bytes) };
        (pending_bytes == 0 && self.is_whole()).then_some(layers.received_bytes)
    }

    fn is_whole(&self) -> bool {
        self.0.as_ref().is_none_or(|layers| layers.outer.is_whole() && layers.inside.is_whole())
    }
}

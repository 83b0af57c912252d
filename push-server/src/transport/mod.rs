//! What lies around the MQTT bytes of a connection, in layers: nothing, or WebSocket's frames. Sans
//! I/O: a peer's bytes in, bytes of MQTT out, and the reverse. Knows no MQTT packet, no socket and no
//! clock.
//!
//! A [`Transport`] is a stack of layers, the outermost first; MQTT is inside the last. Whoever uses one
//! does not know which layers there are:
//! - [`Transport::take`] unwraps what came. Then look at [`Transport::owes`] (a layer has an answer of its
//!   own to send: have `wrap` called soon, with or without bytes of MQTT) and [`Transport::ended`].
//! - [`Transport::wrap`] wraps what is sent next. It is called in the order in which bytes leave, and
//!   what it returns has to leave.
//! - [`Transport::close`] has the layers say goodbye behind all that is wrapped next.
//! - [`Transport::freeze`] and [`Transport::thaw`] are for a client that moves.
//! - [`Transport::heartbeat`] and [`Transport::whole_wire_bytes`] are for the kernel path, which answers
//!   pings by their length on the wire and only while both streams are at rest.
//!
//! # How TLS fits
//! TLS will be a variant of `layer::Layer`, with `Kind`s of its own (alone, and around WebSocket), and
//! its configuration becomes an argument of [`Transport::new`]. What it does maps so:
//! - Handshake: its flights are what the layer owes; MQTT's bytes begin when `take` first returns some.
//!   Nothing is wrapped before, since a server says nothing before CONNECT. `heartbeat` is `None` until
//!   the keys are there.
//! - A record that has not come whole stays in the layer, and `is_whole` says so: `rx` keeps its
//!   value, and the kernel declines. An idle connection holds no part of a record, so no buffer.
//! - `wrap` seals, which takes the claim of the kernel path (`HELD`). The claim may be released when
//!   all that was sealed has been handed to TCP, `tx` is published, and `owes` is false: rustls seals
//!   its answer to a KeyUpdate at once and holds it until the next write, and `owes` is true meanwhile.
//!   The end of a send is where the shard publishes `tx` already, so the release belongs there.
//! - Alerts and close_notify are what it owes behind an end or after `close`; their causes are variants
//!   of [`Ended`], which callers ask for text and limit only.
//! - [`Transport::heartbeat`] asks the layers from the inside out: 2 and 2 bytes are 24 and 24 in TLS 1.3,
//!   8 and 4 in WebSocket, and 30 and 26 in WebSocket in TLS 1.3.
//! - `freeze` gives suite, keys, record numbers and traffic secrets, with a record in part.
//!
//! Not covered: how many handshakes advance in a turn, and who a client certificate names. Both are
//! questions that the shard will ask the transport.

mod end;
mod frozen;
mod heartbeat;
mod layer;
mod websocket;

#[cfg(test)]
mod tests;

use bytes::Bytes;
use push_common::clock::Monotonic;
use push_common::ping_rate::PingPace;

use layer::Layer;
use websocket::WebSocket;

pub(crate) use end::{Ended, Goodbye, Limit};
pub(crate) use frozen::FrozenTransport;
pub(crate) use heartbeat::Heartbeat;
pub(crate) use websocket::UPGRADE_HEAD_BYTES_MAX;

/// Which layers a listener's connections have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// None: bytes of MQTT and nothing else.
    Plain,
    /// WebSocket's binary frames.
    WebSocket,
}

/// The layers of one connection. Nothing but a null pointer where there is none.
#[derive(Debug, Default)]
pub(crate) struct Transport(Option<Box<Layers>>);

#[derive(Debug)]
struct Layers {
    /// Bytes that came to the outermost of these.
    received_bytes: u64,
    outer: Layer,
    inside: Transport,
}

/// What bytes are unwrapped into, one buffer a layer. For one connection after another, so that none
/// owns any.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    unwrapped: Vec<u8>,
    inside: Option<Box<Scratch>>,
}

impl Transport {
    /// Of a connection from which nothing has come; pings of its layers are charged from `now` on.
    pub(crate) fn new(kind: Kind, now: Monotonic) -> Self {
        match kind {
            Kind::Plain => Self(None),
            Kind::WebSocket => Self::around(Layer::WebSocket(WebSocket::new(now)), Self(None)),
        }
    }

    fn around(outer: Layer, inside: Self) -> Self {
        Self(Some(Box::new(Layers { received_bytes: 0, outer, inside })))
    }

    /// Whether no layer is between the socket and MQTT.
    pub(crate) fn is_plain(&self) -> bool {
        self.0.is_none()
    }

    /// Takes what came, and returns the bytes of MQTT in it. `pace`: how often the peer may ping, for
    /// layers that have pings of their own.
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

    /// Wraps bytes of MQTT, if any, and what the layers owe.
    pub(crate) fn wrap(&mut self, chunks: &mut Vec<Bytes>) {
        if let Some(layers) = &mut self.0 {
            layers.inside.wrap(chunks);
            layers.outer.wrap(chunks);
        }
    }

    /// Whether `wrap` would give something to send without bytes of MQTT.
    pub(crate) fn owes(&self) -> bool {
        self.0.as_ref().is_some_and(|layers| layers.outer.owes() || layers.inside.owes())
    }

    /// Takes nothing more. Layers that have a goodbye send it behind all that is wrapped next: the
    /// answer to the peer's own, or the word for its fault, else `goodbye`.
    pub(crate) fn close(&mut self, goodbye: Goodbye) {
        if let Some(layers) = &mut self.0 {
            layers.inside.close(goodbye);
            layers.outer.close(goodbye);
        }
    }

    /// Why nothing more is taken from the peer; `None` while it is, and once `close` was called.
    pub(crate) fn ended(&self) -> Option<Ended> {
        let layers = self.0.as_ref()?;
        // What the inside has taken came before the end of what is around it.
        layers.inside.ended().or_else(|| layers.outer.ended())
    }

    /// How long a heartbeat is on the wire. `None`: no heartbeat can come yet, or any more.
    pub(crate) fn heartbeat(&self) -> Option<Heartbeat> {
        match &self.0 {
            None => Some(Heartbeat::PLAIN),
            Some(layers) => layers.outer.around(layers.inside.heartbeat()?),
        }
    }

    /// How many bytes came on the wire up to the end of the last whole packet. `parsed_bytes` is that
    /// end in bytes of MQTT, `pending_bytes` what MQTT has of the packet after it. `None`: a packet or
    /// a frame has come in part, and where in the frames the last whole packet ended is not known.
    pub(crate) fn whole_wire_bytes(&self, parsed_bytes: u64, pending_bytes: usize) -> Option<u64> {
        let Some(layers) = &self.0 else { return Some(parsed_bytes) };
        (pending_bytes == 0 && self.is_whole()).then_some(layers.received_bytes)
    }

    fn is_whole(&self) -> bool {
        self.0.as_ref().is_none_or(|layers| layers.outer.is_whole() && layers.inside.is_whole())
    }
}

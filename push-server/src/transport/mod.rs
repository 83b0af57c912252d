//! The layers around the MQTT bytes of a connection: none, WebSocket's frames, TLS records, or both.
//! Sans I/O: a peer's bytes in, MQTT's bytes out, and the reverse. It knows no MQTT packet, no socket
//! and no clock.
//!
//! A [`Transport`] is a stack of layers, the outermost first; MQTT is inside the last. Its user
//! does not know which layers there are:
//! - [`Transport::take`] unwraps received bytes. Afterwards look at [`Transport::owes`] (a layer
//!   has an answer of its own to send: call `wrap` soon, with or without bytes of MQTT),
//!   [`Transport::ended`] and [`Transport::wants_step`].
//! - [`Transport::step`] does what may take long: a step of a handshake. Call it when there is time, and
//!   take no more input before; then look at the same things.
//! - [`Transport::wrap`] wraps the next bytes to send. Call it in the order in which bytes leave,
//!   and send all that it returns. While [`Transport::has_unwrapped`], hand over no more.
//! - [`Transport::close`] makes the layers say goodbye after the bytes that are wrapped next.
//! - [`Transport::heartbeat`] and [`Transport::whole_wire_bytes`] are for the kernel path, which
//!   answers pings by their form on the wire and only while both streams are at rest.
//!
//! # TLS and the kernel path
//! The kernel path answers pings inside TLS by records that user space has sealed ahead, in a table that both share
//! (rules 17 to 22 in the docs of push-common). What a shard does for that:
//! - [`Transport::heartbeat`] says how long a record with a ping or its answer is. In WebSocket's frames inside TLS
//!   there is none, since the client picks a mask for each, and none for suites that [`numbered`] has not wrapped,
//!   whose connections have no [`Numbers`].
//! - [`Numbers::begin`] takes a table, before a flow names it. From then on the words in the table number all records.
//!   If no flow comes to name it, [`Numbers::leave`] gives it up.
//! - In place of storing `rx` a shard calls [`Numbers::publish_rx`], where `whole_wire_bytes` tells it: a record that
//!   has come in part stays in the layer, so `rx` keeps its value, and the kernel declines.
//! - `wrap` seals, and so may `take`, and each claims the numbers when it does. In place of storing `tx` a shard
//!   calls [`Numbers::publish_tx`], when TCP has all that `wrap` has given out. That fills the table and
//!   releases the claim, unless a record is sealed and not given out yet: rustls seals its reply to a KeyUpdate at
//!   once, and gives it out with the next bytes that are wrapped, which `owes` does not say. Until then pings go to
//!   user space.
//! - [`Numbers::fill_up`] fills a table that runs low.
//! - When a connection is closed or has ended, the layer keeps the claim for good, and does not touch the table any
//!   more: `numbers` is `None`. Until then the table must be this connection's.

mod end;
mod layer;
mod stranger;
mod tls;
mod websocket;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::Bytes;
use push_common::clock::Monotonic;
use push_common::heartbeat::Heartbeat;
use push_common::ping_rate::PingPace;

use layer::Layer;
use tls::Tls;
use websocket::WebSocket;

pub(crate) use end::{Ended, Goodbye, Limit};
pub(crate) use stranger::Stranger;
pub(crate) use tls::{
    Cipher, HANDSHAKE_INPUT_BYTES_MAX, Numbers, Seal, ServerTls, Table, TlsHandshake, TlsVersion,
    numbered,
};
pub(crate) use websocket::UPGRADE_HEAD_BYTES_MAX;

/// Certificates and clients for tests of whole shards.
#[cfg(test)]
pub(crate) use tls::tests::pair as tls_pair;

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
    /// Records, opened where they are.
    records: Vec<u8>,
    unwrapped: Vec<u8>,
    inside: Option<Box<Scratch>>,
}

impl Transport {
    /// The transport of a new connection. Pings of its layers count from `now` on. `tls`: what its handshake uses.
    /// `None`: there is TLS in this kind, and nothing to use.
    pub(crate) fn new(kind: Kind, tls: Option<Arc<ServerTls>>, now: Monotonic) -> Option<Self> {
        let inside = match kind {
            Kind::Plain | Kind::Tls => Self(None),
            Kind::WebSocket | Kind::TlsWebSocket => {
                Self::around(Layer::WebSocket(WebSocket::new(now)), Self(None))
            }
        };
        match kind {
            Kind::Plain | Kind::WebSocket => Some(inside),
            Kind::Tls | Kind::TlsWebSocket => {
                Some(Self::around(Layer::Tls(Tls::new(tls?)), inside))
            }
        }
    }

    fn around(outer: Layer, inside: Self) -> Self {
        Self(Some(Box::new(Layers { received_bytes: 0, outer, inside })))
    }

    /// Whether MQTT's bytes go to the socket as they are.
    pub(crate) fn is_plain(&self) -> bool {
        self.0.is_none()
    }

    /// Whether nobody else can read them there: what leaves is a copy of each connection's own.
    pub(crate) fn is_sealed(&self) -> bool {
        self.tls_handshake().is_some()
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
        let Scratch { records, unwrapped, inside } = scratch;
        layers.received_bytes += bytes.len() as u64;
        unwrapped.clear();
        layers.outer.take(bytes, pace, now, records, unwrapped);
        layers.inside.take(unwrapped, pace, now, inside.get_or_insert_default())
    }

    /// Whether what was taken lets a handshake go on, by `step`. No more is to be taken before.
    pub(crate) fn wants_step(&self) -> bool {
        self.0.as_ref().is_some_and(|layers| layers.outer.wants_step())
    }

    /// Goes on with a handshake. Returns the bytes of MQTT that have come behind it, like `take`.
    pub(crate) fn step<'a>(
        &mut self,
        pace: PingPace,
        now: Monotonic,
        scratch: &'a mut Scratch,
    ) -> &'a [u8] {
        let Some(layers) = &mut self.0 else { return &[] };
        let Scratch { unwrapped, inside, .. } = scratch;
        unwrapped.clear();
        // TLS is the outermost layer where there is any.
        layers.outer.step(unwrapped);
        layers.inside.take(unwrapped, pace, now, inside.get_or_insert_default())
    }

    /// How far the handshake of TLS has come; `None`: there is no TLS.
    pub(crate) fn tls_handshake(&self) -> Option<TlsHandshake> {
        self.0.as_ref()?.outer.tls_handshake()
    }

    /// Bytes that have come, and wait in the layers for others.
    pub(crate) fn held_bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |layers| layers.outer.held_bytes() + layers.inside.held_bytes())
    }

    /// Wraps bytes of MQTT, if any, and adds what the layers have to send. Layers that copy what they wrap
    /// wrap at most `bytes_max` bytes, and then have others unwrapped.
    pub(crate) fn wrap(&mut self, chunks: &mut Vec<Bytes>, bytes_max: usize) {
        if let Some(layers) = &mut self.0 {
            layers.inside.wrap(chunks, bytes_max);
            layers.outer.wrap(chunks, bytes_max);
        }
    }

    /// Whether layers keep bytes of MQTT for the next `wrap`.
    pub(crate) fn has_unwrapped(&self) -> bool {
        self.0.as_ref().is_some_and(|layers| layers.outer.has_unwrapped())
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

    /// The record numbers that the kernel path shares. `None`: no TLS, or none whose heartbeats can be known ahead.
    pub(crate) fn numbers(&mut self) -> Option<&mut Numbers> {
        self.0.as_mut()?.outer.numbers()
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

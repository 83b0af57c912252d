//! The layers around the MQTT bytes of a connection: none, WebSocket's frames, TLS records, or both; and in front
//! of them perhaps the header of a proxy.
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
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod layer;
mod proxy;
mod stranger;
mod tls;
mod websocket;

#[cfg(test)]
mod tests;

use std::sync::Arc;

// It has addresses and, unlike `std::net`, no sockets.
use core::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use push_common::clock::Monotonic;
use push_common::heartbeat::Heartbeat;
use push_common::rate::Pace;

use layer::Layer;
use proxy::Proxy;
use tls::Tls;
use websocket::WebSocket;

pub(crate) use end::{Ended, Goodbye, Limit};
pub(crate) use proxy::{PROXY_HEADER_BYTES_MAX, ProxyHeader};
pub(crate) use stranger::Stranger;
pub(crate) use tls::{
    Certificate, Cipher, HANDSHAKE_INPUT_BYTES_MAX, Numbers, Seal, ServerTls, Table, TlsHandshake,
    TlsVersion, numbered,
};
pub(crate) use websocket::{UPGRADE_HEAD_BYTES_MAX, UpgradeRules, normal_origin};

/// Certificates and clients for tests of whole shards, and for fuzz targets.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use tls::pair as tls_pair;

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

impl Kind {
    /// Whether it has WebSocket's frames.
    pub(crate) fn is_web(self) -> bool {
        matches!(self, Self::WebSocket | Self::TlsWebSocket)
    }
}

/// What a new connection begins with.
#[derive(Debug)]
pub(crate) struct Opening {
    pub(crate) kind: Kind,
    /// What its handshake of TLS uses; `None`: nothing is there to use.
    pub(crate) tls: Option<Arc<ServerTls>>,
    /// What its request for WebSocket is judged by.
    pub(crate) upgrade: Arc<UpgradeRules>,
    /// Whether a proxy's header comes before all else.
    pub(crate) is_proxied: bool,
}

impl Opening {
    /// Of this kind, without a proxy; whoever asks is upgraded.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn of(kind: Kind, tls: Option<Arc<ServerTls>>) -> Self {
        Self { kind, tls, upgrade: Arc::default(), is_proxied: false }
    }
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

/// As idle connections have it. Tests have one layer more.
#[cfg(not(test))]
const _: () = assert!(size_of::<Layers>() <= 72);

impl Transport {
    /// The transport of a new connection. Pings of its layers count from `now` on. `None`: there is TLS in this kind,
    /// and nothing to use.
    pub(crate) fn new(opening: Opening, now: Monotonic) -> Option<Self> {
        let Opening { kind, tls, upgrade, is_proxied } = opening;
        let inside = match kind {
            Kind::Plain | Kind::Tls => Self(None),
            Kind::WebSocket | Kind::TlsWebSocket => {
                Self::around(Layer::WebSocket(WebSocket::new(upgrade, now)), Self(None))
            }
        };
        let all = match kind {
            Kind::Plain | Kind::WebSocket => inside,
            Kind::Tls | Kind::TlsWebSocket => Self::around(Layer::Tls(Tls::new(tls?)), inside),
        };
        Some(if is_proxied { Self::around(Layer::Proxy(Proxy::new()), all) } else { all })
    }

    fn around(outer: Layer, inside: Self) -> Self {
        Self(Some(Box::new(Layers { received_bytes: 0, outer, inside })))
    }

    /// How far the header of a proxy has come; `None`: there is no proxy.
    pub(crate) fn proxy_header(&self) -> Option<ProxyHeader> {
        self.proxy().map(Proxy::header)
    }

    /// The client's address, if a proxy has told it.
    pub(crate) fn client(&self) -> Option<SocketAddr> {
        self.proxy().and_then(Proxy::client)
    }

    /// A proxy has told the client's address inside of the layers.
    pub(crate) fn set_client(&mut self, client: SocketAddr) {
        if let Some(layers) = &mut self.0
            && let Layer::Proxy(proxy) = &mut layers.outer
        {
            return proxy.set_client(client);
        }
        // In front of the others, as if the proxy had said it there: only such a connection pays for it.
        *self = Self::around(Layer::Proxy(Proxy::open(client)), std::mem::take(self));
    }

    /// Takes the addresses that proxies have added to a request for WebSocket, the last one's first: once, right when
    /// that has been taken.
    pub(crate) fn take_forwarded(&mut self) -> Vec<IpAddr> {
        let Some(layers) = &mut self.0 else { return Vec::new() };
        match &mut layers.outer {
            Layer::WebSocket(websocket) => websocket.take_forwarded(),
            _ => layers.inside.take_forwarded(),
        }
    }

    fn proxy(&self) -> Option<&Proxy> {
        match &self.0.as_ref()?.outer {
            Layer::Proxy(proxy) => Some(proxy),
            _ => None,
        }
    }

    /// Whether MQTT's bytes go to the socket as they are.
    pub(crate) fn is_plain(&self) -> bool {
        self.0.as_ref().is_none_or(|layers| match &layers.outer {
            Layer::Proxy(_) => layers.inside.is_plain(),
            _ => false,
        })
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
        pace: Pace,
        now: Monotonic,
        scratch: &'a mut Scratch,
    ) -> &'a [u8] {
        let Some(layers) = &mut self.0 else { return bytes };
        let Scratch { records, unwrapped, inside } = scratch;
        layers.received_bytes += bytes.len() as u64;
        if let Layer::Proxy(proxy) = &mut layers.outer {
            return match proxy.take(bytes) {
                [] => &[],
                bytes => layers.inside.take(bytes, pace, now, inside.get_or_insert_default()),
            };
        }
        unwrapped.clear();
        layers.outer.take(bytes, pace, now, records, unwrapped);
        layers.inside.take(unwrapped, pace, now, inside.get_or_insert_default())
    }

    /// Whether what was taken lets a handshake go on, by `step`. No more is to be taken before.
    pub(crate) fn wants_step(&self) -> bool {
        self.0
            .as_ref()
            .is_some_and(|layers| layers.outer.wants_step() || layers.inside.wants_step())
    }

    /// Goes on with a handshake. Returns the bytes of MQTT that have come behind it, like `take`.
    pub(crate) fn step<'a>(
        &mut self,
        pace: Pace,
        now: Monotonic,
        scratch: &'a mut Scratch,
    ) -> &'a [u8] {
        let Some(layers) = &mut self.0 else { return &[] };
        let Scratch { unwrapped, inside, .. } = scratch;
        if let Layer::Proxy(_) = layers.outer {
            return layers.inside.step(pace, now, inside.get_or_insert_default());
        }
        unwrapped.clear();
        // TLS is the outermost layer where there is any, but for a proxy's.
        layers.outer.step(unwrapped);
        layers.inside.take(unwrapped, pace, now, inside.get_or_insert_default())
    }

    /// How far the handshake of TLS has come; `None`: there is no TLS.
    pub(crate) fn tls_handshake(&self) -> Option<TlsHandshake> {
        let layers = self.0.as_ref()?;
        layers.outer.tls_handshake().or_else(|| layers.inside.tls_handshake())
    }

    /// The certificates that the client has shown by TLS, its own first; `None`: it has shown none, or the connection
    /// is over.
    pub(crate) fn client_chain(&self) -> Option<&[Certificate<'static>]> {
        let layers = self.0.as_ref()?;
        layers.outer.client_chain().or_else(|| layers.inside.client_chain())
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
        self.0
            .as_ref()
            .is_some_and(|layers| layers.outer.has_unwrapped() || layers.inside.has_unwrapped())
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
        let layers = self.0.as_mut()?;
        match &mut layers.outer {
            Layer::Proxy(_) => layers.inside.numbers(),
            outer => outer.numbers(),
        }
    }

    /// How many bytes came on the wire up to the end of the last whole packet. `parsed_bytes` is
    /// that end in bytes of MQTT, `pending_bytes` what MQTT has of the packet after it. `None`: a
    /// packet, a frame or a message of frames has come in part, and where the last whole packet
    /// ended is not known.
    pub(crate) fn whole_wire_bytes(&self, parsed_bytes: u64, pending_bytes: usize) -> Option<u64> {
        let Some(layers) = &self.0 else { return Some(parsed_bytes) };
        if let Layer::Proxy(proxy) = &layers.outer {
            return proxy.wire_bytes(layers.inside.whole_wire_bytes(parsed_bytes, pending_bytes)?);
        }
        (pending_bytes == 0 && self.is_whole()).then_some(layers.received_bytes)
    }

    fn is_whole(&self) -> bool {
        self.0.as_ref().is_none_or(|layers| layers.outer.is_whole() && layers.inside.is_whole())
    }
}

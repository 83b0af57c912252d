//! One layer of any kind. It does not know what is inside.

use bytes::Bytes;
use push_common::clock::Monotonic;
use push_common::heartbeat::Heartbeat;
use push_common::rate::Pace;

use super::end::{Ended, Goodbye};
use super::proxy::Proxy;
#[cfg(test)]
use super::tests::records::Records;
use super::tls::{Certificate, Numbers, Tls, TlsHandshake};
use super::websocket::WebSocket;

/// One layer of a connection.
#[derive(Debug)]
pub(super) enum Layer {
    WebSocket(WebSocket),
    Tls(Tls),
    /// In front of all others.
    Proxy(Proxy),
    /// A stand-in for TLS in tests.
    #[cfg(test)]
    Records(Records),
}

impl Layer {
    /// Takes received bytes, and appends those for the inside to `inside`. `records` is scratch.
    pub(super) fn take(
        &mut self,
        bytes: &[u8],
        pace: Pace,
        now: Monotonic,
        records: &mut Vec<u8>,
        inside: &mut Vec<u8>,
    ) {
        match self {
            Self::WebSocket(websocket) => websocket.take(bytes, pace, now, inside),
            Self::Tls(tls) => tls.take(bytes, records, inside),
            // Not asked: a stack passes it by, and nothing is copied.
            Self::Proxy(proxy) => inside.extend_from_slice(proxy.take(bytes)),
            #[cfg(test)]
            Self::Records(records) => records.take(bytes, inside),
        }
    }

    /// Whether a step of the layer's handshake is due.
    pub(super) fn wants_step(&self) -> bool {
        matches!(self, Self::Tls(tls) if tls.wants_step())
    }

    /// Goes on with the layer's handshake, and appends bytes for the inside to `inside`.
    pub(super) fn step(&mut self, inside: &mut Vec<u8>) {
        if let Self::Tls(tls) = self {
            tls.step(inside);
        }
    }

    /// How far the layer has come with the handshake of TLS; `None`: it is another one.
    pub(super) fn tls_handshake(&self) -> Option<TlsHandshake> {
        match self {
            Self::Tls(tls) => Some(tls.handshake()),
            Self::WebSocket(_) | Self::Proxy(_) => None,
            #[cfg(test)]
            Self::Records(_) => None,
        }
    }

    /// The certificates that the client has shown by TLS.
    pub(super) fn client_chain(&self) -> Option<&[Certificate<'static>]> {
        match self {
            Self::Tls(tls) => tls.client_chain(),
            Self::WebSocket(_) | Self::Proxy(_) => None,
            #[cfg(test)]
            Self::Records(_) => None,
        }
    }

    /// Bytes that have come, and wait for others before they go on to the inside.
    pub(super) fn held_bytes(&self) -> usize {
        match self {
            Self::WebSocket(websocket) => websocket.held_bytes(),
            Self::Tls(tls) => tls.held_bytes(),
            Self::Proxy(proxy) => proxy.held_bytes(),
            #[cfg(test)]
            Self::Records(_) => 0,
        }
    }

    /// Wraps what the inside sends, at most `bytes_max` bytes if that makes a copy, and adds what the
    /// layer itself has to send.
    pub(super) fn wrap(&mut self, chunks: &mut Vec<Bytes>, bytes_max: usize) {
        match self {
            Self::WebSocket(websocket) => websocket.wrap(chunks),
            Self::Tls(tls) => tls.wrap(chunks, bytes_max),
            Self::Proxy(_) => {}
            #[cfg(test)]
            Self::Records(records) => records.wrap(chunks),
        }
    }

    /// Whether the layer has something to send of its own, or of the inside that it has not wrapped.
    pub(super) fn owes(&self) -> bool {
        match self {
            Self::WebSocket(websocket) => websocket.owes(),
            Self::Tls(tls) => tls.owes(),
            Self::Proxy(_) => false,
            #[cfg(test)]
            Self::Records(records) => records.owes(),
        }
    }

    /// Whether bytes of the inside wait to be wrapped.
    pub(super) fn has_unwrapped(&self) -> bool {
        matches!(self, Self::Tls(tls) if tls.has_unsealed())
    }

    /// Takes no more input, and says goodbye after the bytes that are wrapped next.
    pub(super) fn close(&mut self, goodbye: Goodbye) {
        match self {
            Self::WebSocket(websocket) => websocket.close(goodbye),
            Self::Tls(tls) => tls.close(),
            Self::Proxy(proxy) => proxy.close(),
            #[cfg(test)]
            Self::Records(records) => records.close(),
        }
    }

    /// Why the layer takes no more input from the peer. `None`: it still does, or `close` was
    /// called.
    pub(super) fn ended(&self) -> Option<Ended> {
        match self {
            Self::WebSocket(websocket) => websocket.ended(),
            Self::Tls(tls) => tls.ended(),
            Self::Proxy(proxy) => proxy.ended(),
            #[cfg(test)]
            Self::Records(records) => records.ended(),
        }
    }

    /// What a heartbeat is with this layer around it; `None` while the layer carries nothing, or if it is not known by
    /// its form.
    pub(super) fn around(&self, inside: Heartbeat) -> Option<Heartbeat> {
        match self {
            Self::WebSocket(websocket) => websocket.around(inside),
            Self::Tls(tls) => tls.around(inside),
            Self::Proxy(proxy) => proxy.is_open().then_some(inside),
            #[cfg(test)]
            Self::Records(records) => records.around(inside),
        }
    }

    /// The record numbers of TLS, as long as a heartbeat can come.
    pub(super) fn numbers(&mut self) -> Option<&mut Numbers> {
        match self {
            Self::Tls(tls) => tls.numbers(),
            Self::WebSocket(_) | Self::Proxy(_) => None,
            #[cfg(test)]
            Self::Records(_) => None,
        }
    }

    /// Whether nothing has come in part whose rest is still to come.
    pub(super) fn is_whole(&self) -> bool {
        match self {
            Self::WebSocket(websocket) => websocket.is_whole(),
            Self::Tls(tls) => tls.is_whole(),
            Self::Proxy(proxy) => proxy.is_open(),
            #[cfg(test)]
            Self::Records(records) => records.is_whole(),
        }
    }
}

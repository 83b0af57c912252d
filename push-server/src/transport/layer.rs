//! One layer of any kind. It does not know what is inside.

use bytes::Bytes;
use push_common::clock::Monotonic;
use push_common::heartbeat::Heartbeat;
use push_common::ping_rate::PingPace;

use super::end::{Ended, Goodbye};
#[cfg(test)]
use super::tests::records::Records;
use super::websocket::WebSocket;

/// One layer of a connection.
#[derive(Debug)]
pub(super) enum Layer {
    WebSocket(WebSocket),
    /// A stand-in for TLS in tests.
    #[cfg(test)]
    Records(Records),
}

impl Layer {
    /// Takes received bytes, and appends those for the inside to `inside`.
    pub(super) fn take(
        &mut self,
        bytes: &[u8],
        pace: PingPace,
        now: Monotonic,
        inside: &mut Vec<u8>,
    ) {
        match self {
            Self::WebSocket(websocket) => websocket.take(bytes, pace, now, inside),
            #[cfg(test)]
            Self::Records(records) => records.take(bytes, inside),
        }
    }

    /// Wraps what the inside sends, and adds what the layer itself has to send.
    pub(super) fn wrap(&mut self, chunks: &mut Vec<Bytes>) {
        match self {
            Self::WebSocket(websocket) => websocket.wrap(chunks),
            #[cfg(test)]
            Self::Records(records) => records.wrap(chunks),
        }
    }

    /// Whether the layer has something to send of its own.
    pub(super) fn owes(&self) -> bool {
        match self {
            Self::WebSocket(websocket) => websocket.owes(),
            #[cfg(test)]
            Self::Records(records) => records.owes(),
        }
    }

    /// Takes no more input, and says goodbye after the bytes that are wrapped next.
    pub(super) fn close(&mut self, goodbye: Goodbye) {
        match self {
            Self::WebSocket(websocket) => websocket.close(goodbye),
            #[cfg(test)]
            Self::Records(records) => records.close(),
        }
    }

    /// Why the layer takes no more input from the peer. `None`: it still does, or `close` was
    /// called.
    pub(super) fn ended(&self) -> Option<Ended> {
        match self {
            Self::WebSocket(websocket) => websocket.ended(),
            #[cfg(test)]
            Self::Records(records) => records.ended(),
        }
    }

    /// What a heartbeat is with this layer around it; `None` while the layer carries nothing.
    pub(super) fn around(&self, inside: Heartbeat) -> Option<Heartbeat> {
        match self {
            Self::WebSocket(websocket) => websocket.around(inside),
            #[cfg(test)]
            Self::Records(records) => records.around(inside),
        }
    }

    /// Whether nothing has come in part whose rest is still to come.
    pub(super) fn is_whole(&self) -> bool {
        match self {
            Self::WebSocket(websocket) => websocket.is_whole(),
            #[cfg(test)]
            Self::Records(records) => records.is_whole(),
        }
    }
}

//! One layer, whichever it is. What is inside of it, it does not know.

use bytes::Bytes;
use push_common::clock::Monotonic;
use push_common::ping_rate::PingPace;

use super::end::{Ended, Goodbye};
use super::heartbeat::Heartbeat;
#[cfg(test)]
use super::tests::records::Records;
use super::websocket::WebSocket;

/// One layer of a connection.
#[derive(Debug)]
pub(super) enum Layer {
    WebSocket(WebSocket),
    /// Stands for TLS in tests.
    #[cfg(test)]
    Records(Records),
}

impl Layer {
    /// Takes what came, and appends what it holds for the inside to `inside`.
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

    /// Makes of what the inside sends what goes on, with what the layer itself owes.
    pub(super) fn wrap(&mut self, chunks: &mut Vec<Bytes>) {
        match self {
            Self::WebSocket(websocket) => websocket.wrap(chunks),
            #[cfg(test)]
            Self::Records(records) => records.wrap(chunks),
        }
    }

    /// Whether the layer has something to send though the inside has nothing.
    pub(super) fn owes(&self) -> bool {
        match self {
            Self::WebSocket(websocket) => websocket.owes(),
            #[cfg(test)]
            Self::Records(records) => records.owes(),
        }
    }

    /// Takes nothing more, and says goodbye behind all that is wrapped next.
    pub(super) fn close(&mut self, goodbye: Goodbye) {
        match self {
            Self::WebSocket(websocket) => websocket.close(goodbye),
            #[cfg(test)]
            Self::Records(records) => records.close(),
        }
    }

    /// Why nothing more is taken from the peer; `None` while it is, and once `close` was called.
    pub(super) fn ended(&self) -> Option<Ended> {
        match self {
            Self::WebSocket(websocket) => websocket.ended(),
            #[cfg(test)]
            Self::Records(records) => records.ended(),
        }
    }

    /// How long a heartbeat is with this layer around it; `None` while the layer carries nothing.
    pub(super) fn around(&self, inside: Heartbeat) -> Option<Heartbeat> {
        match self {
            Self::WebSocket(websocket) => websocket.around(inside),
            #[cfg(test)]
            Self::Records(records) => records.around(inside),
        }
    }

    /// Whether no part of a frame has come whose rest is still to come.
    pub(super) fn is_whole(&self) -> bool {
        match self {
            Self::WebSocket(websocket) => websocket.is_whole(),
            #[cfg(test)]
            Self::Records(records) => records.is_whole(),
        }
    }
}

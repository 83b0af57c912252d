//! The layers between a client's socket and its bytes of MQTT: none, WebSocket, TLS, or WebSocket
//! inside TLS. Sans I/O: a server's bytes in, MQTT's bytes out, and the reverse. It knows no MQTT
//! packet, no socket and no clock, and shares no code with the server's layers.
//!
//! - Send what [`Transport::wrap`] appends; first of all, with nothing to wrap, once TCP is up.
//! - [`Transport::take`] unwraps. Afterwards look at [`Transport::owes`]: an answer of a layer waits
//!   for the next `wrap`, with or without bytes of MQTT.
//! - Bytes of MQTT can be wrapped once [`Transport::is_open`].

mod outcome;
mod tickets;
mod tls;
mod trust;
mod websocket;

use std::net::SocketAddr;

use super::options::LayerOptions;
pub use outcome::{Fault, Handshake};
use tls::Tls;
use trust::Peer;
use websocket::WebSocket;

/// Which layers connections have, and what these need to know.
#[derive(Clone, Debug, Default)]
pub struct Kind {
    tls: Option<Peer>,
    /// The host to ask for an upgrade.
    websocket: Option<String>,
}

impl Kind {
    /// By the command line.
    pub fn new(options: &LayerOptions, target: SocketAddr) -> anyhow::Result<Self> {
        let peer = |ca| Peer::new(options, ca, target);
        Ok(Self {
            tls: options.tls.as_deref().map(peer).transpose()?,
            websocket: options.ws.then(|| target.to_string()),
        })
    }
}

/// The layers of one connection; a null pointer if there are none.
#[derive(Debug, Default)]
pub struct Transport(Option<Box<Layers>>);

/// From the socket inwards.
#[derive(Debug)]
struct Layers {
    tls: Option<Tls>,
    websocket: Option<WebSocket>,
}

impl Transport {
    /// The layers of a new connection; `seed` decides the masks of its frames.
    pub fn new(kind: &Kind, seed: u64) -> Result<Self, Fault> {
        let tls = kind.tls.as_ref().map(Tls::new).transpose()?;
        let websocket = kind.websocket.as_ref().map(|host| WebSocket::new(host, seed));
        let has_layers = tls.is_some() || websocket.is_some();
        Ok(Self(has_layers.then(|| Box::new(Layers { tls, websocket }))))
    }

    /// Whether MQTT's bytes go to the socket as they are.
    pub fn is_plain(&self) -> bool {
        self.0.is_none()
    }

    /// Whether bytes of MQTT can be wrapped.
    pub fn is_open(&self) -> bool {
        let Some(layers) = &self.0 else { return true };
        layers.tls.as_ref().is_none_or(Tls::is_open)
            && layers.websocket.as_ref().is_none_or(WebSocket::is_open)
    }

    /// Whether a layer has taken the server's goodbye.
    pub fn has_ended(&self) -> bool {
        let Some(layers) = &self.0 else { return false };
        layers.tls.as_ref().is_some_and(Tls::has_ended)
            || layers.websocket.as_ref().is_some_and(WebSocket::has_ended)
    }

    /// Whether `wrap` would append something without bytes of MQTT.
    pub fn owes(&self) -> bool {
        let Some(layers) = &self.0 else { return false };
        let tls_is_open = layers.tls.as_ref().is_none_or(Tls::is_open);
        layers.tls.as_ref().is_some_and(Tls::owes)
            || tls_is_open && layers.websocket.as_ref().is_some_and(WebSocket::owes)
    }

    /// How the handshake of TLS went; `None`: it is not over, or there is none.
    pub fn handshake(&self) -> Option<Handshake> {
        self.0.as_ref()?.tls.as_ref()?.handshake()
    }

    /// Takes received bytes, and appends the bytes of MQTT in them to `clear`. What is in `bytes`
    /// afterwards means nothing.
    pub fn take(&mut self, bytes: &mut [u8], clear: &mut Vec<u8>) -> Result<(), Fault> {
        let Some(layers) = &mut self.0 else {
            clear.extend_from_slice(bytes);
            return Ok(());
        };
        match (&mut layers.tls, &mut layers.websocket) {
            (Some(tls), None) => tls.take(bytes, clear),
            (None, Some(websocket)) => websocket.take(bytes, clear),
            (Some(tls), Some(websocket)) => {
                let mut frames = Vec::new();
                tls.take(bytes, &mut frames)?;
                websocket.take(&frames, clear)
            }
            (None, None) => Ok(()),
        }
    }

    /// Appends what the layers have to send, and the bytes of MQTT, if any.
    pub fn wrap(&mut self, mqtt: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
        if !mqtt.is_empty() && !self.is_open() {
            return Err(Fault::NotOpen);
        }
        let Some(layers) = &mut self.0 else {
            out.extend_from_slice(mqtt);
            return Ok(());
        };
        match (&mut layers.tls, &mut layers.websocket) {
            (Some(tls), None) => tls.wrap(mqtt, out),
            (None, Some(websocket)) => {
                websocket.wrap(mqtt, out);
                Ok(())
            }
            (Some(tls), Some(websocket)) => {
                let mut frames = Vec::new();
                if tls.is_open() {
                    websocket.wrap(mqtt, &mut frames);
                }
                tls.wrap(&frames, out)
            }
            (None, None) => Ok(()),
        }
    }

    /// Changes the keys of TLS 1.3, both ways: what is wrapped next says so first.
    pub fn renew(&mut self) -> Result<(), Fault> {
        let tls = self.0.as_mut().and_then(|layers| layers.tls.as_mut());
        tls.ok_or(Fault::NotOpen)?.renew()
    }

    /// Every layer says goodbye after the bytes that are wrapped next.
    pub fn close(&mut self) {
        let Some(layers) = &mut self.0 else { return };
        if let Some(websocket) = &mut layers.websocket {
            websocket.close();
        }
        if let Some(tls) = &mut layers.tls {
            tls.close();
        }
    }
}

#[cfg(test)]
mod tests;

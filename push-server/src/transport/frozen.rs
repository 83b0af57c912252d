//! A transport as a plain value, for a client that moves. Input received in part and output not
//! sent yet go along.

use super::layer::Layer;
#[cfg(test)]
use super::tests::records::Records;
use super::tls::Tls;
use super::websocket::{FrozenWebSocket, WebSocket};
use super::{Layers, Transport};

/// The layers of a transport, the outermost first.
#[derive(Debug)]
pub(crate) struct FrozenTransport(Vec<FrozenLayer>);

/// One layer, and how many bytes it has received.
#[derive(Debug)]
struct FrozenLayer {
    received_bytes: u64,
    held: LayerState,
}

/// The state of a layer.
#[derive(Debug)]
enum LayerState {
    WebSocket(FrozenWebSocket),
    /// As it is: its keys are rustls's, which moves within the process.
    Tls(Tls),
    #[cfg(test)]
    Records(Records),
}

impl Transport {
    /// Turns the transport into a value.
    pub(crate) fn freeze(self) -> FrozenTransport {
        let (mut frozen, mut rest) = (Vec::new(), self);
        while let Some(layers) = rest.0 {
            let Layers { received_bytes, outer, inside } = *layers;
            let held = match outer {
                Layer::WebSocket(websocket) => LayerState::WebSocket(websocket.freeze()),
                Layer::Tls(tls) => LayerState::Tls(tls),
                #[cfg(test)]
                Layer::Records(records) => LayerState::Records(records),
            };
            frozen.push(FrozenLayer { received_bytes, held });
            rest = inside;
        }
        FrozenTransport(frozen)
    }

    /// Turns the value back into a transport.
    pub(crate) fn thaw(frozen: FrozenTransport) -> Self {
        frozen.0.into_iter().rev().fold(Self(None), |inside, frozen| {
            let FrozenLayer { received_bytes, held } = frozen;
            let outer = match held {
                LayerState::WebSocket(frozen) => Layer::WebSocket(WebSocket::thaw(frozen)),
                LayerState::Tls(tls) => Layer::Tls(tls),
                #[cfg(test)]
                LayerState::Records(records) => Layer::Records(records),
            };
            Self(Some(Box::new(Layers { received_bytes, outer, inside })))
        })
    }
}

//! A served client as a value, for a move: its connection and its layers as values, and what needs no
//! thawing: the socket, the slot, and counts.

use push_common::clock::Monotonic;

use super::{Client, Phase};
use crate::mqtt::{Connection, FrozenConnection};
use crate::shard::agenda::FlowNumber;
use crate::shard::ports::Ports;
use crate::transport::{FrozenTransport, Transport};

/// A client that no operation refers to.
#[derive(Debug)]
pub(crate) struct FrozenClient<P: Ports> {
    phase: FrozenPhase,
    transport: FrozenTransport,
    /// Without those two.
    rest: Client<P>,
}

#[derive(Debug)]
enum FrozenPhase {
    Serving { connection: Box<FrozenConnection>, session: u32, flow: FlowNumber },
    Other(Phase),
}

impl<P: Ports> Client<P> {
    /// All of it, as a value.
    pub(in crate::shard::clients) fn freeze(mut self) -> FrozenClient<P> {
        debug_assert!(self.is_quiet(), "operations would go on without it");
        let none = Phase::Lingering { deadline: Monotonic(0) };
        let phase = match std::mem::replace(&mut self.phase, none) {
            Phase::Serving { connection, session, flow } => {
                let connection = Box::new(connection.freeze());
                FrozenPhase::Serving { connection, session, flow }
            }
            other => FrozenPhase::Other(other),
        };
        let transport = std::mem::take(&mut self.transport).freeze();
        FrozenClient { phase, transport, rest: self }
    }

    /// The client that `freeze` made a value of, under another generation.
    pub(in crate::shard::clients) fn thaw(frozen: FrozenClient<P>, generation: u32) -> Self {
        let FrozenClient { phase, transport, rest: mut client } = frozen;
        client.phase = match phase {
            FrozenPhase::Serving { connection, session, flow } => {
                Phase::Serving { connection: Connection::thaw(*connection), session, flow }
            }
            FrozenPhase::Other(phase) => phase,
        };
        client.transport = Transport::thaw(transport);
        client.settle(generation);
        client
    }
}

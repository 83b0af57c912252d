//! A client's connection: packets out and in, as bytes of a simulated socket.

use push_server::shard::simulation::{Peer, World};
use push_tests::wire::{self, Packet, Version};
use rand::RngExt as _;
use rand::rngs::SmallRng;

/// A connection, from CONNECT on.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) peer: Peer,
    version: Version,
    output: Vec<u8>,
    input: Vec<u8>,
    pub(crate) is_accepted: bool,
}

impl Link {
    /// Connects to any shard, and has this CONNECT sent.
    pub(crate) fn open(
        world: &mut World,
        shards: u16,
        version: Version,
        connect: Vec<u8>,
        rng: &mut SmallRng,
    ) -> Self {
        let peer = world.connect(rng.random_range(0..shards));
        Self { peer, version, output: connect, input: Vec::new(), is_accepted: false }
    }

    /// Has bytes sent by the next `flush`.
    pub(crate) fn say(&mut self, bytes: &[u8]) {
        self.output.extend(bytes);
    }

    pub(crate) fn unsent(&self) -> usize {
        self.output.len()
    }

    /// Sends what was said, or the beginning of it.
    pub(crate) fn flush_some(&mut self, rng: &mut SmallRng) {
        let all = self.output.len();
        let sent = if rng.random_bool(0.8) { all } else { rng.random_range(0..=all) };
        self.peer.send(&self.output[..sent]);
        self.output.drain(..sent);
    }

    pub(crate) fn flush(&mut self) {
        self.peer.send(&std::mem::take(&mut self.output));
    }

    /// The next packet that has arrived whole.
    pub(crate) fn receive(&mut self) -> Option<Packet> {
        self.input.extend(self.peer.take());
        let (packet, used) = wire::decode(self.version, &self.input)?;
        self.input.drain(..used);
        Some(packet)
    }

    /// Whether the server has ended it; what it sent before may still be there.
    pub(crate) fn is_over(&self) -> bool {
        self.peer.is_ended()
    }
}

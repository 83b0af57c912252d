//! A client's connection: packets out and in, as bytes of a simulated socket, bare or in frames of WebSocket.

use push_server::shard::simulation::{Peer, World};
use push_tests::wire::{self, Packet, Version};
use rand::RngExt as _;
use rand::rngs::SmallRng;

use crate::frames::Frames;

/// How many connections in a hundred are over WebSocket.
const WEBSOCKET_PERCENT: u32 = 25;

/// A connection, from CONNECT on.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) peer: Peer,
    version: Version,
    /// Bytes of MQTT that no flush has taken.
    said: Vec<u8>,
    /// Bytes of the wire that are to be sent.
    output: Vec<u8>,
    input: Vec<u8>,
    frames: Option<Frames>,
    fault: Option<String>,
    last_packet_bytes: usize,
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
        let shard = rng.random_range(0..shards);
        let is_framed = rng.random_range(0..100) < WEBSOCKET_PERCENT;
        let (peer, frames, output) = if is_framed {
            let frames = Frames::new(rng.random());
            (world.connect_websocket(shard), Some(frames), Frames::request().to_vec())
        } else {
            (world.connect(shard), None, Vec::new())
        };
        Self {
            peer,
            version,
            said: connect,
            output,
            input: Vec::new(),
            frames,
            fault: None,
            last_packet_bytes: 0,
            is_accepted: false,
        }
    }

    /// Queues bytes for the next `flush`.
    pub(crate) fn say(&mut self, bytes: &[u8]) {
        self.said.extend(bytes);
    }

    pub(crate) fn unsent(&self) -> usize {
        self.said.len() + self.output.len()
    }

    /// Sends what was said, or the beginning of it.
    pub(crate) fn flush_some(&mut self, rng: &mut SmallRng) {
        self.wrap_said();
        let all = self.output.len();
        let sent = if rng.random_bool(0.8) { all } else { rng.random_range(0..=all) };
        self.peer.send(&self.output[..sent]);
        self.output.drain(..sent);
    }

    pub(crate) fn flush(&mut self) {
        self.wrap_said();
        self.peer.send(&std::mem::take(&mut self.output));
    }

    fn wrap_said(&mut self) {
        let said = std::mem::take(&mut self.said);
        match &mut self.frames {
            Some(frames) => frames.wrap(&said, &mut self.output),
            None => self.output.extend(said),
        }
    }

    /// The next packet that has arrived whole.
    pub(crate) fn receive(&mut self) -> Option<Packet> {
        let came = self.peer.take();
        match &mut self.frames {
            Some(frames) => {
                if let Err(fault) = frames.unwrap(&came, &mut self.input) {
                    self.fault.get_or_insert(fault);
                }
            }
            None => self.input.extend(came),
        }
        let (packet, used) = wire::decode(self.version, &self.input)?;
        self.input.drain(..used);
        self.last_packet_bytes = used;
        Some(packet)
    }

    /// How large the packet was that `receive` returned last.
    pub(crate) fn last_packet_bytes(&self) -> usize {
        self.last_packet_bytes
    }

    /// What the server has done against the rules of the transport.
    pub(crate) fn take_fault(&mut self) -> Option<String> {
        self.fault.take()
    }

    /// Whether the server may still read its CONNECT, even if the client resets it.
    pub(crate) fn may_be_read(&self, world: &World) -> bool {
        !self.is_accepted && world.may_read_connect(&self.peer)
    }

    /// Whether the server has ended it; what it sent before may still be there.
    pub(crate) fn is_over(&self) -> bool {
        self.peer.is_ended()
    }
}

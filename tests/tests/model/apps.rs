//! The applications at both ends: the client pings, publishes and reads; the server parses whole
//! packets, answers pings, publishes, and tells the slot how far it is, later.

use std::collections::VecDeque;

use crate::scenario::Act;
use crate::streams::{CONNECT, FRAME, PING, Pings, frame};

/// Bytes that a step wants written, the boundary behind which a whole frame ends, and a pause.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Todo {
    Write { bytes: Vec<u8>, ends_frame: bool, is_ping: bool },
    Wait { micros: u64 },
    Probe,
    Deaf { micros: u64 },
}

/// A plan, cut into what is done at once.
pub(crate) fn todos(acts: &[Act], pings: Pings, mut pause: impl FnMut() -> u64) -> VecDeque<Todo> {
    let mut todos = VecDeque::new();
    for (number, act) in acts.iter().enumerate() {
        match *act {
            Act::Idle { micros } => todos.push_back(Todo::Wait { micros }),
            Act::Probe => todos.push_back(Todo::Probe),
            Act::Deaf { micros } => todos.push_back(Todo::Deaf { micros }),
            Act::Ping => todos.push_back(ping(pings)),
            Act::Beats { pings: beats, micros } => {
                for _ in 0..beats {
                    todos.extend([Todo::Wait { micros }, ping(pings)]);
                }
            }
            Act::Publish { bytes, pieces } => {
                let frame = frame(number, bytes);
                let piece_bytes = frame.len().div_ceil(pieces.max(1)).max(1);
                let count = frame.chunks(piece_bytes).len();
                for (index, piece) in frame.chunks(piece_bytes).enumerate() {
                    let ends_frame = index + 1 == count;
                    let bytes = piece.to_vec();
                    todos.push_back(Todo::Write { bytes, ends_frame, is_ping: false });
                    if !ends_frame {
                        todos.push_back(Todo::Wait { micros: pause() });
                    }
                }
            }
        }
    }
    todos
}

fn ping(pings: Pings) -> Todo {
    Todo::Write { bytes: pings.request(), ends_frame: true, is_ping: true }
}

/// What the server's parser has found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Packet {
    Connect,
    Ping,
    Frame,
}

/// The server's parser: whole packets only.
#[derive(Debug)]
pub(crate) struct Parser {
    pings: Pings,
    unparsed: VecDeque<u8>,
    /// Bytes of whole packets so far: the slot's `rx`.
    pub(crate) parsed: u64,
}

impl Parser {
    pub(crate) fn new(pings: Pings) -> Self {
        Self { pings, unparsed: VecDeque::new(), parsed: 0 }
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.unparsed.extend(bytes);
    }

    /// The next whole packet; an error where no packet can begin.
    pub(crate) fn next(&mut self) -> Result<Option<Packet>, String> {
        let byte = |at: usize| self.unparsed.get(at).copied();
        let (bytes, packet) = match byte(0) {
            Some(0x10) => (CONNECT.len(), Packet::Connect),
            Some(PING) => (self.pings.request_bytes(), Packet::Ping),
            None => return Ok(None),
            Some(FRAME) => {
                let mut bytes = 0_usize;
                for at in 1..5 {
                    let Some(byte) = byte(at) else { return Ok(None) };
                    bytes = bytes << 8 | usize::from(byte);
                }
                (5 + bytes, Packet::Frame)
            }
            Some(other) => return Err(format!("the server parsed {other:#04x}")),
        };
        if self.unparsed.len() < bytes {
            return Ok(None);
        }
        let taken: Vec<u8> = self.unparsed.drain(..bytes).collect();
        if packet == Packet::Ping && taken != self.pings.request() {
            return Err(format!("the server parsed {taken:02x?} as a ping"));
        }
        self.parsed += bytes as u64;
        Ok(Some(packet))
    }
}

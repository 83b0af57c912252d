//! Records of TLS, with rustls's own client at the other end.

use std::sync::{Arc, LazyLock};

use rustls::ClientConfig;

use crate::fuzzing::outcome::Outcome;
use crate::transport::tls_pair::{Pair, VERSIONS, client_config, server_config};
use crate::transport::{Goodbye, HANDSHAKE_INPUT_BYTES_MAX, Kind, ServerTls};

/// Most bytes that wait for others once a handshake is done: a record, and the fragment of a
/// message of the handshake that rustls keeps with it.
const HELD_BYTES_MAX: usize = HANDSHAKE_INPUT_BYTES_MAX + (18 << 10);

/// Steps of one input: each may seal and open records.
const STEPS_MAX: usize = 40;

/// New keys of one input; rustls ends connections that ask for 33 in a row.
const KEY_UPDATES_MAX: usize = 8;

/// Most bytes on the way that come twice.
const DOUBLED_BYTES_MAX: usize = 2_000;

static SERVER: LazyLock<Arc<ServerTls>> =
    LazyLock::new(|| Arc::new(server_config(&VERSIONS, false)));

/// Of each version.
static CLIENTS: LazyLock<[Arc<ClientConfig>; 2]> =
    LazyLock::new(|| VERSIONS.map(|version| Arc::new(client_config(version, &[], false))));

/// The first byte of the input chooses the version, and whether the rest is a client's bytes from the
/// first one on, or what two ends of a connection do.
///
/// - Bytes that nobody with the keys has sealed are never heard.
/// - What the client says is heard as it was said, in whatever pieces it comes, up to the first byte
///   that somebody else has changed.
/// - What is kept stays within limits.
pub(crate) fn tls(input: &[u8]) -> Outcome {
    let Some((&choice, bytes)) = input.split_first() else { return Outcome::Partial };
    let client = &CLIENTS[usize::from(choice & 1)];
    let pair = Pair::inside(Kind::Tls, &SERVER, client);
    match choice & 2 {
        0 => begin(pair, bytes, 1 + usize::from(choice >> 2)),
        _ => Talk::new(pair.open(), choice & 1 == 1).run(bytes),
    }
}

/// A client's bytes, from the first one on, in pieces.
fn begin(mut pair: Pair, bytes: &[u8], cut: usize) -> Outcome {
    for piece in bytes.chunks(cut) {
        pair.server_takes(piece);
        assert!(pair.server.held_bytes() <= HANDSHAKE_INPUT_BYTES_MAX);
        pair.server_says(&[]);
    }
    assert!(pair.heard.is_empty(), "nobody has keys");
    assert!(pair.steps <= bytes.len().div_ceil(cut), "at most a step for each piece");
    let ended = pair.server.ended().is_some();
    close(pair);
    if ended { Outcome::Refused } else { Outcome::Partial }
}

fn close(mut pair: Pair) {
    pair.server.close(Goodbye::Done);
    pair.server_says(&[b"late"]);
    assert!(!pair.server.owes());
}

/// Two ends with keys.
struct Talk {
    pair: Pair,
    is_13: bool,
    /// What the client has said.
    said: Vec<u8>,
    /// Records on the way to the server.
    wire: Vec<u8>,
    key_updates: usize,
    /// Whether somebody has changed bytes on the way.
    is_damaged: bool,
}

impl Talk {
    fn new(pair: Pair, is_13: bool) -> Self {
        let (said, wire) = (Vec::new(), Vec::new());
        Self { pair, is_13, said, wire, key_updates: 0, is_damaged: false }
    }

    fn run(mut self, mut script: &[u8]) -> Outcome {
        for _ in 0..STEPS_MAX {
            let Some((&[step, much], rest)) = script.split_first_chunk() else { break };
            script = rest;
            self.step(step, usize::from(much));
            assert!(self.pair.server.held_bytes() <= HELD_BYTES_MAX);
            assert!(self.said.starts_with(&self.pair.heard), "heard what nobody said");
        }
        self.deliver(usize::MAX);
        let ended = self.pair.server.ended().is_some();
        if !self.is_damaged {
            assert!(!ended, "{:?}", self.pair.server.ended());
            assert!(self.pair.heard == self.said, "{} bytes", self.pair.heard.len());
        }
        assert!(self.said.starts_with(&self.pair.heard), "heard what nobody said");
        close(self.pair);
        if ended { Outcome::Refused } else { Outcome::Taken }
    }

    fn step(&mut self, step: u8, much: usize) {
        match step % 8 {
            // Words of up to 16 KiB: one record's.
            0 | 1 => self.say(much * 64),
            2 => self.say(much),
            3 if self.is_13 && self.key_updates < KEY_UPDATES_MAX => {
                self.key_updates += 1;
                self.pair.client.refresh_traffic_keys().expect("TLS 1.3 can");
                self.say(1);
            }
            3 => {}
            4 => self.answer(much * 16),
            5 => self.deliver(1 + much),
            6 => self.damage(usize::from(step >> 3), much as u8),
            _ => self.deliver(usize::MAX),
        }
    }

    fn say(&mut self, len: usize) {
        let word: Vec<u8> = (0..len).map(|at| (at + self.said.len()) as u8).collect();
        self.pair.write(&word);
        self.said.extend(word);
        let records = self.pair.client_says();
        self.wire.extend(records);
    }

    fn answer(&mut self, len: usize) {
        let word = vec![len as u8; len];
        let records = self.pair.server_says(&[&word]);
        if !self.is_damaged {
            let heard = self.pair.client_takes(&records).expect("the server's records open");
            assert!(heard == word, "{} of {len} bytes", heard.len());
        }
    }

    /// All that is on the way arrives, in pieces.
    fn deliver(&mut self, piece_bytes: usize) {
        let wire = std::mem::take(&mut self.wire);
        // Many small pieces of much: as many as tell something.
        let piece_bytes = piece_bytes.max(wire.len() / 64);
        for piece in wire.chunks(piece_bytes.max(1)) {
            self.pair.server_takes(piece);
        }
    }

    /// Somebody changes, removes, doubles or adds bytes.
    fn damage(&mut self, at: usize, byte: u8) {
        let len = self.wire.len();
        let at = if len == 0 { 0 } else { (at * 31 + usize::from(byte)) % len };
        self.is_damaged = true;
        match byte % 4 {
            0 if len > 0 => self.wire[at] ^= 1 << (byte % 8),
            1 if len > 0 => drop(self.wire.remove(at)),
            2 => self.wire.extend_from_within(len - len.min(DOUBLED_BYTES_MAX)..),
            _ => self.wire.insert(at, byte),
        }
    }
}

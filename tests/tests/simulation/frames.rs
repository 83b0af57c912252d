//! WebSocket around the bytes of MQTT, the client's side: written down from RFC 6455 a second time, so that frames may
//! be cut and broken up in every way that is allowed.

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

const BINARY: u8 = 2;
const CONTINUATION: u8 = 0;
const CLOSE: u8 = 8;
const PONG: u8 = 10;
const FIN: u8 = 0x80;
const MASKED: u8 = 0x80;

/// The request that a connection begins with; the bytes behind it need not wait for the answer.
const REQUEST: &str = "GET /mqtt HTTP/1.1\r\nHost: simulation\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
     Sec-WebSocket-Protocol: mqtt\r\n\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 101 ";

/// One connection's frames, in both directions.
#[derive(Debug)]
pub(crate) struct Frames {
    input: Vec<u8>,
    is_open: bool,
    rng: SmallRng,
}

impl Frames {
    pub(crate) fn new(seed: u64) -> Self {
        Self { input: Vec::new(), is_open: false, rng: SmallRng::seed_from_u64(seed) }
    }

    pub(crate) fn request() -> &'static [u8] {
        REQUEST.as_bytes()
    }

    /// Appends bytes of MQTT in frames: one message in any number of fragments.
    pub(crate) fn wrap(&mut self, mut mqtt: &[u8], wire: &mut Vec<u8>) {
        let mut opcode = BINARY;
        while !mqtt.is_empty() {
            let is_whole = self.rng.random_bool(0.7);
            let len = if is_whole { mqtt.len() } else { self.rng.random_range(0..=mqtt.len()) };
            let (payload, rest) = mqtt.split_at(len);
            let fin = if rest.is_empty() { FIN } else { 0 };
            wire.push(fin | opcode);
            match len {
                0..126 => wire.push(MASKED | len as u8),
                126..0x1_0000 => {
                    wire.push(MASKED | 126);
                    wire.extend((len as u16).to_be_bytes());
                }
                _ => {
                    wire.push(MASKED | 127);
                    wire.extend((len as u64).to_be_bytes());
                }
            }
            let mask: [u8; 4] = self.rng.random();
            wire.extend(mask);
            wire.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
            (mqtt, opcode) = (rest, CONTINUATION);
        }
    }

    /// Takes what came, and appends the bytes of MQTT in it.
    pub(crate) fn unwrap(&mut self, wire: &[u8], mqtt: &mut Vec<u8>) -> Result<(), String> {
        self.input.extend(wire);
        if !self.is_open {
            let end = self.input.windows(4).position(|four| four == b"\r\n\r\n");
            let Some(end) = end else { return Ok(()) };
            if !self.input.starts_with(ANSWER) {
                return Err("the upgrade was refused".to_owned());
            }
            self.input.drain(..end + 4);
            self.is_open = true;
        }
        while let Some((opcode, head, len)) = head(&self.input)? {
            let Some(payload) = self.input.get(head..head + len) else { return Ok(()) };
            match opcode {
                BINARY | CONTINUATION => mqtt.extend(payload),
                CLOSE | PONG => {}
                other => return Err(format!("the server sent a frame of type {other}")),
            }
            self.input.drain(..head + len);
        }
        Ok(())
    }
}

/// A frame's type, and the lengths of its header and payload, once the header is there.
fn head(bytes: &[u8]) -> Result<Option<(u8, usize, usize)>, String> {
    let [first, second, rest @ ..] = bytes else { return Ok(None) };
    if second & MASKED != 0 || first & 0x70 != 0 {
        return Err("the server masked a frame, or set bits that mean nothing".to_owned());
    }
    let length_bytes = match second {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let Some(length) = rest.get(..length_bytes) else { return Ok(None) };
    let length = match length_bytes {
        0 => usize::from(*second),
        _ => length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)),
    };
    Ok(Some((first & 0x0F, 2 + length_bytes, length)))
}

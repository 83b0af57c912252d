//! The client's side of WebSocket (RFC 6455): a request and its answer, then binary frames. It
//! knows no MQTT packet. Nothing here allocates for each frame, and no byte of the server causes a
//! panic.
//!
//! Written from the RFC, without the server's code, so that the two disagree where the server errs.

use super::outcome::{Fault, Goodbye};

/// The example of RFC 6455, section 1.3: a key, and what a server makes of it.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// Longest answer to the request.
const ANSWER_BYTES_MAX: usize = 8 << 10;
/// Longest header of a server's frame: two bytes, and eight of length.
const HEADER_BYTES_MAX: usize = 10;
/// Longest payload of a control frame (section 5.5).
const CONTROL_BYTES_MAX: u64 = 125;

const FIN: u8 = 0x80;
const MASKED: u8 = 0x80;
const CONTINUATION: u8 = 0x0;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xA;
/// The code of a normal end.
const NORMAL: [u8; 2] = 1_000_u16.to_be_bytes();

/// One connection.
#[derive(Debug)]
pub(super) struct WebSocket {
    stage: Stage,
    masks: Masks,
    /// What came of the answer, then of a control frame's payload.
    partial: Vec<u8>,
    header: [u8; HEADER_BYTES_MAX],
    header_bytes: u8,
    /// What has not come yet of the payload of the frame in `header`.
    left: u64,
    /// What to send beside bytes of MQTT.
    owed: Vec<u8>,
    goodbye: Goodbye,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The request is made, the end of its answer awaited.
    Upgrading,
    /// The next byte belongs to a frame's header.
    Header,
    /// The next byte belongs to a frame's payload.
    Payload,
    /// The server has said goodbye.
    Ended,
}

impl WebSocket {
    /// Asks `host` for an upgrade. Masks follow from `seed`.
    pub(super) fn new(host: &str, seed: u64) -> Self {
        let request = format!(
            "GET /mqtt HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Protocol: \
             mqtt\r\n\r\n"
        );
        Self {
            stage: Stage::Upgrading,
            masks: Masks::new(seed),
            partial: Vec::new(),
            header: [0; HEADER_BYTES_MAX],
            header_bytes: 0,
            left: 0,
            owed: request.into_bytes(),
            goodbye: Goodbye::Unsaid,
        }
    }

    /// Whether the upgrade is done, and nobody has said goodbye.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Header | Stage::Payload) && self.goodbye != Goodbye::Said
    }

    pub(super) fn has_ended(&self) -> bool {
        self.stage == Stage::Ended
    }

    pub(super) fn owes(&self) -> bool {
        !self.owed.is_empty() || self.goodbye == Goodbye::Wanted
    }

    /// Takes received bytes, and appends the data in them to `clear`.
    pub(super) fn take(&mut self, mut bytes: &[u8], clear: &mut Vec<u8>) -> Result<(), Fault> {
        while !bytes.is_empty() {
            match self.stage {
                Stage::Upgrading => self.take_answer(&mut bytes)?,
                Stage::Header => self.take_header(&mut bytes)?,
                Stage::Payload => self.take_payload(&mut bytes, clear)?,
                // What follows the goodbye counts no more.
                Stage::Ended => return Ok(()),
            }
        }
        Ok(())
    }

    /// Appends what is owed, then `bytes` in a frame, if any, then the goodbye, if it is to be said.
    pub(super) fn wrap(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        if !self.owed.is_empty() {
            // Frees the memory: thousands of connections have once sent a request.
            out.extend(std::mem::take(&mut self.owed));
        }
        if !bytes.is_empty() {
            frame(out, BINARY, self.masks.next(), bytes);
        }
        if self.goodbye == Goodbye::Wanted {
            self.goodbye = Goodbye::Said;
            frame(out, CLOSE, self.masks.next(), &NORMAL);
        }
    }

    /// Says goodbye after what is wrapped next.
    pub(super) fn close(&mut self) {
        if self.is_open() {
            self.goodbye = Goodbye::Wanted;
        }
    }

    fn take_answer(&mut self, bytes: &mut &[u8]) -> Result<(), Fault> {
        let before = self.partial.len();
        self.partial.extend_from_slice(bytes);
        let Some(end) = self.partial.windows(4).position(|four| four == b"\r\n\r\n") else {
            *bytes = &[];
            if self.partial.len() > ANSWER_BYTES_MAX {
                return Err(Fault::Upgrade(format!("an answer above {ANSWER_BYTES_MAX} bytes")));
            }
            return Ok(());
        };
        let answer = std::mem::take(&mut self.partial);
        check_answer(&String::from_utf8_lossy(&answer[..end]))?;
        *bytes = &bytes[end + 4 - before..];
        self.stage = Stage::Header;
        Ok(())
    }

    fn take_header(&mut self, bytes: &mut &[u8]) -> Result<(), Fault> {
        while usize::from(self.header_bytes) < self.header_bytes_wanted() {
            let Some((&byte, rest)) = bytes.split_first() else { return Ok(()) };
            self.header[usize::from(self.header_bytes)] = byte;
            self.header_bytes += 1;
            *bytes = rest;
        }
        self.left = match self.header[1] & !MASKED {
            126 => u64::from(u16::from_be_bytes([self.header[2], self.header[3]])),
            127 => self.header[2..].iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte)),
            length => length.into(),
        };
        self.header_bytes = 0;
        self.check_header()?;
        self.stage = Stage::Payload;
        // A frame without payload is over here.
        if self.left == 0 { self.end_frame() } else { Ok(()) }
    }

    fn header_bytes_wanted(&self) -> usize {
        match (self.header_bytes, self.header[1] & !MASKED) {
            (0 | 1, _) => 2,
            (_, 126) => 4,
            (_, 127) => 10,
            _ => 2,
        }
    }

    fn check_header(&self) -> Result<(), Fault> {
        let [first, second, ..] = self.header;
        let is_control = first & 0x8 != 0;
        let why = match first & 0xF {
            _ if second & MASKED != 0 => "a masked frame",
            _ if first & 0x70 != 0 => "a frame with reserved bits",
            _ if is_control && (first & FIN == 0 || self.left > CONTROL_BYTES_MAX) => {
                "a control frame in parts, or too long"
            }
            CONTINUATION | BINARY | CLOSE | PING | PONG => return Ok(()),
            _ => "neither data nor control",
        };
        Err(Fault::Frame(why))
    }

    fn take_payload(&mut self, bytes: &mut &[u8], clear: &mut Vec<u8>) -> Result<(), Fault> {
        let length = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
        let (payload, rest) = bytes.split_at(length);
        match self.opcode() {
            BINARY | CONTINUATION => clear.extend_from_slice(payload),
            // At most 125 bytes, as was checked.
            _ => self.partial.extend_from_slice(payload),
        }
        self.left -= length as u64;
        *bytes = rest;
        if self.left == 0 { self.end_frame() } else { Ok(()) }
    }

    fn end_frame(&mut self) -> Result<(), Fault> {
        self.stage = Stage::Header;
        match self.opcode() {
            PING => {
                frame(&mut self.owed, PONG, self.masks.next(), &self.partial);
            }
            CLOSE => {
                if self.goodbye != Goodbye::Said {
                    frame(&mut self.owed, CLOSE, self.masks.next(), &self.partial);
                    self.goodbye = Goodbye::Said;
                }
                self.stage = Stage::Ended;
            }
            _ => {}
        }
        self.partial.clear();
        Ok(())
    }

    fn opcode(&self) -> u8 {
        self.header[0] & 0xF
    }
}

fn check_answer(head: &str) -> Result<(), Fault> {
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap_or_default();
    if !status.starts_with("HTTP/1.1 101 ") {
        return Err(Fault::Upgrade(status.to_owned()));
    }
    let headers: Vec<(&str, &str)> = lines.filter_map(|line| line.split_once(':')).collect();
    for (name, value) in [("sec-websocket-accept", ACCEPT), ("sec-websocket-protocol", "mqtt")] {
        let is_right =
            |(key, found): &(&str, &str)| key.eq_ignore_ascii_case(name) && found.trim() == value;
        if !headers.iter().any(is_right) {
            return Err(Fault::Upgrade(format!("no {name} {value}")));
        }
    }
    Ok(())
}

/// Appends a frame that is a whole message.
fn frame(out: &mut Vec<u8>, opcode: u8, mask: [u8; 4], payload: &[u8]) {
    out.push(FIN | opcode);
    match payload.len() {
        length @ ..126 => out.push(MASKED | length as u8),
        length @ ..65_536 => {
            out.push(MASKED | 126);
            out.extend((length as u16).to_be_bytes());
        }
        length => {
            out.push(MASKED | 127);
            out.extend((length as u64).to_be_bytes());
        }
    }
    out.extend(mask);
    out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
}

/// A stream of masks (Marsaglia's xorshift: RFC 6455 asks for unpredictable ones to keep a browser's
/// scripts from choosing the bytes on the wire, and a load generator has none).
#[derive(Debug)]
struct Masks(u64);

impl Masks {
    fn new(seed: u64) -> Self {
        // Zero would stay zero.
        Self(seed.wrapping_mul(2).wrapping_add(1))
    }

    fn next(&mut self) -> [u8; 4] {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let [a, b, c, d, ..] = self.0.to_be_bytes();
        [a, b, c, d]
    }
}

#[cfg(test)]
mod tests;

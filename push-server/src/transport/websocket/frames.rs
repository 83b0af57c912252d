//! Parses a client's frames as their bytes come. Between two calls it keeps only the beginning of a
//! header, and of a control frame's payload, which has 125 bytes at most.

use std::io::Cursor;

use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};

/// Bytes of the longest header of a masked frame [RFC 6455, 5.2].
const HEADER_BYTES_MAX: usize = 14;

/// Bytes of the longest payload of a control frame [RFC 6455, 5.5].
const CONTROL_BYTES_MAX: u64 = 125;

/// Bytes of the longest payload of any frame: the highest bit must be 0 [RFC 6455, 5.2].
const FRAME_BYTES_MAX: u64 = i64::MAX as u64;

/// The shortest header of a frame without its mask [RFC 6455, 5.2]: of payloads below 126 bytes.
pub(super) const FRAME_HEADER_BYTES_MIN: u8 = 2;

/// Bytes of a mask [RFC 6455, 5.3].
pub(super) const MASK_BYTES: usize = 4;

/// How far the parser has come in a client's frames.
#[derive(Debug, Default)]
pub(super) struct Frames {
    /// The first `header_len` bytes of the next frame's header.
    header: [u8; HEADER_BYTES_MAX],
    header_len: u8,
    /// Whether the last data frame was not the last one of its message.
    is_fragmented: bool,
    pub(super) payload: Payload,
}

/// What is missing of a frame's payload.
#[derive(Debug, Default)]
pub(super) struct Payload {
    /// 0: there is no such frame.
    pub(super) left: u64,
    /// Rotated so that its first byte is for the next byte of the payload.
    mask: [u8; MASK_BYTES],
    /// The kind of a control frame, and its payload so far.
    control: Option<Box<(Control, Vec<u8>)>>,
}

/// What a step found in a client's bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It has parsed them all.
    More,
    /// A ping with this payload.
    Ping(Vec<u8>),
    /// A close frame, and the code to answer it with.
    Left(Option<CloseCode>),
    /// A broken rule, and the code to name it.
    Fault(CloseCode),
}

impl Frames {
    /// Parses the front of `bytes` until something has to be done about it, and appends bytes of
    /// MQTT to `mqtt`.
    pub(super) fn step(&mut self, bytes: &mut &[u8], mqtt: &mut Vec<u8>) -> Step {
        loop {
            if self.payload.left == 0 {
                match self.read_header(bytes) {
                    Ok(Some(payload)) => self.payload = payload,
                    Ok(None) => return Step::More,
                    Err(code) => return Step::Fault(code),
                }
            }
            self.payload.read(bytes, mqtt);
            if self.payload.left > 0 {
                return Step::More;
            }
            match self.payload.control.take().map(|control| *control) {
                Some((Control::Ping, payload)) => return Step::Ping(payload),
                Some((Control::Close, payload)) => return left(&payload),
                // A peer may send a pong without a ping [RFC 6455, 5.5.3].
                Some(_) | None => {}
            }
        }
    }

    /// Whether no frame has come in part, and no message: between its frames there can be no other.
    pub(super) fn is_whole(&self) -> bool {
        self.header_len == 0 && self.payload.left == 0 && !self.is_fragmented
    }

    /// Parses the next frame's header, as soon as it is complete.
    fn read_header(&mut self, bytes: &mut &[u8]) -> Result<Option<Payload>, CloseCode> {
        let begun = usize::from(self.header_len);
        let more = bytes.len().min(HEADER_BYTES_MAX - begun);
        self.header[begun..begun + more].copy_from_slice(&bytes[..more]);
        let mut cursor = Cursor::new(&self.header[..begun + more]);
        let parsed = FrameHeader::parse(&mut cursor).map_err(|_| CloseCode::Protocol)?;
        let Some((header, len)) = parsed else {
            // At most 13, since no header is longer than 14.
            self.header_len = (begun + more) as u8;
            *bytes = &bytes[more..];
            return Ok(None);
        };
        let used = cursor.position() as usize - begun;
        *bytes = &bytes[used..];
        self.header_len = 0;
        self.begin(&header, len).map(Some)
    }

    /// Checks a frame's header by the rules that concern a server without extensions.
    fn begin(&mut self, header: &FrameHeader, len: u64) -> Result<Payload, CloseCode> {
        let FrameHeader { is_final, rsv1, rsv2, rsv3, opcode, mask } = *header;
        // A client must mask its frames [RFC 6455, 5.1].
        let Some(mask) = mask else { return Err(CloseCode::Protocol) };
        if rsv1 || rsv2 || rsv3 || len > FRAME_BYTES_MAX {
            return Err(CloseCode::Protocol);
        }
        let control = match opcode {
            // [MQTT-6.0.0-1]
            OpCode::Data(Data::Text) => return Err(CloseCode::Unsupported),
            OpCode::Data(Data::Binary) if !self.is_fragmented => None,
            OpCode::Data(Data::Continue) if self.is_fragmented => None,
            OpCode::Control(control) if is_final && len <= CONTROL_BYTES_MAX => {
                Some(Box::new((control, Vec::new())))
            }
            OpCode::Data(_) | OpCode::Control(_) => return Err(CloseCode::Protocol),
        };
        if control.is_none() {
            self.is_fragmented = !is_final;
        }
        Ok(Payload { left: len, mask, control })
    }
}

impl Payload {
    /// Reads as much of the payload as there is, and removes the mask.
    fn read(&mut self, bytes: &mut &[u8], mqtt: &mut Vec<u8>) {
        let len = usize::try_from(self.left).map_or(bytes.len(), |left| left.min(bytes.len()));
        let (taken, rest) = bytes.split_at(len);
        *bytes = rest;
        self.left -= len as u64;
        let out = match self.control.as_deref_mut() {
            Some((_, payload)) => payload,
            None => mqtt,
        };
        let begun = out.len();
        out.extend_from_slice(taken);
        unmask(&mut out[begun..], self.mask);
        self.mask.rotate_left(len % MASK_BYTES);
    }
}

/// Removes a mask [RFC 6455, 5.3].
fn unmask(bytes: &mut [u8], mask: [u8; MASK_BYTES]) {
    let (words, rest) = bytes.as_chunks_mut::<MASK_BYTES>();
    for word in words {
        *word = (u32::from_ne_bytes(*word) ^ u32::from_ne_bytes(mask)).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(mask) {
        *byte ^= key;
    }
}

/// A close frame. Its answer carries the same code, if that may be sent.
fn left(payload: &[u8]) -> Step {
    match payload {
        [] => Step::Left(None),
        [high, low, reason @ ..] => {
            let code = CloseCode::from(u16::from_be_bytes([*high, *low]));
            if code.is_allowed() && std::str::from_utf8(reason).is_ok() {
                Step::Left(Some(code))
            } else {
                Step::Fault(CloseCode::Protocol)
            }
        }
        [_] => Step::Fault(CloseCode::Protocol),
    }
}

//! The state of the frame parser as a plain value.

use tungstenite::protocol::frame::coding::Control;

use super::{Frames, HEADER_BYTES_MAX, MASK_BYTES, Payload};

/// How far the parser has come.
#[derive(Debug)]
pub(in crate::transport) struct FrozenFrames {
    /// The beginning of the next frame's header.
    header: Vec<u8>,
    is_fragmented: bool,
    payload: Option<FrozenPayload>,
}

/// A frame whose payload is incomplete.
#[derive(Debug)]
struct FrozenPayload {
    left_bytes: u64,
    mask: [u8; MASK_BYTES],
    /// The opcode of a control frame, and its payload so far.
    control: Option<(u8, Vec<u8>)>,
}

impl Frames {
    /// Turns the parser into a value.
    pub(in crate::transport) fn freeze(self) -> FrozenFrames {
        let Self { header, header_len, is_fragmented, payload } = self;
        let payload = payload.map(|Payload { left, mask, control }| {
            let control = control.map(|control| (opcode(control.0), control.1));
            FrozenPayload { left_bytes: left, mask, control }
        });
        FrozenFrames { header: header[..usize::from(header_len)].to_vec(), is_fragmented, payload }
    }

    /// Turns the value back into a parser.
    pub(in crate::transport) fn thaw(frozen: FrozenFrames) -> Self {
        let FrozenFrames { header: begun, is_fragmented, payload } = frozen;
        let mut header = [0; HEADER_BYTES_MAX];
        let len = begun.len().min(HEADER_BYTES_MAX);
        header[..len].copy_from_slice(&begun[..len]);
        let payload = payload.map(|FrozenPayload { left_bytes, mask, control }| {
            let control = control.map(|(opcode, payload)| Box::new((kind(opcode), payload)));
            Payload { left: left_bytes, mask, control }
        });
        Self { header, header_len: len as u8, is_fragmented, payload }
    }
}

fn opcode(kind: Control) -> u8 {
    match kind {
        Control::Close => 8,
        Control::Ping => 9,
        Control::Pong => 10,
        Control::Reserved(opcode) => opcode,
    }
}

fn kind(opcode: u8) -> Control {
    match opcode {
        8 => Control::Close,
        9 => Control::Ping,
        10 => Control::Pong,
        other => Control::Reserved(other),
    }
}

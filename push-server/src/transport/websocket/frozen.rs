//! WebSocket's state as a plain value.

use push_common::clock::Monotonic;

use super::frames::{Frames, FrozenFrames};
use super::{Owed, Stage, WebSocket};
use crate::transport::end::Ended;

/// One connection, as a value.
#[derive(Debug)]
pub(in crate::transport) struct FrozenWebSocket {
    stage: FrozenStage,
    owed: Option<Box<Owed>>,
    ping_due: Monotonic,
}

#[derive(Debug)]
enum FrozenStage {
    /// The beginning of the request.
    Upgrading(Vec<u8>),
    Open(FrozenFrames),
    /// The peer ended it; the payload of the close frame to send, if frames can be sent.
    Ended(Ended, Option<Vec<u8>>),
    Closed,
}

impl WebSocket {
    /// Turns the connection into a value.
    pub(in crate::transport) fn freeze(self) -> FrozenWebSocket {
        let Self { stage, owed, ping_due } = self;
        let stage = match stage {
            Stage::Upgrading(head) => FrozenStage::Upgrading(head),
            Stage::Open(frames) => FrozenStage::Open(frames.freeze()),
            Stage::Ended(how, code) => FrozenStage::Ended(how, code),
            Stage::Closed => FrozenStage::Closed,
        };
        FrozenWebSocket { stage, owed, ping_due }
    }

    /// Turns the value back into a connection.
    pub(in crate::transport) fn thaw(frozen: FrozenWebSocket) -> Self {
        let FrozenWebSocket { stage, owed, ping_due } = frozen;
        let stage = match stage {
            FrozenStage::Upgrading(head) => Stage::Upgrading(head),
            FrozenStage::Open(frames) => Stage::Open(Frames::thaw(frames)),
            FrozenStage::Ended(how, code) => Stage::Ended(how, code),
            FrozenStage::Closed => Stage::Closed,
        };
        Self { stage, owed, ping_due }
    }
}

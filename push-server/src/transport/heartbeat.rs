//! How long a heartbeat is on the wire.

/// Bytes of a ping that a client sends, and of its answer, with all that the layers add.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Heartbeat {
    pub(crate) ping_bytes: u16,
    pub(crate) pong_bytes: u16,
}

impl Heartbeat {
    /// Without layers: the two bytes that `push-common`'s splice turns around.
    pub(crate) const PLAIN: Self = Self { ping_bytes: 2, pong_bytes: 2 };
}

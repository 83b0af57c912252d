//! How long a heartbeat is on the wire.

/// Bytes on the wire of a client's ping and of its answer, with everything that the layers add.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Heartbeat {
    pub(crate) ping_bytes: u16,
    pub(crate) pong_bytes: u16,
}

impl Heartbeat {
    /// Without layers: two bytes each, which `push-common`'s splice turns around.
    pub(crate) const PLAIN: Self = Self { ping_bytes: 2, pong_bytes: 2 };
}

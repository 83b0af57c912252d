//! A connection as a value, for a client that moves: the bytes of a packet that has not come whole and the
//! answers that have not left go along. The session does not; the caller of `thaw` has it.

use bytes::BytesMut;

use super::Connection;
use crate::mqtt::codec::Input;

/// All that a connection is.
#[derive(Debug)]
pub(crate) struct FrozenConnection {
    /// Of a packet that has not come whole, or that waits to be parsed.
    input: Vec<u8>,
    /// Whole packets that have not left.
    answers: Vec<u8>,
    /// Everything else, without those two: numbers, and will, topic aliases and identity, which are values already.
    rest: Connection,
}

impl Connection {
    /// All of it, as a value.
    pub(crate) fn freeze(mut self) -> FrozenConnection {
        let input = self.input.take_rest().into();
        let answers = std::mem::take(&mut self.answers).into();
        FrozenConnection { input, answers, rest: self }
    }

    /// The connection that `freeze` made a value of. It owns a buffer only where bytes are under way.
    pub(crate) fn thaw(FrozenConnection { input, answers, rest }: FrozenConnection) -> Self {
        let input = Input::new(BytesMut::from(&input[..]));
        Self { input, answers: BytesMut::from(&answers[..]), ..rest }
    }
}

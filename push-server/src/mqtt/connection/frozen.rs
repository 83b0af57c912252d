//! A connection as a plain value, for a client that moves. Input received in part and answers not
//! sent yet go along. The session does not; the caller that thaws the connection has it.

use bytes::BytesMut;

use super::Connection;
use crate::mqtt::codec::Input;

/// Everything that a `Connection` consists of.
#[derive(Debug)]
pub(crate) struct FrozenConnection {
    /// Input of an incomplete packet, or packets not parsed yet.
    input: Vec<u8>,
    /// Answers not sent yet: whole packets.
    answers: Vec<u8>,
    /// Everything else, without those two: numbers, and will, topic aliases and identity, which are
    /// values already.
    rest: Connection,
}

impl Connection {
    /// Turns the connection into a value.
    pub(crate) fn freeze(mut self) -> FrozenConnection {
        let input = self.input.take_rest().into();
        let answers = std::mem::take(&mut self.answers).into();
        FrozenConnection { input, answers, rest: self }
    }

    /// Turns the value back into a connection. It owns a buffer only if bytes are under way.
    pub(crate) fn thaw(FrozenConnection { input, answers, rest }: FrozenConnection) -> Self {
        let input = Input::new(BytesMut::from(&input[..]));
        Self { input, answers: BytesMut::from(&answers[..]), ..rest }
    }
}

//! Answers that wait, those that are still owed among them: how far a client may run ahead.

use super::{Answer, Connection, Event};
use crate::mqtt::codec::ANSWER_BYTES;

impl Connection {
    /// Bytes of answers that wait to be moved out, or will, when the events that want one are
    /// answered. A client that sends more while these wait may be left unread: when more than
    /// `Limits::answers_bytes_max` wait already, `poll_event` fails.
    pub fn answers_due_bytes(&self) -> usize {
        self.answers.len() + self.owed_bytes as usize
    }

    pub(super) fn owe(&mut self, answer: Answer) -> Event {
        self.owed_bytes += ANSWER_BYTES;
        Event::Owes(answer)
    }

    /// So many bytes are owed no longer. An earlier connection of the session may have been the one
    /// to owe them.
    pub(super) fn answered(&mut self, bytes: u32) {
        self.owed_bytes = self.owed_bytes.saturating_sub(bytes);
    }
}

//! The server's TCP, as far as it matters here: it sends what it was given, again if nobody says that it
//! came, and takes what is next. Its places are those of S-space.

use super::client::{Down, Piece, Up};
use super::list::List;
use super::message::Message;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Given {
    at: u16,
    message: Message,
}

/// A record of the client, for user space to read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Readable {
    pub(super) message: Message,
    pub(super) is_forged: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Stack {
    /// Records whose last byte is not acknowledged.
    given: List<Given, 8>,
    unacknowledged: u16,
    next: u16,
    /// After the last byte that user space has given.
    end: u16,
    received: u16,
    readable: List<Readable, 8>,
    owes_ack: bool,
}

impl Stack {
    /// Takes the first `bytes` of a record, or what is missing of it.
    pub(super) fn accepts(&mut self, message: Message, bytes: u16) {
        let last = self.given.as_slice().last().copied();
        let begun = last.filter(|last| self.end < last.at + last.message.bytes());
        let at = begun.map_or(self.end, |last| last.at);
        if begun.is_none() {
            self.given.push(Given { at, message });
        }
        self.end = at + bytes;
    }

    pub(super) fn has_new_bytes(&self) -> bool {
        self.next < self.end
    }

    pub(super) fn is_acknowledged(&self) -> bool {
        self.unacknowledged == self.end
    }

    pub(super) fn waits_for_ack(&self) -> bool {
        self.unacknowledged < self.next
    }

    pub(super) fn owes_ack(&self) -> bool {
        self.owes_ack
    }

    pub(super) fn readable(&self) -> &[Readable] {
        self.readable.as_slice()
    }

    /// Where the bytes end that user space has read, if it reads all now.
    pub(super) fn received(&self) -> u16 {
        self.received
    }

    pub(super) fn read(&mut self) -> List<Readable, 8> {
        std::mem::take(&mut self.readable)
    }

    pub(super) fn sends_new_bytes(&mut self) -> Down {
        let segment = self.segment(self.next, self.end);
        self.next = self.end;
        segment
    }

    pub(super) fn sends_ack(&mut self) -> Down {
        self.segment(self.next, self.next)
    }

    pub(super) fn repeats(&mut self) -> Down {
        self.segment(self.unacknowledged, self.next)
    }

    fn segment(&mut self, from: u16, to: u16) -> Down {
        self.owes_ack = false;
        let mut pieces = List::default();
        for given in self.given.as_slice() {
            let (begin, end) = (from.max(given.at), to.min(given.at + given.message.bytes()));
            if begin < end {
                let message = given.message;
                pieces.push(Piece { message, from: begin - given.at, to: end - given.at });
            }
        }
        Down { seq: from, ack: self.received, pieces }
    }

    pub(super) fn takes(&mut self, segment: &Up) -> Result<(), String> {
        // Below zero: from before the first answer, when both sides counted alike.
        let ack = segment.ack as i16;
        if ack > self.next as i16 {
            return Err(format!("TCP is told of byte {ack}, and has sent {}", self.next));
        }
        self.unacknowledged = self.unacknowledged.max(ack.max(0) as u16);
        while let Some(first) = self.given.as_slice().first()
            && first.at + first.message.bytes() <= self.unacknowledged
        {
            self.given.remove(0);
        }
        if let Some(message) = segment.message {
            self.owes_ack = true;
            if segment.seq == self.received {
                self.received += message.bytes();
                self.readable.push(Readable { message, is_forged: segment.is_forged });
            }
        }
        Ok(())
    }
}

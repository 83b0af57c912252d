//! The client: its TCP, which takes what is next and nothing else, and its TLS, which opens records in
//! order.

use super::list::List;
use super::message::{Kind, Message};
use super::rules::Item;

/// A segment of the client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Up {
    pub(super) seq: u16,
    pub(super) ack: u16,
    pub(super) message: Option<Message>,
    /// Somebody on the path made it of an old record.
    pub(super) is_forged: bool,
}

/// A part of a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Piece {
    pub(super) message: Message,
    pub(super) from: u16,
    pub(super) to: u16,
}

/// A segment of the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Down {
    pub(super) seq: u16,
    pub(super) ack: u16,
    pub(super) pieces: List<Piece, 8>,
}

impl Down {
    pub(super) fn bytes(&self) -> u16 {
        self.pieces.as_slice().iter().map(|piece| piece.to - piece.from).sum()
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Client {
    /// How far it has come in its script.
    done: u8,
    sent: List<Message, 8>,
    unacknowledged: u16,
    next: u16,
    received: u16,
    owes_ack: bool,
    /// What its next record is sealed for.
    seals: (u8, u8),
    /// What the next record of the server must have been sealed for, and how much of it has come.
    opens: (u8, u8),
    partial: u16,
    is_closed: bool,
    pub(super) pings: u8,
    pub(super) pongs: u8,
}

impl Client {
    pub(super) fn new() -> Self {
        Self {
            done: 0,
            sent: List::default(),
            unacknowledged: 0,
            next: 0,
            received: 0,
            owes_ack: false,
            seals: (1, 1),
            opens: (1, 1),
            partial: 0,
            is_closed: false,
            pings: 0,
            pongs: 0,
        }
    }

    pub(super) fn next_item(&self, script: &[Item]) -> Option<Item> {
        script.get(usize::from(self.done)).copied()
    }

    pub(super) fn owes_ack(&self) -> bool {
        self.owes_ack
    }

    pub(super) fn is_acknowledged(&self) -> bool {
        self.unacknowledged == self.next
    }

    /// The record that it sent at this place of its stream.
    pub(super) fn sent_at(&self, at: u16) -> Option<Message> {
        let mut begins = 0;
        self.sent.as_slice().iter().copied().find(|message| {
            let here = begins;
            begins += message.bytes();
            here == at
        })
    }

    pub(super) fn sends(&mut self, item: Item) -> Up {
        let kind = match item {
            Item::Ping => Kind::Ping,
            Item::Data => Kind::Data,
            Item::KeyUpdate => Kind::KeyUpdate,
            Item::KeyUpdateAsking => Kind::KeyUpdateAsking,
            Item::Close => Kind::CloseNotify,
        };
        let (epoch, number) = self.seals;
        let message = Message { epoch, number, kind };
        self.seals = after(message);
        self.pings += u8::from(kind == Kind::Ping);
        self.sent.push(message);
        self.done += 1;
        let segment = Up { seq: self.next, message: Some(message), ..self.ack() };
        self.next += message.bytes();
        segment
    }

    /// A bare ACK, or what every segment tells.
    pub(super) fn ack(&mut self) -> Up {
        self.owes_ack = false;
        Up { seq: self.next, ack: self.received, message: None, is_forged: false }
    }

    /// Sends again what was not acknowledged, from its begin.
    pub(super) fn repeats(&mut self) -> Up {
        let message = self.sent_at(self.unacknowledged);
        Up { seq: self.unacknowledged, message, ..self.ack() }
    }

    /// Which of its records are pings.
    pub(super) fn pings_sent(&self) -> impl Iterator<Item = usize> {
        let sent = self.sent.as_slice().iter().enumerate();
        sent.filter(|(_, message)| message.kind == Kind::Ping).map(|(at, _)| at)
    }

    /// What somebody on the path makes of one of its records, at the place of what comes next.
    pub(super) fn forged(&self, at: usize) -> Up {
        let message = self.sent.as_slice()[at];
        Up { seq: self.next, ack: self.received, message: Some(message), is_forged: true }
    }

    /// Whether it has all bytes up to this place.
    pub(super) fn has(&self, end: u16) -> bool {
        end <= self.received
    }

    /// Whether it is told of bytes that it has not sent.
    pub(super) fn is_ahead(&self, segment: &Down) -> bool {
        segment.ack > self.next
    }

    pub(super) fn takes(&mut self, segment: &Down) -> Result<(), String> {
        self.unacknowledged = self.unacknowledged.max(segment.ack);
        self.owes_ack |= segment.bytes() > 0;
        let mut at = segment.seq;
        for piece in segment.pieces.as_slice() {
            let end = at + piece.to - piece.from;
            if at <= self.received && self.received < end {
                let from = piece.from + (self.received - at);
                self.opens(piece.message, from, piece.to)?;
                self.received = end;
            }
            at = end;
        }
        Ok(())
    }

    fn opens(&mut self, message: Message, from: u16, to: u16) -> Result<(), String> {
        if (message.epoch, message.number) != self.opens || from != self.partial {
            let wanted = self.opens;
            return Err(format!("the client cannot open {message:?} from byte {from}: {wanted:?}"));
        }
        if self.is_closed {
            return Err(format!("{message:?} after close_notify"));
        }
        self.partial = to % message.bytes();
        if to == message.bytes() {
            self.opens = after(message);
            self.is_closed = message.kind == Kind::CloseNotify;
            self.pongs += u8::from(message.kind == Kind::Pong);
        }
        if self.pongs > self.pings {
            return Err("a PINGRESP without a ping".into());
        }
        Ok(())
    }

    /// Whether it has opened all that the server has sealed up to there.
    pub(super) fn has_opened(&self, next: (u8, u8)) -> bool {
        self.opens == next
    }
}

/// What the record behind this one is sealed for.
pub(super) fn after(message: Message) -> (u8, u8) {
    match message.kind {
        Kind::KeyUpdate | Kind::KeyUpdateAsking => (message.epoch + 1, 0),
        _ => (message.epoch, message.number + 1),
    }
}

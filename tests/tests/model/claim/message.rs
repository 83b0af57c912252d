//! Records as the model has them: a message under an epoch and a number. Sealing is writing all three down
//! in plain sight; what cannot be opened is what says other numbers than are expected.

use push_common::answer_table::{Record, RecordShape};
use push_common::claim::RecordNumber;

/// Heartbeats are those of TLS 1.3.
pub(super) const SHAPE: RecordShape = RecordShape::TLS_1_3;
/// Bytes of every record that is no heartbeat.
const OTHER_BYTES: u16 = 40;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    #[default]
    Ping,
    Pong,
    Data,
    KeyUpdate,
    /// One that wants the other side to update its own key.
    KeyUpdateAsking,
    CloseNotify,
}

/// A record: what it says, and what it was sealed for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Message {
    pub(super) epoch: u8,
    pub(super) number: u8,
    pub(super) kind: Kind,
}

impl Message {
    pub(super) fn sealed(kind: Kind, at: RecordNumber) -> Self {
        Self { epoch: at.epoch() as u8, number: at.number() as u8, kind }
    }

    pub(super) fn is_for(self, at: RecordNumber) -> bool {
        (u16::from(self.epoch), u64::from(self.number)) == (at.epoch(), at.number())
    }

    pub(super) fn bytes(self) -> u16 {
        match self.kind {
            Kind::Ping | Kind::Pong => SHAPE.record_bytes().into(),
            _ => OTHER_BYTES,
        }
    }

    pub(super) fn is_heartbeat(self) -> bool {
        matches!(self.kind, Kind::Ping | Kind::Pong)
    }

    /// Its bytes, if it is a heartbeat: each of them depends on what it was sealed for.
    pub(super) fn record(self) -> Record {
        let Self { epoch, number, kind } = self;
        let rest = [epoch, number, kind as u8];
        let mut bytes = [23, 3, 3, 0, SHAPE.record_bytes() - 5].to_vec();
        bytes.extend(rest.iter().cycle().take(19));
        Record::new(&bytes).expect("24 bytes")
    }

    /// The PINGRESP in these bytes.
    pub(super) fn pingresp(record: &Record) -> Option<Self> {
        let [_, _, _, _, _, epoch, number, ..] = record.bytes();
        let message = Self { epoch, number, kind: Kind::Pong };
        (message.record() == *record).then_some(message)
    }
}

//! Records of TLS as a stand-in for keys seals them, and the answer table as user space fills it.

use std::sync::atomic::AtomicU64;

use push_common::answer_table::{KernelTable, Record, RecordShape};
use push_common::claim::{Claim, RecordNumber};
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

/// An answer table in memory that programs share.
pub type Table = KernelTable<AtomicU64>;

/// How every suite and version frames a heartbeat.
pub const SHAPES: [RecordShape; 3] =
    [RecordShape::TLS_1_3, RecordShape::TLS_1_2_CHACHA20, RecordShape::TLS_1_2_GCM];

/// What a record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// PINGREQ.
    Request,
    /// PINGRESP.
    Answer,
}

/// The number of the next record from the server, and of the next from the client, where a case has no reason for
/// others: it is not the last of a half.
pub fn first(kind: Kind) -> RecordNumber {
    match kind {
        Kind::Request => number(1, 0x20),
        Kind::Answer => number(3, 0x1234_5601),
    }
}

/// A record's number.
pub fn number(epoch: u16, number: u64) -> RecordNumber {
    RecordNumber::new(epoch, number).expect("small numbers")
}

/// Sealed with the key of its kind and epoch, so to speak: nobody guesses it, and number and content decide it.
pub fn sealed(kind: Kind, shape: RecordShape, at: RecordNumber) -> Vec<u8> {
    let key = u64::from(kind == Kind::Answer) << 63 | u64::from(at.epoch()) << 48;
    let mut rng = SmallRng::seed_from_u64(key | at.number());
    let mut bytes: Vec<u8> = (0..shape.record_bytes()).map(|_| rng.random()).collect();
    bytes[..5].copy_from_slice(&[23, 3, 3, 0, shape.record_bytes() - 5]);
    bytes
}

fn record(kind: Kind, shape: RecordShape) -> impl Fn(RecordNumber) -> Record {
    move |at| Record::new(&sealed(kind, shape, at)).expect("a heartbeat's length")
}

/// Fills up what the table lacks.
pub fn fill_up(table: &Table, claim: &Claim, shape: RecordShape) {
    table.fill_up(claim, record(Kind::Request, shape), record(Kind::Answer, shape));
}

/// The table of a connection whose next records have these numbers; programs may answer.
pub fn fill_for(table: &Table, shape: RecordShape, [answer, request]: [RecordNumber; 2]) {
    let claim = table.begin(answer, request);
    fill_up(table, &claim, shape);
    table.release(claim).expect("nothing was sealed");
}

/// The same with the numbers of [`first`].
pub fn fill(table: &Table, shape: RecordShape) {
    fill_for(table, shape, [first(Kind::Answer), first(Kind::Request)]);
}

/// The same after a ping was answered by what [`first`] says, whose answer is kept.
pub fn fill_pending(table: &Table, shape: RecordShape) {
    fill(table, shape);
    let look = table.look();
    assert!(table.take(look));
    table.keep(&record(Kind::Answer, shape)(look.number()), table.expected());
}

/// Everything in the table, to compare.
pub fn copied(table: &Table) -> String {
    format!("{table:?}")
}

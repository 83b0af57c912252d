//! Heartbeats inside TLS: records that the program compares with an answer table, and copies from there.

mod again;
mod answer;
mod contention;
mod decline;

use push_common::answer_table::RecordShape;
use push_tests::records::{self, Kind, sealed};

use crate::rig::{Outcome, Rig, Verdict};
use crate::world::World;
use push_tests::records::Table;

/// After `n` pings, the last one acknowledged, of a client whose records have this shape; its table is filled.
fn world(rig: &Rig, shape: RecordShape, ipv6: bool, n: u32) -> World {
    records::fill(rig.table, shape);
    World::with(shape.heartbeat(), ipv6, n)
}

/// The record that answers the first ping.
fn first_answer(shape: RecordShape) -> Vec<u8> {
    sealed(Kind::Answer, shape, records::first(Kind::Answer))
}

/// Passed to the stack as it came, and nothing of the connection's records has changed.
#[track_caller]
fn assert_passed(outcome: &Outcome, packet: &[u8], table: &Table, before: &str) {
    assert_eq!((outcome.verdict, &outcome.packet[..]), (Verdict::Next, packet));
    assert_eq!(outcome.slot.pings, 0);
    assert!(outcome.told.is_empty());
    assert_eq!(records::copied(table), before, "{:?}", outcome.counted);
}

//! Tests of `hand_on`.

use std::sync::Arc;

use super::*;
use crate::broker::SessionMemoryMax;
use crate::store::SessionNumber;

/// A session whose outbox on disk begins at 7, and of which a message was sent.
fn begin() -> HandOnCursor {
    HandOnCursor::new(SessionNumber(1), 8, 7)
}

fn memory() -> Arc<SessionMemory> {
    SessionMemory::new(SessionMemoryMax::UNLIMITED)
}

#[test]
fn a_session_in_memory_is_forgotten_when_its_errand_has_ended() {
    let mut hand_on = HandOn::in_memory(Left::default());
    assert!(!hand_on.is_on_disk());
    assert_eq!(hand_on.next(), None);
    hand_on.end_errand();
    assert_eq!(hand_on.next(), Some(NextStep::Forget));
}

#[test]
fn pages_are_read_one_after_another_and_then_the_records_go() {
    let mut hand_on = HandOn::on_disk(Left::default(), begin(), true);
    hand_on.end_errand();
    assert_eq!(hand_on.next(), Some(NextStep::Read(begin())));
    assert_eq!(hand_on.next(), None, "it waits for its page");
    hand_on.page_read(begin(), Some(9), std::iter::empty(), &memory());
    assert_eq!(hand_on.next(), None, "its errand waits");
    hand_on.end_errand();
    assert_eq!(hand_on.next(), Some(NextStep::Read(begin().at(9))));
    hand_on.page_read(begin().at(9), None, std::iter::empty(), &memory());
    hand_on.end_errand();
    assert_eq!(hand_on.next(), Some(NextStep::RemoveRecords));
}

#[test]
fn no_page_is_read_while_a_write_is_under_way() {
    let mut hand_on = HandOn::on_disk(Left::default(), begin(), true);
    hand_on.left_mut().begin_write();
    hand_on.end_errand();
    assert_eq!(hand_on.next(), None);
    hand_on.left_mut().end_write(false);
    assert_eq!(hand_on.next(), Some(NextStep::Read(begin())));
}

#[test]
fn a_page_of_which_a_write_failed_is_read_again() {
    let mut hand_on = HandOn::on_disk(Left::default(), begin(), true);
    hand_on.left_mut().begin_write();
    hand_on.end_errand();
    hand_on.left_mut().end_write(true);
    assert_eq!(hand_on.next(), Some(NextStep::ReadAgain(begin().at(0))));
    hand_on.page_read(begin().at(0), None, std::iter::empty(), &memory());
    hand_on.end_errand();
    assert_eq!(hand_on.next(), Some(NextStep::RemoveRecords));
}

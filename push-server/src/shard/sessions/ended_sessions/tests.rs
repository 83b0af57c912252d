//! Tests of `ended_sessions`.

use super::*;
use crate::broker::{SessionMemory, SessionMemoryMax};
use crate::mqtt::Left;
use crate::shard::journal::HandOnCursor;

#[test]
fn a_session_that_hands_on_counts_against_the_total_of_all_until_its_last_step() {
    let sessions = MemoryBudget::new(u64::MAX);
    let mut ended = EndedSessions::default();
    let number = SessionNumber(7);
    let begin = HandOnCursor::new(number, 0, 0);
    ended.begin_hand_on(number, HandOn::on_disk(Left::default(), begin, true), &sessions);
    assert_eq!(sessions.used_bytes(), SESSION_BYTES as u64);
    assert_eq!(ended.next_step(number), None, "its errand waits");
    ended.hand_on_mut(number).expect("it hands on").end_errand();
    assert_eq!(ended.next_step(number), Some(NextStep::Read(begin)));
    assert!(ended.hands_on(number));
    let memory = SessionMemory::new(SessionMemoryMax::UNLIMITED);
    let hand_on = ended.hand_on_mut(number).expect("it hands on");
    hand_on.page_read(begin, None, std::iter::empty(), &memory);
    hand_on.end_errand();
    assert_eq!(ended.next_step(number), Some(NextStep::RemoveRecords));
    assert!(!ended.hands_on(number));
    assert_eq!(sessions.used_bytes(), 0);
}

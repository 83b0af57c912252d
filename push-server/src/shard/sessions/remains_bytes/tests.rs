//! Tests of `remains_bytes`.

use super::*;

#[test]
fn what_is_about_to_go_is_waited_for_if_it_is_enough() {
    let (memory, remains) = (MemoryBudget::new(100), RemainsBytes::default());
    memory.add(95);
    assert!(!remains.would_make_room(&memory, NoMemory::Total, 6), "nothing is about to go");
    remains.add(10);
    assert!(remains.would_make_room(&memory, NoMemory::Total, 15));
    assert!(!remains.would_make_room(&memory, NoMemory::Total, 16), "there is not enough");
    assert!(!remains.would_make_room(&memory, NoMemory::Share, 1), "shares bind all the same");
    remains.add(50);
    assert!(remains.would_make_room(&memory, NoMemory::Share, 15));
    remains.subtract(60);
    assert!(!remains.would_make_room(&memory, NoMemory::Total, 6));
}

use super::*;

#[test]
fn a_session_holds_what_it_leaves_to_others_and_a_little_anyway() {
    let memory = MemoryBudget::new(10_000);
    let room = || Room::in_memory(&memory);
    let load = |messages, bytes| Load { messages, bytes };
    assert!(load(0, 0).takes(1 << 30, room()), "nobody else has anything");
    memory.add(1_000);
    assert!(load(9, 1_000).takes(4_000, room()) && !load(9, 1_000).takes(4_001, room()));
    assert!(load(0, 0).takes(4_500, room()) && !load(0, 0).takes(4_501, room()));
    memory.add(10_000);
    assert!(load(9, 1_000).takes(1_048, room()) && !load(9, 1_000).takes(1_049, room()));
    assert!(load(0, 0).takes(2_048, room()) && !load(0, 0).takes(2_049, room()));
}

#[test]
fn sessions_that_hoard_leave_as_much_as_each_of_them_holds() {
    let memory = MemoryBudget::new(1_000_000);
    let mut hoards = [Load::default(); 9];
    for _ in 0..10_000 {
        for hoard in &mut hoards {
            if hoard.takes(100, Room::in_memory(&memory)) {
                hoard.add(100);
                memory.add(100);
            }
        }
    }
    for hoard in hoards {
        assert!((99_000..=101_000).contains(&hoard.bytes), "{hoard:?}");
    }
    assert!(memory.left_bytes() >= 99_000, "{}", memory.left_bytes());
}

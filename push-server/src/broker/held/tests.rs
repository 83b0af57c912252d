use super::*;

#[test]
fn the_first_charges_and_the_last_gives_back() {
    let memory = MemoryBudget::new(100);
    let held = Held::default();
    for used_bytes in [30, 30] {
        held.enter(|| 30, &memory);
        assert_eq!(memory.used_bytes(), used_bytes);
    }
    held.leave(|| 30);
    assert_eq!(memory.used_bytes(), 30);
    held.leave(|| 30);
    assert_eq!(memory.used_bytes(), 0);
}

#[test]
fn shards_that_hold_the_same_leave_nothing_counted() {
    let (memory, held) = (MemoryBudget::new(100), Held::default());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..10_000 {
                    held.enter(|| 30, &memory);
                    held.leave(|| 30);
                }
            });
        }
    });
    assert_eq!(memory.used_bytes(), 0);
}

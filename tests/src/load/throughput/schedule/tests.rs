use super::*;

#[test]
fn messages_of_all_threads_are_due_at_even_distances() {
    let mut schedules = [0, 1].map(|thread| Schedule::new(1_000, 10_000, 2, thread));
    let mut due = Vec::new();
    for number in 0..4 {
        for schedule in &mut schedules {
            assert_eq!(schedule.next_number(), number);
            due.push(schedule.next_due_ns());
            schedule.take();
        }
    }
    let expected: Vec<u64> = (0..8).map(|number| 1_000 + number * 100_000).collect();
    assert_eq!(due, expected);
}

#[test]
fn an_hour_of_messages_does_not_drift() {
    let mut schedule = Schedule::new(0, 3, 1, 0);
    (0..3 * 3_600).for_each(|_| schedule.take());
    assert!(schedule.next_due_ns().abs_diff(3_600_000_000_000) <= 1_000);
}

use super::*;

#[test]
fn a_clock_that_was_set_ends_the_wait_until_somebody_has_asked() {
    let queue = Queue::<()>::new(0);
    let mut taken = VecDeque::new();
    queue.clock_was_set();
    for _ in 0..2 {
        assert_eq!(queue.take(&mut taken, None), Wakeup::Nothing);
    }
    queue.read(SessionNumber(1), Position(0), PageLimit { messages: 1, bytes: 1 }, ());
    assert_eq!(queue.take(&mut taken, None), Wakeup::Requests);
    assert!(queue.take_clock_was_set(), "requests do not hide it");
    assert!(!queue.take_clock_was_set());
    assert_eq!(queue.take(&mut taken, Some(Instant::now())), Wakeup::Nothing);
    queue.close();
    assert_eq!(queue.take(&mut taken, None), Wakeup::Closed);
}

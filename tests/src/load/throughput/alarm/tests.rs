use std::time::{Duration, Instant};

use mio::Events;

use super::*;

#[test]
fn it_goes_off_each_time_it_is_set_and_never_early() {
    let mut poll = Poll::new().unwrap();
    let alarm = Alarm::new(&poll, Token(7)).unwrap();
    let mut events = Events::with_capacity(4);
    for _ in 0..3 {
        let begun = Instant::now();
        alarm.set(300_000).unwrap();
        poll.poll(&mut events, Some(Duration::from_secs(60))).unwrap();
        assert_eq!(events.iter().map(|event| event.token()).collect::<Vec<_>>(), [Token(7)]);
        assert!(begun.elapsed() >= Duration::from_micros(300));
    }
}

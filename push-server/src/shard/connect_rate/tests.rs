use super::*;

#[test]
fn after_the_burst_it_says_when_the_next_may_come() {
    let rate = ConnectRate::new(Rate { per_sec: 100, burst: 3 });
    let now = Monotonic(1_000_000_000);
    assert_eq!([(); 3].map(|()| rate.take(now)), [Ok(()); 3]);
    let next = rate.take(now).expect_err("the burst is used up");
    assert_eq!(next, now.after_millis(10));
    assert_eq!(rate.take(Monotonic(next.0 - 1)), Err(next));
    assert_eq!(rate.take(next), Ok(()));
}

#[test]
fn without_a_rate_everybody_is_let_in() {
    let rate = ConnectRate::new(Rate::OFF);
    assert!((0..100_000).all(|_| rate.take(Monotonic(0)).is_ok()));
}

use super::*;

#[test]
fn round_trips_of_threads_add_up() {
    let (mut one, mut other) = (Tally::default(), Tally::default());
    for _ in 0..98 {
        one.record_answer(10_000);
    }
    other.record_answer(500_000);
    other.record_answer(RTT_NS_MAX * 2);
    one.add(&other);
    assert_eq!(one.answered, 100);
    let RoundTrips { p50, p99, max, .. } = one.rtt_us();
    assert_eq!((p50, p99), (10, 500));
    assert!((59_900_000..=60_100_000).contains(&max), "{max} us");
}

#[test]
fn nothing_recorded_is_zeros() {
    assert_eq!(Tally::default().rtt_us(), RoundTrips { p50: 0, p99: 0, p999: 0, max: 0 });
}

#[test]
fn few_faults_are_told_and_the_rest_only_counted() {
    let mut tally = Tally::default();
    for number in 0..100 {
        tally.tell(|| number.to_string());
    }
    assert_eq!(tally.faults.len(), FAULTS_TOLD_MAX);
}

use super::*;

#[test]
fn connections_begin_no_faster_than_the_rate_and_no_more_at_a_time() {
    let mut connector = Connector::new(1_000.0, 2);
    let start = 1_000_000_000;
    for client in 0..4 {
        connector.enqueue(client, 0);
    }
    assert_eq!(connector.begin(start), Some(0));
    // The first wake counts as late by the most that is made up for.
    assert_eq!(connector.begin(start), Some(1));
    assert_eq!(connector.begin(start + 50_000_000), None, "two are in flight");
    connector.ended();
    assert_eq!(connector.begin(start + 50_000_000), Some(2));
    connector.ended();
    connector.ended();
    assert_eq!(connector.begin(start + 50_000_000), Some(3));
    assert!(!connector.is_idle());
    connector.ended();
    assert!(connector.is_idle());
    assert_eq!(connector.next_wake_ns(), None);
}

#[test]
fn a_steady_caller_gets_the_rate() {
    let mut connector = Connector::new(1_000.0, usize::MAX);
    (0..10_000).for_each(|client| connector.enqueue(client, 0));
    let mut begun = 0;
    for millisecond in 0..2_000u64 {
        while connector.begin(1_000_000_000 + millisecond * 1_000_000).is_some() {
            begun += 1;
        }
    }
    assert!((2_000..2_020).contains(&begun), "{begun} in 2 s");
}

#[test]
fn attempts_that_take_too_long_are_named() {
    let mut connector = Connector::new(1e9, 10);
    connector.enqueue(7, 0);
    assert_eq!(connector.begin(5), Some(7));
    assert_eq!(connector.next_wake_ns(), Some(5 + CONNECT_NS_MAX));
    assert_eq!(connector.overdue(4 + CONNECT_NS_MAX), None);
    assert_eq!(connector.overdue(5 + CONNECT_NS_MAX), Some((5, 7)));
    assert_eq!(connector.overdue(5 + CONNECT_NS_MAX), None);
}

#[test]
fn clients_are_spread_over_loopback_addresses_as_needed() {
    let loopback = "127.0.0.1:1883".parse().unwrap();
    let far = "192.0.2.1:1883".parse().unwrap();
    assert_eq!(source_of(19_999, &[], loopback), None);
    assert_eq!(source_of(20_000, &[], loopback), Some("127.0.0.2".parse().unwrap()));
    assert_eq!(source_of(20_000, &[], far), None);
    let sources = ["10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap()];
    assert_eq!(source_of(0, &sources, far), Some(sources[0]));
    assert_eq!(source_of(3, &sources, far), Some(sources[1]));
}

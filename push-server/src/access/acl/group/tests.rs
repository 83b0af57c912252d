use super::*;

#[test]
fn each_key_sets_a_limit_of_its_own() {
    let mut limits = GroupLimits::default();
    for (number, key) in (1..).zip(LIMIT_KEYS.split([',', ' ']).filter(|key| key.contains('-'))) {
        assert_eq!(set(&mut limits, key, Some(number)), Ok(()), "{key}");
    }
    let all = GroupLimits {
        publish_rate: Some(1),
        publish_burst: Some(2),
        publish_bytes_rate: Some(3),
        publish_bytes_burst: Some(4),
        subscribe_rate: Some(5),
        subscribe_burst: Some(6),
        user_connections_max: Some(7),
    };
    assert_eq!(limits, all);
}

#[test]
fn a_rate_of_0_is_no_limit_and_a_burst_of_0_is_a_mistake() {
    let mut limits = GroupLimits::default();
    assert_eq!(set(&mut limits, "publish-rate", Some(0)), Ok(()));
    for (key, value) in [("publish-burst", Some(0)), ("publish-rate", Some(-1))] {
        assert!(matches!(set(&mut limits, key, value), Err(NoLimit::Value(_))), "{key}");
    }
    assert!(matches!(set(&mut limits, "subscribe-rate", None), Err(NoLimit::Value(_))));
    assert!(matches!(set(&mut limits, "subscribe-rate", Some(1 << 40)), Err(NoLimit::Value(_))));
    assert_eq!(set(&mut limits, "ping-rate", Some(1)), Err(NoLimit::Unknown));
}

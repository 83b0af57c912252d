use super::*;

#[test]
fn what_a_group_does_not_say_is_the_servers() {
    let server = ClientLimits::default();
    let groups = GroupLimits {
        publish_rate: Some(5),
        subscribe_rate: Some(0),
        user_connections_max: Some(3),
        ..GroupLimits::default()
    };
    let limits = server.of_groups(&groups);
    assert_eq!(limits.publish, Rate { per_sec: 5, burst: server.publish.burst });
    assert!(limits.subscribe.is_off());
    assert_eq!(limits.publish_bytes, server.publish_bytes);
    assert_eq!(limits.user_connections_max, 3);
    assert_eq!(server.of_groups(&GroupLimits::default()), server);
}

#[test]
fn of_two_groups_the_one_that_allows_more_counts() {
    let few = GroupLimits { publish_rate: Some(5), publish_burst: Some(9), ..Default::default() };
    let many = GroupLimits { publish_rate: Some(50), ..Default::default() };
    let all = GroupLimits { publish_rate: Some(0), ..Default::default() };
    let both = few.or_more(&many);
    assert_eq!((both.publish_rate, both.publish_burst), (Some(50), Some(9)));
    assert_eq!(many.or_more(&few), both, "in any order");
    assert_eq!(many.or_more(&all).publish_rate, Some(0), "no limit allows the most");
    assert_eq!(few.or_more(&GroupLimits::default()), few);
}

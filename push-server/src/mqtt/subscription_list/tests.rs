use super::*;
use crate::broker::QoS;

fn filter(text: &str) -> TopicFilter {
    TopicFilter::parse(text, 8).expect("valid")
}

fn with_qos(qos: QoS) -> SubscriptionOptions {
    SubscriptionOptions { qos, ..SubscriptionOptions::default() }
}

fn texts(list: &SubscriptionList) -> Vec<&str> {
    list.iter().map(|(filter, _)| filter.as_str()).collect()
}

#[test]
fn shared_ones_are_found_from_any_of_them_on() {
    let limits = Limits::default();
    let mut list = SubscriptionList::default();
    for text in ["b", "$share/g/a", "#", "$share/h/#", "$shard/x", "$SYS/a", "$t", "+"] {
        list.set(&filter(text), with_qos(QoS::AtMostOnce), &limits).expect("has room");
    }
    let behind = |behind: Option<&str>| {
        let behind = behind.map(filter);
        let found = list.shared_behind(behind.as_ref());
        found.map(|filter| filter.as_str().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(behind(None), ["$share/g/a", "$share/h/#"]);
    assert_eq!(behind(Some("$share/g/a")), ["$share/h/#"]);
    assert_eq!(behind(Some("$share/g/b")), ["$share/h/#"], "one that is gone");
    assert_eq!(behind(Some("$share/h/#")), [""; 0]);
}

#[test]
fn what_is_added_in_any_order_is_found_changed_and_removed() {
    let limits = Limits::default();
    let mut list = SubscriptionList::default();
    for text in ["b", "d", "a/+", "c", "#"] {
        assert_eq!(list.set(&filter(text), with_qos(QoS::AtMostOnce), &limits), Ok(()));
    }
    assert_eq!(list.set(&filter("c"), with_qos(QoS::ExactlyOnce), &limits), Ok(()));
    assert_eq!(texts(&list), ["#", "a/+", "b", "c", "d"]);
    assert_eq!(list.iter().map(|(_, options)| options.qos as u8).sum::<u8>(), 2);
    assert!(list.remove(&filter("b")) && !list.remove(&filter("never/was")));
    assert!(list.contains(&filter("c")) && !list.contains(&filter("b")));
    let again: SubscriptionList = list.clone().into_iter().rev().collect();
    assert_eq!(texts(&again), ["#", "a/+", "c", "d"]);
}

#[test]
fn a_change_costs_by_how_many_there_are() {
    let list = |count: u32| -> SubscriptionList {
        (0..count).map(|n| (filter(&n.to_string()), SubscriptionOptions::default())).collect()
    };
    assert_eq!([0, 10, 1_000, 64_000].map(|count| list(count).change_units()), [0, 0, 31, 2_000]);
}

#[test]
fn one_too_many_is_refused_and_a_known_one_is_not() {
    let limits = Limits { subscriptions_max: 2, ..Limits::default() };
    let mut list = SubscriptionList::default();
    let options = SubscriptionOptions::default();
    assert_eq!(list.set(&filter("a"), options, &limits), Ok(()));
    assert_eq!(list.set(&filter("b"), options, &limits), Ok(()));
    assert_eq!(list.set(&filter("c"), options, &limits), Err(ListFull::Number));
    assert_eq!(list.set(&filter("a"), options, &limits), Ok(()));
    assert_eq!(texts(&list), ["a", "b"]);
}

#[test]
fn filters_have_only_so_many_bytes_together() {
    let own_bytes = subscription_weight_bytes(&filter("x")) as u32 - 1;
    let limits = Limits { subscription_bytes_max: 3 * own_bytes + 10, ..Limits::default() };
    let mut list = SubscriptionList::default();
    let mut set = |text| list.set(&filter(text), SubscriptionOptions::default(), &limits);
    assert_eq!(set("12345"), Ok(()));
    assert_eq!(set("1234"), Ok(()));
    assert_eq!(set("12"), Err(ListFull::Bytes));
    assert_eq!(set("12345"), Ok(()), "it is there already");
    assert_eq!(set("x"), Ok(()));
    assert_eq!(set("y"), Err(ListFull::Bytes));
    list.remove(&filter("1234"));
    assert_eq!(list.set(&filter("y"), SubscriptionOptions::default(), &limits), Ok(()));
}

#[test]
fn levels_of_wildcard_filters_count_against_the_bytes() {
    let limits = Limits { subscription_bytes_max: 4_096, ..Limits::default() };
    let mut list = SubscriptionList::default();
    let mut set = |text: &str| {
        let filter = TopicFilter::parse(text, 128).expect("valid");
        list.set(&filter, SubscriptionOptions::default(), &limits)
    };
    assert_eq!(set(&"/".repeat(100)), Ok(()), "without wildcards it is in no tree");
    assert_eq!(set(&format!("{}+", "/".repeat(100))), Err(ListFull::Bytes));
    assert_eq!(set("a/b/+"), Ok(()));
}

#[test]
fn a_thousand_ordinary_subscriptions_are_within_the_default() {
    let limits = Limits::default();
    let mut list = SubscriptionList::default();
    for number in 0..limits.subscriptions_max {
        let text = format!("company/site-{number:04}/building/floor/room/device/+/state/#");
        let filter = TopicFilter::parse(&text, 128).expect("valid");
        assert_eq!(list.set(&filter, SubscriptionOptions::default(), &limits), Ok(()));
    }
}

//! Which rules are about a client, and what they say together.

use std::net::IpAddr;

use super::*;
use crate::broker::TopicName;

fn acl(text: &str) -> Acl {
    Acl::parse(text).unwrap_or_else(|mistakes| panic!("{mistakes}"))
}

fn user(name: &str) -> Identity {
    Identity::of_user(name.into())
}

fn from(address: &str, listener: &str) -> Option<Origin<'static>> {
    Some(Origin {
        address: address.parse::<IpAddr>().ok(),
        listener: listener.parse().ok(),
        listener_name: None,
    })
}

const ANYWHERE: Option<Origin<'static>> =
    Some(Origin { address: None, listener: None, listener_name: None });

fn topic(text: &str) -> TopicName {
    TopicName::parse(text, 16).expect("a topic")
}

fn filter(text: &str) -> TopicFilter {
    TopicFilter::parse(text, 16).expect("a filter")
}

fn publishes(acl: &Acl, who: &Identity, client_id: &str, text: &str) -> bool {
    let rights = acl.rights(who, client_id, ANYWHERE);
    rights.may_publish(&topic(text), who.user(), client_id).is_allowed()
}

fn subscribes(acl: &Acl, who: &Identity, client_id: &str, text: &str) -> bool {
    let rights = acl.rights(who, client_id, ANYWHERE);
    rights.may_subscribe(&filter(text), who.user(), client_id).is_allowed()
}

const RULES: &str = r##"
[groups]
operators = ["alice"]

[[allow]]
publish = ["devices/%c/#", "open"]
subscribe = ["devices/%c/#", "open"]

[[allow]]
users = ["bob"]
publish = ["bobs/#"]
subscribe = ["#"]

[[allow]]
groups = ["operators"]
publish = ["#"]
subscribe = ["#", "$SYS/#"]

[[deny]]
publish = ["devices/+/secret"]
subscribe = ["devices/+/secret", "vault/#"]

[[deny]]
clients = ["old-*"]
publish = ["open"]
"##;

#[test]
fn denial_beats_allowance_and_nothing_is_allowed_that_no_rule_allows() {
    let acl = acl(RULES);
    let (alice, bob, nobody) = (user("alice"), user("bob"), Identity::default());
    for (who, client_id, text, expected) in [
        (&nobody, "c", "devices/c/x", true),
        (&nobody, "c", "devices/d/x", false),
        (&nobody, "c", "devices/c/secret", false),
        (&nobody, "c", "open", true),
        (&nobody, "old-c", "open", false),
        (&nobody, "c", "bobs/x", false),
        (&bob, "c", "bobs/x", true),
        (&bob, "c", "commands", false),
        (&alice, "c", "commands", true),
        (&alice, "c", "devices/c/secret", false),
        (&alice, "old-c", "open", false),
    ] {
        assert_eq!(publishes(&acl, who, client_id, text), expected, "{who:?} {client_id} {text}");
    }
}

#[test]
fn a_filter_is_granted_if_one_allowed_filter_covers_it_and_no_denied_one_does() {
    let acl = acl(RULES);
    let (alice, bob, nobody) = (user("alice"), user("bob"), Identity::default());
    for (who, text, expected) in [
        (&nobody, "devices/c/+", true),
        (&nobody, "devices/+/x", false),
        (&nobody, "$share/g/devices/c/#", true),
        (&nobody, "$share/g/devices/#", false),
        (&nobody, "#", false),
        (&bob, "#", true),
        (&bob, "devices/+/secret", false),
        (&bob, "$share/g/vault/a", false),
        (&bob, "$SYS/#", false),
        (&alice, "$SYS/#", true),
        (&alice, "$SYS/uptime", true),
    ] {
        assert_eq!(subscribes(&acl, who, "c", text), expected, "{who:?} {text}");
    }
    let rights = acl.rights(&bob, "c", ANYWHERE);
    for (text, expected) in [("a", true), ("devices/c/secret", false), ("vault", false)] {
        let received = rights.may_receive(&topic(text), bob.user(), "c");
        assert_eq!(received.is_allowed(), expected, "{text}");
    }
    let lines = |text: &str| {
        let lines = acl.taken_out(&bob, "c", ANYWHERE, &filter(text));
        lines.into_iter().map(Line::get).collect::<Vec<_>>()
    };
    assert_eq!(lines("#"), [21]);
    assert_eq!(lines("bobs/#"), [0; 0]);
}

#[test]
fn the_line_that_decides_is_told() {
    let acl = acl(RULES);
    let rights = acl.rights(&user("alice"), "c", ANYWHERE);
    let publish = |text: &str| rights.may_publish(&topic(text), Some("alice"), "c");
    assert_eq!(publish("commands"), Decision::Allowed(Line::new(16)));
    assert_eq!(publish("devices/x/secret"), Decision::Denied(Line::new(20)));
    let rights = acl.rights(&Identity::default(), "c", ANYWHERE);
    assert_eq!(rights.may_publish(&topic("x"), None, "c"), Decision::Denied(None));
}

#[test]
fn a_rule_is_about_those_of_whom_all_holds_that_it_asks_for() {
    let acl = acl(r##"
        [groups]
        staff = ["ada"]

        [[allow]]
        users = ["ada", "bob"]
        groups = ["staff"]
        clients = ["desk-?"]
        addresses = ["10.0.0.0/8", "::1"]
        listeners = ["0.0.0.0:1883", "[::1]:1884", "10.0.0.2:1886"]
        publish = ["a"]

        [[allow]]
        listeners = ["inside"]
        publish = ["a"]
        "##);
    assert!(acl.asks_for_addresses());
    let allowed = |who: &Identity, client_id: &str, origin| {
        let rights = acl.rights(who, client_id, origin);
        rights.may_publish(&topic("a"), who.user(), client_id).is_allowed()
    };
    let (ada, bob) = (user("ada"), user("bob"));
    let near = from("10.1.2.3", "10.0.0.1:1883");
    assert!(allowed(&ada, "desk-1", near));
    assert!(allowed(&ada, "desk-1", from("::ffff:10.1.2.3", "10.0.0.1:1883")));
    assert!(allowed(&ada, "desk-1", from("10.1.2.3", "[::ffff:10.0.0.2]:1886")));
    assert!(!allowed(&ada, "desk-1", from("10.1.2.3", "[::ffff:10.0.0.1]:1883")), "of [::]");
    assert!(allowed(&ada, "desk-1", from("::1", "[::1]:1884")));
    assert!(!allowed(&bob, "desk-1", near), "not in the group");
    assert!(allowed(&bob.with_groups(["staff".into()].into()), "desk-1", near));
    assert!(!allowed(&ada, "desk-10", near));
    assert!(!allowed(&ada, "desk-1", from("192.0.2.1", "10.0.0.1:1883")));
    assert!(!allowed(&ada, "desk-1", from("10.1.2.3", "10.0.0.1:1885")));
    assert!(!allowed(&ada, "desk-1", from("::1", "[::2]:1884")));
    assert!(!allowed(&ada, "desk-1", ANYWHERE));
    assert!(!allowed(&Identity::default(), "desk-1", near));
    let inside = Some(Origin { listener_name: Some("inside"), ..Origin::default() });
    assert!(allowed(&Identity::default(), "x", inside));
}

/// After a start a client's address is not known any more, nor what its token said.
#[test]
fn what_is_not_known_any_more_denies_and_does_not_allow() {
    let acl = acl(r##"
        [groups]
        fleet = []

        [[allow]]
        users = ["ada"]
        publish = ["#"]

        [[allow]]
        addresses = ["10.0.0.0/8"]
        publish = ["near"]

        [[deny]]
        addresses = ["192.0.2.0/24"]
        publish = ["far"]

        [[deny]]
        groups = ["fleet"]
        publish = ["fleet"]

        [[allow]]
        groups = ["fleet"]
        publish = ["fleet"]
        "##);
    let judged = |who: &Identity, origin, text: &str| {
        acl.rights(who, "c", origin).may_publish(&topic(text), who.user(), "c").is_allowed()
    };
    let (ada, nobody) = (user("ada"), Identity::default());
    assert!(judged(&ada, None, "x"));
    assert!(!judged(&ada, None, "far") && judged(&ada, from("10.1.1.1", ""), "far"));
    assert!(!judged(&ada, None, "fleet") && judged(&ada, ANYWHERE, "fleet"));
    assert!(!judged(&nobody, None, "near") && judged(&nobody, from("10.1.1.1", ""), "near"));
    assert!(!judged(&nobody, None, "fleet"));
}

#[test]
fn anonymous_tells_clients_with_a_user_from_those_without() {
    let acl = acl("[[allow]]\nanonymous = true\npublish = [\"a\"]\n\
         [[allow]]\nanonymous = false\npublish = [\"b\"]\n");
    let (ada, nobody) = (user("ada"), Identity::default());
    let asked = |who, text| publishes(&acl, who, "c", text);
    assert_eq!([asked(&nobody, "a"), asked(&nobody, "b")], [true, false]);
    assert_eq!([asked(&ada, "a"), asked(&ada, "b")], [false, true]);
}

#[test]
fn clients_about_whom_the_same_rules_are_share_their_rights() {
    let acl = acl(RULES);
    let shared = |one: &Rights, other: &Rights| {
        let (one, other) = (one.compiled().expect("rules"), other.compiled().expect("rules"));
        Arc::ptr_eq(one, other)
    };
    let first = acl.rights(&user("carol"), "c1", ANYWHERE);
    assert!(shared(&first, &acl.rights(&user("dave"), "c2", from("10.0.0.1", ""))));
    assert!(shared(&first, &acl.rights(&Identity::default(), "c3", ANYWHERE)));
    assert!(!shared(&first, &acl.rights(&user("bob"), "c1", ANYWHERE)));
    assert!(!shared(&first, &acl.rights(&user("carol"), "old-1", ANYWHERE)));
    assert_eq!(size_of::<Rights>(), 8, "bytes of a connection");
    assert!(acl.gave(&first) && !super::tests::acl(RULES).gave(&first));
    assert!(!acl.gave(&Rights::default()));
}

#[test]
fn rights_that_nobody_has_any_more_are_forgotten() {
    let rules: String = (0..1_000)
        .map(|index| format!("[[allow]]\nusers = [\"u{index}\"]\npublish = [\"t{index}\"]\n"))
        .collect();
    let acl = acl(&rules);
    for index in 0..1_000 {
        let who = user(&format!("u{index}"));
        assert!(publishes(&acl, &who, "c", &format!("t{index}")));
        assert!(!publishes(&acl, &who, "c", "t1000"));
    }
    let remembered = acl.compiled.lock().expect("whole");
    let values_max = 2 * RECENT_MAX;
    assert!(remembered.rights.values.len() <= values_max);
    assert!(remembered.rule_sets.values.len() <= values_max);
}

#[test]
fn a_client_that_comes_again_and_again_finds_its_rights_as_they_were() {
    let acl = acl(RULES);
    let rights = || acl.rights(&user("bob"), "c", ANYWHERE);
    let first = Arc::downgrade(rights().compiled().expect("rules"));
    let again = rights();
    assert!(
        first.upgrade().is_some_and(|first| {
            again.compiled().is_some_and(|again| Arc::ptr_eq(&first, again))
        })
    );
}

#[test]
fn without_rules_all_is_allowed_but_reading_the_servers_own_topics() {
    for who in [user("ada"), Identity::default()] {
        let rights = rights_under(None, &who, "c", ANYWHERE);
        assert!(!rights.has_rules());
        assert!(rights.may_publish(&topic("a"), who.user(), "c").is_allowed());
        for (text, expected) in [
            ("#", true),
            ("+/x", true),
            ("$other/#", true),
            ("$SYSTEM", true),
            ("$SYS", false),
            ("$SYS/#", false),
            ("$SYS/+/x", false),
            ("$share/g/$SYS/#", false),
        ] {
            let granted = rights.may_subscribe(&filter(text), who.user(), "c").is_allowed();
            assert_eq!(granted, expected, "{text}");
        }
    }
}

#[test]
fn a_group_may_be_a_table_with_users_and_limits() {
    let acl = acl("[groups]\nplain = [\"ada\"]\n\
        [groups.fleet]\nusers = [\"bob\", \"carol\"]\n\
        [groups.fleet.limits]\npublish-rate = 5\nuser-connections-max = 2\n\
        [groups.loud.limits]\npublish-rate = 50\nsubscribe-burst = 1_000\n\
        [[allow]]\ngroups = [\"fleet\"]\npublish = [\"f\"]\n");
    assert!(publishes(&acl, &user("bob"), "c", "f"));
    assert!(!publishes(&acl, &user("ada"), "c", "f"));
    assert_eq!(acl.limits(&user("ada")), GroupLimits::default());
    let fleet = acl.limits(&user("carol"));
    assert_eq!((fleet.publish_rate, fleet.user_connections_max), (Some(5), Some(2)));
    assert_eq!(fleet.publish_burst, None);
    let loud = user("carol").with_groups(["loud".into()].into());
    let both = acl.limits(&loud);
    assert_eq!((both.publish_rate, both.user_connections_max), (Some(50), Some(2)), "the more");
    assert_eq!(both.subscribe_burst, Some(1_000), "a group that a token names");
    assert_eq!(acl.limits(&Identity::default()), GroupLimits::default());
}

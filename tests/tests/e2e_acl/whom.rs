//! Which clients a rule is about.

use push_tests::clients::{Client, Connect};
use push_tests::expectations::wait_for;
use push_tests::server::PingPath;
use push_tests::skip::TestResult;
use push_tests::stand_in;
use push_tests::wire::Version;
use rustix::process::Signal;

use crate::rig::{Files, NOT_AUTHORIZED, anybody, next, user};

pub(crate) fn users_and_groups_tell_clients_apart() -> TestResult {
    stand_in::not_for("has no enhanced authentication")?;
    let files = Files::new(
        r##"
        [groups]
        operators = ["alice"]

        [[allow]]
        anonymous = true
        publish = ["inbox"]

        [[allow]]
        anonymous = false
        publish = ["users/%u/%c/#"]
        subscribe = ["users/%u/#"]

        [[allow]]
        groups = ["operators"]
        publish = ["#"]
        subscribe = ["#"]

        [[deny]]
        users = ["alice"]
        publish = ["users/bob/b1/private"]
        "##,
    );
    let server = files.server_with(PingPath::User, &["alice", "bob"])?.start()?;
    let target = server.target();
    let (mut alice, mut bob) = (user(target, "alice", "a1"), user(target, "bob", "b1"));
    let mut nobody = anybody(target, Version::V5, "bob");
    assert_eq!(alice.subscribe(&[("#", 1)]), [1]);
    assert_eq!(bob.subscribe(&[("users/bob/#", 1), ("users/alice/#", 1)]), [1, NOT_AUTHORIZED]);
    assert_eq!(nobody.subscribe(&[("users/bob/#", 1)]), [NOT_AUTHORIZED]);
    for (client, topic, is_allowed) in [
        ("bob", "users/bob/b1/private", true),
        ("bob", "users/bob/b2/x", false),
        ("bob", "inbox", false),
        ("nobody", "inbox", true),
        ("nobody", "users/bob/bob/x", false),
        ("alice", "users/bob/b1/x", true),
        ("alice", "users/bob/b1/private", false),
    ] {
        let client = match client {
            "alice" => &mut alice,
            "bob" => &mut bob,
            _ => &mut nobody,
        };
        let told = client.publish(topic, topic.as_bytes(), 1);
        assert_eq!(told == NOT_AUTHORIZED, !is_allowed, "{topic}: {told:#x}");
    }
    for topic in ["users/bob/b1/private", "inbox", "users/bob/b1/x"] {
        assert_eq!(next(&mut alice), topic);
    }
    for topic in ["users/bob/b1/private", "users/bob/b1/x"] {
        assert_eq!(next(&mut bob), topic);
    }
    server.finish();
    Ok(())
}

pub(crate) fn addresses_and_listeners_tell_clients_apart() -> TestResult {
    let files = Files::new("");
    let server = files.server(PingPath::User).websocket().start()?;
    let mqtt = server.target().address;
    files.write(&format!(
        "[[allow]]\nlisteners = [\"{mqtt}\"]\npublish = [\"by-listener\"]\n\
         [[allow]]\naddresses = [\"127.0.0.2\", \"10.0.0.0/8\"]\npublish = [\"by-address\"]\n\
         [[deny]]\naddresses = [\"127.0.0.3\"]\npublish = [\"by-listener\"]\n"
    ));
    server.signal(Signal::HUP);
    wait_for("the rules to be read", || server.log().contains("3 rules from").then_some(()));
    for (address, by_listener, by_address) in
        [("127.0.0.1", true, false), ("127.0.0.2", true, true), ("127.0.0.3", false, false)]
    {
        let address = address.parse().expect("an address");
        let mut client = Client::dial_from(address, mqtt, Version::V5);
        client.say_connect(&Connect::new(Version::V5, "c"));
        client.read_connack(push_tests::expectations::PATIENCE).expect("a CONNACK");
        for (topic, is_allowed) in [("by-listener", by_listener), ("by-address", by_address)] {
            let told = client.publish(topic, b"x", 1);
            assert_eq!(told != NOT_AUTHORIZED, is_allowed, "{topic} from {address}: {told:#x}");
        }
    }
    server.finish();
    Ok(())
}

/// CVE-2017-7650
pub(crate) fn a_name_with_a_wildcard_or_a_slash_gets_nothing_by_its_name() -> TestResult {
    let rules = "[[allow]]\npublish = [\"devices/%c/#\", \"open\"]\nsubscribe = [\"devices/%c/#\", \"%c/#\"]\n";
    let server = Files::new(rules).server(PingPath::User).start()?;
    for name in ["+", "#", "a/b", "+/b", "a/#", "$SYS", "a"] {
        let mut client = anybody(server.target(), Version::V5, name);
        let filter = format!("devices/{name}/#").replace("##/#", "#");
        let valid = if name.contains('#') { "devices/#" } else { &filter };
        let top = if name.contains('#') { "#".to_owned() } else { format!("{name}/#") };
        let (granted, granted_top) = match name {
            "a" => (1, 1),
            // As part of a topic it is a name like any other.
            "$SYS" => (1, NOT_AUTHORIZED),
            _ => (NOT_AUTHORIZED, NOT_AUTHORIZED),
        };
        let told = client.subscribe(&[(valid, 1), (&top, 1)]);
        assert_eq!(told, [granted, granted_top], "{name}");
        for topic in ["devices/x/y", "devices/b", "devices"] {
            assert_eq!(client.publish(topic, b"x", 1), NOT_AUTHORIZED, "{name} {topic}");
        }
        assert_ne!(client.publish("open", b"x", 1), NOT_AUTHORIZED);
    }
    server.finish();
    Ok(())
}

pub(crate) fn rules_are_read_again_on_sighup_all_or_nothing() -> TestResult {
    let files = Files::new("[[allow]]\npublish = [\"old\"]\n");
    let server = files.server_with(PingPath::User, &["alice"])?.start()?;
    let target = server.target();
    let publishes =
        |topic: &str| anybody(target, Version::V5, "c").publish(topic, b"x", 1) != NOT_AUTHORIZED;
    assert!(publishes("old") && !publishes("new"));
    let mut early = anybody(target, Version::V5, "early");
    files.write("[[allow]]\npublish = [\"new\"]\n");
    server.signal(Signal::HUP);
    wait_for("the new rules to hold", || publishes("new").then_some(()));
    assert!(!publishes("old"));
    // Those who are connected have the new rules, too.
    assert_eq!(early.publish("old", b"x", 1), NOT_AUTHORIZED);
    assert_ne!(early.publish("new", b"x", 1), NOT_AUTHORIZED);
    // A mistake in either file changes neither.
    files.write("[[allow]]\npublish = [\"newer\", \"a+\"]\n");
    std::fs::write(files.directory().join("users"), "").expect("write the users");
    server.signal(Signal::HUP);
    wait_for("the server to say so", || {
        let log = server.log();
        let line = log.lines().find(|line| line.contains("nothing was changed"))?.to_owned();
        assert!(line.contains("rules.toml:2:21: \"a+\" is no filter"), "{line}");
        Some(())
    });
    assert!(publishes("new") && !publishes("newer"));
    user(target, "alice", "still-there").ping();
    std::fs::remove_file(files.rules()).expect("remove the rules");
    server.signal(Signal::HUP);
    wait_for("the server to say so", || server.log().contains("cannot read").then_some(()));
    assert!(publishes("new") && !publishes("newer"));
    server.finish();
    Ok(())
}

//! What a client hears that may not publish or subscribe.

use push_tests::clients::Connect;
use push_tests::server::{PingPath, Server};
use push_tests::skip::TestResult;
use push_tests::stand_in;
use push_tests::wire::Version;

use crate::rig::{Files, NOT_AUTHORIZED, OPEN_BUT_SECRETS, anybody, counted, next};

const DENIED: &str = "push_publishes_dropped_total{reason=\"denied\"}";
/// A filter of a 3.1.1 SUBSCRIBE is refused.
const FAILURE: u8 = 0x80;

pub(crate) fn a_denied_publish_is_told_where_the_protocol_can_and_reaches_nobody(
    path: PingPath,
) -> TestResult {
    stand_in::not_for("has other rules")?;
    let server = Files::new(OPEN_BUT_SECRETS).server(path).start()?;
    let mut watcher = anybody(server.target(), Version::V5, "watcher");
    watcher.subscribe(&[("#", 2)]);
    for (version, code) in [(Version::V5, NOT_AUTHORIZED), (Version::V311, 0), (Version::V31, 0)] {
        let mut stranger = anybody(server.target(), version, "stranger");
        for qos in [0, 1, 2] {
            let told = stranger.publish("secret/a", b"denied", qos);
            assert_eq!(told, if qos == 0 { 0 } else { code }, "{version:?} QoS {qos}");
        }
        stranger.assert_alive();
        assert_eq!(stranger.publish("open", b"allowed", 2), 0);
        assert_eq!(next(&mut watcher), "allowed", "and no denied one before it");
    }
    let metrics = server.metrics();
    assert_eq!((counted(&metrics, "publish", "denied"), metrics.value(DENIED)), (9, 9));
    assert_eq!(counted(&metrics, "publish", "allowed"), 3);
    server.prove_path();
    server.finish();
    Ok(())
}

pub(crate) fn each_filter_of_a_subscribe_is_granted_or_refused() -> TestResult {
    let rules = "[[allow]]\nsubscribe = [\"a/#\", \"devices/%c/+\"]\n[[deny]]\nsubscribe = [\"a/secret/#\"]\n";
    let server = Files::new(rules).server(PingPath::User).start()?;
    for (version, refused) in [(Version::V5, NOT_AUTHORIZED), (Version::V311, FAILURE)] {
        let mut client = anybody(server.target(), version, "c");
        let filters = [
            ("a/+", 1),
            ("a/secret/x", 1),
            ("#", 0),
            ("devices/c/x", 2),
            ("devices/+/x", 1),
            ("$share/g/a/b", 1),
            ("$share/g/b", 1),
            ("$SYS/#", 1),
        ];
        let told = client.subscribe(&filters);
        assert_eq!(told, [1, refused, refused, 2, refused, 1, refused, refused], "{version:?}");
    }
    let metrics = server.metrics();
    assert_eq!(counted(&metrics, "subscribe", "allowed"), 6);
    assert_eq!(counted(&metrics, "subscribe", "denied"), 10);
    server.finish();
    Ok(())
}

pub(crate) fn a_client_that_publishes_where_it_may_not_is_closed_if_asked_for() -> TestResult {
    let files = Files::new(OPEN_BUT_SECRETS);
    let server = files.server(PingPath::User).flag("--publish-denied", "close").start()?;
    let mut watcher = anybody(server.target(), Version::V5, "watcher");
    watcher.subscribe(&[("wills/#", 1), ("secret/#", 1)]);
    for (version, qos, reason) in [
        (Version::V5, 0, Some(NOT_AUTHORIZED)),
        (Version::V311, 0, None),
        (Version::V311, 1, None),
        (Version::V311, 2, None),
    ] {
        let connect = Connect::new(version, "stranger").will("wills/s", b"will");
        let mut stranger = push_tests::clients::Client::connect(server.target(), &connect);
        let publish = push_tests::wire::Publish {
            topic: "secret/a".to_owned(),
            qos,
            packet_id: u16::from(qos > 0),
            ..Default::default()
        };
        stranger.send(&push_tests::wire::publish(version, &publish));
        assert_eq!(stranger.wait_ending().reason, reason, "{version:?} QoS {qos}");
        assert_eq!(next(&mut watcher), "will");
    }
    // MQTT 5 can be told.
    let mut stranger = anybody(server.target(), Version::V5, "stranger");
    for qos in [1, 2] {
        assert_eq!(stranger.publish("secret/a", b"x", qos), NOT_AUTHORIZED);
    }
    stranger.assert_alive();
    assert_eq!(counted(&server.metrics(), "publish", "denied"), 6);
    server.finish();
    Ok(())
}

pub(crate) fn without_rules_all_is_allowed_but_reading_sys_and_the_start_says_so() -> TestResult {
    let server = Server::with(PingPath::User).start()?;
    let said = "without --acl every client may do everything but read $SYS";
    assert!(server.log().contains(said), "{}", server.log());
    let mut client = anybody(server.target(), Version::V5, "c");
    let filters = [("#", 1), ("$SYS/#", 1), ("$share/g/$SYS/x", 1), ("$SYS", 1)];
    let refused = NOT_AUTHORIZED;
    assert_eq!(client.subscribe(&filters), [1, refused, refused, refused]);
    assert_eq!(client.publish("any/thing", b"x", 1), 0);
    assert_eq!(next(&mut client), "x");
    let metrics = server.metrics();
    assert_eq!(counted(&metrics, "subscribe", "denied"), 3);
    for action in ["publish", "subscribe", "will", "receive"] {
        assert_eq!(counted(&metrics, action, "allowed"), 0, "{action}: no rules were asked");
    }
    server.finish();
    Ok(())
}

//! JavaScript's clients on Node.js against the server: MQTT.js over TCP and WebSocket, and paho over
//! WebSocket, the only transport that it has.

use push_tests::both_paths;
use push_tests::foreign::{By, mqtt_js, paho_js};
use push_tests::server::{PingPath, Server, Target};
use push_tests::skip::TestResult;
use push_tests::stand_in;
use push_tests::wire::{VERSIONS, Version};

both_paths! {
    mqtt_js_round_trips_at_every_qos,
    mqtt_js_finds_retained_messages_until_cleared,
    mqtt_js_gets_what_was_sent_meanwhile,
    mqtt_js_wills_are_published_unless_it_leaves,
    mqtt_js_is_told_of_a_take_over,
    mqtt_js_properties_are_passed_on,
    mqtt_js_pings_are_answered,
    mqtt_js_does_all_of_it_over_websocket,
    paho_round_trips_at_every_qos,
    paho_messages_cross_frames_of_every_size,
    paho_finds_retained_messages_until_cleared,
    paho_gets_what_was_sent_meanwhile,
    paho_wills_are_published_unless_it_leaves,
    paho_pings_are_answered,
}

fn mqtt_js_round_trips_at_every_qos(path: PingPath) -> TestResult {
    stand_in::not_for("sends more than the client's Receive Maximum")?;
    over_tcp(path, "qos", &VERSIONS)
}

fn mqtt_js_finds_retained_messages_until_cleared(path: PingPath) -> TestResult {
    over_tcp(path, "retained", &VERSIONS)
}

fn mqtt_js_gets_what_was_sent_meanwhile(path: PingPath) -> TestResult {
    over_tcp(path, "offline", &VERSIONS)
}

fn mqtt_js_wills_are_published_unless_it_leaves(path: PingPath) -> TestResult {
    over_tcp(path, "will", &VERSIONS)
}

fn mqtt_js_is_told_of_a_take_over(path: PingPath) -> TestResult {
    stand_in::not_for("does not tell the client taken over")?;
    over_tcp(path, "take-over", &VERSIONS)
}

fn mqtt_js_properties_are_passed_on(path: PingPath) -> TestResult {
    over_tcp(path, "properties", &[Version::V5])
}

fn mqtt_js_pings_are_answered(path: PingPath) -> TestResult {
    over_tcp(path, "ping", &VERSIONS)
}

fn mqtt_js_does_all_of_it_over_websocket(path: PingPath) -> TestResult {
    with_websocket(path, |target| {
        for version in VERSIONS {
            for case in ["qos", "large", "retained", "offline", "will", "take-over"] {
                mqtt_js(By::WebSocket, target, version, case)?;
            }
        }
        mqtt_js(By::WebSocket, target, Version::V5, "properties")
    })?;
    pings_by_websocket(path, |target| {
        VERSIONS.iter().try_for_each(|&version| mqtt_js(By::WebSocket, target, version, "ping"))
    })
}

fn over_tcp(path: PingPath, case: &str, versions: &[Version]) -> TestResult {
    let server = Server::with(path).start()?;
    for &version in versions {
        mqtt_js(By::Tcp, server.target(), version, case)?;
    }
    server.finish();
    Ok(())
}

fn paho_round_trips_at_every_qos(path: PingPath) -> TestResult {
    over_websocket(path, "qos")
}

fn paho_messages_cross_frames_of_every_size(path: PingPath) -> TestResult {
    over_websocket(path, "large")
}

fn paho_finds_retained_messages_until_cleared(path: PingPath) -> TestResult {
    over_websocket(path, "retained")
}

fn paho_gets_what_was_sent_meanwhile(path: PingPath) -> TestResult {
    over_websocket(path, "offline")
}

fn paho_wills_are_published_unless_it_leaves(path: PingPath) -> TestResult {
    over_websocket(path, "will")
}

fn paho_pings_are_answered(path: PingPath) -> TestResult {
    pings_by_websocket(path, |target| paho_js(By::WebSocket, target, "ping"))
}

fn over_websocket(path: PingPath, case: &str) -> TestResult {
    with_websocket(path, |target| paho_js(By::WebSocket, target, case))
}

/// Clients that ping, each some four times: the kernel answers all but the first of each.
fn pings_by_websocket(path: PingPath, run: impl FnOnce(&Target) -> TestResult) -> TestResult {
    let server = Server::with(path).websocket().start()?;
    run(&server.websocket())?;
    let metrics = server.metrics();
    let (kernel, user) = (metrics.kernel_pings(), metrics.user_pings());
    match path {
        PingPath::Kernel => assert!(kernel > user, "{kernel} by the kernel, {user} not"),
        PingPath::User => assert_eq!(kernel, 0),
    }
    server.finish();
    Ok(())
}

/// Runs clients against a WebSocket listener, and looks after the server.
fn with_websocket(path: PingPath, run: impl FnOnce(&Target) -> TestResult) -> TestResult {
    let server = Server::with(path).websocket().start()?;
    run(&server.websocket())?;
    let metrics = server.metrics();
    let declined = metrics.value("push_kernel_path_declined_total{reason=\"layers\"}");
    assert_eq!(declined, 0, "left to user space");
    if path == PingPath::User {
        assert_eq!(metrics.kernel_pings(), 0);
    }
    server.finish();
    Ok(())
}

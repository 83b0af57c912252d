//! paho, the client most people's devices speak MQTT by, against the server.

use push_tests::both_paths;
use push_tests::foreign::{By, paho, paho_by};
use push_tests::server::{PingPath, Place, Server};
use push_tests::skip::TestResult;
use push_tests::stand_in;
use push_tests::wire::{VERSIONS, Version};

/// What the three versions that paho speaks have in common.
const ALL_VERSIONS: [Version; 3] = [Version::V31, Version::V311, Version::V5];

both_paths! {
    messages_round_trip_at_every_qos,
    messages_round_trip_over_ipv6_and_veth,
    a_persistent_session_gets_what_was_sent_meanwhile,
    a_second_connect_takes_the_session_over,
    properties_are_passed_on_in_order,
    topics_are_said_by_alias_both_ways,
    reason_codes_are_the_specifications,
    a_client_without_id_is_given_one,
    pings_are_answered,
    pings_over_websocket_are_answered,
    large_messages_cross_frames_of_every_size,
    the_servers_keep_alive_is_taken,
    retained_messages_meet_later_subscribers_until_cleared,
    wills_are_published_as_their_clients_wish,
    subscription_options_are_heeded,
    sessions_and_messages_expire,
    a_clients_receive_maximum_and_packet_size_are_kept_to,
    identifiers_of_subscriptions_are_passed_on,
    members_of_a_group_share_its_messages,
}

fn messages_round_trip_at_every_qos(path: PingPath) -> TestResult {
    let server = Server::with(path).start()?;
    for version in ALL_VERSIONS {
        paho(server.target(), version, "qos")?;
    }
    server.finish();
    Ok(())
}

fn messages_round_trip_over_ipv6_and_veth(path: PingPath) -> TestResult {
    for place in [Place::LoopbackV6, Place::VethV4, Place::VethV6] {
        let server = Server::with(path).place(place).start()?;
        paho(server.target(), Version::V5, "qos")?;
        server.finish();
    }
    Ok(())
}

fn a_persistent_session_gets_what_was_sent_meanwhile(path: PingPath) -> TestResult {
    let server = Server::with(path).start()?;
    for version in ALL_VERSIONS {
        paho(server.target(), version, "offline")?;
    }
    server.finish();
    Ok(())
}

fn a_second_connect_takes_the_session_over(path: PingPath) -> TestResult {
    // [MQTT-3.1.4-3] asks for DISCONNECT 0x8E; mosquitto 2.0.11 sends none.
    stand_in::not_for("does not tell the client taken over")?;
    let server = Server::with(path).start()?;
    for version in VERSIONS {
        paho(server.target(), version, "take-over")?;
    }
    server.finish();
    Ok(())
}

fn properties_are_passed_on_in_order(path: PingPath) -> TestResult {
    let server = Server::with(path).start()?;
    paho(server.target(), Version::V5, "properties")?;
    server.finish();
    Ok(())
}

fn topics_are_said_by_alias_both_ways(path: PingPath) -> TestResult {
    stand_in::not_for("says no topics by alias")?;
    let server = Server::with(path).start()?;
    paho(server.target(), Version::V5, "aliases")?;
    server.finish();
    Ok(())
}

fn reason_codes_are_the_specifications(path: PingPath) -> TestResult {
    let server = Server::with(path).start()?;
    for version in VERSIONS {
        paho(server.target(), version, "reasons")?;
    }
    server.finish();
    Ok(())
}

fn a_client_without_id_is_given_one(path: PingPath) -> TestResult {
    let server = Server::with(path).start()?;
    for version in VERSIONS {
        paho(server.target(), version, "assigned-id")?;
    }
    server.finish();
    Ok(())
}

fn pings_are_answered(path: PingPath) -> TestResult {
    let server = Server::with(path).start()?;
    for version in ALL_VERSIONS {
        paho(server.target(), version, "ping")?;
    }
    server.finish();
    Ok(())
}

fn pings_over_websocket_are_answered(path: PingPath) -> TestResult {
    let server = Server::with(path).websocket().start()?;
    for version in ALL_VERSIONS {
        paho_by(By::WebSocket, &server.websocket(), version, "ping")?;
    }
    let metrics = server.metrics();
    let (kernel, user) = (metrics.kernel_pings(), metrics.user_pings());
    match path {
        PingPath::Kernel => assert!(kernel > user, "{kernel} by the kernel, {user} not"),
        PingPath::User => assert_eq!(kernel, 0),
    }
    server.finish();
    Ok(())
}

fn large_messages_cross_frames_of_every_size(path: PingPath) -> TestResult {
    let server = Server::with(path).websocket().start()?;
    for by in [By::Tcp, By::WebSocket] {
        paho_by(by, &by.target(&server), Version::V311, "large")?;
    }
    server.finish();
    Ok(())
}

fn the_servers_keep_alive_is_taken(path: PingPath) -> TestResult {
    let server = Server::with(path).flag("--keep-alive-max-secs", 30).start()?;
    paho(server.target(), Version::V5, "server-keep-alive")?;
    server.finish();
    Ok(())
}

fn retained_messages_meet_later_subscribers_until_cleared(path: PingPath) -> TestResult {
    let server = Server::with(path).start()?;
    for version in ALL_VERSIONS {
        paho(server.target(), version, "retained")?;
    }
    server.finish();
    Ok(())
}

fn wills_are_published_as_their_clients_wish(path: PingPath) -> TestResult {
    let server = Server::with(path).start()?;
    for version in ALL_VERSIONS {
        paho(server.target(), version, "will")?;
    }
    server.finish();
    Ok(())
}

fn subscription_options_are_heeded(path: PingPath) -> TestResult {
    let server = Server::with(path).start()?;
    paho(server.target(), Version::V5, "subscribe-options")?;
    server.finish();
    Ok(())
}

fn sessions_and_messages_expire(path: PingPath) -> TestResult {
    let server = Server::with(path).start()?;
    paho(server.target(), Version::V5, "expiry")?;
    server.finish();
    Ok(())
}

fn a_clients_receive_maximum_and_packet_size_are_kept_to(path: PingPath) -> TestResult {
    let server = Server::with(path).start()?;
    paho(server.target(), Version::V5, "limits")?;
    server.wait_metric("push_publishes_dropped_total{reason=\"too_large\"}", |count| count == 1);
    server.finish();
    Ok(())
}

/// [MQTT-3.3.4-3] [MQTT-3.3.4-4]
fn identifiers_of_subscriptions_are_passed_on(path: PingPath) -> TestResult {
    let server = Server::with(path).start()?;
    paho(server.target(), Version::V5, "identifiers")?;
    server.finish();
    Ok(())
}

/// [MQTT5 4.8.2]
fn members_of_a_group_share_its_messages(path: PingPath) -> TestResult {
    let server = Server::with(path).flag("--shards", 3).start()?;
    for version in VERSIONS {
        paho(server.target(), version, "shared")?;
    }
    server.finish();
    Ok(())
}

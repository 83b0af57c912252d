//! MQTT over WebSocket (section 6 of both specifications): the statements, peers that break its
//! rules, and that everything else is as over TCP.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use push_tests::both_paths;
use push_tests::clients::{Client, Connect};
use push_tests::expectations::{SILENCE, wait_for};
use push_tests::server::{PingPath, Server, ServerBuilder};
use push_tests::skip::{Skip, TestResult};
use push_tests::websocket::{Closed, WebClient, connect_packet, dial, listener_of};
use push_tests::wire::{self, Packet, VERSIONS, Version};
use tungstenite::Message;
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{Data, OpCode};

/// RFC 6455's example of a request, with the subprotocol.
const REQUEST: &str = "GET /mqtt HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
                       Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                       Sec-WebSocket-Protocol: mqtt\r\n\r\n";

const DECLINED: &str = "push_kernel_path_declined_total{reason=\"layers\"}";
const MALFORMED: &str = "push_connects_total{result=\"malformed\"}";

both_paths! {
    the_subprotocol_chosen_is_mqtt,
    packets_come_in_binary_frames_and_text_ends_the_connection,
    packets_need_not_keep_to_frames,
    pings_in_frames_are_answered_between_messages,
    clients_of_both_transports_share_sessions_on_every_shard,
    a_connect_sent_before_the_upgrades_answer_is_served,
    the_connect_timeout_holds_for_the_upgrade,
    keep_alive_is_kept_by_packets_alone,
    an_end_is_said_by_a_close_frame,
    requests_for_something_else_are_told_what_is_served,
    frames_that_break_the_rules_end_their_own_connection_only,
    a_frame_announced_huge_is_taken_as_it_comes,
    pings_of_websocket_are_answered_and_have_a_rate,
}

fn with_websocket(path: PingPath) -> ServerBuilder {
    Server::with(path).flag("--ws-listen", "127.0.0.1:0")
}

fn start(path: PingPath) -> Result<(Server, SocketAddr), Skip> {
    let server = with_websocket(path).start()?;
    let listener = listener_of(&server);
    Ok((server, listener))
}

/// A message of a client over TCP reaches one over WebSocket, and the other way round.
#[track_caller]
fn assert_served(server: &Server, listener: SocketAddr) {
    let mut tcp = Client::connect(server.target(), &Connect::new(Version::V5, "by-tcp"));
    tcp.subscribe(&[("to/tcp", 1)]);
    let (mut web, _) = WebClient::connect(listener, &Connect::new(Version::V311, "by-web"));
    web.subscribe("to/web");
    tcp.publish("to/web", b"hello", 1);
    assert_eq!(web.message().payload, b"hello");
    web.send(&publish(Version::V311, "to/tcp", b"hi", 0));
    assert_eq!(tcp.message().payload, b"hi");
    web.send(&wire::disconnect());
    assert_eq!(web.closed(), Closed { code: Some(1000) });
    tcp.disconnect();
}

fn publish(version: Version, topic: &str, payload: &[u8], qos: u8) -> Vec<u8> {
    let (topic, payload) = (topic.to_owned(), payload.to_vec());
    wire::publish(
        version,
        &wire::Publish { topic, payload, qos, packet_id: 7, ..Default::default() },
    )
}

fn fragment(data: Data, payload: &[u8], is_final: bool) -> Message {
    Message::Frame(Frame::message(payload.to_vec(), OpCode::Data(data), is_final))
}

fn the_subprotocol_chosen_is_mqtt(path: PingPath) -> TestResult {
    let (server, listener) = start(path)?;
    for (offer, place) in [("mqtt", "/mqtt"), ("mqttv3.1, mqtt", "/"), ("x,mqtt", "/any/path?q=1")]
    {
        let upgraded = WebClient::upgrade(listener, Version::V5, place, offer);
        let (mut client, answer) = upgraded.expect("an upgrade");
        assert_eq!(answer.headers()["Sec-WebSocket-Protocol"], "mqtt", "of {offer}");
        client.send(&connect_packet(&Connect::new(Version::V5, "chooses")));
        client.accepted();
        client.send(&wire::disconnect());
        client.closed();
    }
    for offer in ["", "mqttv3.1", "chat"] {
        let refused = WebClient::upgrade(listener, Version::V5, "/mqtt", offer);
        assert_eq!(refused.map(|_| ()), Err(400), "{offer}");
    }
    server.wait_metric(MALFORMED, |count| count == 3);
    server.wait_metric("push_connections", |connections| connections == 0);
    server.finish();
    Ok(())
}

fn packets_come_in_binary_frames_and_text_ends_the_connection(path: PingPath) -> TestResult {
    let (server, listener) = start(path)?;
    let mut watcher = Client::connect(server.target(), &Connect::new(Version::V5, "watcher"));
    watcher.subscribe(&[("wills/#", 1)]);
    for version in VERSIONS {
        let connect = Connect::new(version, "writes-text").will("wills/text", b"gone");
        // That all data of the server's is in binary frames, the client asserts.
        let (mut client, _) = WebClient::connect(listener, &connect);
        client.subscribe("echo");
        for size in [0, 1, 125, 126, 65_535, 65_536, 1_000_000] {
            client.send(&publish(version, "echo", &vec![b'x'; size], 0));
            assert_eq!(client.message().payload.len(), size);
        }
        client.ping();
        // What came before the text counts.
        client.send(&publish(version, "echo", b"last", 0));
        client.send_message(Message::text("\u{c0}"));
        assert_eq!(client.message().payload, b"last");
        assert_eq!(client.receive(), Err(Closed { code: Some(1003) }), "unsupported data");
        assert_eq!(watcher.message().topic, "wills/text", "no DISCONNECT came");
    }
    let mut fragmented = WebClient::open(listener, Version::V5);
    fragmented.send_message(fragment(Data::Text, b"\x10", false));
    assert_eq!(fragmented.receive(), Err(Closed { code: Some(1003) }));
    server.wait_metric(MALFORMED, |count| count == 1);
    server.wait_metric("push_connections", |connections| connections == 1);
    server.finish();
    Ok(())
}

fn packets_need_not_keep_to_frames(path: PingPath) -> TestResult {
    let (server, listener) = start(path)?;
    for version in VERSIONS {
        let connect = connect_packet(&Connect::new(version, "frames"));
        let packets = [
            wire::subscribe(version, 1, &[("split", 1)]),
            publish(version, "split", &[7; 300], 1),
            wire::PINGREQ.to_vec(),
        ]
        .concat();
        let check = |client: &mut WebClient| {
            let mut found = (0..4).map(|_| client.packet()).collect::<Vec<_>>();
            let at = found.iter().position(|packet| matches!(packet, Packet::Publish(_)));
            let Packet::Publish(message) = found.remove(at.expect("the message")) else { return };
            assert_eq!(message.payload, [7; 300]);
            assert!(found.contains(&Packet::Suback { packet_id: 1, codes: vec![1] }));
            assert!(found.contains(&Packet::Ack { kind: wire::PUBACK, packet_id: 7, reason: 0 }));
            assert!(found.contains(&Packet::Pingresp));
            client.send(&wire::disconnect());
            client.closed();
        };
        // All in one frame, the CONNECT included.
        let mut client = WebClient::open(listener, version);
        client.send(&[connect.clone(), packets.clone()].concat());
        client.accepted();
        check(&mut client);
        // Each byte in a frame of its own, with empty frames and pings between.
        let mut client = WebClient::open(listener, version);
        for byte in connect.iter().chain(&packets) {
            client.send(&[*byte]);
            client.send(&[]);
        }
        client.accepted();
        check(&mut client);
        // One message in fragments that are cut anywhere, with a ping in the middle.
        let mut client = WebClient::open(listener, version);
        client.send(&connect);
        client.accepted();
        client.send_message(fragment(Data::Binary, &packets[..1], false));
        client.send_message(fragment(Data::Continue, &packets[1..40], false));
        client.send_message(Message::Ping(vec![1, 2].into()));
        client.send_message(fragment(Data::Continue, &[], false));
        client.send_message(fragment(Data::Continue, &packets[40..], true));
        check(&mut client);
        assert_eq!(client.pongs(), [[1, 2]]);
        // Each byte of a frame in a segment of its own.
        let mut client = WebClient::open(listener, version);
        let header = [0x82, 0x80 | connect.len() as u8, 0, 0, 0, 0];
        for byte in header.iter().chain(&connect) {
            client.send_raw(&[*byte]);
            std::thread::sleep(Duration::from_millis(2));
        }
        client.accepted();
        client.send(&packets);
        check(&mut client);
    }
    server.finish();
    Ok(())
}

/// Whoever answers, pings and messages go on in order, and the streams stay whole.
fn pings_in_frames_are_answered_between_messages(path: PingPath) -> TestResult {
    const PINGS: u64 = 20;
    let (server, listener) = start(path)?;
    let before = server.metrics();
    let (mut client, _) = WebClient::connect(listener, &Connect::new(Version::V5, "pings"));
    let mut other = Client::connect(server.target(), &Connect::new(Version::V5, "other"));
    client.subscribe("to/web");
    other.subscribe(&[("to/other", 1)]);
    for ping in 0..PINGS {
        // Long enough for both sides to be at rest.
        std::thread::sleep(Duration::from_millis(100));
        client.ping();
        if ping % 4 == 3 {
            let text = format!("message {ping}");
            other.publish("to/web", text.as_bytes(), 1);
            assert_eq!(client.message().payload, text.as_bytes());
            client.send(&publish(Version::V5, "to/other", text.as_bytes(), 0));
            assert_eq!(other.message().payload, text.as_bytes());
        }
    }
    let after = server.metrics();
    let (kernel, user) =
        (after.kernel_pings() - before.kernel_pings(), after.user_pings() - before.user_pings());
    assert_eq!(kernel + user, PINGS);
    match path {
        PingPath::Kernel => assert!(kernel >= PINGS / 2, "{kernel} by the kernel"),
        PingPath::User => assert_eq!(kernel, 0),
    }
    assert_eq!(after.value(DECLINED), 0);
    server.finish();
    Ok(())
}

fn clients_of_both_transports_share_sessions_on_every_shard(path: PingPath) -> TestResult {
    const CLIENTS: usize = 24;
    let server = with_websocket(path).flag("--shards", 4).start()?;
    let listener = listener_of(&server);
    let mut publisher = Client::connect(server.target(), &Connect::new(Version::V5, "publisher"));
    for version in VERSIONS {
        let connects: Vec<_> = (0..CLIENTS)
            .map(|number| Connect::new(version, &format!("{version:?}-{number}")).persistent())
            .collect();
        let mut clients: Vec<_> = connects
            .iter()
            .map(|connect| {
                let (mut client, _) = WebClient::connect(listener, connect);
                client.subscribe("all");
                client
            })
            .collect();
        publisher.publish("all", b"present", 1);
        for client in &mut clients {
            let message = client.message();
            assert_eq!(message.payload, b"present");
            client.send(&wire::ack(wire::PUBACK, message.packet_id));
            client.ping();
            client.send(&wire::disconnect());
            assert_eq!(client.closed(), Closed { code: Some(1000) });
        }
        publisher.publish("all", b"absent", 1);
        // Half come back by TCP, half by WebSocket.
        for (number, connect) in connects.iter().enumerate() {
            if number % 2 == 0 {
                let mut client = Client::connect(server.target(), connect);
                assert!(client.connack.session_present);
                assert_eq!(client.message().payload, b"absent");
            } else {
                let (mut client, session_present) = WebClient::connect(listener, connect);
                assert!(session_present);
                assert_eq!(client.message().payload, b"absent");
            }
        }
    }
    server.finish();
    Ok(())
}

fn a_connect_sent_before_the_upgrades_answer_is_served(path: PingPath) -> TestResult {
    let server = with_websocket(path).flag("--shards", 4).start()?;
    let listener = listener_of(&server);
    for number in 0..16 {
        // Of four shards most are not the client's own, which then has to give the answer to the
        // request, and the pong, too.
        let connect = connect_packet(&Connect::new(Version::V311, &format!("eager-{number}")));
        let mut bytes = REQUEST.as_bytes().to_vec();
        bytes.extend([0x89, 0x81, 0, 0, 0, 0, b'?']);
        bytes.extend([0x82, 0x80 | connect.len() as u8, 0, 0, 0, 0]);
        bytes.extend(connect);
        if number % 4 == 3 {
            // And leaves at once.
            bytes.extend([0x88, 0x80, 0, 0, 0, 0]);
        }
        let mut stream = dial(listener);
        let (first, second) = bytes.split_at(if number % 2 == 0 { REQUEST.len() + 7 } else { 0 });
        stream.write_all(first).expect("send to the server");
        stream.write_all(second).expect("send to the server");
        let mut answer = vec![0; 1024];
        let mut len = 0;
        let ends: &[u8] = if number % 4 == 3 {
            &[0x8A, 1, b'?', 0x82, 4, 0x20, 2, 0, 0, 0x88, 0]
        } else {
            &[0x8A, 1, b'?', 0x82, 4, 0x20, 2, 0, 0]
        };
        while !answer[..len].ends_with(ends) {
            let read = stream.read(&mut answer[len..]).expect("an answer");
            let so_far = String::from_utf8_lossy(&answer[..len]);
            assert_ne!(read, 0, "ended after {so_far:?}");
            len += read;
        }
        assert!(answer.starts_with(b"HTTP/1.1 101 "));
    }
    server.wait_metric("push_connections", |connections| connections == 0);
    server.finish();
    Ok(())
}

fn the_connect_timeout_holds_for_the_upgrade(path: PingPath) -> TestResult {
    let server = with_websocket(path).flag("--connect-timeout-secs", 1).start()?;
    let listener = listener_of(&server);
    let mut silent = dial(listener);
    let mut half = dial(listener);
    half.write_all(&REQUEST.as_bytes()[..90]).expect("send to the server");
    let mut upgraded = WebClient::open(listener, Version::V5);
    upgraded.send_message(Message::Ping(Vec::new().into()));
    let mut ends = [0; 16];
    assert!(matches!(silent.read(&mut ends), Ok(0) | Err(_)));
    assert!(matches!(half.read(&mut ends), Ok(0) | Err(_)));
    server.wait_metric("push_connects_total{result=\"timeout\"}", |count| count == 3);
    server.wait_metric("push_connections", |connections| connections == 0);
    server.finish();
    Ok(())
}

fn keep_alive_is_kept_by_packets_alone(path: PingPath) -> TestResult {
    let server = with_websocket(path).flag("--ping-burst", 1_000).start()?;
    let listener = listener_of(&server);
    let connect = |id| Connect::new(Version::V5, id).keep_alive(2);
    let (mut client, _) = WebClient::connect(listener, &connect("keeps"));
    let (mut silent, _) = WebClient::connect(listener, &connect("silent"));
    for _ in 0..8 {
        client.ping();
        // Pings of WebSocket are no packets [MQTT-3.1.2-22]. The server may have gone.
        let _ = silent.try_send_message(Message::Ping(Vec::new().into()));
        std::thread::sleep(Duration::from_millis(500));
    }
    client.ping();
    assert_eq!(server.metrics().value("push_sessions_expired_total"), 1, "while it sent them");
    let Packet::Disconnect { reason, .. } = silent.packet() else { panic!("no DISCONNECT") };
    assert_eq!(reason, 0x8D, "keep alive timeout");
    assert_eq!(silent.receive(), Err(Closed { code: Some(1000) }));
    server.finish();
    Ok(())
}

fn an_end_is_said_by_a_close_frame(path: PingPath) -> TestResult {
    let (server, listener) = start(path)?;
    let mut watcher = Client::connect(server.target(), &Connect::new(Version::V5, "watcher"));
    watcher.subscribe(&[("wills/#", 1)]);
    for version in VERSIONS {
        // The client's: answered by its code; the will says that no DISCONNECT came.
        let connect = Connect::new(version, "leaves").will("wills/leaves", b"gone");
        let (mut client, _) = WebClient::connect(listener, &connect);
        client.send_message(Message::Close(None));
        assert_eq!(client.receive(), Err(Closed { code: None }));
        assert_eq!(watcher.message().topic, "wills/leaves");
        // With a DISCONNECT in front there is none.
        let (mut client, _) = WebClient::connect(listener, &connect);
        client.send(&wire::disconnect());
        client.send_message(Message::Close(None));
        let Closed { code } = client.closed();
        assert!(matches!(code, None | Some(1000)), "the answer, or our own: {code:?}");
        watcher.expect_no_message(SILENCE);
        // The server's, because another takes over.
        let (mut first, _) = WebClient::connect(listener, &Connect::new(version, "same"));
        let (mut second, _) = WebClient::connect(listener, &Connect::new(version, "same"));
        if version == Version::V5 {
            let Packet::Disconnect { reason, .. } = first.packet() else { panic!("no DISCONNECT") };
            assert_eq!(reason, 0x8E);
        }
        assert_eq!(first.receive(), Err(Closed { code: Some(1000) }));
        second.ping();
    }
    // The server's, because it stops.
    let (mut last, _) = WebClient::connect(listener, &Connect::new(Version::V5, "last"));
    let mut server = server;
    server.prove_path();
    server.terminate();
    let Packet::Disconnect { reason, .. } = last.packet() else { panic!("no DISCONNECT") };
    assert_eq!(reason, 0x8B);
    assert_eq!(last.receive(), Err(Closed { code: Some(1001) }), "going away");
    assert!(server.wait_exit().0.success());
    Ok(())
}

fn requests_for_something_else_are_told_what_is_served(path: PingPath) -> TestResult {
    let (server, listener) = start(path)?;
    let ask = |request: &[u8]| {
        let mut stream = dial(listener);
        // The server may have refused before all is sent.
        let _ = stream.write_all(request);
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        answer
    };
    let get = ask(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(get.starts_with("HTTP/1.1 426 Upgrade Required\r\n"), "{get}");
    assert!(get.contains("upgrade: websocket\r\n") && get.contains("MQTT over WebSocket"), "{get}");
    let post = ask(REQUEST.replace("GET", "POST").as_bytes());
    assert!(post.starts_with("HTTP/1.1 405 "), "{post}");
    let mqtt = ask(&connect_packet(&Connect::new(Version::V5, "by-tcp")));
    assert!(mqtt.starts_with("HTTP/1.1 400 "), "{mqtt}");
    server.wait_metric(MALFORMED, |count| count == 3);
    let cookie = format!("Cookie: {}\r\n\r\n", "x".repeat(15_000));
    let tall = REQUEST.replace("\r\n\r\n", &format!("\r\n{cookie}"));
    let mut stream = dial(listener);
    stream.write_all(tall.as_bytes()).expect("send to the server");
    let mut begins = [0; 12];
    stream.read_exact(&mut begins).expect("an answer");
    assert_eq!(&begins, b"HTTP/1.1 101", "a browser's cookies have room");
    drop(stream);
    let endless = ask(format!("GET /{}", "x".repeat(20_000)).as_bytes());
    assert!(endless.starts_with("HTTP/1.1 431 "), "{endless}");
    server.wait_metric("push_limits_hit_total{limit=\"upgrade_head\"}", |count| count == 1);
    assert_eq!(server.metrics().value("push_limit{limit=\"upgrade_head\"}"), 16 << 10);
    assert_served(&server, listener);
    server.wait_metric("push_connections", |connections| connections == 0);
    server.finish();
    Ok(())
}

fn frames_that_break_the_rules_end_their_own_connection_only(path: PingPath) -> TestResult {
    let (server, listener) = start(path)?;
    let faults: [(&str, &[u8]); 8] = [
        ("no mask", &[0x82, 2, 0xC0, 0]),
        ("a reserved bit", &[0xC2, 0x80, 0, 0, 0, 0]),
        ("a reserved kind", &[0x83, 0x80, 0, 0, 0, 0]),
        ("a fragmented ping", &[0x09, 0x80, 0, 0, 0, 0]),
        ("a long ping", &[0x89, 0xFE, 0, 126, 0, 0, 0, 0]),
        ("nothing to continue", &[0x80, 0x80, 0, 0, 0, 0]),
        ("an impossible length", &[0x82, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        ("a close code that is never sent", &[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xEE]),
    ];
    for (what, bytes) in faults {
        let mut early = WebClient::open(listener, Version::V5);
        early.send_raw(bytes);
        assert_eq!(early.receive(), Err(Closed { code: Some(1002) }), "{what}");
        let (mut late, _) = WebClient::connect(listener, &Connect::new(Version::V5, "breaks"));
        late.send_raw(bytes);
        assert_eq!(late.receive(), Err(Closed { code: Some(1002) }), "{what}");
    }
    server.wait_metric(MALFORMED, |count| count == faults.len() as u64);
    // What is right by WebSocket and wrong by MQTT ends as over TCP.
    let mut client = WebClient::open(listener, Version::V5);
    client.send(&wire::PINGREQ);
    assert_eq!(client.receive(), Err(Closed { code: Some(1000) }), "no CONNECT");
    assert_served(&server, listener);
    server.wait_metric("push_connections", |connections| connections == 0);
    server.finish();
    Ok(())
}

fn a_frame_announced_huge_is_taken_as_it_comes(path: PingPath) -> TestResult {
    let (server, listener) = start(path)?;
    let mut client = WebClient::open(listener, Version::V5);
    client.send_raw(&[0x82, 0xFF, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0]);
    client.send_raw(&connect_packet(&Connect::new(Version::V5, "huge")));
    client.accepted();
    for _ in 0..3 {
        client.send_raw(&wire::PINGREQ);
        assert_eq!(client.packet(), Packet::Pingresp);
    }
    // The limit of MQTT's own packets holds.
    client.send_raw(&[0x30, 0xFF, 0xFF, 0xFF, 0x7F]);
    let Packet::Disconnect { reason, .. } = client.packet() else { panic!("no DISCONNECT") };
    assert_eq!(reason, 0x95, "packet too large");
    assert_eq!(client.receive(), Err(Closed { code: Some(1000) }));
    server.wait_metric("push_limits_hit_total{limit=\"packet_bytes\"}", |count| count == 1);
    server.finish();
    Ok(())
}

fn pings_of_websocket_are_answered_and_have_a_rate(path: PingPath) -> TestResult {
    let (server, listener) = start(path)?;
    let (mut client, _) = WebClient::connect(listener, &Connect::new(Version::V5, "pings"));
    for payload in [vec![], b"x".to_vec(), vec![7; 125]] {
        client.send_message(Message::Ping(payload.clone().into()));
        // The kernel may answer a ping of MQTT before the server has sent the pong.
        let pongs = wait_for("a pong", || {
            client.ping();
            Some(client.pongs()).filter(|pongs| !pongs.is_empty())
        });
        assert_eq!(pongs, [payload]);
    }
    // By default a burst of 20; MQTT's pings have one of their own.
    for _ in 0..40 {
        client.send_raw(&[0x89, 0x80, 0, 0, 0, 0]);
    }
    assert_eq!(client.closed(), Closed { code: Some(1008) }, "policy");
    server.wait_metric("push_limits_hit_total{limit=\"ping_rate\"}", |count| count == 1);
    server.finish();
    Ok(())
}

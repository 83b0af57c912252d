//! Regression for ever: `C0 00` arrives while a great frame is half written. Wherever the answer is
//! put, it may not be inside the frame.

use std::time::{Duration, Instant};

use push_tests::both_paths;
use push_tests::clients::{Client, Connect, Gone};
use push_tests::expectations::PATIENCE;
use push_tests::server::{PingPath, Place, Server, ServerBuilder};
use push_tests::skip::TestResult;
use push_tests::wire::{PINGREQ, Packet, Publish, VERSIONS, Version};

/// Between two reads of the slow reader while the frame is half written.
const READ_PAUSE: Duration = Duration::from_millis(1);

/// Pings before and after the transfer, on the quiescent connection.
const QUIET_PINGS: usize = 3;

/// Longer than TCP holds an ACK back.
const QUIESCENT_AFTER: Duration = Duration::from_millis(150);

both_paths! {
    four_megabytes_reach_a_slow_pinging_reader_intact,
    every_size_reaches_a_slow_pinging_reader_intact,
    a_great_message_crosses_veth_intact,
    a_pinging_client_may_publish_a_great_message,
}

/// Its clients ping as fast as they are answered.
fn pinged_server(path: PingPath) -> ServerBuilder {
    Server::with(path).flag("--ping-rate", 0)
}

fn four_megabytes_reach_a_slow_pinging_reader_intact(path: PingPath) -> TestResult {
    let server = pinged_server(path).start()?;
    for version in VERSIONS {
        for qos in [0, 1, 2] {
            transfer(&server, version, 4 << 20, qos, Some(8 << 10), 64 << 10);
        }
    }
    server.finish();
    Ok(())
}

fn every_size_reaches_a_slow_pinging_reader_intact(path: PingPath) -> TestResult {
    let server = pinged_server(path).start()?;
    for bytes in [0, 1, 1_446, 1_460, 16_383, 65_483, 65_536, 300_000, 1 << 20] {
        transfer(&server, Version::V311, bytes, 0, Some(4 << 10), 3_001);
        transfer(&server, Version::V5, bytes, 1, None, 32 << 10);
    }
    server.finish();
    Ok(())
}

fn a_great_message_crosses_veth_intact(path: PingPath) -> TestResult {
    for place in [Place::VethV4, Place::VethV6] {
        let server = pinged_server(path).place(place).start()?;
        transfer(&server, Version::V5, 4 << 20, 1, Some(8 << 10), 64 << 10);
        server.finish();
    }
    Ok(())
}

fn a_pinging_client_may_publish_a_great_message(path: PingPath) -> TestResult {
    let server = pinged_server(path).start()?;
    let mut reader = Client::connect(server.target(), &Connect::new(Version::V5, "reader"));
    reader.subscribe(&[("up", 1)]);
    let mut writer = Client::connect(server.target(), &Connect::new(Version::V5, "writer"));
    for round in 0..3 {
        for _ in 0..QUIET_PINGS {
            std::thread::sleep(QUIESCENT_AFTER);
            writer.ping();
        }
        let payload = pattern((4 << 20) + round);
        writer.publish("up", &payload, 1);
        assert!(reader.message().payload == payload, "another payload than was sent");
    }
    server.finish();
    Ok(())
}

/// Publishes a payload to a reader that pings before, all through, and after its slow reading.
fn transfer(
    server: &Server,
    version: Version,
    payload_bytes: usize,
    qos: u8,
    receive_buffer_bytes: Option<usize>,
    read_bytes: usize,
) {
    let target = server.target();
    let mut publisher = Client::connect(target, &Connect::new(Version::V5, "publisher"));
    let mut connect = Connect::new(version, "reader");
    connect.receive_buffer_bytes = receive_buffer_bytes;
    let mut reader = Client::connect(target, &connect);
    reader.subscribe(&[("great", qos)]);
    let before = server.metrics();
    quiet_pings(&mut reader);
    if server.path() == PingPath::Kernel {
        // From here on the kernel translates this connection's sequence numbers.
        let kernel = server.metrics().kernel_pings() - before.kernel_pings();
        assert!(kernel > 0, "none of {QUIET_PINGS} quiet pings was answered by the kernel");
    }

    let payload = pattern(payload_bytes);
    publisher.publish("great", &payload, 1);
    let mut pings_open = 0_usize;
    let begun = Instant::now();
    let message = loop {
        assert!(begun.elapsed() < PATIENCE * 3, "the message does not come");
        reader.send(&PINGREQ);
        pings_open += 1;
        std::thread::sleep(READ_PAUSE);
        match reader.read_some(read_bytes, Duration::from_millis(1)) {
            Ok(_) | Err(Gone::Silent) => {}
            Err(gone) => panic!("the reader was {gone:?}"),
        }
        if let Some(message) = answers_until_message(&mut reader, &mut pings_open) {
            break message;
        }
    };
    assert_eq!(message.payload.len(), payload.len());
    assert!(message.payload == payload, "{payload_bytes} bytes came changed");
    for _ in 0..pings_open {
        let packet = reader.receive(PATIENCE).expect("the answer to a ping");
        assert_eq!(packet, Packet::Pingresp);
    }
    reader.acknowledge(&message);
    quiet_pings(&mut reader);
    reader.disconnect();
    publisher.disconnect();
}

/// Takes PINGRESPs off what was read; the message, when it is whole.
fn answers_until_message(reader: &mut Client, pings_open: &mut usize) -> Option<Publish> {
    while let Some(packet) = reader.decode_read() {
        match packet {
            Packet::Pingresp => *pings_open -= 1,
            Packet::Publish(publish) => return Some(publish),
            other => panic!("not expected: {other:?}"),
        }
    }
    None
}

fn quiet_pings(client: &mut Client) {
    for _ in 0..QUIET_PINGS {
        std::thread::sleep(QUIESCENT_AFTER);
        client.ping();
    }
}

/// Bytes that repeat at no power of two and contain `C0 00` and `D0 00` all over.
fn pattern(bytes: usize) -> Vec<u8> {
    [0xD0, 0x00, 0xC0, 0x00, 0x31, 0x0A, 0xFF]
        .into_iter()
        .cycle()
        .enumerate()
        .take(bytes)
        .map(|(index, byte)| if byte == 0xFF { (index / 7) as u8 } else { byte })
        .collect()
}

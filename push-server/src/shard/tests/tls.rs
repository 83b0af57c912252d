//! Claims about clients over TLS: how many handshakes there are at once, what they cost others, and what is counted.

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection};

use super::{
    CONNACK, DISCONNECT, PINGREQ, PINGRESP, SEED, SUBACK_QOS0, connect, id_at_home, publish,
    served, subscribe,
};
use crate::config::{ClientAuthMode, Config, TlsSettings};
use crate::shard::simulation::{Peer, World};
use crate::shard::{TlsConfigs, TlsSource, TlsSources};
use crate::transport::ServerTls;
use crate::transport::tls_pair::{VERSIONS, client_config, server_config};

/// As `turn/tls.rs` has it.
const STEPS_PER_TURN_MAX: usize = 8;

fn world(shards: u16, handshakes_max: u32) -> World {
    let tls = TlsSettings { handshakes_max, ..TlsSettings::default() };
    let world = World::new(&Arc::new(Config { shards, tls, ..Config::default() }), SEED);
    let source: Arc<dyn TlsSource> = Arc::new(Fixed(Arc::new(server_config(&VERSIONS, false))));
    let sources = TlsSources { mqtt: Arc::clone(&source), websocket: source };
    world.serve_tls(TlsConfigs::default().with(ClientAuthMode::None, sources));
    world
}

/// The same for every connection.
#[derive(Debug)]
struct Fixed(Arc<ServerTls>);

impl TlsSource for Fixed {
    fn config(&self) -> Arc<ServerTls> {
        Arc::clone(&self.0)
    }
}

/// A client and its socket.
struct Device {
    tls: ClientConnection,
    peer: Peer,
}

impl Device {
    fn new(world: &mut World, shard: u16, config: &Arc<ClientConfig>) -> Self {
        let name = ServerName::try_from("localhost").expect("a name");
        let tls = ClientConnection::new(Arc::clone(config), name).expect("a client");
        Self { tls, peer: world.connect_tls(shard) }
    }

    /// With TLS 1.3.
    fn of(world: &mut World, shard: u16) -> Self {
        Self::new(world, shard, &Arc::new(client_config(&TLS13, &[], false)))
    }

    fn say(&mut self, bytes: &[u8]) {
        self.tls.writer().write_all(bytes).expect("a vector takes all");
        self.speak();
    }

    /// Sends what TLS has to send.
    fn speak(&mut self) {
        let mut bytes = Vec::new();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut bytes).expect("a vector takes all");
        }
        if !bytes.is_empty() {
            self.peer.send(&bytes);
        }
    }

    /// What has come, without an answer.
    fn hear(&mut self) -> Vec<u8> {
        let (bytes, mut heard) = (self.peer.take(), Vec::new());
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            self.tls.read_tls(&mut rest).expect("a slice never fails");
            self.tls.process_new_packets().expect("it opens");
            let _ = self.tls.reader().read_to_end(&mut heard);
        }
        heard
    }

    /// Lets both sides say what they have to. Returns what the client has heard.
    fn settle(&mut self, world: &mut World) -> Vec<u8> {
        let mut heard = Vec::new();
        loop {
            self.speak();
            world.settle();
            heard.extend(self.hear());
            if !self.tls.wants_write() {
                return heard;
            }
        }
    }

    /// Connects, whatever shard its session lives with.
    fn served(mut self, world: &mut World, client_id: &str) -> Self {
        self.say(&connect(client_id));
        assert_eq!(self.settle(world), CONNACK, "{client_id}");
        self
    }
}

#[test]
fn a_client_over_tls_is_served_and_counted_and_the_kernel_answers_for_it() {
    for version in [&TLS12, &TLS13] {
        let mut world = world(1, 512);
        let config = Arc::new(client_config(version, &[], false));
        let mut device = Device::new(&mut world, 0, &config).served(&mut world, "device");
        let counters = world.counters(0);
        let full = [counters.tls_12_full.value(), counters.tls_13_full.value()];
        assert_eq!(full, if version == &TLS13 { [0, 1] } else { [1, 0] });
        assert_eq!(counters.armed.value(), 1);
        device.say(&subscribe("weather"));
        assert_eq!(device.settle(&mut world), SUBACK_QOS0);
        device.say(&publish("weather", "sun"));
        assert_eq!(device.settle(&mut world), publish("weather", "sun"));
        device.say(&PINGREQ);
        assert_eq!(device.settle(&mut world), PINGRESP);
        assert_eq!(world.counters(0).pings_user.value(), 1);
        device.say(&DISCONNECT);
        device.settle(&mut world);
        assert!(device.tls.process_new_packets().expect("no fault").peer_has_closed());
        assert!(device.peer.is_ended(), "FIN follows the goodbye");
        device.peer.end();
        world.settle();
        assert!(device.peer.is_closed());
        assert_eq!(world.on_loan(), 0);
        // A second time by a ticket.
        Device::new(&mut world, 0, &config).served(&mut world, "device");
        let counters = world.counters(0);
        let resumed = [counters.tls_12_resumed.value(), counters.tls_13_resumed.value()];
        assert_eq!(resumed, if version == &TLS13 { [0, 1] } else { [1, 0] });
    }
}

#[test]
fn a_client_over_tls_goes_to_its_sessions_shard_and_moves_on_from_there() {
    let mut world = world(3, 512);
    let client_id = id_at_home(&world, 1);
    let mut device = Device::of(&mut world, 0).served(&mut world, &client_id);
    assert_eq!(world.counters(1).connections.value(), 1);
    device.say(&subscribe("weather"));
    assert_eq!(device.settle(&mut world), SUBACK_QOS0);
    for shard in [2, 2, 0, 1] {
        // Half of a record goes along.
        device.tls.writer().write_all(&publish("weather", "sun")).expect("a vector takes all");
        let mut record = Vec::new();
        device.tls.write_tls(&mut record).expect("a vector takes all");
        device.peer.send(&record[..20]);
        world.settle();
        assert!(world.move_client(&device.peer, shard));
        world.settle();
        assert_eq!(world.counters(shard).connections.value(), 1, "{shard}");
        device.peer.send(&record[20..]);
        assert_eq!(device.settle(&mut world), publish("weather", "sun"));
    }
}

/// Clients whose hello the server has answered.
fn answered(devices: &[Device]) -> usize {
    devices.iter().filter(|device| device.peer.arrived() > 0).count()
}

fn hellos(world: &mut World, shard: u16, number: usize) -> Vec<Device> {
    let mut devices: Vec<_> = (0..number).map(|_| Device::of(world, shard)).collect();
    devices.iter_mut().for_each(Device::speak);
    devices
}

#[test]
fn a_turn_does_few_steps_and_those_that_are_served_come_first() {
    let mut world = world(1, 512);
    let plain = served(&mut world, 0, "plain");
    let mut devices = hellos(&mut world, 0, 3 * STEPS_PER_TURN_MAX);
    let mut before = 0;
    while answered(&devices) < devices.len() {
        plain.send(&PINGREQ);
        world.turn(0);
        let now = answered(&devices);
        assert!(now <= before + STEPS_PER_TURN_MAX, "{now} after {before}");
        let pongs = plain.take();
        assert!(before == 0 || pongs.starts_with(&PINGRESP), "a ping waits no further turn");
        before = now;
    }
    assert!(world.counters(0).cut_tls_steps.value() >= 2);
    for (number, device) in devices.iter_mut().enumerate() {
        device.hear();
        device.say(&connect(&format!("device-{number}")));
        assert_eq!(device.settle(&mut world), CONNACK);
    }
    assert_eq!(world.counters(0).tls_13_full.value(), 3 * STEPS_PER_TURN_MAX as u64);
}

#[test]
fn handshakes_beyond_the_limit_of_all_shards_wait_for_a_place() {
    let mut world = world(2, 3);
    let mut first = hellos(&mut world, 0, 2);
    world.settle();
    let second = hellos(&mut world, 1, 2);
    world.settle();
    assert_eq!((answered(&first), answered(&second)), (2, 1));
    assert_eq!(world.counters(1).limit_tls_handshakes.value(), 1);
    // One that is done gives its place to the other shard's.
    let done = first.pop().expect("two");
    let _done = { done }.served(&mut world, "done");
    world.advance(Duration::from_millis(10));
    assert_eq!(answered(&second), 2);
    // One that leaves gives its place back, too.
    let mut third = hellos(&mut world, 0, 1);
    world.settle();
    assert_eq!(answered(&third), 0);
    second[0].peer.end();
    world.advance(Duration::from_millis(10));
    assert_eq!(answered(&third), 1);
    assert_eq!(world.counters(1).tls_left.value(), 1);
    let third = third.pop().expect("one");
    { third }.served(&mut world, "third");
}

#[test]
fn a_connection_that_says_nothing_takes_no_place() {
    let mut world = world(1, 1);
    let silent: Vec<_> = (0..10).map(|_| Device::of(&mut world, 0)).collect();
    // Half of a hello is nothing, too.
    let mut half = Device::of(&mut world, 0);
    let mut hello = Vec::new();
    half.tls.write_tls(&mut hello).expect("a vector takes all");
    half.peer.send(&hello[..hello.len() / 2]);
    world.settle();
    Device::of(&mut world, 0).served(&mut world, "speaks");
    world.advance(Duration::from_millis(10_100));
    assert!(silent.iter().all(|device| device.peer.is_ended() || device.peer.is_closed()));
    assert_eq!(world.counters(0).tls_timed_out.value(), 11);
    assert_eq!(world.counters(0).connects_timeout.value(), 0);
}

#[test]
fn a_silent_client_gives_way_in_its_handshake_when_others_wait() {
    let mut world = world(1, 2);
    let silent = hellos(&mut world, 0, 2);
    world.advance(Duration::from_secs(4));
    assert_eq!(answered(&silent), 2);
    assert!(silent.iter().all(|device| !device.peer.is_ended()), "nobody waits");
    let mut newcomers = hellos(&mut world, 0, 1);
    world.advance(Duration::from_millis(400));
    assert_eq!(answered(&newcomers), 1);
    assert_eq!(world.counters(0).tls_gave_way.value(), 2, "both were silent");
    assert!(silent.iter().all(|device| device.peer.is_ended()));
    let newcomer = newcomers.pop().expect("one");
    { newcomer }.served(&mut world, "newcomer");
}

#[test]
fn who_waits_for_a_place_has_no_more_time_than_others() {
    let mut world = world(1, 1);
    let holder = hellos(&mut world, 0, 1);
    world.settle();
    for _ in 0..6 {
        // It goes on just in time.
        let waiting = hellos(&mut world, 0, 1);
        world.advance(Duration::from_millis(500));
        drop(waiting);
    }
    assert!(!holder[0].peer.is_ended() || world.counters(0).tls_gave_way.value() == 1);
    world.advance(Duration::from_secs(11));
    let counters = world.counters(0);
    let ended = counters.tls_timed_out.value() + counters.tls_gave_way.value();
    assert_eq!(ended, 7);
}

#[test]
fn a_handshake_that_fails_is_counted_and_leaves_nothing() {
    let mut world = world(1, 1);
    for number in 1..=3 {
        let peer = world.connect_tls(0);
        // A hello of one byte.
        peer.send(b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00");
        world.settle();
        // An alert: decode_error.
        assert_eq!(peer.take(), b"\x15\x03\x03\x00\x02\x02\x32");
        assert!(peer.is_ended());
        peer.end();
        world.settle();
        assert!(peer.is_closed());
        assert_eq!(world.counters(0).tls_failed.value(), number);
        assert_eq!(world.counters(0).connects_malformed.value(), 0);
    }
    assert_eq!(world.on_loan(), 0);
    Device::of(&mut world, 0).served(&mut world, "good");
}

/// How a client comes to a shard.
type Connect = fn(&mut World, u16) -> Peer;

#[test]
fn who_comes_to_the_wrong_address_is_counted_by_what_it_speaks() {
    let mut world = world(1, 512);
    let mut hello = Vec::new();
    Device::of(&mut world, 0).tls.write_tls(&mut hello).expect("a vector takes all");
    let request = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let connect = connect("lost");
    let cases: [(Connect, &[u8]); 6] = [
        (World::connect, &hello),
        (World::connect, request),
        (World::connect_tls, request),
        (World::connect_tls, &connect),
        (World::connect_websocket, &hello),
        (World::connect_websocket, &connect),
    ];
    for (connect, bytes) in cases {
        let peer = connect(&mut world, 0);
        peer.send(bytes);
        world.settle();
        assert!(peer.is_ended());
        // Over WebSocket all are told what is served.
        let answer = peer.take();
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 400 "), "{answer:?}");
        peer.end();
        world.settle();
        assert!(peer.is_closed());
    }
    let counters = world.counters(0);
    let strangers = [&counters.strangers_tls, &counters.strangers_http, &counters.strangers_mqtt];
    assert_eq!(strangers.map(|counter| counter.value()), [2, 2, 2]);
    assert_eq!(counters.connects_malformed.value(), 6);
    assert_eq!(counters.tls_failed.value(), 2);
}

#[test]
fn a_served_client_whose_record_does_not_open_is_told_and_its_will_goes_out() {
    let mut world = world(1, 512);
    let mut device = Device::of(&mut world, 0).served(&mut world, "device");
    device.peer.send(&[
        23, 3, 3, 0, 24, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21,
        22, 23, 24,
    ]);
    world.settle();
    let bytes = device.peer.take();
    device.tls.read_tls(&mut &bytes[..]).expect("a slice never fails");
    let error = device.tls.process_new_packets().expect_err("an alert");
    assert_eq!(error, rustls::Error::AlertReceived(rustls::AlertDescription::BadRecordMac));
    assert!(device.peer.is_ended());
    assert_eq!(world.counters(0).sessions.value(), 0);
}

#[test]
fn a_slow_reader_over_tls_gets_all_that_it_is_owed_in_parts() {
    let mut world = world(1, 512);
    let mut device = Device::of(&mut world, 0).served(&mut world, "slow");
    device.say(&subscribe("big"));
    assert_eq!(device.settle(&mut world), SUBACK_QOS0);
    let sender = served(&mut world, 0, "sender");
    let payload = vec![b'x'; 700_000];
    let len = 2 + 3 + payload.len();
    let mut packet = vec![0x30];
    let mut left = len;
    while left > 0 {
        packet.push((left % 128) as u8 | if left >= 128 { 0x80 } else { 0 });
        left /= 128;
    }
    packet.extend([0, 3]);
    packet.extend(b"big");
    packet.extend(&payload);
    device.peer.set_window(0);
    sender.send(&packet);
    sender.send(&publish("big", "last"));
    world.settle();
    let mut heard = Vec::new();
    for _ in 0..2_000 {
        device.peer.set_window(1_000);
        world.settle();
        heard.extend(device.hear());
    }
    assert_eq!(heard, [&packet[..], &publish("big", "last")].concat());
}

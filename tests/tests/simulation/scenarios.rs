//! Single runs, step by step, of faults of the disk, of crashes and of clients that are back at an awkward
//! instant, where the seeds of `run` come by too seldom.

use std::sync::Arc;
use std::time::Duration;

use push_server::config::Config;
use push_server::shard::simulation::{Peer, Setup, World, Written};
use push_tests::wire::{
    self, PUBACK, PUBCOMP, PUBREC, PUBREL, Packet, Properties, Publish, Value, Version, Will,
    property,
};

const SEED: u64 = 7;

/// Requests that are all there are.
const ALL: usize = usize::MAX;

const KEEP_ALIVE_SECS: u16 = 10;

/// How long sessions outlive their connection.
const SESSION_EXPIRY_SECS: u32 = 3_600;

/// And brief ones.
const BRIEF_EXPIRY_SECS: u32 = 5;

/// A store that works again is offered within this what it has refused.
const OFFERED_AGAIN: Duration = Duration::from_secs(3);

/// A will that a start finds waits no longer than this.
const GRACE: Duration = Duration::from_secs(6);

/// A client of MQTT 5.
struct Client {
    peer: Peer,
    input: Vec<u8>,
}

impl Client {
    /// Opens a connection, and sends nothing.
    fn dial(world: &mut World) -> Self {
        Self { peer: world.connect(0), input: Vec::new() }
    }

    /// Sends CONNECT, and waits for nothing.
    fn connect_as(&self, id: &str, expiry_secs: u32, will: Option<&Will>, more: &[(u8, Value)]) {
        let expiry = (property::SESSION_EXPIRY_INTERVAL, Value::Number(expiry_secs));
        let properties = Properties([&[expiry], more].concat());
        self.peer.send(&wire::connect(Version::V5, id, KEEP_ALIVE_SECS, false, will, &properties));
    }

    /// Both.
    fn begin(world: &mut World, id: &str, expiry_secs: u32, will: Option<&Will>) -> Self {
        let client = Self::dial(world);
        client.connect_as(id, expiry_secs, will, &[]);
        client
    }

    fn connect(world: &mut World, id: &str) -> Self {
        let mut client = Self::begin(world, id, SESSION_EXPIRY_SECS, None);
        settle(world);
        client.expect("a CONNACK", |packet| matches!(packet, Packet::Connack { code: 0, .. }));
        client
    }

    fn subscriber(world: &mut World, id: &str, filter: &str, qos: u8) -> Self {
        let mut client = Self::connect(world, id);
        client.subscribe(world, filter, qos);
        client
    }

    /// Connects, to be sent one message at a time (Receive Maximum 1).
    fn connect_for_one(world: &mut World, id: &str, expiry_secs: u32) -> Self {
        let mut client = Self::dial(world);
        let receive_max = (property::RECEIVE_MAXIMUM, Value::Number(1));
        client.connect_as(id, expiry_secs, None, &[receive_max]);
        settle(world);
        client.expect("a CONNACK", |packet| matches!(packet, Packet::Connack { code: 0, .. }));
        client
    }

    fn subscribe(&mut self, world: &mut World, filter: &str, qos: u8) {
        self.peer.send(&wire::subscribe(Version::V5, 1, &[(filter, qos)]));
        settle(world);
        self.expect("a SUBACK", |packet| matches!(packet, Packet::Suback { .. }));
    }

    fn say(&self, world: &mut World, bytes: &[u8]) {
        self.peer.send(bytes);
        world.settle();
    }

    fn publish(&mut self, world: &mut World, packet_id: u16, qos: u8) {
        let publish =
            Publish { topic: "t".into(), payload: vec![1], qos, packet_id, ..Publish::default() };
        self.say(world, &wire::publish(Version::V5, &publish));
        settle(world);
        self.receive().expect("PUBACK or PUBREC");
    }

    /// The next packet.
    fn receive(&mut self) -> Option<Packet> {
        self.input.extend(self.peer.take());
        let (packet, used) = wire::decode(Version::V5, &self.input)?;
        self.input.drain(..used);
        Some(packet)
    }

    #[track_caller]
    fn expect(&mut self, what: &str, is_it: impl Fn(&Packet) -> bool) {
        let packet = self.receive();
        assert!(packet.as_ref().is_some_and(is_it), "{what}, not {packet:?}");
    }

    /// The packet id of the PUBLISH that comes next.
    #[track_caller]
    fn message(&mut self) -> u16 {
        match self.receive() {
            Some(Packet::Publish(publish)) => publish.packet_id,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn expect_release(&mut self, id: u16) {
        let is_it = |packet: &Packet| matches!(packet, Packet::Ack { kind: PUBREL, packet_id, .. } if *packet_id == id);
        self.expect("PUBREL", is_it);
    }

    #[track_caller]
    fn expect_nothing(&mut self) {
        let packet = self.receive();
        assert!(packet.is_none(), "{packet:?}");
    }
}

fn world() -> World {
    world_of(1)
}

fn world_of(shards: u16) -> World {
    World::with(Setup {
        config: Arc::new(Config { shards, ..Config::default() }),
        seed: SEED,
        is_durable: true,
        mailbox_messages_max: 16,
    })
}

/// A client id whose sessions live with this shard.
fn id_at(world: &World, shard: u16, name: &str) -> String {
    let mut ids = (0..).map(|number| format!("{name}-{number}"));
    ids.find(|id| world.home_of(id) == shard).expect("ids spread")
}

/// Everything that can be done without time passing, by a disk that works.
fn settle(world: &mut World) {
    world.settle();
    while world.store_waiting() > 0 {
        world.write_group(ALL);
        world.settle();
    }
}

/// The disk fails, and who waits for it hears of it.
fn fail(world: &mut World) {
    world.fail_disk(ALL, false);
    settle(world);
}

/// The disk works again, and is offered what it has refused.
fn heal(world: &mut World) {
    world.heal_disk();
    world.advance(OFFERED_AGAIN);
    settle(world);
}

/// A send that has ended has nothing sent again: there is nothing more.
#[test]
fn a_message_has_each_client_flushed_once_for_each_packet_that_comes_or_goes() {
    let mut world = world();
    let mut publisher = Client::connect(&mut world, "publisher");
    let mut subscriber = Client::subscriber(&mut world, "subscriber", "t", 1);
    let before = world.flushes(0);
    let publish = Publish { topic: "t".into(), payload: vec![1], ..Publish::default() };
    publisher.say(&mut world, &wire::publish(Version::V5, &publish));
    subscriber.message();
    // PUBLISH of the publisher, PUBLISH to the subscriber.
    assert_eq!(world.flushes(0) - before, 2);
    let before = world.flushes(0);
    publisher.publish(&mut world, 1, 1);
    let id = subscriber.message();
    subscriber.say(&mut world, &wire::ack(PUBACK, id));
    settle(&mut world);
    // PUBLISH and PUBACK on both connections.
    assert_eq!(world.flushes(0) - before, 4);
}

#[test]
fn a_pubrel_waits_for_the_disk_on_the_next_connection_too() {
    let mut world = world();
    let mut publisher = Client::connect(&mut world, "publisher");
    let mut subscriber = Client::subscriber(&mut world, "subscriber", "t", 2);
    publisher.publish(&mut world, 1, 2);
    let first = subscriber.message();
    fail(&mut world);
    // It has come, and is not on disk: so what is under way stays in memory.
    publisher.publish(&mut world, 2, 1);
    let second = subscriber.message();
    subscriber.say(&mut world, &wire::ack(PUBREC, first));
    settle(&mut world);
    assert!(subscriber.peer.is_ended(), "it has to connect again");
    let mut subscriber = Client::connect(&mut world, "subscriber");
    subscriber.expect_nothing();
    heal(&mut world);
    subscriber.expect_release(first);
    assert_eq!(subscriber.message(), second);
    // It has forgotten the packet id: the message must not come again.
    world.crash(Written::Requests(ALL));
    let mut subscriber = Client::connect(&mut world, "subscriber");
    subscriber.expect_release(first);
    subscriber.say(&mut world, &wire::ack(PUBCOMP, first));
    assert_eq!(subscriber.message(), second);
    subscriber.expect_nothing();
}

#[test]
fn what_was_acknowledged_while_the_disk_failed_does_not_come_again() {
    let mut world = world();
    let mut publisher = Client::connect(&mut world, "publisher");
    let mut subscriber = Client::subscriber(&mut world, "subscriber", "t", 1);
    for packet_id in 1..=3 {
        publisher.publish(&mut world, packet_id, 1);
    }
    let [first, second, _third] = [0; 3].map(|_| subscriber.message());
    fail(&mut world);
    subscriber.say(&mut world, &wire::ack(PUBACK, second));
    settle(&mut world);
    // In the same life: before the removal is offered again, its place lies between two that are owed.
    subscriber.peer.reset();
    world.settle();
    world.heal_disk();
    let mut subscriber = Client::connect(&mut world, "subscriber");
    assert_eq!([0; 2].map(|_| subscriber.message()), [first, first + 2]);
    subscriber.expect_nothing();
    heal(&mut world);
    world.crash(Written::Requests(ALL));
    let mut subscriber = Client::connect(&mut world, "subscriber");
    assert_eq!([0; 2].map(|_| subscriber.message()), [first, first + 2]);
    subscriber.expect_nothing();
}

#[test]
fn a_message_that_came_when_the_disk_was_back_bears_dup_after_a_crash() {
    let mut world = world();
    let mut publisher = Client::connect(&mut world, "publisher");
    let subscriber = Client::subscriber(&mut world, "subscriber", "t", 1);
    subscriber.peer.reset();
    settle(&mut world);
    publisher.publish(&mut world, 1, 1);
    fail(&mut world);
    // Its record does not say that it is connected.
    let mut subscriber = Client::connect(&mut world, "subscriber");
    world.heal_disk();
    // Its outbox is read, before what the disk has refused is offered again.
    subscriber.say(&mut world, &wire::PINGREQ);
    settle(&mut world);
    subscriber.expect("a PINGRESP", |packet| *packet == Packet::Pingresp);
    subscriber.message();
    world.crash(Written::Requests(ALL));
    let mut subscriber = Client::connect(&mut world, "subscriber");
    let Some(Packet::Publish(publish)) = subscriber.receive() else { panic!("it is owed") };
    assert!(publish.dup, "{publish:?}");
}

/// Its publisher knows that the flow is over, and uses the packet id again.
#[test]
fn a_packet_id_whose_publish_was_refused_and_is_on_disk_all_the_same_is_free() {
    for is_repeated in [false, true] {
        let mut world = world();
        let mut publisher = Client::connect(&mut world, "publisher");
        Client::subscriber(&mut world, "subscriber", "t", 2);
        let publish = Publish {
            topic: "t".into(),
            qos: 2,
            packet_id: 1,
            payload: vec![1],
            ..Publish::default()
        };
        publisher.say(&mut world, &wire::publish(Version::V5, &publish));
        world.fail_disk(ALL, true);
        settle(&mut world);
        let is_refused =
            |packet: &Packet| matches!(packet, Packet::Ack { kind: PUBREC, reason: 0x80.., .. });
        publisher.expect("a PUBREC that refuses", is_refused);
        world.crash(Written::Requests(ALL));
        let mut publisher = Client::connect(&mut world, "publisher");
        let again = Publish { dup: is_repeated, ..publish };
        publisher.say(&mut world, &wire::publish(Version::V5, &again));
        settle(&mut world);
        let is_taken =
            |packet: &Packet| matches!(packet, Packet::Ack { kind: PUBREC, reason: 0, .. });
        publisher.expect("a PUBREC that takes it", is_taken);
        let mut subscriber = Client::connect(&mut world, "subscriber");
        assert_eq!(messages(&mut subscriber), if is_repeated { 1 } else { 2 });
    }
}

#[test]
fn a_will_that_is_due_is_published_though_its_client_is_back_in_the_same_turn() {
    let mut world = world();
    Client::subscriber(&mut world, "witness", "will", 1);
    let delay = (property::WILL_DELAY_INTERVAL, Value::Number(60));
    let properties = Properties(vec![delay]);
    let will = Will { topic: "will".into(), qos: 1, properties, ..Will::default() };
    Client::begin(&mut world, "device", 0, Some(&will));
    settle(&mut world);
    world.crash(Written::Requests(ALL));
    let back = Client::dial(&mut world);
    settle(&mut world);
    // Nobody turns in between.
    world.leap(Duration::from_secs(61));
    back.connect_as("device", 0, None, &[]);
    world.turn(0);
    settle(&mut world);
    Client::connect(&mut world, "witness").message();
}

#[test]
fn a_will_without_delay_is_not_published_where_its_client_is_back_soon_after_a_start() {
    let mut world = world();
    let will = Will { topic: "will".into(), qos: 1, ..Will::default() };
    Client::subscriber(&mut world, "witness", "will", 1);
    let devices = [("stays away", 0), ("is back", 0), ("resumes", SESSION_EXPIRY_SECS)];
    for (id, expiry_secs) in devices {
        Client::begin(&mut world, id, expiry_secs, Some(&will));
    }
    settle(&mut world);
    world.crash(Written::Requests(ALL));
    let mut witness = Client::connect(&mut world, "witness");
    for (id, expiry_secs) in &devices[1..] {
        Client::begin(&mut world, id, *expiry_secs, None);
    }
    settle(&mut world);
    witness.expect_nothing();
    world.advance(GRACE);
    settle(&mut world);
    witness.message();
    witness.expect_nothing();
}

#[test]
fn a_message_expiry_interval_is_no_longer_after_a_crash() {
    let mut world = world();
    let publisher = Client::connect(&mut world, "publisher");
    Client::subscriber(&mut world, "subscriber", "t", 1).peer.reset();
    // Not at a whole millisecond, which is what the disk has.
    world.leap(Duration::from_micros(300));
    settle(&mut world);
    let expiry = (property::MESSAGE_EXPIRY_INTERVAL, Value::Number(3));
    let publish = Publish {
        topic: "t".into(),
        payload: vec![1],
        qos: 1,
        packet_id: 1,
        properties: Properties(vec![expiry.clone()]),
        ..Publish::default()
    };
    publisher.say(&mut world, &wire::publish(Version::V5, &publish));
    settle(&mut world);
    world.crash(Written::Requests(ALL));
    let mut subscriber = Client::connect(&mut world, "subscriber");
    let Some(Packet::Publish(came)) = subscriber.receive() else { panic!("it is owed") };
    assert_eq!(came.properties, Properties(vec![expiry]));
}

/// The record that marked its session as ended was refused with it, so the one on disk still has the will.
#[test]
fn a_will_of_a_session_that_ends_while_the_disk_fails_comes_once_wherever_a_crash_comes() {
    for written in 0..5 {
        let mut world = world();
        Client::subscriber(&mut world, "witness", "will", 2);
        let will = Will { topic: "will".into(), qos: 2, ..Will::default() };
        Client::connect(&mut world, "device").peer.reset();
        settle(&mut world);
        // A session on disk, which is to end with this connection.
        let device = Client::begin(&mut world, "device", 0, Some(&will));
        settle(&mut world);
        fail(&mut world);
        device.peer.reset();
        settle(&mut world);
        world.heal_disk();
        // It is offered what it has refused, and has not taken it.
        world.advance(OFFERED_AGAIN);
        world.crash(Written::Requests(written));
        let mut witness = Client::connect(&mut world, "witness");
        world.advance(GRACE);
        settle(&mut world);
        assert_eq!(messages(&mut witness), 1, "with {written} requests on disk");
    }
}

/// A session of seconds, with all about it on disk, when a crash comes and no server runs until its time is over.
/// Returns whether it is there all the same.
pub(crate) fn is_resumed_after_its_time() -> bool {
    let mut world = world();
    let brief = Client::begin(&mut world, "brief", BRIEF_EXPIRY_SECS, None);
    settle(&mut world);
    brief.peer.reset();
    settle(&mut world);
    world.set_wall_clock(i64::from(BRIEF_EXPIRY_SECS) * 2_000, false);
    world.crash(Written::Requests(ALL));
    let mut again = Client::begin(&mut world, "brief", BRIEF_EXPIRY_SECS, None);
    settle(&mut world);
    let connack = again.receive();
    let Some(Packet::Connack { code: 0, session_present, .. }) = connack else {
        panic!("it may connect, whatever it finds: {connack:?}")
    };
    session_present
}

/// A client connects, and a crash comes before anything of that is on disk. Returns whether it has its CONNACK and its
/// will is lost all the same.
pub(crate) fn loses_a_will_that_connack_has_promised() -> bool {
    let mut world = world();
    Client::subscriber(&mut world, "witness", "will", 1);
    let will = Will { topic: "will".into(), qos: 1, ..Will::default() };
    let mut device = Client::begin(&mut world, "device", SESSION_EXPIRY_SECS, Some(&will));
    world.settle();
    let is_accepted = matches!(device.receive(), Some(Packet::Connack { code: 0, .. }));
    world.crash(Written::Requests(0));
    let mut witness = Client::connect(&mut world, "witness");
    world.advance(GRACE);
    settle(&mut world);
    let is_published = matches!(witness.receive(), Some(Packet::Publish(_)));
    is_accepted && !is_published
}

#[test]
fn connack_waits_until_the_will_that_it_promises_is_on_disk() {
    assert!(!loses_a_will_that_connack_has_promised());
}

#[test]
fn a_session_ends_though_no_server_runs_when_its_time_is_over() {
    assert!(!is_resumed_after_its_time());
}

#[test]
fn who_waits_for_its_connack_does_not_expire() {
    let mut world = world();
    let mut client = Client::begin(&mut world, "patient", SESSION_EXPIRY_SECS, None);
    // The disk takes longer than a keep alive and a half.
    world.advance(Duration::from_secs(40));
    client.expect_nothing();
    settle(&mut world);
    client.expect("a CONNACK", |packet| matches!(packet, Packet::Connack { code: 0, .. }));
    world.advance(Duration::from_secs(14));
    assert!(!client.peer.is_ended(), "its keep alive has begun");
    world.advance(Duration::from_secs(2));
    assert!(client.peer.is_ended());
    assert_eq!(world.counters(0).expired.value(), 1);
}

#[test]
fn what_a_member_leaves_while_the_disk_fails_goes_to_another_when_it_works() {
    let mut world = world();
    let mut publisher = Client::connect(&mut world, "publisher");
    let leaver = Client::subscriber(&mut world, "leaver", "$share/g/t", 1);
    leaver.peer.reset();
    settle(&mut world);
    for packet_id in 1..=3 {
        publisher.publish(&mut world, packet_id, 1);
    }
    let mut leaver = Client::connect_for_one(&mut world, "leaver", SESSION_EXPIRY_SECS);
    // The others are fetched from the disk by now, and never sent.
    leaver.message();
    let heir = Client::subscriber(&mut world, "heir", "$share/g/t", 1);
    heir.peer.reset();
    settle(&mut world);
    fail(&mut world);
    leaver.say(&mut world, &wire::unsubscribe(Version::V5, 2, &["$share/g/t"]));
    let mut heir = heir_of_what_was_passed_on_in_vain(&mut world);
    assert_eq!(messages(&mut heir), 2);
}

/// Nothing of its session is on disk, and so nothing of what it was owed.
#[test]
fn what_a_brief_member_leaves_while_the_disk_fails_goes_to_another_when_it_works() {
    for ends in [true, false] {
        let mut world = world();
        let mut publisher = Client::connect(&mut world, "publisher");
        let heir = Client::subscriber(&mut world, "heir", "$share/g/t", 2);
        heir.peer.reset();
        settle(&mut world);
        let mut leaver = Client::connect_for_one(&mut world, "leaver", 0);
        leaver.subscribe(&mut world, "$share/g/t", 2);
        for (packet_id, qos) in [(1, 1), (2, 1), (3, 2)] {
            publisher.publish(&mut world, packet_id, qos);
        }
        leaver.message();
        leaver.expect_nothing();
        fail(&mut world);
        if ends {
            leaver.peer.reset();
        } else {
            leaver.say(&mut world, &wire::unsubscribe(Version::V5, 2, &["$share/g/t"]));
        }
        let mut heir = heir_of_what_was_passed_on_in_vain(&mut world);
        // What it was sent is its own as long as its session lasts.
        assert_eq!(messages(&mut heir), if ends { 3 } else { 2 });
    }
}

/// Its publisher is told so, or sends it again: nobody may have it.
#[test]
fn a_qos_2_message_that_a_member_leaves_before_it_is_safe_goes_to_another_only_if_it_becomes_safe()
{
    for (expiry_secs, fails) in [(0, false), (0, true), (3_600, false), (3_600, true)] {
        let mut world = world_of(2);
        let publisher_id = id_at(&world, 1, "publisher");
        let mut publisher = Client::connect(&mut world, &publisher_id);
        // Another shard's, which takes part in what is written for it.
        let heir_id = id_at(&world, 0, "heir");
        let heir = Client::subscriber(&mut world, &heir_id, "$share/g/t", 2);
        heir.peer.reset();
        settle(&mut world);
        let leaver_id = id_at(&world, 1, "leaver");
        let leaver = Client::begin(&mut world, &leaver_id, expiry_secs, None);
        leaver.peer.send(&wire::subscribe(Version::V5, 1, &[("$share/g/t", 2)]));
        settle(&mut world);
        let (topic, payload) = ("t".into(), vec![1]);
        let publish = Publish { topic, payload, qos: 2, packet_id: 1, ..Publish::default() };
        publisher.say(&mut world, &wire::publish(Version::V5, &publish));
        leaver.peer.send(&wire::unsubscribe(Version::V5, 2, &["$share/g/t"]));
        world.turn(1);
        if fails {
            world.fail_disk(ALL, false);
            world.turn(1);
            settle(&mut world);
            heal(&mut world);
        }
        settle(&mut world);
        let is_told = |packet: &Packet| matches!(packet, Packet::Ack { kind: PUBREC, reason, .. } if (*reason >= 0x80) == fails);
        publisher.expect("PUBREC", is_told);
        let mut heir = Client::connect(&mut world, &heir_id);
        assert_eq!(messages(&mut heir), usize::from(!fails), "{expiry_secs}, {fails}");
    }
}

#[test]
fn messages_on_disk_of_a_group_that_its_member_has_left_go_to_others_when_it_ends() {
    let mut world = world();
    let mut publisher = Client::connect(&mut world, "publisher");
    let leaver = Client::subscriber(&mut world, "leaver", "$share/g/t", 1);
    leaver.peer.reset();
    settle(&mut world);
    for packet_id in 1..=3 {
        publisher.publish(&mut world, packet_id, 1);
    }
    // Nothing is fetched from the disk before it unsubscribes.
    let leaver = Client::dial(&mut world);
    settle(&mut world);
    leaver.connect_as("leaver", SESSION_EXPIRY_SECS, None, &[]);
    leaver.peer.send(&wire::unsubscribe(Version::V5, 2, &["$share/g/t"]));
    world.turn(0);
    leaver.peer.reset();
    settle(&mut world);
    let mut heir = Client::subscriber(&mut world, "heir", "$share/g/t", 1);
    let nothing = Properties::default();
    let again = Client::dial(&mut world);
    again.peer.send(&wire::connect(Version::V5, "leaver", 0, true, None, &nothing));
    settle(&mut world);
    assert_eq!(messages(&mut heir), 3);
}

/// The heir connects after the disk is back and a crash.
fn heir_of_what_was_passed_on_in_vain(world: &mut World) -> Client {
    settle(world);
    assert!(world.counters(0).shared_passed_on.value() > 0, "they were passed on in vain");
    heal(world);
    world.crash(Written::Requests(ALL));
    Client::connect(world, "heir")
}

/// How many messages come, none of which it acknowledges.
fn messages(client: &mut Client) -> usize {
    std::iter::from_fn(|| client.receive()).filter(|one| matches!(one, Packet::Publish(_))).count()
}

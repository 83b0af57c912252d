//! Claims about whole shards, on ports in memory: what clients send, and what they get back.

mod door;
mod ends;
mod moving;
mod proxied;
mod review;
mod tls;

use std::sync::Arc;
use std::time::Duration;

use super::simulation::{Peer, World};
use crate::config::Config;

const CONNACK: [u8; 4] = [0x20, 2, 0, 0];
const SUBACK_QOS0: [u8; 5] = [0x90, 3, 0, 1, 0];
const UNSUBACK_2: [u8; 4] = [0xB0, 2, 0, 2];
const PINGREQ: [u8; 2] = [0xC0, 0];
const PINGRESP: [u8; 2] = [0xD0, 0];
const DISCONNECT: [u8; 2] = [0xE0, 0];

/// The keep alive of clients here; the server waits half as long again.
const KEEP_ALIVE_SECS: u8 = 10;
const SILENCE: Duration = Duration::from_secs(15);

const SEED: u64 = 12;

fn world(shards: u16) -> World {
    World::new(&Arc::new(Config { shards, ..Config::default() }), SEED)
}

/// A string with its length, as MQTT has it.
fn string(text: &str) -> Vec<u8> {
    let len = u16::try_from(text.len()).expect("short");
    [&len.to_be_bytes(), text.as_bytes()].concat()
}

fn packet(first_byte: u8, body: &[&[u8]]) -> Vec<u8> {
    let body = body.concat();
    let len = u8::try_from(body.len()).ok().filter(|len| *len < 128).expect("short");
    [&[first_byte, len], &*body].concat()
}

/// CONNECT of MQTT 3.1.1, clean.
fn connect(client_id: &str) -> Vec<u8> {
    packet(0x10, &[&string("MQTT"), &[4, 2, 0, KEEP_ALIVE_SECS], &string(client_id)])
}

/// SUBSCRIBE number 1, at QoS 0.
fn subscribe(filter: &str) -> Vec<u8> {
    packet(0x82, &[&[0, 1], &string(filter), &[0]])
}

/// PUBLISH at QoS 0.
fn publish(topic: &str, payload: &str) -> Vec<u8> {
    packet(0x30, &[&string(topic), payload.as_bytes()])
}

/// A client that is served, by whatever shard accepts it.
fn served(world: &mut World, shard: u16, client_id: &str) -> Peer {
    let peer = world.connect(shard);
    peer.send(&connect(client_id));
    world.settle();
    assert_eq!(peer.take(), CONNACK, "{client_id}");
    peer
}

/// A client id whose session lives with this shard.
fn id_at_home(world: &World, shard: u16) -> String {
    ids_at_home(world, shard).next().expect("ids spread over all shards")
}

/// Client ids whose sessions live with this shard.
fn ids_at_home(world: &World, shard: u16) -> impl Iterator<Item = String> {
    let ids = (0..).map(|number| format!("client-{number}"));
    ids.filter(move |id| world.home_of(id) == shard)
}

#[test]
fn a_client_in_memory_connects_subscribes_publishes_to_itself_and_pings() {
    let mut world = world(1);
    let peer = served(&mut world, 0, "alone");
    assert_eq!(world.counters(0).armed.value(), 1, "the kernel answers for it");
    peer.send(&subscribe("weather"));
    world.settle();
    assert_eq!(peer.take(), SUBACK_QOS0);
    peer.send(&publish("weather", "sun"));
    world.settle();
    assert_eq!(peer.take(), publish("weather", "sun"));
    peer.send(&PINGREQ);
    world.settle();
    assert_eq!(peer.take(), PINGRESP);
    assert_eq!(world.counters(0).pings_user.value(), 1);
    peer.send(&DISCONNECT);
    peer.end();
    world.settle();
    assert!(peer.is_closed());
    assert_eq!(world.counters(0).connections.value(), 0);
    assert_eq!(world.counters(0).sessions.value(), 0);
    assert_eq!(world.on_loan(), 0, "slots and receive buffers are given back");
}

#[test]
fn a_silent_client_expires_when_the_virtual_clock_says_so_and_not_before() {
    let mut world = world(1);
    let peer = served(&mut world, 0, "silent");
    world.advance(SILENCE - Duration::from_millis(1));
    assert_eq!(world.counters(0).expired.value(), 0);
    assert!(!peer.is_ended());
    // The wheel is right to 16 ms.
    world.advance(Duration::from_millis(17));
    assert_eq!(world.counters(0).expired.value(), 1);
    assert!(peer.is_ended());
    assert!(peer.take().is_empty(), "MQTT 3.1.1 has no goodbye of the server's");
    peer.end();
    world.settle();
    assert!(peer.is_closed());
    assert_eq!(world.on_loan(), 0);
}

#[test]
fn a_ping_that_the_kernel_answers_keeps_a_client_alive() {
    let mut world = world(1);
    let peer = served(&mut world, 0, "pinging");
    for _ in 0..100 {
        world.advance(Duration::from_secs(KEEP_ALIVE_SECS.into()));
        assert!(world.answer_ping(&peer));
    }
    assert_eq!(world.counters(0).expired.value(), 0);
    assert_eq!(world.counters(0).pings_user.value(), 0, "user space saw none of them");
    world.advance(SILENCE + Duration::from_millis(16));
    assert_eq!(world.counters(0).expired.value(), 1);
}

#[test]
fn a_silent_client_that_takes_nothing_is_let_go_without_waiting_for_it() {
    let mut world = world(1);
    let deaf = served(&mut world, 0, "deaf");
    deaf.send(&subscribe("weather"));
    world.settle();
    assert_eq!(deaf.take(), SUBACK_QOS0);
    let sent = publish("weather", "hail");
    deaf.set_window(3);
    deaf.send(&sent);
    world.settle();
    assert_eq!(deaf.take(), sent[..3]);
    world.settle();
    assert_eq!(deaf.take(), sent[3..6], "a send goes on as the client takes it");
    deaf.set_window(0);
    world.advance(SILENCE + Duration::from_millis(16));
    assert_eq!(world.counters(0).expired.value(), 1);
    assert!(deaf.is_closed(), "the send was cancelled, and the client is not waited for");
    assert_eq!(world.on_loan(), 0);
}

#[test]
fn a_publish_goes_by_mail_to_the_subscriber_of_another_shard() {
    let mut world = world(2);
    let ids = [0, 1].map(|shard| id_at_home(&world, shard));
    let reader = served(&mut world, 0, &ids[0]);
    let writer = served(&mut world, 1, &ids[1]);
    reader.send(&subscribe("news/+"));
    world.settle();
    assert_eq!(reader.take(), SUBACK_QOS0);
    writer.send(&publish("news/today", "rain"));
    world.turn(1);
    assert!(reader.take().is_empty(), "the letter is in the mailbox");
    assert!(world.is_ready(0), "and its shard is woken");
    world.settle();
    assert_eq!(reader.take(), publish("news/today", "rain"));
    assert!(writer.take().is_empty());
    assert_eq!(world.counters(1).publishes_received.value(), 1);
    assert_eq!(world.counters(0).publishes_sent.value(), 1);
}

/// Letters of the publisher come back for other members, while it waits to send more of them.
#[test]
fn messages_that_come_back_from_a_shard_do_not_wait_behind_those_that_are_to_go_there() {
    // More than a session may have letters under way, and than groups hear at once of a member that went.
    const GROUPS: usize = 500;
    let mut world = world(2);
    let ids = [0, 1].map(|shard| id_at_home(&world, shard));
    let publisher_id = ids_at_home(&world, 0).nth(1).expect("ids spread over all shards");
    let filters: Vec<_> = (0..GROUPS).map(|group| format!("$share/g/n/{group}")).collect();
    let subscribes: Vec<_> = filters.iter().flat_map(|filter| subscribe(filter)).collect();
    // It subscribes first, so each group's first message is for it.
    let away = world.connect(1);
    away.send(&packet(0x10, &[&string("MQTT"), &[4, 0, 0, KEEP_ALIVE_SECS], &string(&ids[1])]));
    let here = served(&mut world, 0, &ids[0]);
    for member in [&away, &here] {
        member.send(&subscribes);
        world.settle();
        member.take();
    }
    let publisher = served(&mut world, 0, &publisher_id);
    away.reset();
    world.turn(1);
    let publishes: Vec<_> =
        (0..GROUPS).flat_map(|group| publish(&format!("n/{group}"), "x")).collect();
    publisher.send(&publishes);
    world.turn(0);
    assert!(world.counters(0).limit_letters.value() > 0, "some wait for those under way");
    world.advance(Duration::from_secs(1));
    assert_eq!(here.take().len(), publishes.len(), "each group's goes to who is here");
    assert_eq!(world.counters(0).dropped_no_member.value(), 0);
}

#[test]
fn a_message_finds_the_group_that_was_made_anew_while_it_was_on_its_way() {
    let mut world = world(2);
    let ids = [0, 1].map(|shard| id_at_home(&world, shard));
    let publisher = served(&mut world, 0, &ids[0]);
    let member = served(&mut world, 1, &ids[1]);
    member.send(&subscribe("$share/g/news"));
    world.settle();
    assert_eq!(member.take(), SUBACK_QOS0);
    publisher.send(&publish("news", "rain"));
    world.turn(0);
    member.send(&packet(0xA2, &[&[0, 2], &string("$share/g/news")]));
    member.send(&subscribe("$share/g/news"));
    world.settle();
    let expected = [&UNSUBACK_2[..], &SUBACK_QOS0, &publish("news", "rain")].concat();
    assert_eq!(member.take(), expected);
}

#[test]
fn a_connection_moves_to_the_shard_of_its_session() {
    let mut world = world(2);
    let id = id_at_home(&world, 1);
    let peer = served(&mut world, 0, &id);
    assert_eq!([0, 1].map(|shard| world.counters(shard).connections.value()), [0, 1]);
    assert_eq!(world.counters(1).connects_accepted.value(), 1);
    peer.send(&PINGREQ);
    world.settle();
    assert_eq!(peer.take(), PINGRESP);
}

#[test]
fn a_stop_closes_every_client_and_ends_the_shards() {
    let mut world = world(2);
    let peers = [0, 1].map(|shard| {
        let id = id_at_home(&world, shard);
        served(&mut world, shard, &id)
    });
    world.stop();
    world.settle();
    assert!(peers.iter().all(Peer::is_ended));
    assert!(!world.has_stopped(), "their ends are awaited");
    peers.iter().for_each(Peer::end);
    world.settle();
    assert!(world.has_stopped());
    assert_eq!(world.on_loan(), 0);
}

#[test]
fn the_same_seed_brings_the_same_bytes_and_another_seed_others() {
    let assigned = |seed| {
        let mut world = World::new(&Arc::new(Config { shards: 2, ..Config::default() }), seed);
        let peer = world.connect(0);
        // MQTT 5 without client identifier: the server says what it is called.
        peer.send(&packet(0x10, &[&string("MQTT"), &[5, 2, 0, KEEP_ALIVE_SECS, 0], &string("")]));
        world.settle();
        peer.take()
    };
    assert!(assigned(1).len() > 32);
    assert_eq!(assigned(1), assigned(1));
    assert_ne!(assigned(1), assigned(2));
}

#[test]
fn who_gets_what_in_which_order_does_not_depend_on_how_tables_are_hashed() {
    // Every table of a world has a seed of its own, whatever the world's.
    assert_eq!(transcript_of_many(), transcript_of_many());
}

/// What each of many clients gets, whose filters overlap, some of them shared.
fn transcript_of_many() -> Vec<Vec<u8>> {
    let mut world = world(3);
    let mut peers = Vec::new();
    for number in 0..30u16 {
        let peer = served(&mut world, number % 3, &format!("client-{number}"));
        for filter in ["a/+", "#", "a/1", "$share/group/a/#"].iter().skip(usize::from(number % 4)) {
            peer.send(&subscribe(filter));
        }
        peers.push(peer);
    }
    world.settle();
    for round in 0..10 {
        for (number, peer) in peers.iter().enumerate().step_by(7) {
            peer.send(&publish(&format!("a/{round}"), &format!("{number}")));
        }
        world.settle();
    }
    peers.iter().map(Peer::take).collect()
}

/// Leaves a client with half a packet under way to the server, and a message of which its socket has taken a part. Returns
/// the packet, of which nine bytes are sent.
fn bytes_under_way(world: &mut World, peer: &Peer, publisher: &Peer) -> Vec<u8> {
    peer.send(&subscribe("weather"));
    world.settle();
    assert_eq!(peer.take(), SUBACK_QOS0);
    peer.set_window(7);
    publisher.send(&publish("weather", "sun, and later rain"));
    let own = publish("weather", "fog");
    peer.send(&own[..9]);
    world.settle();
    own
}

#[test]
fn a_client_that_moves_keeps_the_bytes_under_way_on_both_sides() {
    let mut world = world(1);
    let peer = served(&mut world, 0, "moving");
    let publisher = served(&mut world, 0, "publisher");
    let own = bytes_under_way(&mut world, &peer, &publisher);
    assert!(world.move_client(&peer, 0), "it is served");
    assert!(!world.move_client(&peer, 0), "and moves already");
    world.settle();
    peer.send(&own[9..]);
    let mut heard = Vec::new();
    loop {
        world.settle();
        let some = peer.take();
        if some.is_empty() {
            break;
        }
        heard.extend(some);
    }
    assert_eq!(heard, [publish("weather", "sun, and later rain"), own].concat());
    assert!(world.answer_ping(&peer), "its slot has moved along");
    peer.send(&DISCONNECT);
    peer.end();
    world.settle();
    assert!(peer.is_closed());
    assert_eq!(world.on_loan(), 1, "the publisher's slot");
}

#[test]
fn a_client_that_moves_lives_as_long_as_it_is_heard_and_no_longer() {
    let mut world = world(1);
    let peer = served(&mut world, 0, "moving");
    world.advance(SILENCE - Duration::from_secs(1));
    assert!(world.move_client(&peer, 0));
    world.advance(Duration::from_millis(999));
    assert_eq!(world.counters(0).expired.value(), 0);
    world.advance(Duration::from_millis(18));
    assert_eq!(world.counters(0).expired.value(), 1);
    peer.end();
    world.settle();
    assert!(peer.is_closed());
    assert_eq!(world.on_loan(), 0);
    assert!(world.leftovers().is_empty(), "{:?}", world.leftovers());
}

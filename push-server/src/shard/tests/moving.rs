//! Claims about sessions that move between shards, and about the rest that this takes.

use super::*;
use crate::shard::simulation::{Setup, Written};

/// So long shards may take to come to rest, and the next turn.
const GIVEN_UP: Duration = Duration::from_millis(1_010);

/// CONNECT of MQTT 3.1.1, of a session that outlives the connection.
fn connect_to_stay(client_id: &str) -> Vec<u8> {
    packet(0x10, &[&string("MQTT"), &[4, 0, 0, KEEP_ALIVE_SECS], &string(client_id)])
}

fn publish_at_least_once(topic: &str, payload: &str, id: u8) -> Vec<u8> {
    packet(0x32, &[&string(topic), &[0, id], payload.as_bytes()])
}

fn puback(id: u8) -> Vec<u8> {
    vec![0x40, 2, 0, id]
}

fn durable_world(shards: u16) -> World {
    let config = Arc::new(Config { shards, ..Config::default() });
    World::with(Setup { config, seed: SEED, is_durable: true, mailbox_messages_max: 16 })
}

/// Everything that can be done without time passing, by a disk that works.
fn settle(world: &mut World) {
    world.settle();
    while world.store_waiting() > 0 {
        world.write_group(usize::MAX);
        world.settle();
    }
    // What the disk has told nobody in particular, the shards notice by themselves.
    world.advance(Duration::from_millis(5));
}

fn sessions(world: &World) -> [u64; 2] {
    [0, 1].map(|shard| world.counters(shard).sessions.value())
}

fn moved(world: &World) -> u64 {
    [0, 1].map(|shard| world.counters(shard).sessions_moved.value()).iter().sum()
}

fn stayed(world: &World) -> u64 {
    [0, 1].map(|shard| world.counters(shard).moves_refused.value()).iter().sum()
}

#[test]
fn a_session_moves_to_another_shard_with_its_client_and_the_bytes_under_way() {
    let mut world = world(2);
    let id = id_at_home(&world, 0);
    let peer = served(&mut world, 0, &id);
    let other_id = id_at_home(&world, 1);
    let publisher = served(&mut world, 0, &other_id);
    let own = bytes_under_way(&mut world, &peer, &publisher);
    assert!(world.move_client(&peer, 1), "it is served");
    assert!(!world.move_client(&peer, 1), "and moves already");
    world.settle();
    assert_eq!((moved(&world), sessions(&world)), (1, [0, 2]));
    assert_eq!(world.counters(1).armed.value(), 2);
    assert_eq!(world.home_of(&id), 1);
    peer.set_window(usize::MAX);
    peer.send(&own[9..]);
    world.settle();
    assert_eq!(peer.take(), [publish("weather", "sun, and later rain"), own].concat());
    assert!(world.answer_ping(&peer), "its slot has moved along");
    peer.send(&PINGREQ);
    publisher.send(&publish("weather", "snow"));
    world.settle();
    assert_eq!(peer.take(), [&PINGRESP[..], &publish("weather", "snow")].concat());
    for peer in [peer, publisher] {
        peer.send(&DISCONNECT);
        peer.end();
    }
    world.settle();
    assert_eq!(world.home_of(&id), 0, "its session has ended");
    assert_eq!(world.on_loan(), 0);
    assert!(world.leftovers().is_empty(), "{:?}", world.leftovers());
}

/// Its timer of the shard that it has left counts there no more than here.
#[test]
fn a_client_that_has_moved_and_sends_a_large_packet_too_slowly_is_closed() {
    let mut world = world(2);
    let id = id_at_home(&world, 0);
    let peer = world.connect(0);
    peer.send(&packet(0x10, &[&string("MQTT"), &[4, 2, 0, 0], &string(&id)]));
    world.settle();
    assert_eq!(peer.take(), CONNACK);
    let body = [string("t"), vec![0; 9_000]].concat();
    let large =
        [&[0x30, (body.len() % 128) as u8 | 0x80, (body.len() / 128) as u8], &*body].concat();
    let (half, rest) = large.split_at(5_000);
    for part in [half, rest] {
        peer.send(part);
        world.settle();
    }
    assert!(world.move_client(&peer, 1));
    world.settle();
    assert_eq!(moved(&world), 1);
    peer.send(half);
    world.advance(Duration::from_secs(31));
    assert_eq!(world.counters(1).limit_packet_rate.value(), 1);
}

#[test]
fn a_client_that_connects_again_finds_its_session_where_that_has_moved() {
    let mut world = world(2);
    let id = id_at_home(&world, 0);
    let first = world.connect(0);
    first.send(&connect_to_stay(&id));
    first.send(&subscribe("weather"));
    world.settle();
    assert_eq!(first.take(), [&CONNACK[..], &SUBACK_QOS0].concat());
    assert!(world.move_client(&first, 1));
    world.settle();
    let second = world.connect(0);
    second.send(&connect_to_stay(&id));
    world.settle();
    assert_eq!(second.take(), [0x20, 2, 1, 0], "its session is there");
    assert!(first.is_ended(), "and its other connection is over");
    assert_eq!(sessions(&world), [0, 1]);
    second.send(&publish("weather", "hail"));
    world.settle();
    assert_eq!(second.take(), publish("weather", "hail"));
}

#[test]
fn a_session_begun_anew_stays_where_the_one_before_it_had_moved() {
    let mut world = world(2);
    let id = id_at_home(&world, 0);
    let first = served(&mut world, 0, &id);
    assert!(world.move_client(&first, 1));
    world.settle();
    let second = served(&mut world, 0, &id);
    assert_eq!((sessions(&world), world.home_of(&id)), ([0, 1], 1));
    second.send(&DISCONNECT);
    second.end();
    first.end();
    world.settle();
    assert_eq!(world.home_of(&id), 0);
    let third = served(&mut world, 1, &id);
    assert_eq!(sessions(&world), [1, 0]);
    drop(third);
}

#[test]
fn a_session_without_connection_moves_and_comes_home_by_a_restart() {
    let mut world = durable_world(2);
    let id = id_at_home(&world, 0);
    let first = world.connect(1);
    first.send(&connect_to_stay(&id));
    first.send(&packet(0x82, &[&[0, 1], &string("weather"), &[1]]));
    settle(&mut world);
    first.reset();
    settle(&mut world);
    assert!(!world.move_session(&id, 0), "it is there");
    assert!(world.move_session(&id, 1));
    settle(&mut world);
    assert_eq!((moved(&world), sessions(&world), world.home_of(&id)), (1, [0, 1], 1));
    let publisher = served_durably(&mut world, 0, "publisher");
    publisher.send(&publish_at_least_once("weather", "sun", 7));
    settle(&mut world);
    assert_eq!(publisher.take(), puback(7));
    world.crash(Written::Requests(usize::MAX));
    assert_eq!(world.home_of(&id), 0);
    let home = usize::from(world.home_of("publisher"));
    assert_eq!(sessions(&world)[0], 1 + u64::from(home == 0));
    let again = world.connect(1);
    again.send(&connect_to_stay(&id));
    settle(&mut world);
    let heard = again.take();
    assert_eq!(heard[..4], [0x20, 2, 1, 0]);
    assert!(heard.ends_with(b"sun"), "{heard:?}");
}

fn served_durably(world: &mut World, shard: u16, client_id: &str) -> Peer {
    let peer = world.connect(shard);
    peer.send(&connect_to_stay(client_id));
    settle(world);
    assert_eq!(peer.take(), CONNACK, "{client_id}");
    peer
}

fn served_with_a_subscription_unwritten(world: &mut World, client_id: &str) -> Peer {
    let peer = served_durably(world, 0, client_id);
    peer.send(&packet(0x82, &[&[0, 1], &string("weather"), &[1]]));
    world.settle();
    peer
}

#[test]
fn a_session_stays_where_the_disk_hangs_and_its_client_goes_on() {
    let mut world = durable_world(2);
    let id = id_at_home(&world, 0);
    let peer = served_with_a_subscription_unwritten(&mut world, &id);
    assert!(world.store_waiting() > 0);
    assert!(world.move_client(&peer, 1));
    peer.send(&PINGREQ);
    world.advance(GIVEN_UP - Duration::from_millis(20));
    assert_eq!(
        (peer.take(), stayed(&world)),
        (Vec::new(), 0),
        "nothing is taken from it meanwhile"
    );
    world.advance(Duration::from_millis(20));
    assert_eq!((moved(&world), stayed(&world)), (0, 1));
    assert_eq!(peer.take(), PINGRESP);
    settle(&mut world);
    assert_eq!(peer.take(), [0x90, 3, 0, 1, 1]);
    assert!(world.move_client(&peer, 1));
    settle(&mut world);
    assert_eq!(moved(&world), 1);
}

#[test]
fn a_session_stays_where_the_disk_fails() {
    let mut world = durable_world(2);
    let id = id_at_home(&world, 0);
    let peer = served_durably(&mut world, 0, &id);
    world.fail_disk(usize::MAX, false);
    world.move_client(&peer, 1);
    world.settle();
    assert_eq!((moved(&world), stayed(&world)), (0, 1));
    peer.send(&PINGREQ);
    world.settle();
    assert_eq!(peer.take(), PINGRESP);
}

#[test]
fn a_publish_under_way_is_finished_before_shards_rest_and_what_comes_then_waits() {
    let mut world = durable_world(2);
    let ids = [0, 1].map(|shard| id_at_home(&world, shard));
    let reader = served_durably(&mut world, 0, &ids[0]);
    reader.send(&packet(0x82, &[&[0, 1], &string("weather"), &[1]]));
    settle(&mut world);
    assert_eq!(reader.take(), [0x90, 3, 0, 1, 1]);
    let writer = served_durably(&mut world, 1, &ids[1]);
    writer.send(&publish_at_least_once("weather", "one", 1));
    // The letter is in the mailbox.
    world.turn(1);
    assert!(world.move_client(&reader, 1));
    world.settle();
    writer.send(&publish_at_least_once("weather", "two", 2));
    world.settle();
    assert_eq!(
        (moved(&world), writer.take()),
        (0, Vec::new()),
        "the disk has the first one to write"
    );
    settle(&mut world);
    assert_eq!((moved(&world), sessions(&world)), (1, [0, 2]));
    settle(&mut world);
    assert_eq!(writer.take(), [puback(1), puback(2)].concat());
    let heard = reader.take();
    let at = |text: &[u8]| heard.windows(3).position(|some| some == text).expect("it came");
    assert!(at(b"one") < at(b"two"), "{heard:?}");
}

#[test]
fn a_member_of_a_group_keeps_its_turn_at_another_shard() {
    let mut world = world(2);
    let ids: Vec<_> = ids_at_home(&world, 0).take(2).collect();
    let writer_id = id_at_home(&world, 1);
    let members = [&ids[0], &ids[1]].map(|id| {
        let member = served(&mut world, 0, id);
        member.send(&subscribe("$share/g/news"));
        world.settle();
        member.take();
        member
    });
    let writer = served(&mut world, 1, &writer_id);
    assert!(world.move_client(&members[0], 1));
    world.settle();
    assert_eq!(moved(&world), 1);
    for number in 0..4 {
        writer.send(&publish("news", &number.to_string()));
    }
    world.settle();
    let heard = members.each_ref().map(Peer::take);
    assert_eq!(heard[0], [publish("news", "0"), publish("news", "2")].concat());
    assert_eq!(heard[1], [publish("news", "1"), publish("news", "3")].concat());
}

#[test]
fn a_stop_does_not_wait_for_a_rest() {
    let mut world = durable_world(2);
    let id = id_at_home(&world, 0);
    let peer = served_with_a_subscription_unwritten(&mut world, &id);
    assert!(world.move_client(&peer, 1));
    world.settle();
    world.stop();
    peer.end();
    settle(&mut world);
    world.advance(Duration::from_millis(100));
    settle(&mut world);
    assert!(world.has_stopped());
    assert!(peer.is_closed());
}

#[test]
fn a_goodbye_that_came_while_shards_came_to_rest_counts_before_the_next_connection_does() {
    let mut world = durable_world(2);
    let ids = [0, 1].map(|shard| id_at_home(&world, shard));
    let witness_id = ids_at_home(&world, 0).nth(1).expect("ids spread over all shards");
    let witness = served_durably(&mut world, 0, &witness_id);
    witness.send(&subscribe("will"));
    settle(&mut world);
    assert_eq!(witness.take(), SUBACK_QOS0);
    let will = [string("will"), string("it is gone")].concat();
    let head = [4, 4, 0, KEEP_ALIVE_SECS];
    let connect = packet(0x10, &[&string("MQTT"), &head, &string(&ids[1]), &will]);
    let device = world.connect(1);
    device.send(&connect);
    settle(&mut world);
    assert_eq!(device.take(), CONNACK);
    let mover = served_durably(&mut world, 0, &ids[0]);
    mover.send(&packet(0x82, &[&[0, 1], &string("weather"), &[1]]));
    world.settle();
    assert!(world.move_client(&mover, 1));
    world.settle();
    device.send(&DISCONNECT);
    device.end();
    world.settle();
    let again = world.connect(0);
    again.send(&connect);
    world.settle();
    assert!(!device.is_ended() && again.take().is_empty(), "both wait for the rest to end");
    settle(&mut world);
    settle(&mut world);
    assert_eq!(moved(&world), 1);
    assert_eq!(again.take(), [0x20, 2, 1, 0]);
    assert!(witness.take().is_empty(), "it has said goodbye");
}

/// Both had the same key, and groups know members by shard and key.
#[test]
fn two_members_that_change_places_in_one_rest_keep_their_turns() {
    let mut world = world(2);
    let ids = [0, 1].map(|shard| id_at_home(&world, shard));
    let members = [0, 1].map(|shard| {
        let member = served(&mut world, shard, &ids[usize::from(shard)]);
        member.send(&subscribe("$share/g/news"));
        world.settle();
        member.take();
        member
    });
    let writer_id = ids_at_home(&world, 1).nth(1).expect("ids spread over all shards");
    let writer = served(&mut world, 1, &writer_id);
    assert!(world.move_client(&members[0], 1) && world.move_client(&members[1], 0));
    world.settle();
    assert_eq!((moved(&world), sessions(&world)), (2, [1, 2]));
    for number in 0..4 {
        writer.send(&publish("news", &number.to_string()));
    }
    world.settle();
    let heard = members.each_ref().map(Peer::take);
    assert_eq!(heard[0], [publish("news", "0"), publish("news", "2")].concat());
    assert_eq!(heard[1], [publish("news", "1"), publish("news", "3")].concat());
    assert_eq!(world.counters(1).dropped_no_member.value(), 0);
}

//! Claims about doors: what any thread may publish, and what it hears.

use super::*;
use crate::broker::{Fate, MessageProperties, QoS};
use crate::mqtt::codec::Reason;
use crate::shard::door::{
    DOOR_FOLLOWED_MAX, DOOR_MESSAGES_MAX, DOORS_MAX, Door, DoorError, Publication, Refusal, Reply,
};
use crate::shard::simulation::Written;

const QOS1: u8 = 1;

fn publication(topic: &str, payload: &str) -> Publication {
    Publication::new(topic, payload.to_owned(), QoS::AtLeastOnce)
}

fn followed(topic: &str) -> Publication {
    Publication { is_followed: true, ..publication(topic, "") }
}

fn replies(door: &Door) -> Vec<Reply> {
    std::iter::from_fn(|| door.take()).collect()
}

fn taken(number: u64, receivers: u32, followed: u32) -> Reply {
    let reason = if receivers == 0 { Reason::NoMatchingSubscribers } else { Reason::Success };
    Reply::Taken { number, reason, receivers, followed }
}

/// A client that is served and subscribed at QoS 1.
fn subscriber(world: &mut World, shard: u16, client_id: &str, filter: &str) -> Peer {
    let peer = served(world, shard, client_id);
    peer.send(&packet(0x82, &[&[0, 1], &string(filter), &[QOS1]]));
    world.settle();
    assert_eq!(peer.take(), [0x90, 3, 0, 1, QOS1]);
    peer
}

#[test]
fn a_door_hears_of_receivers_on_every_shard_and_of_their_acknowledgements() {
    let mut world = world(3);
    let door = world.doors().open().expect("the first");
    let ids: Vec<String> = (0..3).map(|shard| id_at_home(&world, shard)).collect();
    let peers: Vec<Peer> = ids.iter().map(|id| subscriber(&mut world, 0, id, "weather")).collect();
    let watcher = served(&mut world, 1, "at-most-once");
    watcher.send(&subscribe("weather"));
    world.settle();
    let number = door.publish(followed("weather")).expect("room");
    world.settle();
    let watched =
        Reply::Receiver { number, client_id: Some("at-most-once".into()), fate: Fate::Unconfirmed };
    let heard = replies(&door);
    assert_eq!(heard.len(), 2);
    assert!(heard.contains(&watched) && heard.contains(&taken(number, 4, 4)), "{heard:?}");
    for (peer, id) in peers.iter().zip(ids) {
        peer.send(&[0x40, 2, 0, 1]);
        world.settle();
        let client_id = Some(id.into());
        let acknowledged = Reply::Receiver { number, client_id, fate: Fate::Acknowledged };
        assert_eq!(replies(&door), [acknowledged]);
    }
    peers[0].send(&[0x40, 2, 0, 1]);
    world.settle();
    assert_eq!(replies(&door), [], "once");
}

#[test]
fn a_message_for_nobody_says_so_and_one_that_is_not_followed_says_no_more() {
    let mut world = world(2);
    let door = world.doors().open().expect("the first");
    let _peer = subscriber(&mut world, 0, "reader", "read");
    let unread = door.publish(followed("unread")).expect("room");
    let read = door.publish(publication("read", "")).expect("room");
    world.settle();
    assert_eq!(replies(&door), [taken(unread, 0, 0), taken(read, 1, 0)]);
}

#[test]
fn a_receiver_whose_session_ends_gives_its_slip_back() {
    let mut world = world(1);
    let door = world.doors().open().expect("the first");
    let peer = subscriber(&mut world, 0, "short-lived", "t");
    let number = door.publish(followed("t")).expect("room");
    world.settle();
    assert_eq!(replies(&door), [taken(number, 1, 1)]);
    peer.reset();
    world.settle();
    let dropped = Reply::Receiver { number, client_id: None, fate: Fate::Dropped };
    assert_eq!(replies(&door), [dropped]);
}

#[test]
fn a_full_door_refuses_at_once_until_its_replies_are_taken() {
    let mut world = world(1);
    let door = world.doors().open().expect("the first");
    for _ in 0..DOOR_MESSAGES_MAX {
        door.publish(publication("t", "")).expect("room");
    }
    assert_eq!(door.publish(publication("t", "")), Err(Refusal::Full));
    world.settle();
    assert_eq!(door.publish(publication("t", "")), Err(Refusal::Full), "nobody has asked");
    assert_eq!(world.doors().counts().full(), 2);
    assert!(matches!(door.take(), Some(Reply::Taken { .. })));
    door.publish(publication("t", "")).expect("room");
    assert_eq!(Refusal::Full.reason(), Reason::QuotaExceeded);
    let other = world.doors().open().expect("the second");
    other.publish(publication("t", "")).expect("its own room");
}

#[test]
fn large_messages_fill_a_door_and_one_always_goes() {
    let mut world = world(1);
    let door = world.doors().open().expect("the first");
    let large = "x".repeat(5 << 20);
    let number = door.publish(publication("t", &large)).expect("alone");
    assert_eq!(door.publish(publication("t", "")), Err(Refusal::Full));
    world.settle();
    assert_eq!(replies(&door), [taken(number, 0, 0)]);
    door.publish(publication("t", "")).expect("room");
}

#[test]
fn what_a_client_may_not_publish_a_door_may_not() {
    let world = world(1);
    let door = world.doors().open().expect("the first");
    let refused = |topic: &str| door.publish(publication(topic, "")).expect_err("refused");
    assert_eq!(refused("a/+").reason(), Reason::TopicNameInvalid);
    assert_eq!(refused("$SYS/uptime").reason(), Reason::NotAuthorized);
    for properties in [
        MessageProperties { response_topic: Some("a/#".into()), ..MessageProperties::default() },
        MessageProperties { content_type: Some("\0".into()), ..MessageProperties::default() },
        MessageProperties {
            correlation_data: Some(vec![0; 65_536].into()),
            ..MessageProperties::default()
        },
    ] {
        let properties = Some(properties);
        let refused = door.publish(Publication { properties, ..publication("t", "") });
        assert_eq!(refused, Err(Refusal::Properties));
    }
    let huge = "x".repeat(16 << 20);
    let refused = door.publish(publication("topic", &huge)).expect_err("refused");
    assert_eq!(refused.reason(), Reason::PacketTooLarge);
    assert_eq!(door.publish(publication("t", "")), Ok(0), "none of them has a number");
}

#[test]
fn doors_are_few_and_make_room_when_they_are_dropped() {
    let world = world(2);
    let mut doors: Vec<Door> =
        (0..DOORS_MAX).map(|_| world.doors().open().expect("room")).collect();
    assert_eq!(world.doors().open().map(drop), Err(DoorError::TooMany));
    doors.pop();
    world.doors().open().expect("room");
}

#[test]
fn a_door_that_brings_much_lets_others_go_between() {
    /// No more than the reader's outbox holds.
    const FLOOD: usize = 900;
    let mut world = world(1);
    let [flood, one] = [0; 2].map(|_| world.doors().open().expect("the first two"));
    let reader = served(&mut world, 0, "reader");
    reader.send(&packet(0x82, &[&[0, 1], &string("#"), &[0]]));
    world.settle();
    reader.take();
    for _ in 0..FLOOD {
        flood.publish(publication("flood", "")).expect("room");
    }
    one.publish(publication("one", "")).expect("room");
    world.settle();
    let sent = reader.take();
    let (flood, one) = (publish("flood", ""), publish("one", ""));
    let at = sent.windows(one.len()).position(|window| window == one).expect("it came");
    let ahead = at / flood.len();
    assert!(ahead < FLOOD / 4, "behind {ahead} others");
    assert_eq!(sent.len(), FLOOD * flood.len() + one.len(), "all have come");
}

#[test]
fn a_stop_answers_what_is_under_way_and_turns_away_what_comes() {
    let mut world = world(2);
    let door = world.doors().open().expect("the first");
    let before = door.publish(publication("t", "")).expect("room");
    world.settle();
    world.stop();
    let during = door.publish(publication("t", "")).expect("room");
    for _ in 0..100 {
        world.advance(Duration::from_millis(50));
    }
    assert!(world.has_stopped());
    assert_eq!(replies(&door), [taken(before, 0, 0), taken(during, 0, 0)]);
    let after = door.publish(publication("t", "")).expect("nobody has said yet");
    world.crash(Written::Requests(0));
    let refused = Reply::Refused { number: after, why: Refusal::Stopping };
    assert_eq!(replies(&door), [refused, Reply::Closed]);
    assert_eq!(door.publish(publication("t", "")), Err(Refusal::Stopping));
    world.doors().open().expect("those of the next process");
}

#[test]
fn a_message_that_expires_before_its_receiver_is_back_is_dropped() {
    let mut world = world(1);
    let door = world.doors().open().expect("the first");
    let stays = packet(0x10, &[&string("MQTT"), &[4, 0, 0, KEEP_ALIVE_SECS], &string("away")]);
    let before = world.connect(0);
    before.send(&stays);
    before.send(&packet(0x82, &[&[0, 1], &string("t"), &[QOS1]]));
    world.settle();
    before.reset();
    world.settle();
    let expiry = Some(Duration::from_secs(1));
    let number = door.publish(Publication { expiry, ..followed("t") }).expect("room");
    world.settle();
    assert_eq!(replies(&door), [taken(number, 1, 1)]);
    world.advance(Duration::from_secs(2));
    let again = world.connect(0);
    again.send(&stays);
    world.settle();
    assert_eq!(again.take(), [0x20, 2, 1, 0], "its session, and no message");
    let dropped = Reply::Receiver { number, client_id: None, fate: Fate::Dropped };
    assert_eq!(replies(&door), [dropped]);
}

#[test]
fn receivers_beyond_a_doors_limit_have_the_message_and_are_not_followed() {
    const RECEIVERS: usize = 72;
    const MESSAGES: usize = DOOR_FOLLOWED_MAX / RECEIVERS;
    const FOLLOWED: usize = DOOR_FOLLOWED_MAX - MESSAGES * RECEIVERS;
    let mut world = world(1);
    let door = world.doors().open().expect("the first");
    let peers: Vec<Peer> = (0..RECEIVERS)
        .map(|number| subscriber(&mut world, 0, &format!("reader-{number}"), "t"))
        .collect();
    for _ in 0..MESSAGES {
        door.publish(followed("t")).expect("room");
    }
    world.settle();
    assert_eq!(replies(&door).len(), MESSAGES);
    let number = door.publish(followed("t")).expect("room");
    world.settle();
    assert_eq!(replies(&door), [taken(number, RECEIVERS as u32, FOLLOWED as u32)]);
    assert_eq!(world.doors().counts().unfollowed(), (RECEIVERS - FOLLOWED) as u64);
    drop(peers);
}

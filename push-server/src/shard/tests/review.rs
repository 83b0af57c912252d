//! Claims about reloads: who goes, how fast, what becomes of their subscriptions, and what others may do from then on.

use super::*;
use crate::access::scram::verifier_line;
use crate::access::{Access, Acl, Anonymous, Users};
use crate::shard::counters::{Counter, ShardCounters};
use crate::shard::reviews::WITHDRAWALS_PER_SEC_MAX;
use crate::shard::simulation::{Setup, Written};

const SECOND: Duration = Duration::from_secs(1);

/// CONNECT with a user name and a password; a session that stays.
fn connect_as(client_id: &str, user: &str) -> Vec<u8> {
    let flags = [4, 0xC0, 0, KEEP_ALIVE_SECS];
    let texts = [string(client_id), string(user), string("pencil")].concat();
    packet(0x10, &[&string("MQTT"), &flags, &texts])
}

/// CONNECT for a session that stays.
fn connect_to_stay(client_id: &str) -> Vec<u8> {
    packet(0x10, &[&string("MQTT"), &[4, 0, 0, KEEP_ALIVE_SECS], &string(client_id)])
}

/// Users with this password, each with a salt.
fn users(salts: &[(&str, u8)]) -> Access {
    let lines = salts.iter().map(|(name, salt)| {
        verifier_line(name, "pencil", &[*salt; 16], 4_096).expect("a name and a password")
    });
    let text = lines.collect::<Vec<_>>().join("\n");
    let users = Users::parse(&text, [7; 32]).expect("valid lines");
    Access { users: Some(users), anonymous: Anonymous::nowhere(), ..Access::default() }
}

fn rules(text: &str) -> Access {
    Access { acl: Some(Arc::new(Acl::parse(text).expect("valid rules"))), ..Access::default() }
}

/// Everybody may do everything but what is about the denied filter.
fn but_for(denied: &str) -> Access {
    rules(&format!(
        "[[allow]]\npublish = [\"#\"]\nsubscribe = [\"#\"]\n\
         [[deny]]\npublish = [\"{denied}\"]\nsubscribe = [\"{denied}\"]\n"
    ))
}

fn sum(world: &World, shards: u16, pick: fn(&ShardCounters) -> &Counter) -> u64 {
    (0..shards).map(|shard| pick(world.counters(shard)).value()).sum()
}

/// Answers all questions by these rules.
fn answer(world: &mut World, access: &Access) {
    for question in world.answerer().take() {
        let verdict = access.verdict(question.credentials());
        question.answer(verdict);
    }
    world.settle();
}

#[test]
fn whose_line_is_gone_or_another_one_goes_and_all_others_stay() {
    for shards in [1, 3] {
        let mut world = world(shards);
        let before = users(&[("ada", 0), ("bob", 0), ("eve", 0)]);
        let mut peers = Vec::new();
        for number in 0..12 {
            let user = ["ada", "bob", "eve"][number % 3];
            let peer = world.connect(0);
            peer.send(&connect_as(&format!("client-{number}"), user));
            world.settle();
            answer(&mut world, &before);
            assert_eq!(peer.take(), CONNACK);
            peers.push((user, peer));
        }
        // Eve has another password, and Bob is gone.
        world.reload(users(&[("ada", 0), ("eve", 1)]));
        world.advance(SECOND);
        for (user, peer) in &peers {
            assert_eq!(peer.is_ended(), *user != "ada", "{user}");
            if *user == "ada" {
                peer.send(&PINGREQ);
                world.settle();
                assert_eq!(peer.take(), PINGRESP);
            }
        }
        assert_eq!(sum(&world, shards, |shard| &shard.withdrawn_user), 4);
        assert_eq!(sum(&world, shards, |shard| &shard.withdrawn_password), 4);
        assert_eq!(sum(&world, shards, |shard| &shard.sessions), 12, "sessions stay");
    }
}

#[test]
fn who_was_judged_by_the_files_of_before_goes_too() {
    let mut world = world(2);
    let before = users(&[("ada", 0)]);
    let peer = world.connect(0);
    peer.send(&connect_as("slow", "ada"));
    world.settle();
    let question = world.answerer().take().remove(0);
    world.reload(users(&[("bob", 0)]));
    world.advance(SECOND);
    let verdict = before.verdict(question.credentials());
    question.answer(verdict);
    world.advance(SECOND);
    assert!(peer.is_ended());
    assert_eq!(sum(&world, 2, |shard| &shard.withdrawn_user), 1);
}

#[test]
fn so_many_go_in_a_second_and_no_more_from_all_shards_together() {
    const CLIENTS: u64 = 2_500;
    let shards = 2;
    let config = Config { shards, ..Config::default() };
    let mut world = World::new(&Arc::new(config), SEED);
    let peers: Vec<_> =
        (0..CLIENTS).map(|number| served(&mut world, 0, &format!("client-{number}"))).collect();
    world.reload(Access { anonymous: Anonymous::nowhere(), ..Access::default() });
    let gone = |peers: &[Peer]| peers.iter().filter(|peer| peer.is_ended()).count() as u64;
    let mut before = 0;
    for _ in 0..2 {
        world.advance(SECOND);
        let now = gone(&peers);
        let range = WITHDRAWALS_PER_SEC_MAX - 100..=WITHDRAWALS_PER_SEC_MAX;
        assert!(range.contains(&(now - before)), "{} in a second", now - before);
        before = now;
    }
    world.advance(SECOND);
    assert_eq!(gone(&peers), CLIENTS);
    assert_eq!(sum(&world, shards, |shard| &shard.withdrawn_anonymous), CLIENTS);
    let waited = sum(&world, shards, |shard| &shard.limit_withdrawals);
    assert!((1..CLIENTS).contains(&waited), "{waited} of them have waited");
}

#[test]
fn a_subscription_that_is_denied_now_ends_the_connection_and_leaves_the_disk() {
    let setup = Setup {
        config: Arc::new(Config { shards: 2, ..Config::default() }),
        seed: SEED,
        is_durable: true,
        mailbox_messages_max: 1_024,
    };
    let mut world = World::with(setup);
    let reader = world.connect(0);
    reader.send(&connect_to_stay("reader"));
    let other = world.connect(1);
    other.send(&connect_to_stay("other"));
    for (peer, filter) in [(&reader, "secret/#"), (&reader, "open/#"), (&other, "open/#")] {
        peer.send(&subscribe(filter));
    }
    world.settle();
    world.write_group(100);
    world.settle();
    reader.take();
    other.take();
    world.reload(but_for("secret/#"));
    world.advance(SECOND);
    assert!(reader.is_ended() && !other.is_ended());
    assert_eq!(sum(&world, 2, |shard| &shard.withdrawn_subscription), 1);
    assert_eq!(sum(&world, 2, |shard| &shard.unauthorized_subscribe), 1);
    assert_eq!(sum(&world, 2, |shard| &shard.subscriptions), 2);
    // Rights are new for those who stay.
    other.send(&publish("secret/1", "x"));
    world.settle();
    assert_eq!(sum(&world, 2, |shard| &shard.unauthorized_publish), 1);
    while world.store_waiting() > 0 {
        world.write_group(100);
        world.settle();
    }
    world.crash(Written::Requests(0));
    world.settle();
    assert_eq!(sum(&world, 2, |shard| &shard.subscriptions), 2, "also after a start");
}

#[test]
fn whoever_is_away_loses_a_denied_subscription_when_it_is_back_and_stays() {
    let mut world = world(1);
    let reader = world.connect(0);
    reader.send(&connect_to_stay("reader"));
    reader.send(&subscribe("secret/#"));
    reader.send(&subscribe("open/#"));
    world.settle();
    reader.send(&DISCONNECT);
    world.settle();
    world.reload(but_for("secret/#"));
    world.advance(SECOND);
    assert_eq!(world.counters(0).subscriptions.value(), 2);
    let reader = world.connect(0);
    reader.send(&connect_to_stay("reader"));
    world.settle();
    assert_eq!(reader.take(), [0x20, 2, 1, 0], "its session is there");
    assert_eq!(world.counters(0).subscriptions.value(), 1);
    let writer = served(&mut world, 0, "writer");
    writer.send(&publish("open/1", "x"));
    world.settle();
    assert_eq!(reader.take(), publish("open/1", "x"));
    assert!(!reader.is_ended());
    assert_eq!(world.counters(0).withdrawn_subscription.value(), 0);
}

#[test]
fn a_reload_that_changes_nothing_sends_nobody_away() {
    let mut world = world(2);
    let peers: Vec<_> =
        (0..50).map(|number| served(&mut world, 0, &format!("client-{number}"))).collect();
    for peer in &peers {
        peer.send(&subscribe("a/#"));
    }
    world.settle();
    for _ in 0..3 {
        world.reload(but_for("secret/#"));
        world.advance(SECOND);
    }
    assert!(peers.iter().all(|peer| !peer.is_ended()));
    assert_eq!(sum(&world, 2, |shard| &shard.subscriptions), 50);
}

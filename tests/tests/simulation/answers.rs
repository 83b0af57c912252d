//! Who a client is may be answered late, never, after the client has gone, or twice. The answerer is the test.

use std::sync::Arc;
use std::time::Duration;

use push_server::access::{Denial, Identity, Verdict};
use push_server::config::{Admission, Config};
use push_server::shard::simulation::{Peer, Question, World};
use push_tests::wire::{self, Packet, Properties, Value, Version, property};

const SHARDS: u16 = 2;
const SERVER_UNAVAILABLE: u8 = 0x88;
const SERVER_BUSY: u8 = 0x89;
const METHOD: &str = "SCRAM-SHA-256";

fn world() -> World {
    // Its clients come from few addresses.
    let admission = Admission { address_waiting_max: 0, ..Admission::default() };
    World::new(&Arc::new(Config { shards: SHARDS, admission, ..Config::default() }), 14)
}

fn connect_timeout() -> Duration {
    Duration::from_secs(Config::default().connect_timeout_secs.into())
}

/// CONNECT of a client that asks to be authenticated.
fn connect(client_id: &str) -> Vec<u8> {
    let method = (property::AUTHENTICATION_METHOD, Value::Text(METHOD.to_owned()));
    wire::connect(Version::V5, client_id, 0, true, None, &Properties(vec![method]))
}

/// A client that has sent CONNECT to a shard, and what is asked about it.
fn asking(world: &mut World, shard: u16, client_id: &str) -> (Peer, Question) {
    let peer = world.connect(shard);
    peer.send(&connect(client_id));
    world.settle();
    let mut questions = world.answerer().take();
    assert_eq!(questions.len(), 1, "{client_id}");
    let question = questions.remove(0);
    assert_eq!(&*question.credentials().client_id, client_id);
    assert!(question.credentials().peer.is_some() && question.credentials().listener.is_some());
    (peer, question)
}

fn allowed() -> Verdict {
    Verdict::Allowed(Identity::of_user("ada".into()), None)
}

/// The reason code of the CONNACK that a client has got, if any.
fn connack(peer: &Peer) -> Option<u8> {
    match wire::decode(Version::V5, &peer.take())? {
        (Packet::Connack { code, .. }, _) => Some(code),
        (other, _) => panic!("no CONNACK: {other:?}"),
    }
}

/// Ends what is left of clients, whose sessions end with them.
fn finish(world: &mut World, peers: &[&Peer]) {
    peers.iter().for_each(|peer| peer.reset());
    world.settle();
    world.advance(Duration::from_secs(5));
    assert_eq!(world.leftovers(), Vec::new());
    assert_eq!(world.on_loan(), 0);
}

fn count(world: &World, pick: fn(&push_server::shard::counters::ShardCounters) -> u64) -> u64 {
    (0..SHARDS).map(|shard| pick(world.counters(shard))).sum()
}

#[test]
fn a_client_is_served_by_its_own_shard_once_its_late_answer_has_come() {
    for shard in 0..SHARDS {
        let mut world = world();
        let (peer, question) = asking(&mut world, shard, "late");
        peer.send(&wire::PINGREQ);
        world.advance(connect_timeout() - Duration::from_secs(1));
        assert!(peer.take().is_empty(), "it waits, and so does what it sends");
        assert_eq!(count(&world, |shard| shard.sessions.value()), 0);
        question.answer(allowed());
        world.settle();
        let bytes = peer.take();
        let Some((Packet::Connack { code: 0, .. }, len)) = wire::decode(Version::V5, &bytes) else {
            panic!("no CONNACK that accepts: {bytes:?}")
        };
        assert_eq!(bytes[len..], [0xD0, 0], "the ping is answered");
        let home = world.home_of("late");
        assert_eq!(world.counters(home).sessions.value(), 1);
        assert_eq!(count(&world, |shard| shard.authentications_accepted.value()), 1);
        finish(&mut world, &[&peer]);
    }
}

#[test]
fn a_client_whose_answer_never_comes_is_refused_when_its_time_to_connect_is_over() {
    let mut world = world();
    let (peer, question) = asking(&mut world, 0, "never");
    world.advance(connect_timeout() + Duration::from_millis(20));
    assert_eq!(connack(&peer), Some(SERVER_UNAVAILABLE));
    assert_eq!(count(&world, |shard| shard.denied_unanswered.value()), 1);
    // Too late: there is nobody.
    question.answer(allowed());
    world.settle();
    assert!(peer.take().is_empty());
    assert_eq!(count(&world, |shard| shard.sessions.value()), 0);
    finish(&mut world, &[&peer]);
}

#[test]
fn a_question_that_is_dropped_is_an_answer() {
    let mut world = world();
    let (peer, question) = asking(&mut world, 1, "dropped");
    drop(question);
    world.settle();
    assert_eq!(connack(&peer), Some(SERVER_UNAVAILABLE), "at once");
    finish(&mut world, &[&peer]);
}

#[test]
fn an_answer_about_a_client_that_has_gone_is_not_for_the_next_one_in_its_place() {
    let mut world = world();
    let (gone, question) = asking(&mut world, 0, "gone");
    gone.reset();
    // A client that waits for its answer is not listened to: its time to connect has to pass.
    world.advance(connect_timeout() + Duration::from_secs(2));
    assert!(gone.is_closed());
    let (next, about_next) = asking(&mut world, 0, "next");
    question.answer(allowed());
    world.settle();
    assert_eq!(connack(&next), None, "nobody has said who it is");
    about_next.answer(Verdict::Refused(Denial::WrongPassword));
    world.settle();
    assert_eq!(connack(&next), Some(0x87));
    assert_eq!(count(&world, |shard| shard.denied_wrong_password.value()), 1);
    finish(&mut world, &[&next]);
}

#[test]
fn a_client_whose_socket_has_failed_meanwhile_is_let_go_when_its_answer_comes() {
    let mut world = world();
    let (peer, question) = asking(&mut world, 0, "gone");
    peer.reset();
    world.settle();
    question.answer(allowed());
    world.advance(Duration::from_secs(5));
    assert!(peer.is_closed());
    finish(&mut world, &[]);
}

/// The first question's second answer says that the client may connect, while its second question, after one more
/// step of the exchange, is open. Returns whether the client is accepted by it.
pub(crate) fn is_fooled_by_a_second_answer() -> bool {
    let mut world = world();
    // It stays with the shard that accepts it, and so keeps its token.
    let mut ids = (0..).map(|number| format!("twice-{number}"));
    let id = ids.find(|id| world.home_of(id) == 0).expect("ids spread");
    let (peer, first) = asking(&mut world, 0, &id);
    let exchange = Default::default();
    first.answer_first(Verdict::Continue(exchange, Some(b"prove it"[..].into())));
    world.settle();
    let challenged = wire::decode(Version::V5, &peer.take());
    assert!(matches!(challenged, Some((Packet::Auth { reason: 0x18, .. }, _))), "{challenged:?}");
    let method = (property::AUTHENTICATION_METHOD, Value::Text(METHOD.to_owned()));
    peer.send(&wire::auth(0x18, &Properties(vec![method])));
    world.settle();
    let mut questions = world.answerer().take();
    assert_eq!(questions.len(), 1, "asked again");
    first.answer(allowed());
    world.settle();
    let fooled = connack(&peer) == Some(0);
    if !fooled {
        questions.remove(0).answer(Verdict::Refused(Denial::WrongPassword));
        world.settle();
        assert_eq!(connack(&peer), Some(0x87));
    }
    drop(questions);
    finish(&mut world, &[&peer]);
    fooled
}

#[test]
fn a_second_answer_to_one_question_does_not_answer_the_next() {
    assert!(!is_fooled_by_a_second_answer());
}

#[test]
fn a_client_beyond_those_that_may_wait_is_told_that_the_server_is_busy() {
    let mut world = world();
    let mut peers = Vec::new();
    for number in 0..1_025 {
        let peer = world.connect(number % SHARDS);
        peer.send(&connect(&format!("client-{number}")));
        peers.push(peer);
    }
    world.settle();
    let questions = world.answerer().take();
    assert_eq!(questions.len(), 1_024);
    let told: Vec<u8> = peers.iter().filter_map(connack).collect();
    assert_eq!(told, [SERVER_BUSY]);
    assert_eq!(count(&world, |shard| shard.limit_auth_queue.value()), 1);
    for question in questions {
        question.answer(allowed());
    }
    world.settle();
    assert!(peers.iter().filter_map(connack).all(|code| code == 0));
    finish(&mut world, &peers.iter().collect::<Vec<_>>());
}

#[test]
fn of_two_connects_the_later_stays_whichever_is_answered_first() {
    for first_is_answered_first in [true, false] {
        let mut world = world();
        let (first, about_first) = asking(&mut world, 0, "same");
        let (second, about_second) = asking(&mut world, 1, "same");
        let mut questions = vec![about_first, about_second];
        if !first_is_answered_first {
            questions.reverse();
        }
        for question in questions {
            question.answer(allowed());
            world.settle();
        }
        assert_eq!((connack(&second), second.is_ended()), (Some(0), false));
        // Taken over, or never told anything.
        let told = if first_is_answered_first { Some(0) } else { None };
        assert_eq!((connack(&first), first.is_ended()), (told, true));
        finish(&mut world, &[&first, &second]);
    }
}

//! Clients with thousands of filters come and go: what that takes is done in turns, and nobody is told
//! of it before it is done.

use std::time::Duration;

use push_tests::claims;
use push_tests::clients::{Client, Connect};
use push_tests::server::{PingPath, Server, ServerBuilder, Target};
use push_tests::skip::TestResult;
use push_tests::stand_in;
use push_tests::wire::{self, Packet, Publish, Version};

/// As many as a session may have.
const FILTERS: usize = 1_000;

/// Messages at a time, which an outbox has room for.
const MESSAGES: usize = 500;

const MEMORY: &str = "push_session_memory_bytes{kind=\"subscriptions\"}";
const TURNS: &str = "push_turns_ended_total";
const NO_MEMBER: &str = "push_publishes_dropped_total{reason=\"no_member\"}";

claims! {
    shared_filters_of_sessions_that_end_leave_in_turns,
    a_group_chooses_nobody_whose_session_has_ended,
    a_group_chooses_nobody_who_is_away_while_another_is_here,
    who_is_back_hears_so_when_all_its_groups_know,
}

fn shared_filters_of_sessions_that_end_leave_in_turns() -> TestResult {
    const SESSIONS: usize = 20;
    stand_in::not_for("has no counter of turns")?;
    let server = builder().start()?;
    let leaving: Vec<Client> = (0..SESSIONS)
        .map(|number| {
            let mut session = client(server.target(), &format!("leaving-{number}"));
            subscribe(&mut session, |filter| format!("$share/{number}/n/{filter}/+"), 0);
            session
        })
        .collect();
    let before = server.metrics().value(TURNS);
    drop(leaving);
    server.wait_metric("push_subscriptions", |left| left == 0);
    let metrics = server.metrics();
    let turns = metrics.value(TURNS) - before;
    assert!(turns >= 10 * SESSIONS as u64, "{turns} turns for {SESSIONS} sessions");
    assert_eq!(metrics.value(MEMORY), 0);
    server.finish();
    Ok(())
}

fn a_group_chooses_nobody_whose_session_has_ended() -> TestResult {
    const ROUNDS: usize = 5;
    stand_in::not_for("has no counter of turns")?;
    let server = builder().start()?;
    let mut publisher = publisher(&server);
    let mut here = client(server.target(), "here");
    subscribe(&mut here, |filter| format!("$share/g/n/{filter}"), 1);
    for round in 0..ROUNDS {
        // On whichever shard.
        let mut gone = client(server.target(), &format!("gone-{round}"));
        subscribe(&mut gone, |filter| format!("$share/g/n/{filter}"), 1);
        gone.disconnect();
        server.wait_metric("push_connections", |count| count == 2);
        publish_all(&mut publisher);
        expect_all(&mut here);
    }
    assert_eq!(server.metrics().value(NO_MEMBER), 0);
    server.wait_metric("push_subscriptions", |left| left == FILTERS as u64);
    server.finish();
    Ok(())
}

fn a_group_chooses_nobody_who_is_away_while_another_is_here() -> TestResult {
    const ROUNDS: usize = 5;
    stand_in::not_for("has no counter of turns")?;
    let server = builder().start()?;
    let mut publisher = publisher(&server);
    let mut here = client(server.target(), "here");
    subscribe(&mut here, |filter| format!("$share/g/n/{filter}"), 1);
    for round in 0..ROUNDS {
        let away = Connect::new(Version::V5, &format!("away-{round}")).persistent();
        let mut away = Client::connect(server.target(), &away);
        subscribe(&mut away, |filter| format!("$share/g/n/{filter}"), 1);
        away.disconnect();
        server.wait_metric("push_connections", |count| count == 2);
        publish_all(&mut publisher);
        expect_all(&mut here);
    }
    server.finish();
    Ok(())
}

fn who_is_back_hears_so_when_all_its_groups_know() -> TestResult {
    stand_in::not_for("has no counter of turns")?;
    let server = builder().start()?;
    let mut publisher = publisher(&server);
    let connect = Connect::new(Version::V5, "member").persistent();
    let mut member = Client::connect(server.target(), &connect);
    subscribe(&mut member, |filter| format!("$share/g/n/{filter}"), 0);
    for _ in 0..5 {
        member.disconnect();
        server.wait_metric("push_connections", |count| count == 1);
        // The groups learn that it is away.
        publish_all(&mut publisher);
        let before = server.metrics().value(TURNS);
        member = Client::connect(server.target(), &connect);
        assert!(member.connack.session_present);
        let turns = server.metrics().value(TURNS) - before;
        assert!(turns >= 5, "{turns} turns for {FILTERS} groups");
        publish_all(&mut publisher);
        expect_all(&mut member);
    }
    server.finish();
    Ok(())
}

fn builder() -> ServerBuilder {
    Server::with(PingPath::User).flag("--shards", 2).flag("--durability", "off")
}

fn client(target: &Target, id: &str) -> Client {
    Client::connect(target, &Connect::new(Version::V5, id))
}

/// 3.1.1, which knows no Receive Maximum.
fn publisher(server: &Server) -> Client {
    Client::connect(server.target(), &Connect::new(Version::V311, "publisher"))
}

#[track_caller]
fn subscribe(client: &mut Client, filter: impl Fn(usize) -> String, qos: u8) {
    let filters: Vec<_> = (0..FILTERS).map(filter).collect();
    let filters: Vec<_> = filters.iter().map(|filter| (filter.as_str(), qos)).collect();
    let codes = client.subscribe(&filters);
    assert_eq!(codes, vec![qos; FILTERS], "granted");
}

/// A message each to the first topics, all of them under way at the same time.
#[track_caller]
fn publish_all(publisher: &mut Client) {
    let publishes = (0..MESSAGES).map(|number| Publish {
        topic: format!("n/{number}"),
        payload: number.to_string().into_bytes(),
        qos: 1,
        packet_id: number as u16 + 1,
        ..Publish::default()
    });
    let burst: Vec<u8> = publishes.flat_map(|one| wire::publish(Version::V311, &one)).collect();
    publisher.send(&burst);
    for number in 0..MESSAGES {
        let packet_id = publisher.expect("a PUBACK", |packet| match packet {
            Packet::Ack { kind: wire::PUBACK, packet_id, .. } => Some(*packet_id),
            _ => None,
        });
        assert_eq!(usize::from(packet_id), number + 1);
    }
}

/// What `publish_all` has published, and nothing else.
#[track_caller]
fn expect_all(subscriber: &mut Client) {
    let mut left: Vec<_> = (0..MESSAGES).map(|number| number.to_string().into_bytes()).collect();
    for _ in 0..MESSAGES {
        let payload = subscriber.message().payload;
        let known = left.iter().position(|expected| *expected == payload);
        left.swap_remove(known.expect("once"));
    }
    let more = subscriber.receive(Duration::from_millis(1));
    assert!(more.is_err(), "nothing else: {more:?}");
}

//! Clients with thousands of filters come and go: what that takes is done in turns, and nobody is told
//! of it before it is done.

use std::time::Duration;

use push_tests::claims;
use push_tests::clients::{Client, Connect};
use push_tests::durable;
use push_tests::expectations::PATIENCE;
use push_tests::server::{PingPath, Server, ServerBuilder, Target, raise_descriptor_limit};
use push_tests::skip::TestResult;
use push_tests::stand_in;
use push_tests::wire::{self, Packet, Properties, Publish, Value, Version, property};
use rustix::process::Signal;
use tempfile::TempDir;

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
    thousands_of_filters_are_subscribed_and_unsubscribed_in_turns,
    filters_of_a_session_with_thousands_cost_it_more_turns,
    what_comes_behind_a_long_subscribe_is_answered_behind_it,
    a_subscribe_waits_for_memory_that_any_shard_is_about_to_give_back,
    a_take_over_in_the_middle_of_a_long_subscribe_leaves_nothing_behind,
    what_a_long_subscribe_was_answered_for_is_on_disk,
    sessions_that_expire_in_the_same_second_end_over_several_turns,
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
    stand_in::not_for("has no counter of turns")?;
    let server = builder().start()?;
    let gone = |number| Connect::new(Version::V5, &format!("gone-{number}"));
    let _here = who_is_here_is_chosen(&server, gone);
    assert_eq!(server.metrics().value(NO_MEMBER), 0);
    server.wait_metric("push_subscriptions", |left| left == FILTERS as u64);
    server.finish();
    Ok(())
}

fn a_group_chooses_nobody_who_is_away_while_another_is_here() -> TestResult {
    stand_in::not_for("has no counter of turns")?;
    let server = builder().start()?;
    let away = |number| Connect::new(Version::V5, &format!("away-{number}")).persistent();
    let _here = who_is_here_is_chosen(&server, away);
    server.finish();
    Ok(())
}

/// One member of a thousand groups stays, and others come and go: it gets all that is published then.
fn who_is_here_is_chosen(server: &Server, other: impl Fn(usize) -> Connect) -> Client {
    const ROUNDS: usize = 5;
    let mut publisher = publisher(server);
    let mut here = client(server.target(), "here");
    subscribe(&mut here, |filter| format!("$share/g/n/{filter}"), 1);
    for round in 0..ROUNDS {
        // On whichever shard.
        let mut other = Client::connect(server.target(), &other(round));
        subscribe(&mut other, |filter| format!("$share/g/n/{filter}"), 1);
        other.disconnect();
        server.wait_metric("push_connections", |count| count == 2);
        publish_all(&mut publisher);
        expect_all(&mut here);
    }
    here
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

/// Others are served between the steps.
fn thousands_of_filters_are_subscribed_and_unsubscribed_in_turns() -> TestResult {
    const CLIENTS: u64 = 40;
    stand_in::not_for("has no counter of turns")?;
    let server = builder().start()?;
    let mut bystander = client(server.target(), "bystander");
    bystander.subscribe(&[("by", 1)]);
    let mut clients: Vec<Client> =
        (0..CLIENTS).map(|number| client(server.target(), &format!("long-{number}"))).collect();
    let filters: Vec<_> = (0..FILTERS).map(|filter| format!("n/{filter}/+/+/+/+/+")).collect();
    let texts: Vec<_> = filters.iter().map(String::as_str).collect();
    let entries: Vec<_> = texts.iter().map(|filter| (*filter, 1)).collect();
    for packet in
        [wire::subscribe(Version::V5, 7, &entries), wire::unsubscribe(Version::V5, 7, &texts)]
    {
        let before = server.metrics().value(TURNS);
        for client in &mut clients {
            client.send(&packet);
        }
        assert_eq!(bystander.publish("by", b"x", 1), 0);
        assert_eq!(bystander.message().payload, b"x");
        for client in &mut clients {
            let codes = client.expect("the answer", |packet| match packet {
                Packet::Suback { packet_id: 7, codes } => Some((1, codes.clone())),
                Packet::Unsuback { packet_id: 7, codes } => Some((0, codes.clone())),
                _ => None,
            });
            assert_eq!(codes, (codes.0, vec![codes.0; FILTERS]), "one a filter, in order");
        }
        let turns = server.metrics().value(TURNS) - before;
        assert!(turns >= 10 * CLIENTS, "{turns} turns for {CLIENTS} packets");
    }
    assert_eq!(server.metrics().value("push_subscriptions"), 1);
    assert!(server.metrics().value(MEMORY) < 1_000, "one filter's");
    server.finish();
    Ok(())
}

/// To find the place of a filter among many, and what all of them weigh, is work, too.
fn filters_of_a_session_with_thousands_cost_it_more_turns() -> TestResult {
    const MANY: usize = 4_000;
    /// For who has no others: as many as come with the packet and in one turn of its own.
    const FEW: usize = 24;
    stand_in::not_for("has no counter of turns")?;
    let server = builder().flag("--subscriptions-max", 2 * MANY).start()?;
    let few: Vec<_> = (0..FEW).map(|filter| format!("few/{filter}")).collect();
    let few: Vec<_> = few.iter().map(|filter| (filter.as_str(), 1)).collect();
    let texts: Vec<_> = few.iter().map(|(filter, _)| *filter).collect();
    let turns = || server.metrics().value(TURNS);
    for (id, many) in [("light", 0), ("heavy", MANY)] {
        let mut client = client(server.target(), id);
        let filters: Vec<_> = (0..many).map(|filter| format!("many/{filter}")).collect();
        for part in filters.chunks(1_000) {
            let part: Vec<_> = part.iter().map(|filter| (filter.as_str(), 1)).collect();
            assert_eq!(client.subscribe(&part), vec![1; part.len()]);
        }
        let before = turns();
        assert_eq!(client.subscribe(&few), [1; FEW]);
        let subscribed = turns();
        assert_eq!(client.unsubscribe(&texts), [0; FEW]);
        let took_several = (subscribed > before, turns() > subscribed);
        assert_eq!(took_several, (many > 0, many > 0), "{id}");
    }
    server.finish();
    Ok(())
}

fn what_comes_behind_a_long_subscribe_is_answered_behind_it() -> TestResult {
    let server = builder().start()?;
    let mut publisher = client(server.target(), "publisher");
    publisher.publish_packet(Publish {
        topic: "n/3".into(),
        payload: b"kept".to_vec(),
        qos: 1,
        retain: true,
        ..Publish::default()
    });
    let mut long = client(server.target(), "long");
    let filters: Vec<_> = (0..FILTERS - 1).map(|filter| format!("n/{filter}")).collect();
    let mut entries: Vec<_> = filters.iter().map(|filter| (filter.as_str(), 1)).collect();
    // Refused, each in its place.
    entries.insert(5, ("a/#/b", 1));
    entries.push(("$share/g/n/3", 0));
    entries.push(("one/too/many", 0));
    let mut burst = wire::subscribe(Version::V5, 7, &entries);
    let publish = Publish { topic: "n/998".into(), payload: b"own".to_vec(), ..Publish::default() };
    burst.extend(wire::publish(Version::V5, &publish));
    burst.extend(wire::unsubscribe(Version::V5, 8, &["n/4", "never"]));
    burst.extend(wire::subscribe(Version::V5, 9, &[("n/998", 2)]));
    long.send(&burst);
    let mut expected = vec![1; FILTERS + 2];
    (expected[5], expected[FILTERS], expected[FILTERS + 1]) = (0x8F, 0, 0x97);
    let mut order = Vec::new();
    while order.len() < 5 {
        order.push(match long.receive(PATIENCE).expect("an answer") {
            Packet::Suback { packet_id: 7, codes } => {
                assert_eq!(codes, expected);
                "all"
            }
            Packet::Suback { packet_id: 9, codes } => {
                assert_eq!(codes, [2]);
                "again"
            }
            Packet::Unsuback { packet_id: 8, codes } => {
                assert_eq!(codes, [0, 0x11]);
                "without"
            }
            Packet::Publish(publish) if publish.payload == b"kept" => "kept",
            Packet::Publish(publish) if publish.payload == b"own" => "own",
            other => panic!("{other:?}"),
        });
    }
    assert_eq!(order[0], "all", "what it brings comes behind it: {order:?}");
    let place = |what| order.iter().position(|one| *one == what).expect(what);
    assert!(place("without") < place("again"), "{order:?}");
    server.finish();
    Ok(())
}

/// Sessions end with thousands of filters, which take their shards a while, and the memory of nearly all of
/// them is wanted at once, by filters that are long and quickly subscribed to.
fn a_subscribe_waits_for_memory_that_any_shard_is_about_to_give_back() -> TestResult {
    const MANY: usize = 16_000;
    const ROUNDS: usize = 6;
    const LONG_BYTES: u64 = 60_000;
    stand_in::not_for("has no such limit")?;
    let filters: Vec<_> = (0..MANY).map(|filter| format!("{filter}/+/+/+/+/+/+/+")).collect();
    let filters: Vec<_> = filters.iter().map(|filter| (filter.as_str(), 1)).collect();
    let start = |total: u64| {
        let builder = builder().flag("--subscriptions-max", MANY + 1);
        let builder = builder.flag("--subscription-bytes-max", 1_u32 << 30);
        builder.flag("--subscription-bytes-total", total).start()
    };
    // What they take.
    let server = start(1 << 30)?;
    let mut first = client(server.target(), "first");
    assert_eq!(first.subscribe(&filters), vec![1; MANY]);
    let bytes = server.metrics().value(MEMORY);
    drop(first);
    server.finish();

    let long: Vec<_> = (0..bytes * 9 / 10 / LONG_BYTES)
        .map(|number| format!("{number}{}", "-".repeat(LONG_BYTES as usize)))
        .collect();
    let long: Vec<_> = long.iter().map(|filter| (filter.as_str(), 1)).collect();
    let subscribe = wire::subscribe(Version::V5, 9, &long);
    let (most, last) = subscribe.split_at(subscribe.len() - 1);
    // And one more.
    let server = start(bytes + 1_000)?;
    for round in 0..ROUNDS {
        // On whichever shards.
        let mut comes = client(server.target(), &format!("comes-{round}"));
        comes.subscribe(&[("ended", 0)]);
        let connect = Connect::new(Version::V5, &format!("leaves-{round}")).will("ended", b"");
        let mut leaves = Client::connect(server.target(), &connect);
        assert_eq!(leaves.subscribe(&filters), vec![1; MANY], "round {round}");
        comes.send(most);
        drop(leaves);
        // The session has ended, and its filters have begun to go.
        comes.message();
        comes.send(last);
        let codes = comes.expect("a SUBACK", |packet| match packet {
            Packet::Suback { packet_id: 9, codes } => Some(codes.clone()),
            _ => None,
        });
        assert_eq!(codes, vec![1; long.len()], "round {round}");
        comes.disconnect();
        server.wait_metric("push_sessions", |sessions| sessions == 0);
    }
    let refused = "push_limits_hit_total{limit=\"subscription_bytes_total\"}";
    assert_eq!(server.metrics().value(refused), 0);
    server.wait_metric(MEMORY, |bytes| bytes == 0);
    server.finish();
    Ok(())
}

fn a_take_over_in_the_middle_of_a_long_subscribe_leaves_nothing_behind() -> TestResult {
    const ROUNDS: u16 = 30;
    stand_in::not_for("has no such metric")?;
    durable::need()?;
    let data = TempDir::new().expect("make a data directory");
    let start = || Server::with(PingPath::User).flag("--shards", 2).data_dir(data.path()).start();
    let server = start()?;
    let long = |round: u16| {
        let filter = |filter| match filter % 2 {
            0 => format!("$share/g/{round}/{filter}/+/+"),
            _ => format!("{round}/{filter}/+/+/+"),
        };
        let filters: Vec<_> = (0..FILTERS).map(filter).collect();
        let entries: Vec<_> = filters.iter().map(|filter| (filter.as_str(), 1)).collect();
        wire::subscribe(Version::V5, 1, &entries)
    };
    let mut clients = Vec::new();
    for round in 0..ROUNDS {
        let connect = Connect::new(Version::V5, "again");
        let mut connect = if round % 2 == 0 { connect.persistent() } else { connect };
        // Goes on with the session before, or ends it.
        connect.clean |= round % 3 != 0;
        let mut client = Client::connect(server.target(), &connect);
        client.send(&long(round));
        clients.push(client);
    }
    Client::connect(server.target(), &Connect::new(Version::V5, "again")).disconnect();
    server.wait_metric("push_sessions", |count| count == 0);
    server.wait_metric("push_subscriptions", |count| count == 0);
    assert_eq!(server.metrics().value(MEMORY), 0);
    assert!(server.metrics().value(TURNS) > 0);
    server.finish();
    let server = start()?;
    assert_eq!(server.metrics().value("push_sessions"), 0);
    assert_eq!(server.metrics().value(MEMORY), 0);
    server.finish();
    Ok(())
}

fn what_a_long_subscribe_was_answered_for_is_on_disk() -> TestResult {
    durable::need()?;
    let data = TempDir::new().expect("make a data directory");
    let start = || Server::with(PingPath::User).flag("--shards", 2).data_dir(data.path()).start();
    let server = start()?;
    let connect = Connect::new(Version::V5, "member").persistent();
    let mut member = Client::connect(server.target(), &connect);
    subscribe(&mut member, |filter| format!("n/{filter}"), 1);
    let gone: Vec<_> = (0..MESSAGES).map(|filter| format!("n/{filter}")).collect();
    let gone: Vec<_> = gone.iter().map(String::as_str).collect();
    assert_eq!(member.unsubscribe(&gone), [0; MESSAGES]);
    server.signal(Signal::KILL);
    drop(server);
    let server = start()?;
    assert_eq!(server.metrics().value("push_subscriptions"), (FILTERS - MESSAGES) as u64);
    server.finish();
    Ok(())
}

/// None of them is resumed meanwhile, and none gets anything.
fn sessions_that_expire_in_the_same_second_end_over_several_turns() -> TestResult {
    const SESSIONS: usize = 1_500;
    const EACH: usize = 30;
    const EXPIRY_SECS: u32 = 3;
    stand_in::not_for("has no counter of turns")?;
    raise_descriptor_limit();
    let server = builder().start()?;
    let connect = |number: usize| {
        let secs = Value::Number(EXPIRY_SECS);
        let connect = Connect::new(Version::V5, &format!("session-{number}"));
        let mut connect = connect.property(property::SESSION_EXPIRY_INTERVAL, secs);
        connect.clean = false;
        connect
    };
    let clients: Vec<Client> = (0..SESSIONS)
        .map(|number| {
            let mut client = Client::connect(server.target(), &connect(number));
            let filters: Vec<_> =
                (0..EACH).map(|filter| format!("{number}/{filter}/+/+/+/+")).collect();
            let filters: Vec<_> = filters.iter().map(|filter| (filter.as_str(), 1)).collect();
            assert_eq!(client.subscribe(&filters), [1; EACH]);
            client
        })
        .collect();
    for client in clients {
        client.disconnect();
    }
    server.wait_metric("push_connections", |left| left == 0);
    // For the server it is the same instant for all of them.
    server.signal(Signal::STOP);
    std::thread::sleep(Duration::from_secs(u64::from(EXPIRY_SECS) + 1));
    server.signal(Signal::CONT);
    for number in (0..SESSIONS).rev().take(20) {
        let mut back = Client::connect(server.target(), &connect(number));
        assert!(!back.connack.session_present, "it is over");
        // By filters that may still be in the tables.
        back.publish(&format!("{number}/1/a/a/a/a"), b"x", 1);
        let more = back.receive(Duration::from_millis(1));
        assert!(more.is_err(), "it has subscribed to nothing: {more:?}");
        let closing = Properties(vec![(property::SESSION_EXPIRY_INTERVAL, Value::Number(0))]);
        back.disconnect_with(0, &closing);
    }
    server.wait_metric("push_sessions", |left| left == 0);
    server.wait_metric("push_subscriptions", |left| left == 0);
    let metrics = server.metrics();
    assert!(metrics.value("push_turns_cut_total{by=\"timers\"}") > 0);
    assert_eq!(metrics.value(MEMORY), 0);
    server.finish();
    Ok(())
}

fn builder() -> ServerBuilder {
    Server::with(PingPath::User)
        .flag("--shards", 2)
        .flag("--durability", "off")
        .flag("--subscribe-rate", 0)
        .flag("--topic-bytes-max", 65_535)
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

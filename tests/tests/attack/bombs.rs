//! Much of everything that a packet may have: levels of topics, filters, aliases, properties.

use push_tests::clients::{Client, Connect};
use push_tests::server::{PingPath, Server};
use push_tests::skip::TestResult;
use push_tests::wire::{self, Properties, Publish, Value, Version, property};

use crate::crowd;
use crate::withstand::Attack;

/// The longest topic there is.
const TOPIC_BYTES: usize = 65_535;

/// More than one server grants.
const FILTERS: usize = 1_500;
const ALIASES: u32 = 17;
const PROPERTIES: usize = 1_001;

fn attacker(server: &Server, number: usize) -> Client {
    let connect = Connect::new(Version::V5, &format!("attacker-{number}"));
    Client::accepted_over(crowd::dial(number, server.target().address), &connect)
}

/// Topics of as many levels as fit, and of one level as long.
pub(crate) fn topics_without_end() -> TestResult {
    const CLIENTS: usize = 10;
    const TOPICS: usize = 100;
    let counters = [
        ("push_publishes_dropped_total{reason=\"topic_levels\"}", (CLIENTS * TOPICS) as u64),
        ("push_publishes_dropped_total{reason=\"topic_bytes\"}", (CLIENTS * TOPICS) as u64),
    ];
    let attack = Attack::on(Server::with(PingPath::User), &counters);
    attack.withstood(
        |server| {
            let mut clients: Vec<_> = (0..CLIENTS).map(|number| attacker(server, number)).collect();
            for number in 0..TOPICS {
                for client in &mut clients {
                    let deep = "/".repeat(TOPIC_BYTES);
                    assert_eq!(client.publish(&deep, b"", 1), 0x90, "too many levels");
                    let long = format!("{number:05}{}", "x".repeat(TOPIC_BYTES - 5));
                    assert_eq!(client.publish(&long, b"", 1), 0x90, "too many bytes");
                }
            }
            clients
        },
        |_, clients| clients.into_iter().for_each(Client::disconnect),
    )
}

/// Filters that nobody shares, of many levels.
pub(crate) fn filters_without_end() -> TestResult {
    const CLIENTS: usize = 20;
    // 1,000 at once, and 1,000 in all.
    let counters = [("push_limits_hit_total{limit=\"subscribe_rate\"}", CLIENTS as u64 * 100)];
    let attack = Attack::on(Server::with(PingPath::User), &counters).rehearsed();
    attack.withstood(
        |server| {
            let mut clients: Vec<_> = (0..CLIENTS).map(|number| attacker(server, number)).collect();
            for (number, client) in clients.iter_mut().enumerate() {
                let filters: Vec<String> =
                    (0..FILTERS).map(|at| format!("bomb/{number}/{at}/+/a/+/b/+/#")).collect();
                let filters: Vec<_> = filters.iter().map(|filter| (filter.as_str(), 1)).collect();
                let codes = client.subscribe(&filters);
                assert!(codes.contains(&0x97), "all {FILTERS} filters were granted");
            }
            clients
        },
        |server, clients| {
            clients.into_iter().for_each(Client::disconnect);
            server.wait_metric("push_subscriptions", |subscriptions| subscriptions == 1);
        },
    )
}

/// As many aliases as are allowed, each for a topic that is too long, and one more.
pub(crate) fn aliases_without_end() -> TestResult {
    const CLIENTS: usize = 50;
    let refused = "push_publishes_dropped_total{reason=\"topic_bytes\"}";
    let counters = [(refused, CLIENTS as u64 * 16)];
    let attack = Attack::on(Server::with(PingPath::User), &counters).rehearsed();
    attack.withstood(
        |server| {
            let mut clients: Vec<_> = (0..CLIENTS).map(|number| attacker(server, number)).collect();
            for client in &mut clients {
                for alias in 1..=ALIASES {
                    let topic = format!("{alias:05}{}", "x".repeat(TOPIC_BYTES - 5));
                    let properties =
                        Properties(vec![(property::TOPIC_ALIAS, Value::Number(alias))]);
                    let publish = Publish { topic, properties, ..Publish::default() };
                    client.send(&wire::publish(Version::V5, &publish));
                }
            }
            for client in &mut clients {
                assert_eq!(client.wait_ending().reason, Some(0x94), "topic alias invalid");
            }
        },
        |_, ()| {},
    )
}

/// As many properties as are allowed, and one more.
pub(crate) fn properties_without_end() -> TestResult {
    const CLIENTS: usize = 100;
    let counters = [("push_limits_hit_total{limit=\"answers\"}", CLIENTS as u64)];
    let attack = Attack::on(Server::with(PingPath::User), &counters);
    attack.withstood(
        |server| {
            for number in 0..CLIENTS {
                let mut client = attacker(server, number);
                for count in [PROPERTIES - 1, PROPERTIES] {
                    let pair = Value::Pair(format!("{number}"), "x".repeat(50));
                    let properties = Properties(vec![(property::USER_PROPERTY, pair); count]);
                    let topic = "bomb".to_owned();
                    let publish = Publish { topic, properties, ..Publish::default() };
                    client.send(&wire::publish(Version::V5, &publish));
                }
                assert_eq!(client.wait_ending().reason, Some(0x97), "quota exceeded");
            }
        },
        |_, ()| {},
    )
}

/// A CONNECT that is announced to be as long as one may be, from many.
pub(crate) fn connects_without_end() -> TestResult {
    const CLIENTS: usize = 100;
    let counters = [("push_limits_hit_total{limit=\"connect_bytes\"}", CLIENTS as u64)];
    let attack = Attack::on(Server::with(PingPath::User), &counters);
    attack.withstood(
        |server| {
            for number in 0..CLIENTS {
                let stream = crowd::dial(number, server.target().address);
                let mut client = Client::over(stream, Version::V5);
                // 500,000 bytes, of which the first come.
                client.send(b"\x10\xA0\xC2\x1E\0\x04MQTT");
                let ending = client.wait_ending();
                assert_eq!(ending.reason, None, "its version is not known");
            }
        },
        |_, ()| {},
    )
}

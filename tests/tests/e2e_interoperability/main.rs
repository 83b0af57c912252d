//! The cases of the Eclipse Paho interoperability suite (eclipse/paho.mqtt.testing): 27 of MQTT 5 and
//! 10 of MQTT 3.1.1, by the suite's names. What each asks is asked here in our own words, of raw
//! clients, and stricter where the specification is.

mod both;
mod v5;

use push_tests::clients::{Client, Connect};
use push_tests::server::{PingPath, Server};
use push_tests::skip::Skip;
use push_tests::wire::{Packet, Properties, Publish, Value, Version, property};

pub(crate) const TOPICS: [&str; 5] = ["TopicA", "TopicA/B", "Topic/C", "TopicA/C", "/TopicA"];

#[track_caller]
pub(crate) fn start() -> Result<Server, Skip> {
    Server::with(PingPath::User).start()
}

#[track_caller]
pub(crate) fn client(server: &Server, version: Version, id: &str) -> Client {
    client_with(server, &Connect::new(version, id))
}

#[track_caller]
pub(crate) fn client_with(server: &Server, connect: &Connect) -> Client {
    Client::connect(server.target(), connect)
}

/// A message on the first topic.
pub(crate) fn message(qos: u8) -> Publish {
    let (topic, payload) = (TOPICS[0].to_owned(), b"x".to_vec());
    Publish { topic, payload, qos, ..Publish::default() }
}

/// User properties.
pub(crate) fn pairs(pairs: &[(&str, &str)]) -> Properties {
    let pair = |&(name, value): &(&str, &str)| {
        (property::USER_PROPERTY, Value::Pair(name.to_owned(), value.to_owned()))
    };
    Properties(pairs.iter().map(pair).collect())
}

/// The next PUBLISH, not acknowledged.
#[track_caller]
pub(crate) fn publish_of(client: &mut Client) -> Publish {
    client.expect("a PUBLISH", |packet| match packet {
        Packet::Publish(publish) => Some(publish.clone()),
        _ => None,
    })
}

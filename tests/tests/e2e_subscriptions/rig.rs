//! A server of four shards, its clients, and options of subscriptions.

use push_tests::clients::{Client, Connect};
use push_tests::server::{PingPath, Server, Target};
use push_tests::skip::Skip;
use push_tests::wire::{Publish, Version, property};

pub(crate) const NO_LOCAL: u8 = 0x04;
pub(crate) const RETAIN_AS_PUBLISHED: u8 = 0x08;
pub(crate) const ONLY_IF_NEW: u8 = 0x10;
pub(crate) const NEVER_RETAINED: u8 = 0x20;

/// `SUBSCRIPTION_IDENTIFIER`, for short.
pub(crate) const ID: u8 = property::SUBSCRIPTION_IDENTIFIER;

pub(crate) fn server() -> Result<Server, Skip> {
    Server::with(PingPath::User).flag("--shards", 4).start()
}

pub(crate) fn client(target: &Target, name: &str) -> Client {
    Client::connect(target, &Connect::new(Version::V5, name))
}

pub(crate) fn retained(topic: &str, payload: &[u8], qos: u8) -> Publish {
    let (topic, payload) = (topic.to_owned(), payload.to_vec());
    Publish { topic, payload, qos, retain: true, ..Publish::default() }
}

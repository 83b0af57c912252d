//! The protocol core, sans I/O: bytes and a clock in, bytes and events out. It never reads a clock,
//! a socket or a file.
//!
//! A socket begins as `Handshake`, which understands CONNECT, AUTH behind it, and nothing else. It offers
//! what the client has sent to show who it is, and goes on when it is told the verdict. With a session found
//! or made for it, `Connection::accept` turns the CONNECT into a `Connection`. From then on its driver (the
//! shard)
//!
//! - gives what arrived to `handle_bytes` and takes events from `poll_event` until there are none;
//! - answers those that want it (`publish_done`, `subscribed`, `unsubscribed`, `judged`);
//! - puts messages for the client into its `Session`, connected or not;
//! - moves whole frames out by `poll_transmit`, when the socket can take them.
//!
//! A client's state is split by how long it lives: what dies with the socket is `Connection`, what
//! a reconnect finds again is `Session`. Both own no heap memory but the client's names
//! while idle.

pub mod codec;
pub mod connect;
pub mod connection;
pub mod delivery;
pub mod handshake;
pub mod inflight;
pub mod keep_alive;
pub mod outbox;
mod owed;
pub mod session;
pub mod subscription_list;
mod topic_alias;
pub mod transmit;
pub mod will;

use push_common::ping_rate::PingRate;

use crate::access::{Policy, Subject};
use crate::broker::TopicName;
use codec::Reason;

pub use connect::{Authenticated, Authentication, Connect};
pub(crate) use connection::FrozenConnection;
pub use connection::{
    Answer, Connection, Event, PublishReceipt, Subscribe, SubscribeEntry, Timeout, Unsubscribe,
};
pub use delivery::Delivery;
pub use handshake::{Connecting, Handshake, HandshakeProgress, Refusal};
pub use keep_alive::KeepAlive;
pub use outbox::{Extent, Fetched, HEAD_MESSAGES_MAX, Left, LeftMessage};
pub use owed::{Filing, SessionChange};
pub use session::{Claim, Delivered, Forgotten, Session};
pub use subscription_list::{ListFull, SubscriptionList};
pub use transmit::Transmit;
pub use will::{PendingWill, Will};

/// The protocol spoken on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// MQTT 3.1 (protocol name MQIsdp, level 3).
    V31,
    /// MQTT 3.1.1 (protocol level 4).
    V311,
    /// MQTT 5.0 (protocol level 5).
    V5,
}

/// What the server grants to every client; one shared copy.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Largest packet accepted, fixed header included, in bytes.
    pub packet_bytes_max: u32,
    /// Longest keep alive granted, in seconds. MQTT 5 clients that ask for more (or for 0, when
    /// this is below 65,535) are given this by Server Keep Alive; 3.1.1 has no way to be told.
    pub keep_alive_max_secs: u16,
    /// What MQTT 5 clients that ask for no keep alive (0) are given, at most `keep_alive_max_secs`; 0:
    /// `keep_alive_max_secs` alone decides.
    pub keep_alive_default_secs: u16,
    /// QoS 1 and 2 publishes a client may have unacknowledged towards us (Receive Maximum).
    pub receive_max: u16,
    /// QoS 1 and 2 publishes we have unacknowledged towards a client, its own wish being lower.
    pub inflight_max: u16,
    /// Messages a session may be owed.
    pub outbox_messages_max: u32,
    /// Bytes a session may be owed, as `Message::weight_bytes` counts them.
    pub outbox_bytes_max: u64,
    /// What becomes of a message for a client that is away and whose outbox is full.
    pub outbox_full: OutboxFull,
    /// Subscriptions a session may have.
    pub subscriptions_max: u32,
    /// Bytes that they may take together, as `subscription_weight_bytes` counts them.
    pub subscription_bytes_max: u32,
    /// Longest client id, in bytes.
    pub client_id_bytes_max: u16,
    /// Levels of a topic name or filter.
    pub topic_levels_max: u16,
    /// Topics a client may say by alias towards us (Topic Alias Maximum); 0: none.
    pub topic_alias_max: u16,
    /// Topics we say by alias towards a client, its own wish being lower; 0: none.
    pub topic_alias_send_max: u16,
    /// Where clients are told to have their responses, each below its own id.
    pub response_topic_prefix: Option<Box<str>>,
    /// Longest session expiry granted, in seconds.
    pub session_expiry_max_secs: u32,
    /// Answers (PUBACK, PINGRESP, ...) waiting for a client that does not read, in bytes.
    pub answers_bytes_max: u32,
    /// Pings a client may send; one that exceeds it is closed (0x96).
    pub ping_rate: PingRate,
    /// What this or that client may not do.
    pub policy: Policy,
    /// What clients may do at all.
    pub features: Features,
}

impl Limits {
    /// Why a client's publish to `topic` is refused, if it is: topics that begin with `$` are the
    /// server's own [MQTT 4.7.2], and `topic_levels_max` bounds all others.
    pub(crate) fn refuses_publish_to(&self, topic: &TopicName) -> Option<PublishRefusal> {
        if topic.is_hidden() {
            Some(PublishRefusal::ReservedTopic)
        } else if topic.is_deeper_than(self.topic_levels_max) {
            Some(PublishRefusal::TopicLevels)
        } else {
            None
        }
    }

    /// The same for a client, which the policy may not let publish there.
    fn refuses_publish(&self, topic: &TopicName, subject: Subject<'_>) -> Option<PublishRefusal> {
        let denied = || self.policy.publish(topic, subject).err();
        self.refuses_publish_to(topic).or_else(|| denied().map(|_| PublishRefusal::Denied))
    }
}

/// Why a publish is dropped that came as it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublishRefusal {
    /// Its topic is one of the server's own.
    ReservedTopic,
    /// Its topic has too many levels.
    TopicLevels,
    /// The policy does not let this client publish there.
    Denied,
}

impl PublishRefusal {
    /// What MQTT 5 calls it.
    pub fn reason(self) -> Reason {
        match self {
            Self::ReservedTopic | Self::Denied => Reason::NotAuthorized,
            Self::TopicLevels => Reason::TopicNameInvalid,
        }
    }
}

/// What becomes of a message for a client that is away, when its outbox is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutboxFull {
    /// It is taken, and the oldest messages that were never sent are dropped for it.
    DropOldest,
    /// It is dropped.
    DropNewest,
    /// It is dropped, and its publisher is told.
    Refuse,
}

/// What the specification leaves to a server. MQTT 5 clients are told what there is not; one that
/// asks for it all the same is disconnected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features {
    /// Filters with `+` and `#` (else 0xA2; 3.1.1: SUBACK 0x80).
    pub wildcard_subscriptions: bool,
    /// Retained messages, wills included (else 0x9A; 3.1.1: the connection is closed).
    pub retain: bool,
    /// `$share/...` (else 0x9E; 3.1.1: SUBACK 0x80).
    pub shared_subscriptions: bool,
}

impl Default for Features {
    fn default() -> Self {
        Self { wildcard_subscriptions: true, retain: true, shared_subscriptions: true }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            packet_bytes_max: 16 << 20,
            keep_alive_max_secs: u16::MAX,
            keep_alive_default_secs: 0,
            receive_max: 64,
            inflight_max: 32,
            outbox_messages_max: 1_000,
            outbox_bytes_max: 32 << 20,
            outbox_full: OutboxFull::DropOldest,
            subscriptions_max: 1_000,
            subscription_bytes_max: 4 << 20,
            client_id_bytes_max: 1_024,
            topic_levels_max: 128,
            topic_alias_max: 16,
            topic_alias_send_max: 16,
            response_topic_prefix: None,
            session_expiry_max_secs: 7 * 24 * 3600,
            answers_bytes_max: 64 << 10,
            ping_rate: PingRate::default(),
            policy: Policy::default(),
            features: Features::default(),
        }
    }
}

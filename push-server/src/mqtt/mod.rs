//! The protocol core, sans I/O: bytes and a clock in, bytes and events out. It never reads a clock,
//! a socket or a file.
//!
//! A socket begins as a `Handshake`, which understands CONNECT, AUTH behind it, and nothing else.
//! It hands out the client's credentials and goes on when the caller brings the verdict. Once the
//! caller has found or made a session, `Connection::accept` turns the CONNECT into a `Connection`.
//! From then on its driver (the shard)
//!
//! - passes received bytes to `handle_bytes` and takes events from `poll_event` until there are
//!   none;
//! - answers the events that want an answer (`publish_done`, `subscribed`, `unsubscribed`,
//!   `judged`);
//! - puts messages for the client into its `Session`, connected or not;
//! - moves whole frames out by `poll_transmit`, when the socket can take them.
//!
//! A client's state is split by how long it lives: `Connection` dies with the socket, and a
//! reconnect finds the `Session` again. While idle, both own no heap memory but the client's names.

#[cfg(any(test, feature = "fuzzing"))]
mod allowing;
pub mod codec;
pub(crate) mod connect;
pub(crate) mod connection;
pub(crate) mod delivery;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
pub(crate) mod handshake;
pub(crate) mod inflight;
pub(crate) mod keep_alive;
pub(crate) mod outbox;
mod owed;
pub(crate) mod session;
pub(crate) mod subscription_list;
mod topic_alias;
pub(crate) mod transmit;
pub(crate) mod will;

use push_common::rate::Rate;

use crate::access::{Policy, Subject};
use crate::broker::TopicName;
use codec::Reason;

pub use connect::{Authenticated, Authentication, Connect};
pub use connection::{
    Answer, Connection, Event, PublishReceipt, Subscribe, SubscribeEntry, Timeout, Unsubscribe,
};
pub use delivery::Delivery;
pub use handshake::{ConnectRefusal, Connecting, Handshake, HandshakeProgress};
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
    /// Largest CONNECT accepted, fixed header included, in bytes.
    pub connect_bytes_max: u32,
    /// Longest keep alive granted, in seconds. MQTT 5 clients that ask for more (or for 0, when
    /// this is below 65,535) get this one as Server Keep Alive; 3.1.1 has no way to tell them.
    pub keep_alive_max_secs: u16,
    /// Keep alive in seconds for MQTT 5 clients that ask for none (0), at most
    /// `keep_alive_max_secs`. 0: `keep_alive_max_secs` alone decides.
    pub keep_alive_default_secs: u16,
    /// Most QoS 1 and 2 publishes that we let a client have unacknowledged (our Receive Maximum).
    pub receive_max: u16,
    /// Most QoS 1 and 2 publishes that we send a client unacknowledged; its own Receive Maximum may
    /// be lower.
    pub inflight_max: u16,
    /// Most messages in a session's outbox.
    pub outbox_messages_max: u32,
    /// Most bytes in a session's outbox, as `Message::weight_bytes` counts them.
    pub outbox_bytes_max: u64,
    /// What happens to a message for an absent client whose outbox is full.
    pub outbox_full: OutboxFull,
    /// Most subscriptions of a session.
    pub subscriptions_max: u32,
    /// Most bytes of a session's subscriptions, as `subscription_weight_bytes` counts them.
    pub subscription_bytes_max: u32,
    /// Longest client id, in bytes.
    pub client_id_bytes_max: u16,
    /// Whether a client's id is its user's name, whatever id it gives.
    pub client_id_from_user: bool,
    /// Most levels of a topic name or filter.
    pub topic_levels_max: u16,
    /// Longest topic name or filter, in bytes.
    pub topic_bytes_max: u16,
    /// Most topic aliases that a client may use towards us (Topic Alias Maximum); 0: none.
    pub topic_alias_max: u16,
    /// Most topic aliases that we use towards a client; its own maximum may be lower. 0: none.
    pub topic_alias_send_max: u16,
    /// Response Information begins with this prefix, and ends with the client's id. `None`: clients
    /// get none.
    pub response_topic_prefix: Option<Box<str>>,
    /// Longest session expiry granted, in seconds.
    pub session_expiry_max_secs: u32,
    /// Most bytes of answers (PUBACK, PINGRESP, ...) that wait for a client that does not read.
    pub answers_bytes_max: u32,
    /// How often a client may ping; the server closes a client that pings more often (0x96).
    pub ping_rate: Rate,
    /// What particular clients may not do.
    pub policy: Policy,
    /// Which features all clients may use.
    pub features: Features,
}

impl Limits {
    /// Why the server refuses a client's publish to `topic`, if it does: topics that begin with `$`
    /// are the server's own [MQTT 4.7.2], and `topic_levels_max` and `topic_bytes_max` bound all
    /// others.
    pub(crate) fn refuses_publish_to(&self, topic: &TopicName) -> Option<PublishRefusal> {
        if topic.is_hidden() {
            Some(PublishRefusal::ReservedTopic)
        } else if topic.is_deeper_than(self.topic_levels_max) {
            Some(PublishRefusal::TopicLevels)
        } else if self.is_too_long(topic.as_str()) {
            Some(PublishRefusal::TopicBytes)
        } else {
            None
        }
    }

    /// Whether a topic name or filter has more bytes than `topic_bytes_max`.
    pub(crate) fn is_too_long(&self, topic: &str) -> bool {
        topic.len() > usize::from(self.topic_bytes_max)
    }

    /// Like `refuses_publish_to`, and asks the policy whether this client may publish there.
    fn refuses_publish(&self, topic: &TopicName, subject: Subject<'_>) -> Option<PublishRefusal> {
        let denied = || self.policy.publish(topic, subject).err();
        self.refuses_publish_to(topic).or_else(|| denied().map(|_| PublishRefusal::Denied))
    }
}

/// Why the server drops a valid publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublishRefusal {
    /// Its topic is one of the server's own.
    ReservedTopic,
    /// Its topic has too many levels.
    TopicLevels,
    /// Its topic has too many bytes.
    TopicBytes,
    /// The policy does not let this client publish there.
    Denied,
}

impl PublishRefusal {
    /// The reason code for MQTT 5.
    pub fn reason(self) -> Reason {
        match self {
            Self::ReservedTopic | Self::Denied => Reason::NotAuthorized,
            Self::TopicLevels | Self::TopicBytes => Reason::TopicNameInvalid,
        }
    }
}

/// What happens to a message for an absent client whose outbox is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutboxFull {
    /// The outbox takes it, and drops its oldest messages that were never sent.
    DropOldest,
    /// The server drops it.
    DropNewest,
    /// The server drops it and tells its publisher.
    Refuse,
}

/// Features that the specification leaves to the server. CONNACK tells MQTT 5 clients which are
/// missing; the server disconnects a client that uses one all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features {
    /// Filters with `+` and `#`. Without: 0xA2; 3.1.1: SUBACK 0x80.
    pub wildcard_subscriptions: bool,
    /// Retained messages, wills included. Without: 0x9A; 3.1.1: the server closes the connection.
    pub retain: bool,
    /// `$share/...`. Without: 0x9E; 3.1.1: SUBACK 0x80.
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
            connect_bytes_max: 64 << 10,
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
            client_id_from_user: false,
            topic_levels_max: 128,
            topic_bytes_max: 4 << 10,
            topic_alias_max: 16,
            topic_alias_send_max: 16,
            response_topic_prefix: None,
            session_expiry_max_secs: 7 * 24 * 3600,
            answers_bytes_max: 64 << 10,
            ping_rate: Rate::PINGS,
            policy: Policy::default(),
            features: Features::default(),
        }
    }
}

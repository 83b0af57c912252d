//! A client with a session that outlives its connections: the connection that it has now, and who it is.

use push_common::clock::Monotonic;
use push_tests::ledger::Ledger;
use push_tests::ledger::message::MessageId;
use push_tests::wire::property::SESSION_EXPIRY_INTERVAL;
use push_tests::wire::{self, Packet, Properties, Value, Version};
use rand::RngExt as _;
use rand::rngs::SmallRng;

use super::member::Member;
use super::publisher::Publisher;
use super::subscriber::Subscriber;
use super::witness::Witness;
use crate::link::Link;

/// How long sessions outlive their connection, but for those of members that go.
const SESSION_EXPIRY_SECS: u32 = 24 * 3_600;

/// A client with a session that outlives its connections.
pub(crate) struct Seat {
    pub(crate) client: Client,
    pub(crate) link: Option<Link>,
    pub(crate) is_clean: bool,
    pub(crate) connects_clean: bool,
    /// The server's life that the connection is with.
    pub(crate) life: u32,
}

pub(crate) enum Client {
    Publisher(Publisher),
    Subscriber(Subscriber),
    Member(Member),
    Witness(Witness),
}

/// Whether clients begin something new, or only bring what is under way to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Load,
    Drain,
}

impl Seat {
    pub(crate) fn new(client: Client) -> Self {
        Self { client, link: None, is_clean: true, connects_clean: false, life: 0 }
    }

    pub(crate) fn hear(&mut self, ledger: &mut Ledger, packet: Packet) {
        let Some(link) = &mut self.link else { return };
        match packet {
            Packet::Connack { session_present, code: 0, .. } => {
                link.is_accepted = true;
                self.begin(ledger, session_present);
            }
            Packet::Connack { .. } => {}
            packet => self.client.hear(ledger, link, packet),
        }
    }

    fn begin(&mut self, ledger: &mut Ledger, present: bool) {
        self.is_clean = false;
        let clean = self.connects_clean;
        let Some(link) = &mut self.link else { return };
        match &mut self.client {
            Client::Publisher(publisher) => publisher.begin(ledger, link, clean, present),
            Client::Subscriber(subscriber) => subscriber.begin(ledger, clean, present, self.life),
            Client::Member(member) => member.begin(ledger, clean, present),
            Client::Witness(witness) => {
                if witness.is_subscribed && !present {
                    ledger.fault("witness: its session is gone");
                }
                if !witness.is_subscribed {
                    link.say(&wire::subscribe(Version::V5, 1, &[("w/#", 2)]));
                }
            }
        }
    }

    pub(crate) fn is_at_rest(&self) -> bool {
        let is_served = self.link.as_ref().is_some_and(|link| link.is_accepted);
        is_served
            && match &self.client {
                Client::Publisher(publisher) => publisher.is_at_rest(),
                Client::Subscriber(subscriber) => subscriber.is_at_rest(),
                Client::Member(member) => member.is_at_rest(),
                Client::Witness(witness) => witness.unreleased.is_empty(),
            }
    }
}

impl Client {
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Publisher(publisher) => &publisher.name,
            Self::Subscriber(subscriber) => subscriber.name,
            Self::Member(member) => &member.name,
            Self::Witness(_) => "witness",
        }
    }

    pub(crate) fn version(&self) -> Version {
        match self {
            Self::Publisher(publisher) => publisher.version,
            Self::Subscriber(subscriber) => subscriber.version,
            Self::Member(member) => member.version,
            Self::Witness(_) => Version::V5,
        }
    }

    fn hear(&mut self, ledger: &mut Ledger, link: &mut Link, packet: Packet) {
        match self {
            Self::Publisher(publisher) => publisher.hear(ledger, link, &packet),
            Self::Subscriber(subscriber) => subscriber.hear(ledger, link, packet),
            Self::Member(member) => member.hear(ledger, link, &packet),
            Self::Witness(witness) => witness.hear(ledger, link, packet),
        }
    }

    pub(crate) fn go_on(
        &mut self,
        ledger: &mut Ledger,
        link: &mut Link,
        (phase, now): (Phase, Monotonic),
        rng: &mut SmallRng,
    ) {
        let is_load = phase == Phase::Load;
        match self {
            Self::Publisher(publisher) if is_load => publisher.publish(ledger, link, now, rng),
            Self::Subscriber(subscriber) => {
                if is_load && rng.random_bool(0.1) {
                    subscriber.choose_change(rng);
                }
                subscriber.acknowledge(link, is_load, rng);
                subscriber.ask(ledger, link);
            }
            Self::Member(member) => member.go_on(link, is_load, rng),
            Self::Publisher(_) | Self::Witness(_) => {}
        }
    }

    /// What its next CONNECT says: whether it begins a session anew, and the properties.
    pub(crate) fn choose_connect(&mut self, rng: &mut SmallRng) -> (bool, Properties) {
        let (clean, expiry_secs) = match self {
            Self::Member(member) => member.choose_session(rng),
            _ => (false, None),
        };
        let expiry_secs = expiry_secs.unwrap_or(SESSION_EXPIRY_SECS);
        let mut properties = vec![(SESSION_EXPIRY_INTERVAL, Value::Number(expiry_secs))];
        if let Self::Subscriber(subscriber) = self {
            properties.extend(subscriber.properties());
        }
        (clean, Properties(properties))
    }

    /// Wills that have come since the last call.
    pub(crate) fn take_wills(&mut self) -> Vec<MessageId> {
        match self {
            Self::Witness(witness) => std::mem::take(&mut witness.seen),
            Self::Publisher(_) | Self::Subscriber(_) | Self::Member(_) => Vec::new(),
        }
    }
}

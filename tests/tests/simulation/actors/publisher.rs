//! A publisher as the protocol wants it: what is not acknowledged is kept, and sent again on the next
//! connection with the same packet id, as PUBLISH with DUP, or as PUBREL once PUBREC came.

use std::sync::Arc;
use std::time::Duration;

use push_common::clock::Monotonic;
use push_tests::ledger::message::{self, MessageId};
use push_tests::ledger::{Flows, Ledger, Publication};
use push_tests::wire::{Packet, Version};
use rand::RngExt as _;
use rand::rngs::SmallRng;

use crate::link::Link;

/// Messages unacknowledged.
const WINDOW: usize = 24;

/// Packet ids are used in turn up to here, so that each is used again soon.
const PACKET_ID_MAX: u16 = 40;

/// Message expiry intervals: some that pass, and one that does not.
const EXPIRIES_SECS: [u32; 4] = [1, 3, 15, 24 * 3_600];

/// What a restart may make of an interval, which is stored in milliseconds.
const ROUNDING: Duration = Duration::from_millis(20);

/// Retained topics of a publisher.
const RETAINED: u32 = 3;

/// A publisher's state, which outlives its connections as the server's does.
#[derive(Debug)]
pub(crate) struct Publisher {
    pub(crate) name: String,
    pub(crate) version: Version,
    index: u32,
    weights: [u32; 3],
    flows: Flows,
    next_number: u32,
    /// Messages that expire, and when they may have.
    expiring: Vec<(Monotonic, MessageId)>,
}

impl Publisher {
    /// `weights`: how often QoS 0, 1 and 2 are chosen.
    pub(crate) fn new(index: u32, version: Version, weights: [u32; 3]) -> Self {
        Self {
            name: format!("publisher-{index}"),
            version,
            index,
            weights,
            flows: Flows::new(version, PACKET_ID_MAX),
            next_number: 0,
            expiring: Vec::new(),
        }
    }

    pub(crate) fn is_at_rest(&self) -> bool {
        self.flows.is_empty()
    }

    /// CONNACK came [MQTT-4.4.0-1]; without a session everything is new to the server.
    pub(crate) fn begin(
        &mut self,
        ledger: &mut Ledger,
        link: &mut Link,
        clean: bool,
        present: bool,
    ) {
        ledger.connected(&self.name, clean, present);
        self.flows.resume(ledger, present, |packet| link.say(packet));
    }

    /// Tells the ledger whose time has passed.
    pub(crate) fn note_expired(&mut self, ledger: &mut Ledger, now: Monotonic) {
        self.expiring.retain(|(at, id)| {
            if *at <= now {
                ledger.may_have_expired(*id);
            }
            *at > now
        });
    }

    /// Publishes a few messages.
    pub(crate) fn publish(
        &mut self,
        ledger: &mut Ledger,
        link: &mut Link,
        now: Monotonic,
        rng: &mut SmallRng,
    ) {
        for _ in 0..rng.random_range(1..8) {
            if self.flows.len() >= WINDOW {
                return;
            }
            let id = MessageId { publisher: self.index, number: self.next_number };
            self.next_number += 1;
            let what = self.choose(rng);
            if let Some(secs) = what.expiry_secs {
                let passes = Duration::from_secs(secs.into()) - ROUNDING;
                self.expiring.push((now.after(passes), id));
            }
            let payload = if what.empty { Vec::new() } else { message::make(rng, id) };
            link.say(&self.flows.publish(ledger, id, what, payload));
        }
    }

    fn choose(&mut self, rng: &mut SmallRng) -> Publication {
        let mut dice = rng.random_range(0..self.weights.iter().sum());
        let mut qos = 0;
        while dice >= self.weights[usize::from(qos)] {
            dice -= self.weights[usize::from(qos)];
            qos += 1;
        }
        // What is retained at QoS 0 is promised to nobody.
        let retain = qos > 0 && rng.random_bool(0.15);
        let topic: Arc<str> = if retain {
            format!("r/{}/{}", self.index, rng.random_range(0..RETAINED)).into()
        } else if rng.random_bool(0.25) {
            // For groups.
            format!("s/{}", rng.random_range(0..3)).into()
        } else {
            let leaf = ["a", "b", "c"][rng.random_range(0..3)];
            format!("t/{}/{leaf}", rng.random_range(0..3)).into()
        };
        let expires = self.version == Version::V5 && !retain && rng.random_bool(0.15);
        let expiry_secs = expires.then(|| EXPIRIES_SECS[rng.random_range(0..EXPIRIES_SECS.len())]);
        Publication { topic, qos, retain, empty: retain && rng.random_bool(0.2), expiry_secs }
    }

    /// The topics that it may have retained something on.
    pub(crate) fn retained_topics(&self) -> impl Iterator<Item = String> + use<> {
        let index = self.index;
        (0..RETAINED).map(move |number| format!("r/{index}/{number}"))
    }

    pub(crate) fn hear(&mut self, ledger: &mut Ledger, link: &mut Link, packet: &Packet) {
        let name = &self.name;
        let (kind, packet_id, reason) = match packet {
            Packet::Ack { kind, packet_id, reason } => (*kind, *packet_id, *reason),
            Packet::Disconnect { .. } => return,
            other => return ledger.fault(format_args!("{name}: what is {other:?}?")),
        };
        let reply = self.flows.acknowledged(ledger, name, (kind, packet_id, reason));
        if let Some(reply) = reply {
            link.say(&reply);
        }
    }
}

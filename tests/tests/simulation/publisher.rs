//! A publisher as the protocol wants it: what is not acknowledged is kept, and sent again on the next
//! connection with the same packet id, as PUBLISH with DUP, or as PUBREL once PUBREC came.

use std::collections::VecDeque;
use std::sync::Arc;

use push_tests::ledger::message::{self, MessageId};
use push_tests::ledger::{Ledger, Publication};
use push_tests::wire::{self, PUBACK, PUBCOMP, PUBREC, PUBREL, Packet, Publish, Version};
use rand::RngExt as _;
use rand::rngs::SmallRng;

use crate::link::Link;

/// Messages unacknowledged.
const WINDOW: usize = 24;

/// Packet ids are used in turn up to here, so that each is used again soon.
const PACKET_ID_MAX: u16 = 40;

/// Retained topics of a publisher.
const RETAINED: u32 = 3;

/// A publisher's state, which outlives its connections as the server's does.
#[derive(Debug)]
pub(crate) struct Publisher {
    pub(crate) name: String,
    pub(crate) version: Version,
    index: u32,
    weights: [u32; 3],
    flows: VecDeque<Flow>,
    next_number: u32,
    packet_id: u16,
}

/// A QoS 1 or 2 message under way.
#[derive(Debug)]
struct Flow {
    packet_id: u16,
    id: MessageId,
    what: Publication,
    payload: Vec<u8>,
    /// PUBREC came: PUBREL is owed.
    received: bool,
}

impl Publisher {
    /// `weights`: how often QoS 0, 1 and 2 are chosen.
    pub(crate) fn new(index: u32, version: Version, weights: [u32; 3]) -> Self {
        Self {
            name: format!("publisher-{index}"),
            version,
            index,
            weights,
            flows: VecDeque::new(),
            next_number: 0,
            packet_id: 0,
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
        if !present {
            self.flows.retain(|flow| !flow.received);
        }
        for flow in &self.flows {
            if flow.received {
                link.say(&wire::ack(PUBREL, flow.packet_id));
            } else {
                ledger.publishing(flow.id, &flow.what);
                link.say(&flow.packet(self.version, present));
            }
        }
    }

    /// Publishes a few messages.
    pub(crate) fn publish(&mut self, ledger: &mut Ledger, link: &mut Link, rng: &mut SmallRng) {
        for _ in 0..rng.random_range(1..8) {
            if self.flows.len() >= WINDOW {
                return;
            }
            let id = MessageId { publisher: self.index, number: self.next_number };
            self.next_number += 1;
            let what = self.choose(rng);
            let payload = if what.empty { Vec::new() } else { message::make(rng, id) };
            let packet_id = if what.qos == 0 { 0 } else { self.next_packet_id() };
            let flow = Flow { packet_id, id, what, payload, received: false };
            ledger.publishing(flow.id, &flow.what);
            link.say(&flow.packet(self.version, false));
            if flow.what.qos > 0 {
                self.flows.push_back(flow);
            }
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
        } else {
            let leaf = ["a", "b", "c"][rng.random_range(0..3)];
            format!("t/{}/{leaf}", rng.random_range(0..3)).into()
        };
        Publication { topic, qos, retain, empty: retain && rng.random_bool(0.2) }
    }

    /// The topics that it may have retained something on.
    pub(crate) fn retained_topics(&self) -> impl Iterator<Item = String> + use<> {
        let index = self.index;
        (0..RETAINED).map(move |number| format!("r/{index}/{number}"))
    }

    /// The next one that no flow has.
    fn next_packet_id(&mut self) -> u16 {
        loop {
            self.packet_id = self.packet_id % PACKET_ID_MAX + 1;
            if self.flows.iter().all(|flow| flow.packet_id != self.packet_id) {
                return self.packet_id;
            }
        }
    }

    pub(crate) fn hear(&mut self, ledger: &mut Ledger, link: &mut Link, packet: &Packet) {
        let name = &self.name;
        let (kind, packet_id, reason) = match packet {
            Packet::Ack { kind, packet_id, reason } => (*kind, *packet_id, *reason),
            Packet::Disconnect { .. } => return,
            other => return ledger.fault(format_args!("{name}: what is {other:?}?")),
        };
        let expected = |flow: &Flow| match (flow.what.qos, flow.received) {
            (1, _) => PUBACK,
            (_, false) => PUBREC,
            (_, true) => PUBCOMP,
        };
        let found = self.flows.iter().position(|flow| flow.packet_id == packet_id);
        let Some(at) = found.filter(|at| expected(&self.flows[*at]) == kind) else {
            return ledger.fault(format_args!(
                "{name}: an acknowledgement of type {kind} for packet id {packet_id}, of which \
                 none is due"
            ));
        };
        let flow = &mut self.flows[at];
        if kind != PUBCOMP && reason >= 0x80 {
            ledger.refused(flow.id, reason);
            self.flows.remove(at);
        } else if kind == PUBREC {
            ledger.acknowledged(flow.id);
            ledger.promised(name);
            flow.received = true;
            link.say(&wire::ack(PUBREL, packet_id));
        } else {
            if kind == PUBACK {
                ledger.acknowledged(flow.id);
            }
            ledger.completed(flow.id);
            self.flows.remove(at);
        }
    }
}

impl Flow {
    fn packet(&self, version: Version, dup: bool) -> Vec<u8> {
        let publish = Publish {
            topic: self.what.topic.to_string(),
            payload: self.payload.clone(),
            qos: self.what.qos,
            retain: self.what.retain,
            dup,
            packet_id: self.packet_id,
            ..Publish::default()
        };
        wire::publish(version, &publish)
    }
}

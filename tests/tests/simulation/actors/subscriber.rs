//! A subscriber as the protocol wants it: it acknowledges what it takes, and remembers the packet ids of
//! QoS 2 messages from PUBLISH to PUBREL, across connections. Some change their subscriptions; one takes few packets at
//! a time, none that is large, and is slow to acknowledge them.

use std::collections::{BTreeSet, VecDeque};

use push_tests::ledger::{Delivery, Ledger, message};
use push_tests::wire::{self, PUBACK, PUBCOMP, PUBREC, PUBREL, Packet, Publish, Version};
use push_tests::wire::{Value, property};
use rand::RngExt as _;
use rand::rngs::SmallRng;

use crate::link::Link;

/// From here on a code says that it was not done, and the subscriber asks again: the disk fails.
const REFUSED: u8 = 0x80;

/// A subscriber's state, which outlives its connections as the server's does.
#[derive(Debug)]
pub(crate) struct Subscriber {
    pub(crate) name: &'static str,
    pub(crate) version: Version,
    index: usize,
    /// What it subscribes to and unsubscribes from, at any QoS.
    pool: &'static [&'static str],
    /// What is to be asked for; the first one is asked for already, when `asked_as` is there.
    changes: VecDeque<Change>,
    asked_as: Option<u16>,
    packet_id: u16,
    subscribed: BTreeSet<&'static str>,
    unreleased: BTreeSet<u16>,
    limits: Option<Limits>,
    /// Acknowledgements that are not said yet, in order, and the flows that they end.
    acks: VecDeque<(Vec<u8>, Option<u16>)>,
    /// Packet ids of this connection that nothing has acknowledged to their end.
    unacknowledged: BTreeSet<u16>,
}

/// What a subscriber of MQTT 5 says in CONNECT that it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// QoS 1 and 2 messages at once [MQTT-3.3.4-9].
    pub(crate) receive_max: u16,
    /// [MQTT-3.1.2-24]
    pub(crate) packet_bytes_max: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Subscribe(&'static str, u8),
    Unsubscribe(&'static str),
}

impl Subscriber {
    pub(crate) fn new(
        index: usize,
        (name, version): (&'static str, Version),
        filters: &'static [(&'static str, u8)],
        pool: &'static [&'static str],
    ) -> Self {
        let first = filters.iter().map(|(filter, qos)| Change::Subscribe(filter, *qos));
        Self {
            name,
            version,
            index,
            pool,
            changes: first.collect(),
            asked_as: None,
            packet_id: 0,
            subscribed: BTreeSet::new(),
            unreleased: BTreeSet::new(),
            limits: None,
            acks: VecDeque::new(),
            unacknowledged: BTreeSet::new(),
        }
    }

    /// The same with limits.
    pub(crate) fn limited(self, limits: Limits) -> Self {
        Self { limits: Some(limits), ..self }
    }

    /// What CONNECT says of them.
    pub(crate) fn properties(&self) -> Vec<(u8, Value)> {
        let Some(Limits { receive_max, packet_bytes_max }) = self.limits else {
            return Vec::new();
        };
        vec![
            (property::RECEIVE_MAXIMUM, Value::Number(receive_max.into())),
            (property::MAXIMUM_PACKET_SIZE, Value::Number(packet_bytes_max)),
        ]
    }

    pub(crate) fn is_at_rest(&self) -> bool {
        self.changes.is_empty() && self.unreleased.is_empty() && self.acks.is_empty()
    }

    /// CONNACK came, in this life of the server.
    pub(crate) fn begin(&mut self, ledger: &mut Ledger, clean: bool, present: bool, life: u32) {
        ledger.connected(self.name, clean, present);
        ledger.begin_connection(self.index, life);
        self.asked_as = None;
        self.acks.clear();
        self.unacknowledged.clear();
        if !present {
            if !clean {
                ledger.session_lost(self.index);
            }
            self.unreleased.clear();
            while let Some(filter) = self.subscribed.pop_first() {
                self.changes.push_front(Change::Subscribe(filter, 2));
            }
        }
    }

    /// Thinks of something else to be subscribed to.
    pub(crate) fn choose_change(&mut self, rng: &mut SmallRng) {
        if self.pool.is_empty() || !self.changes.is_empty() {
            return;
        }
        let filter = self.pool[rng.random_range(0..self.pool.len())];
        let is_there = self.subscribed.contains(filter);
        self.changes.push_back(if is_there && rng.random_bool(0.7) {
            Change::Unsubscribe(filter)
        } else {
            Change::Subscribe(filter, rng.random_range(0..3))
        });
    }

    /// Acknowledges what it has taken: one with limits at times only a part of it.
    pub(crate) fn acknowledge(&mut self, link: &mut Link, is_load: bool, rng: &mut SmallRng) {
        let is_slow = is_load && self.limits.is_some() && rng.random_bool(0.6);
        let said = if is_slow { rng.random_range(0..=self.acks.len()) } else { self.acks.len() };
        for (ack, ended) in self.acks.drain(..said) {
            link.say(&ack);
            ended.inspect(|packet_id| {
                self.unacknowledged.remove(packet_id);
            });
        }
    }

    /// Asks for the next change, one at a time; on a new connection for the same again.
    pub(crate) fn ask(&mut self, ledger: &mut Ledger, link: &mut Link) {
        if self.asked_as.is_some() {
            return;
        }
        let Some(change) = self.changes.front() else { return };
        self.packet_id = self.packet_id.checked_add(1).unwrap_or(1);
        self.asked_as = Some(self.packet_id);
        match *change {
            Change::Subscribe(filter, qos) => {
                ledger.subscribing(self.index, filter, qos);
                link.say(&wire::subscribe(self.version, self.packet_id, &[(filter, qos)]));
            }
            Change::Unsubscribe(filter) => {
                ledger.unsubscribing(self.index, filter);
                link.say(&wire::unsubscribe(self.version, self.packet_id, &[filter]));
            }
        }
    }

    pub(crate) fn hear(&mut self, ledger: &mut Ledger, link: &Link, packet: Packet) {
        if let Some(limits) = self.limits
            && link.last_packet_bytes() > limits.packet_bytes_max as usize
        {
            let bytes = link.last_packet_bytes();
            self.fault(ledger, &format!("a packet of {bytes} bytes is too large for it"));
        }
        match packet {
            Packet::Publish(publish) => self.take(ledger, &publish),
            Packet::Ack { kind: PUBREL, packet_id, .. } => {
                self.unreleased.remove(&packet_id);
                ledger.released(self.index, packet_id);
                self.acks.push_back((wire::ack(PUBCOMP, packet_id), Some(packet_id)));
            }
            Packet::Suback { packet_id, codes } if Some(packet_id) == self.asked_as => {
                self.asked_as = None;
                let Some(Change::Subscribe(filter, _)) = self.changes.front().copied() else {
                    return self.fault(ledger, "SUBACK for an UNSUBSCRIBE");
                };
                match codes.as_slice() {
                    [granted @ 0..=2] => {
                        self.changes.pop_front();
                        ledger.subscribed(self.index, filter, *granted);
                        self.subscribed.insert(filter);
                    }
                    // The disk fails: it asks again.
                    [code] if *code >= REFUSED => {}
                    _ => self.fault(ledger, &format!("SUBACK for {filter} says {codes:02x?}")),
                }
            }
            Packet::Unsuback { packet_id, codes } if Some(packet_id) == self.asked_as => {
                self.asked_as = None;
                let Some(Change::Unsubscribe(filter)) = self.changes.front().copied() else {
                    return self.fault(ledger, "UNSUBACK for a SUBSCRIBE");
                };
                // 0x11, no subscription existed: the first UNSUBSCRIBE was done and its answer lost.
                match codes.as_slice() {
                    [] | [0 | 0x11] => {
                        self.changes.pop_front();
                        ledger.unsubscribed(self.index, filter);
                        self.subscribed.remove(filter);
                    }
                    [code] if *code >= REFUSED => {}
                    _ => self.fault(ledger, &format!("UNSUBACK for {filter} says {codes:02x?}")),
                }
            }
            Packet::Disconnect { .. } => {}
            other => self.fault(ledger, &format!("what is {other:?}?")),
        }
    }

    fn take(&mut self, ledger: &mut Ledger, publish: &Publish) {
        let id = match &*publish.payload {
            [] => None,
            payload => match message::read(payload) {
                Ok(id) => Some(id),
                Err(text) => return self.fault(ledger, &format!("{text} ({publish:?})")),
            },
        };
        let Publish { qos, retain, dup, packet_id, .. } = *publish;
        if let Some(id) = id.filter(|_| self.version == Version::V5) {
            let left = publish.properties.number(property::MESSAGE_EXPIRY_INTERVAL);
            ledger.judge_interval(self.name, id, left, dup);
        }
        if qos > 0 {
            self.unacknowledged.insert(packet_id);
        }
        let unacknowledged = self.unacknowledged.len();
        if self.limits.is_some_and(|limits| unacknowledged > usize::from(limits.receive_max)) {
            self.fault(ledger, &format!("{unacknowledged} unacknowledged messages are too many"));
        }
        let delivery = Delivery { id, topic: &publish.topic, qos, retain, dup, packet_id };
        if qos == 2 && !self.unreleased.insert(packet_id) {
            ledger.repeated(self.index, &delivery);
        } else {
            ledger.delivered(self.index, &delivery);
        }
        match qos {
            0 => {}
            1 => self.acks.push_back((wire::ack(PUBACK, packet_id), Some(packet_id))),
            _ => self.acks.push_back((wire::ack(PUBREC, packet_id), None)),
        }
    }

    fn fault(&self, ledger: &mut Ledger, text: &str) {
        ledger.fault(format_args!("{}: {text}", self.name));
    }
}

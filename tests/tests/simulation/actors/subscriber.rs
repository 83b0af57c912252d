//! A subscriber as the protocol wants it: it acknowledges what it takes, and remembers the packet ids of
//! QoS 2 messages from PUBLISH to PUBREL, across connections. Some change their subscriptions.

use std::collections::{BTreeSet, VecDeque};

use push_tests::ledger::{Delivery, Ledger, message};
use push_tests::wire::{self, PUBACK, PUBCOMP, PUBREC, PUBREL, Packet, Publish, Version};
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
        }
    }

    pub(crate) fn is_at_rest(&self) -> bool {
        self.changes.is_empty() && self.unreleased.is_empty()
    }

    /// CONNACK came, in this life of the server.
    pub(crate) fn begin(&mut self, ledger: &mut Ledger, clean: bool, present: bool, life: u32) {
        ledger.connected(self.name, clean, present);
        ledger.begin_connection(self.index, life);
        self.asked_as = None;
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

    pub(crate) fn hear(&mut self, ledger: &mut Ledger, link: &mut Link, packet: Packet) {
        match packet {
            Packet::Publish(publish) => self.take(ledger, link, &publish),
            Packet::Ack { kind: PUBREL, packet_id, .. } => {
                self.unreleased.remove(&packet_id);
                ledger.released(self.index, packet_id);
                link.say(&wire::ack(PUBCOMP, packet_id));
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

    fn take(&mut self, ledger: &mut Ledger, link: &mut Link, publish: &Publish) {
        let id = match &*publish.payload {
            [] => None,
            payload => match message::read(payload) {
                Ok(id) => Some(id),
                Err(text) => return self.fault(ledger, &format!("{text} ({publish:?})")),
            },
        };
        let Publish { qos, retain, dup, packet_id, .. } = *publish;
        let delivery = Delivery { id, topic: &publish.topic, qos, retain, dup, packet_id };
        if qos == 2 && !self.unreleased.insert(packet_id) {
            ledger.repeated(self.index, &delivery);
        } else {
            ledger.delivered(self.index, &delivery);
        }
        match qos {
            0 => {}
            1 => link.say(&wire::ack(PUBACK, packet_id)),
            _ => link.say(&wire::ack(PUBREC, packet_id)),
        }
    }

    fn fault(&self, ledger: &mut Ledger, text: &str) {
        ledger.fault(format_args!("{}: {text}", self.name));
    }
}

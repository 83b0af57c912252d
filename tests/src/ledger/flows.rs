//! A publisher's messages under way, as the protocol demands: it keeps unacknowledged ones, and
//! sends them again on the next connection with the same packet id, as PUBLISH with DUP, or as
//! PUBREL once PUBREC has come.
//!
//! It sends nothing itself: the caller gets the packets to send.

use std::collections::{BTreeMap, VecDeque};

use super::message::MessageId;
use super::{Ledger, Publication};
use crate::wire::property::MESSAGE_EXPIRY_INTERVAL;
use crate::wire::{self, PUBACK, PUBCOMP, PUBREC, PUBREL, Properties, Publish, Value, Version};

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

/// Those of one publisher; they outlive its connections as the server's state does.
#[derive(Debug)]
pub struct Flows {
    version: Version,
    queue: VecDeque<Flow>,
    packet_id: u16,
    packet_id_max: u16,
    /// Packet ids whose publish was refused, and in which round: what fails may be on disk all the same.
    refused: BTreeMap<u16, u32>,
}

impl Flows {
    /// Packet ids are used in turn up to `packet_id_max`, so that each is used again soon.
    pub fn new(version: Version, packet_id_max: u16) -> Self {
        Self {
            version,
            queue: VecDeque::new(),
            packet_id: 0,
            packet_id_max,
            refused: BTreeMap::new(),
        }
    }

    /// How many are not acknowledged to their end.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether all are.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// CONNACK came [MQTT-4.4.0-1]: says each of them again. Without a session everything is new to the server.
    /// Returns how many were PUBREL.
    pub fn resume(
        &mut self,
        ledger: &mut Ledger,
        present: bool,
        mut say: impl FnMut(&[u8]),
    ) -> u64 {
        if !present {
            // The server has forgotten what it had received; `connected` has judged that.
            self.queue.retain(|flow| !flow.received);
        }
        let mut releases = 0;
        for flow in &self.queue {
            if flow.received {
                releases += 1;
                say(&wire::ack(PUBREL, flow.packet_id));
            } else {
                ledger.publishing(flow.id, &flow.what);
                let refused = self.refused.get(&flow.packet_id);
                if present && refused.is_some_and(|&round| round < ledger.round()) {
                    // To a server that has begun anew it may be the refused one, and that one is dropped.
                    ledger.may_be_taken_for_another(flow.id);
                }
                say(&flow.packet(self.version, present));
            }
        }
        releases
    }

    /// A new message: returns its PUBLISH.
    pub fn publish(
        &mut self,
        ledger: &mut Ledger,
        id: MessageId,
        what: Publication,
        payload: Vec<u8>,
    ) -> Vec<u8> {
        let packet_id = if what.qos == 0 { 0 } else { self.next_packet_id() };
        let flow = Flow { packet_id, id, what, payload, received: false };
        ledger.publishing(flow.id, &flow.what);
        ledger.has_payload(flow.id, flow.payload.len());
        let packet = flow.packet(self.version, false);
        if flow.what.qos > 0 {
            self.queue.push_back(flow);
        }
        packet
    }

    /// An acknowledgement came to the publisher of this name: kind, packet id, reason. Returns what it is
    /// answered with, if anything.
    pub fn acknowledged(
        &mut self,
        ledger: &mut Ledger,
        name: &str,
        (kind, packet_id, reason): (u8, u16, u8),
    ) -> Option<Vec<u8>> {
        let expected = |flow: &Flow| match (flow.what.qos, flow.received) {
            (1, _) => PUBACK,
            (_, false) => PUBREC,
            (_, true) => PUBCOMP,
        };
        let found = self.queue.iter().position(|flow| flow.packet_id == packet_id);
        let Some(at) = found.filter(|at| expected(&self.queue[*at]) == kind) else {
            ledger.fault(format_args!(
                "{name}: an acknowledgement of type {kind} for packet id {packet_id}, of which \
                 none is due"
            ));
            return None;
        };
        let flow = &mut self.queue[at];
        if kind != PUBCOMP && reason >= 0x80 {
            ledger.refused(flow.id, reason);
            if kind == PUBREC {
                self.refused.insert(packet_id, ledger.round());
            }
            self.queue.remove(at);
        } else if kind == PUBREC {
            ledger.acknowledged(flow.id);
            ledger.promised(name);
            flow.received = true;
            return Some(wire::ack(PUBREL, packet_id));
        } else {
            if kind == PUBACK {
                ledger.acknowledged(flow.id);
            }
            ledger.completed(flow.id);
            if kind == PUBCOMP {
                self.refused.remove(&packet_id);
            }
            self.queue.remove(at);
        }
        None
    }

    /// The next one that no flow has.
    fn next_packet_id(&mut self) -> u16 {
        loop {
            self.packet_id = self.packet_id % self.packet_id_max + 1;
            if self.queue.iter().all(|flow| flow.packet_id != self.packet_id) {
                return self.packet_id;
            }
        }
    }
}

impl Flow {
    fn packet(&self, version: Version, dup: bool) -> Vec<u8> {
        let expiry =
            self.what.expiry_secs.map(|secs| (MESSAGE_EXPIRY_INTERVAL, Value::Number(secs)));
        let publish = Publish {
            properties: Properties(expiry.into_iter().collect()),
            topic: self.what.topic.to_string(),
            payload: self.payload.clone(),
            qos: self.what.qos,
            retain: self.what.retain,
            dup,
            packet_id: self.packet_id,
        };
        wire::publish(version, &publish)
    }
}

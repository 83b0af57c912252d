//! Unacknowledged messages, in both directions.

use std::collections::{BTreeMap, VecDeque};

use super::codec::Reason;
use super::delivery::Delivery;
use super::owed::{Owed, packet_id};
use crate::broker::QoS;
use crate::mutant::{Rule, is_left_out};

/// Publishes to a client that it has not fully acknowledged, in the order they were sent. The last
/// `unsent` of them come from an earlier connection and were not sent again yet. The window that
/// they were sent under bounds them, and so does the number of packet ids.
#[derive(Debug, Default)]
pub(super) struct Inflight {
    entries: VecDeque<InflightEntry>,
    unsent: usize,
    /// Publishes sent on this connection; the client's Receive Maximum limits them [MQTT-3.3.4-9].
    counted: u16,
}

#[derive(Debug)]
pub(super) struct InflightEntry {
    pub(super) position: u64,
    counted: bool,
    /// PUBREC came, and the disk does not know yet: PUBREL has to wait.
    is_unreleased: bool,
    /// `None` once PUBREC came; from then on PUBREL is owed.
    pub(super) owed: Option<Owed>,
}

/// What to send again [MQTT-4.4.0-1].
#[derive(Debug)]
pub(super) enum Retry {
    /// A PUBLISH, with DUP.
    Publish(u16, Delivery),
    /// A PUBREL.
    Release(u16),
}

/// What a PUBREC leads to.
#[derive(Debug)]
pub(super) enum PubrecOutcome {
    /// The message at this position arrived: answer with PUBREL. Carries the message if this was
    /// its first PUBREC.
    Release(u64, Option<Owed>),
    /// The client refused the message, which ends the flow [MQTT5 4.3.3].
    Refused(EndedDelivery),
    /// No such flow.
    Unknown,
}

/// A flow that has ended.
#[derive(Debug)]
pub(super) struct EndedDelivery {
    pub(super) position: u64,
    /// Its message, unless PUBREC came before.
    pub(super) owed: Option<Owed>,
}

impl Inflight {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes that this takes in memory, messages excepted.
    pub(super) fn bytes(&self) -> usize {
        self.entries.capacity() * size_of::<InflightEntry>()
    }

    pub(super) fn has_retries(&self) -> bool {
        self.unsent != 0
    }

    /// Whether a PUBLISH from `position` fits `window`, and its packet id is free. A client that
    /// never acknowledges one message holds up the one that comes 65,535 later.
    pub(super) fn has_room(&self, window: u16, position: u64) -> bool {
        self.counted < window && self.find(packet_id(position)).is_none()
    }

    /// Whether `retry` would return anything.
    pub(super) fn has_retry(&self, window: u16) -> bool {
        self.first_unsent().is_some_and(|index| match &self.entries[index] {
            InflightEntry { owed: Some(_), .. } => self.counted < window,
            InflightEntry { owed: None, is_unreleased, .. } => !is_unreleased,
        })
    }

    /// Notes a message as sent. `has_room` must be true.
    pub(super) fn push(&mut self, owed: Owed) {
        debug_assert!(!self.has_retries() && self.find(packet_id(owed.position)).is_none());
        let position = owed.position;
        let owed = Some(owed);
        let entry = InflightEntry { position, counted: true, is_unreleased: false, owed };
        self.entries.push_back(entry);
        self.counted += 1;
    }

    /// Adds at the end a message that an earlier connection sent, or may have sent; it will be sent
    /// again. `None`: PUBREL is owed.
    pub(super) fn push_retry(&mut self, position: u64, owed: Option<Owed>) {
        let entry = InflightEntry { position, counted: false, is_unreleased: false, owed };
        let behind = if is_left_out(Rule::RetryOrder) { self.unsent } else { 0 };
        self.entries.insert(self.entries.len() - behind, entry);
        self.unsent += 1;
    }

    /// The next packet to send again, in the original order [MQTT-4.6.0-1]. `None`: there is none,
    /// or `window` is full.
    pub(super) fn retry(&mut self, window: u16) -> Option<Retry> {
        if !self.has_retry(window) {
            return None;
        }
        let index = self.first_unsent()?;
        self.unsent -= 1;
        let entry = &mut self.entries[index];
        let packet_id = packet_id(entry.position);
        Some(match &entry.owed {
            Some(owed) => {
                entry.counted = true;
                self.counted += 1;
                Retry::Publish(packet_id, owed.delivery.clone())
            }
            None => Retry::Release(packet_id),
        })
    }

    /// PUBACK. Returns the flow that it ended; `None`: the packet id is unknown.
    pub(super) fn acknowledge(&mut self, packet_id: u16) -> Result<Option<EndedDelivery>, Reason> {
        let Some(index) = self.find(packet_id) else { return Ok(None) };
        match &self.entries[index].owed {
            Some(owed) if owed.delivery.qos == QoS::AtLeastOnce => Ok(self.remove(index)),
            _ => Err(Reason::ProtocolError),
        }
    }

    /// PUBREC.
    pub(super) fn receive(
        &mut self,
        packet_id: u16,
        is_error: bool,
    ) -> Result<PubrecOutcome, Reason> {
        let Some(index) = self.find(packet_id) else { return Ok(PubrecOutcome::Unknown) };
        let entry = &mut self.entries[index];
        match &entry.owed {
            Some(owed) if owed.delivery.qos != QoS::ExactlyOnce => Err(Reason::ProtocolError),
            _ if is_error => {
                Ok(self.remove(index).map_or(PubrecOutcome::Unknown, PubrecOutcome::Refused))
            }
            _ => Ok(PubrecOutcome::Release(entry.position, entry.owed.take())),
        }
    }

    /// The disk was asked to note that the message at this position was received.
    pub(super) fn release_begins(&mut self, position: u64) {
        if let Some(entry) = self.entry_mut(position) {
            entry.is_unreleased = true;
        }
    }

    /// The disk has noted it.
    pub(super) fn released(&mut self, position: u64) {
        if let Some(entry) = self.entry_mut(position) {
            entry.is_unreleased = false;
        }
    }

    /// Positions of received messages that the disk may not know of yet.
    pub(super) fn unreleased(&self) -> impl Iterator<Item = u64> {
        let unreleased = self.entries.iter().filter(|entry| entry.is_unreleased);
        unreleased.map(|entry| entry.position)
    }

    /// PUBCOMP. `None`: the packet id is unknown, because its flow ended before.
    pub(super) fn complete(&mut self, packet_id: u16) -> Result<Option<EndedDelivery>, Reason> {
        match self.find(packet_id) {
            Some(index) if self.entries[index].owed.is_some() => Err(Reason::ProtocolError),
            Some(index) => Ok(self.remove(index)),
            None => Ok(None),
        }
    }

    /// Ends a flow as if the client had acknowledged it.
    pub(super) fn forget(&mut self, packet_id: u16) -> Option<EndedDelivery> {
        self.find(packet_id).and_then(|index| self.remove(index))
    }

    /// The connection has ended: everything must be sent again on the next one.
    pub(super) fn restart(&mut self) {
        self.unsent = self.entries.len();
        self.counted = 0;
        self.entries.iter_mut().for_each(|entry| entry.counted = false);
    }

    /// All flows, in the order they were sent.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &InflightEntry> {
        self.entries.iter()
    }

    /// The message at `position`, while it waits for its first acknowledgement.
    pub(super) fn owed_mut(&mut self, position: u64) -> Option<&mut Owed> {
        self.entry_mut(position)?.owed.as_mut()
    }

    fn entry_mut(&mut self, position: u64) -> Option<&mut InflightEntry> {
        let index = self.find(packet_id(position))?;
        self.entries.get_mut(index).filter(|entry| entry.position == position)
    }

    /// All messages that wait for their first acknowledgement.
    pub(super) fn owed_iter_mut(&mut self) -> impl Iterator<Item = &mut Owed> {
        self.entries.iter_mut().filter_map(|entry| entry.owed.as_mut())
    }

    /// Takes out the QoS 1 messages that `which` selects, in order.
    pub(super) fn take_unacknowledged(
        &mut self,
        mut which: impl FnMut(&Delivery) -> bool,
    ) -> Vec<Owed> {
        let mut wanted = |entry: &InflightEntry| {
            let delivery = &entry.owed.as_ref()?.delivery;
            (delivery.qos == QoS::AtLeastOnce && which(delivery)).then(|| packet_id(entry.position))
        };
        let ids: Vec<u16> = self.entries.iter().filter_map(&mut wanted).collect();
        ids.into_iter().filter_map(|packet_id| self.forget(packet_id)?.owed).collect()
    }

    fn first_unsent(&self) -> Option<usize> {
        (self.unsent != 0).then(|| self.entries.len() - self.unsent)
    }

    /// Searches from the front, since clients acknowledge in order [MQTT-4.6.0-2].
    fn find(&self, id: u16) -> Option<usize> {
        self.entries.iter().position(|entry| packet_id(entry.position) == id)
    }

    fn remove(&mut self, index: usize) -> Option<EndedDelivery> {
        if index + self.unsent >= self.entries.len() {
            self.unsent -= 1;
        }
        let InflightEntry { position, counted, owed, .. } = self.entries.remove(index)?;
        self.counted -= u16::from(counted);
        Some(EndedDelivery { position, owed })
    }
}

/// Packet ids of a client's QoS 2 publishes, from PUBLISH to PUBREL, to recognise a repeated
/// PUBLISH. There are at most 65,535.
#[derive(Debug, Default)]
pub(super) struct Exactly(BTreeMap<u16, ReceivedPublish>);

/// Bytes that one of them takes, in a tree whose nodes are half full.
const EXACTLY_BYTES: usize = 16;

/// How far the server has come with a client's QoS 2 publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReceivedPublish {
    /// The server is routing it; the receipt is not back.
    Pending,
    /// The same, and the client has sent it again on a newer connection.
    Asked,
    /// The server has routed it and sent PUBREC.
    Done,
    /// A start has found its packet id.
    Found,
}

impl Exactly {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Bytes that they take in memory, at half-full nodes.
    pub(super) fn bytes(&self) -> usize {
        self.0.len() * EXACTLY_BYTES
    }

    /// The server took this publish before it restarted, and answered it, unless the disk failed
    /// for it.
    pub(super) fn recover(&mut self, packet_id: u16) {
        self.0.insert(packet_id, ReceivedPublish::Found);
    }

    /// How far the publish with this packet id has come, if it came before.
    pub(super) fn find(&self, packet_id: u16) -> Option<ReceivedPublish> {
        self.0.get(&packet_id).copied()
    }

    /// PUBLISH came again while the receipt is not back.
    pub(super) fn ask(&mut self, packet_id: u16) {
        self.0.entry(packet_id).and_modify(|routing| *routing = ReceivedPublish::Asked);
    }

    /// PUBLISH came for the first time.
    pub(super) fn begin(&mut self, packet_id: u16) {
        self.0.insert(packet_id, ReceivedPublish::Pending);
    }

    /// The publish was routed. Returns whether PUBREC is still owed: the client may have released
    /// the id.
    pub(super) fn routed(&mut self, packet_id: u16) -> bool {
        if is_left_out(Rule::PacketIdKept) {
            return self.end(packet_id);
        }
        match self.0.get_mut(&packet_id) {
            Some(routing) => {
                *routing = ReceivedPublish::Done;
                true
            }
            None => false,
        }
    }

    /// PUBREL, or the publish was refused. Returns whether the packet id was known.
    pub(super) fn end(&mut self, packet_id: u16) -> bool {
        self.0.remove(&packet_id).is_some()
    }

    /// The connection has ended, and receipts will still come back.
    pub(super) fn keep(&mut self) {
        for routing in self.0.values_mut().filter(|routing| **routing == ReceivedPublish::Asked) {
            *routing = ReceivedPublish::Pending;
        }
    }

    /// The connection has ended, and open receipts with it. Their publishes may have reached
    /// subscribers, so they count as routed: never twice [MQTT-4.3.3-2].
    pub(super) fn restart(&mut self) {
        self.0.values_mut().for_each(|routing| *routing = ReceivedPublish::Done);
    }
}

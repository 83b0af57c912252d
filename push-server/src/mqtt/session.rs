//! A client's MQTT state, which outlives connections.

use std::collections::VecDeque;
use std::sync::Arc;

use push_common::clock::Monotonic;

use super::Limits;
use super::codec::Reason;
use super::inflight::{Exactly, Inflight, Received, Retry, Routing};
use crate::broker::{Message, QoS, SubscriptionOptions, TopicFilter, Via};

/// A session.
#[derive(Debug)]
pub struct Session {
    client_id: Box<str>,
    /// The client's subscriptions, for resumption and clean-up.
    pub subscriptions: Vec<(TopicFilter, SubscriptionOptions)>,
    /// Nothing while nothing is pending, as with nearly every session nearly always.
    pending: Option<Box<Pending>>,
    /// How long it outlives its connection, in seconds; `u32::MAX`: for ever.
    pub expiry_secs: u32,
    /// The packet id given out last.
    last_packet_id: u16,
}

/// A message for a session.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// What.
    pub message: Arc<Message>,
    /// The lower of the message's and the subscription's.
    pub qos: QoS,
    /// The RETAIN flag to send.
    pub retain: bool,
    /// By which subscriptions it came.
    pub via: Via,
}

impl Delivery {
    /// What it counts against `Limits::outbox_bytes_max`.
    fn size(&self) -> u64 {
        self.message.weight_bytes() as u64
    }
}

/// What became of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivered {
    /// It is in the outbox.
    Queued,
    /// In the outbox, and that many queued QoS 0 messages were dropped for it.
    QueuedDropping(u32),
    /// Dropped, the outbox being full: a QoS 0 message, or any for a session without connection.
    /// Without connection QoS 0 messages are never queued.
    Dropped,
    /// Not taken: QoS 1 or 2 for a connected client that does not keep up. Close with 0x97.
    Overflow,
}

/// What a session forgets with its connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// Messages of QoS 0.
    pub at_most_once: u32,
    /// Others whose expiry interval had passed before they were sent.
    pub expired: u32,
}

/// What a session sends next.
#[derive(Debug)]
pub(super) enum Next {
    /// A PUBLISH; packet id 0 with QoS 0.
    Publish { delivery: Delivery, packet_id: u16, dup: bool },
    /// A PUBREL.
    Release(u16),
}

impl Session {
    /// A new session.
    pub fn new(client_id: &str, expiry_secs: u32) -> Self {
        Self {
            client_id: client_id.into(),
            subscriptions: Vec::new(),
            pending: None,
            expiry_secs,
            last_packet_id: 0,
        }
    }

    /// Whose it is.
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// Puts a message into the outbox.
    ///
    /// Messages unacknowledged count against its limits. A session that is owed nothing takes any
    /// message, even one larger than `outbox_bytes_max`. Where room is missing, queued QoS 0
    /// messages make it for the others, the oldest first, if that is enough.
    pub fn deliver(&mut self, delivery: Delivery, connected: bool, limits: &Limits) -> Delivered {
        if !connected && delivery.qos == QoS::AtMostOnce {
            return Delivered::Dropped;
        }
        let pending = self.pending.get_or_insert_default();
        if pending.total().takes(delivery.size(), limits) {
            pending.push(delivery);
            return Delivered::Queued;
        }
        if delivery.qos == QoS::AtMostOnce {
            return Delivered::Dropped;
        }
        match pending.make_room(delivery.size(), limits) {
            Some(dropped) => {
                pending.push(delivery);
                Delivered::QueuedDropping(dropped)
            }
            None if connected => Delivered::Overflow,
            None => Delivered::Dropped,
        }
    }

    /// Whether a message finds room without another, or the client, being dropped for it.
    pub fn has_room(&self, delivery: &Delivery, connected: bool, limits: &Limits) -> bool {
        let at_most_once = delivery.qos == QoS::AtMostOnce;
        if at_most_once && !connected {
            return false;
        }
        self.pending.as_deref().is_none_or(|pending| {
            let total = pending.total();
            let in_the_way = if at_most_once { total } else { total.without(pending.at_most_once) };
            in_the_way.takes(delivery.size(), limits)
        })
    }

    /// Takes out, in their order, the messages of QoS 1 and 2 that came by a shared subscription
    /// which `left` names, as far as another member may have them: those never sent, and, if the
    /// session `ends`, those of QoS 1 sent and not acknowledged. What was sent at QoS 2 no other
    /// member may have [MQTT-4.8.2-5].
    pub fn take_shared(
        &mut self,
        ends: bool,
        mut left: impl FnMut(&TopicFilter) -> bool,
    ) -> Vec<Delivery> {
        let Some(pending) = self.pending.as_deref_mut() else { return Vec::new() };
        let mut is_left =
            |delivery: &Delivery| delivery.via.group().is_some_and(|group| left(group.filter()));
        let mut taken =
            if ends { pending.inflight.take_unacknowledged(&mut is_left) } else { Vec::new() };
        for delivery in &taken {
            pending.bytes -= delivery.size();
        }
        pending.discard(|delivery| {
            let take = delivery.qos != QoS::AtMostOnce && is_left(delivery);
            if take {
                taken.push(delivery.clone());
            }
            take
        });
        self.tidy();
        taken
    }

    /// Whether anything waits to be sent. It may have to wait longer: see
    /// `Connection::has_transmit`.
    pub fn has_outbox(&self) -> bool {
        let waits =
            |pending: &Pending| !pending.outbox.is_empty() || pending.inflight.has_retries();
        self.pending.as_deref().is_some_and(waits)
    }

    /// Messages owed: outbox and inflight.
    pub fn owed(&self) -> usize {
        self.pending.as_ref().map_or(0, |pending| pending.outbox.len() + pending.inflight.len())
    }

    /// Tells the session that its connection ended at `now`: what was sent and not acknowledged is
    /// to be sent again, QoS 0 messages are forgotten, and so are expired ones that were never
    /// sent. Returns how many were forgotten.
    pub fn connection_ended(&mut self, now: Monotonic) -> Forgotten {
        let Some(pending) = self.pending.as_deref_mut() else { return Forgotten::default() };
        let at_most_once = pending.discard(|delivery| delivery.qos == QoS::AtMostOnce);
        let expired = pending.discard(|delivery| delivery.message.is_expired(now));
        self.restart();
        Forgotten { at_most_once, expired }
    }

    /// A new connection begins, whether or not anybody said that the last one ended: what is
    /// unacknowledged is to be sent again.
    pub(super) fn restart(&mut self) {
        let Some(pending) = self.pending.as_deref_mut() else { return };
        pending.inflight.restart();
        pending.exactly.restart();
        self.tidy();
    }

    /// Whether `next` would find anything to send within `window`, expired messages included.
    pub(super) fn has_next(&self, window: u16) -> bool {
        self.pending.as_deref().is_some_and(|pending| {
            if pending.inflight.has_retries() {
                return pending.inflight.has_retry(window);
            }
            let fits =
                |next: &Delivery| next.qos == QoS::AtMostOnce || pending.inflight.has_room(window);
            pending.outbox.front().is_some_and(fits)
        })
    }

    /// Takes what is to be sent next: first what an earlier connection left unacknowledged, then
    /// the outbox, as long as less than `window` publishes are unacknowledged. Messages that
    /// `judge` (given whether the message was sent before) rejects are dropped.
    pub(super) fn next(
        &mut self,
        window: u16,
        mut judge: impl FnMut(&Delivery, bool) -> bool,
    ) -> Option<Next> {
        let pending = self.pending.as_deref_mut()?;
        while pending.inflight.has_retries() {
            match pending.inflight.retry(window)? {
                Retry::Release(packet_id) => return Some(Next::Release(packet_id)),
                Retry::Publish(packet_id, delivery) if judge(&delivery, true) => {
                    return Some(Next::Publish { delivery, packet_id, dup: true });
                }
                Retry::Publish(packet_id, _) => {
                    let dropped = pending.inflight.forget(packet_id);
                    pending.settle(dropped.as_ref());
                }
            }
        }
        loop {
            let exact = pending.outbox.front()?.qos != QoS::AtMostOnce;
            if exact && !pending.inflight.has_room(window) {
                return None;
            }
            let delivery = pending.pop()?;
            if !judge(&delivery, false) {
                pending.settle(Some(&delivery));
                continue;
            }
            let mut packet_id = 0;
            if exact {
                packet_id = pending.inflight.push(self.last_packet_id, delivery.clone());
                self.last_packet_id = packet_id;
            } else {
                pending.settle(Some(&delivery));
            }
            return Some(Next::Publish { delivery, packet_id, dup: false });
        }
    }

    /// PUBACK.
    pub(super) fn acknowledge(&mut self, packet_id: u16) -> Result<(), Reason> {
        let Some(pending) = self.pending.as_deref_mut() else { return Ok(()) };
        let delivery = pending.inflight.acknowledge(packet_id)?;
        pending.settle(delivery.as_ref());
        self.tidy();
        Ok(())
    }

    /// PUBREC. Returns the reason for the PUBREL to answer with; `None`: none is due.
    pub(super) fn receive(
        &mut self,
        packet_id: u16,
        is_error: bool,
    ) -> Result<Option<Reason>, Reason> {
        let pending = self.pending.get_or_insert_default();
        let received = pending.inflight.receive(packet_id, is_error);
        let answer = match &received {
            Ok(Received::Release(delivery)) => {
                pending.settle(delivery.as_ref());
                Some(Reason::Success)
            }
            Ok(Received::Refused(delivery)) => {
                pending.settle(delivery.as_ref());
                None
            }
            // An error ends the flow, also one that was not there.
            Ok(Received::Unknown) => (!is_error).then_some(Reason::PacketIdentifierNotFound),
            Err(_) => None,
        };
        self.tidy();
        received.map(|_| answer)
    }

    /// PUBCOMP.
    pub(super) fn complete(&mut self, packet_id: u16) -> Result<(), Reason> {
        let Some(pending) = self.pending.as_deref_mut() else { return Ok(()) };
        pending.inflight.complete(packet_id)?;
        self.tidy();
        Ok(())
    }

    /// Where a client's QoS 2 publish is, if it came before.
    pub(super) fn exactly_once(&self, packet_id: u16) -> Option<Routing> {
        self.pending.as_deref().and_then(|pending| pending.exactly.find(packet_id))
    }

    /// A client's QoS 2 publish came for the first time.
    pub(super) fn begin_exactly_once(&mut self, packet_id: u16) {
        self.pending.get_or_insert_default().exactly.begin(packet_id);
    }

    /// A client's QoS 2 publish was routed, or refused, which ends its flow. Returns whether PUBREC
    /// is still owed.
    pub(super) fn routed_exactly_once(&mut self, packet_id: u16, refused: bool) -> bool {
        let Some(pending) = self.pending.as_deref_mut() else { return false };
        let owed = if refused {
            pending.exactly.end(packet_id)
        } else {
            pending.exactly.routed(packet_id)
        };
        self.tidy();
        owed
    }

    /// PUBREL. Returns whether its packet id was known.
    pub(super) fn release(&mut self, packet_id: u16) -> bool {
        let known =
            self.pending.as_deref_mut().is_some_and(|pending| pending.exactly.end(packet_id));
        self.tidy();
        known
    }

    /// Gives memory back where nothing is pending.
    pub(super) fn tidy(&mut self) {
        if self.pending.as_deref().is_some_and(Pending::is_empty) {
            self.pending = None;
        }
    }
}

/// What a session has under way.
#[derive(Debug, Default)]
struct Pending {
    outbox: VecDeque<Delivery>,
    inflight: Inflight,
    exactly: Exactly,
    /// Payload and topic bytes of outbox and inflight.
    bytes: u64,
    /// The QoS 0 messages in the outbox.
    at_most_once: Load,
}

/// So many messages and so many bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Load {
    messages: u64,
    bytes: u64,
}

impl Load {
    /// Whether a message of `size` bytes may come on top.
    fn takes(self, size: u64, limits: &Limits) -> bool {
        self.messages == 0
            || (self.messages < u64::from(limits.outbox_messages_max)
                && self.bytes + size <= limits.outbox_bytes_max)
    }

    fn without(self, other: Self) -> Self {
        Self { messages: self.messages - other.messages, bytes: self.bytes - other.bytes }
    }
}

impl Pending {
    fn is_empty(&self) -> bool {
        self.outbox.is_empty() && self.inflight.is_empty() && self.exactly.is_empty()
    }

    fn total(&self) -> Load {
        Load { messages: (self.outbox.len() + self.inflight.len()) as u64, bytes: self.bytes }
    }

    fn push(&mut self, delivery: Delivery) {
        self.bytes += delivery.size();
        if delivery.qos == QoS::AtMostOnce {
            self.at_most_once.messages += 1;
            self.at_most_once.bytes += delivery.size();
        }
        self.outbox.push_back(delivery);
    }

    /// Takes the first message out of the outbox; `settle` it unless it is inflight from now on.
    fn pop(&mut self) -> Option<Delivery> {
        let delivery = self.outbox.pop_front()?;
        if delivery.qos == QoS::AtMostOnce {
            self.at_most_once.messages -= 1;
            self.at_most_once.bytes -= delivery.size();
        }
        Some(delivery)
    }

    /// A message is owed no longer.
    fn settle(&mut self, delivery: Option<&Delivery>) {
        self.bytes -= delivery.map_or(0, Delivery::size);
    }

    /// Drops as many QoS 0 messages as make room for `size` bytes, the oldest first; none, if all
    /// of them would not. Returns how many, or `None` when there is no room.
    fn make_room(&mut self, size: u64, limits: &Limits) -> Option<u32> {
        if !self.total().without(self.at_most_once).takes(size, limits) {
            return None;
        }
        let mut total = self.total();
        Some(self.discard(|delivery| {
            let drop = delivery.qos == QoS::AtMostOnce && !total.takes(size, limits);
            if drop {
                total = total.without(Load { messages: 1, bytes: delivery.size() });
            }
            drop
        }))
    }

    /// Drops the messages of the outbox that `which` points at. Returns how many.
    fn discard(&mut self, mut which: impl FnMut(&Delivery) -> bool) -> u32 {
        let mut dropped = Load::default();
        let mut at_most_once = Load::default();
        self.outbox.retain(|delivery| {
            let drop = which(delivery);
            if drop {
                let load = Load { messages: 1, bytes: delivery.size() };
                dropped.messages += load.messages;
                dropped.bytes += load.bytes;
                if delivery.qos == QoS::AtMostOnce {
                    at_most_once.messages += load.messages;
                    at_most_once.bytes += load.bytes;
                }
            }
            !drop
        });
        self.bytes -= dropped.bytes;
        self.at_most_once = self.at_most_once.without(at_most_once);
        dropped.messages as u32
    }
}

#[cfg(test)]
mod tests;

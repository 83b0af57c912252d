//! What a session sends next, and how the client's acknowledgements change it.

use super::super::codec::Reason;
use super::super::delivery::Delivery;
use super::super::inflight::{PubrecOutcome, Retry};
use super::super::outbox::Outbox;
use super::super::owed::{Owed, SessionChange, packet_id};
use super::Session;
use crate::access::Subject;
use crate::broker::{Fate, QoS};
use crate::mutant::{Rule, is_left_out};

/// What happens to the next message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum SendOutcome {
    /// It is sent.
    Sent,
    /// It is dropped.
    Dropped,
    /// It is left to other members of its group.
    Left,
}

/// What a session sends next.
#[derive(Debug)]
pub(in super::super) enum Next {
    /// A PUBLISH; packet id 0 with QoS 0.
    Publish { delivery: Delivery, packet_id: u16, dup: bool },
    /// A PUBREL.
    Release(u16),
}

impl Session {
    /// Whether anything waits to be sent. It may have to wait longer: see
    /// `Connection::has_transmit`.
    pub fn has_outbox(&self) -> bool {
        let waits = |outbox: &Outbox| outbox.has_waiting() || outbox.inflight.has_retries();
        self.outbox.as_deref().is_some_and(waits)
    }

    /// Whether `next` would find anything within `window`, expired messages included.
    pub(in super::super) fn has_next(&self, window: u16) -> bool {
        self.outbox.as_deref().is_some_and(|outbox| {
            if outbox.inflight.has_retries() {
                return outbox.inflight.has_retry(window);
            }
            let fits = |next: &Owed| {
                next.delivery.qos == QoS::AtMostOnce
                    || outbox.inflight.has_room(window, next.position)
            };
            outbox.peek().is_some_and(fits)
        })
    }

    /// Takes the next packet to send: first the unacknowledged ones of an earlier connection, then
    /// the outbox, while fewer than `window` publishes are unacknowledged. `judge` decides about
    /// each message; its second argument says whether the message was sent before, in which case it
    /// cannot be left to others.
    pub(in super::super) fn next(
        &mut self,
        window: u16,
        mut judge: impl FnMut(&Delivery, bool, Subject<'_>) -> SendOutcome,
    ) -> Option<Next> {
        let receiver = self.name.subject(&self.rights);
        let outbox = self.outbox.as_deref_mut()?;
        while outbox.inflight.has_retries() {
            match outbox.inflight.retry(window)? {
                Retry::Release(packet_id) => return Some(Next::Release(packet_id)),
                Retry::Publish(packet_id, delivery)
                    if judge(&delivery, true, receiver) == SendOutcome::Sent =>
                {
                    let dup = !is_left_out(Rule::RetryIsDup);
                    return Some(Next::Publish { delivery, packet_id, dup });
                }
                Retry::Publish(packet_id, _) => {
                    if let Some(ended) = outbox.inflight.forget(packet_id) {
                        outbox.end(&ended, self.is_durable);
                    }
                }
            }
        }
        loop {
            let front = outbox.front()?;
            let (position, exact) = (front.position, front.delivery.qos != QoS::AtMostOnce);
            if exact && !outbox.inflight.has_room(window, position) {
                return None;
            }
            let owed = outbox.pop()?;
            match judge(&owed.delivery, false, receiver) {
                SendOutcome::Sent => {}
                SendOutcome::Dropped => {
                    outbox.settle(&owed);
                    continue;
                }
                SendOutcome::Left => {
                    outbox.leave(owed);
                    continue;
                }
            }
            let delivery = owed.delivery.clone();
            if !exact {
                outbox.settle(&owed);
                return Some(Next::Publish { delivery, packet_id: 0, dup: false });
            }
            outbox.sent_to = outbox.sent_to.max(position + 1);
            outbox.inflight.push(owed);
            return Some(Next::Publish { delivery, packet_id: packet_id(position), dup: false });
        }
    }

    /// PUBACK.
    pub(in super::super) fn acknowledge(
        &mut self,
        packet_id: u16,
        is_error: bool,
    ) -> Result<(), Reason> {
        let Self { outbox, name, is_durable, .. } = self;
        let Some(outbox) = outbox.as_deref_mut() else { return Ok(()) };
        if let Some(ended) = outbox.inflight.acknowledge(packet_id)? {
            let fate = if is_error { Fate::Refused } else { Fate::Acknowledged };
            outbox.send_slip_back(ended.position, name.client_id(), fate);
            outbox.end(&ended, *is_durable);
        }
        self.tidy();
        Ok(())
    }

    /// PUBREC. Returns the reason code of the PUBREL that answers it; `None`: no answer.
    pub(in super::super) fn receive(
        &mut self,
        packet_id: u16,
        is_error: bool,
    ) -> Result<Option<Reason>, Reason> {
        let Self { outbox, name, .. } = self;
        let outbox = outbox.get_or_insert_default();
        let received = outbox.inflight.receive(packet_id, is_error);
        let answer = match &received {
            Ok(PubrecOutcome::Release(_, Some(owed))) => {
                outbox.received(owed);
                Some(Reason::Success)
            }
            Ok(PubrecOutcome::Release(position, None)) => {
                // PUBREL leaves after this change, and so after that of the first PUBREC; if the
                // first has failed, this one makes up for it.
                if self.is_durable {
                    outbox.changes.push(SessionChange::Release(*position));
                }
                Some(Reason::Success)
            }
            Ok(PubrecOutcome::Refused(ended)) => {
                outbox.send_slip_back(ended.position, name.client_id(), Fate::Refused);
                outbox.end(ended, self.is_durable);
                None
            }
            // An error code ends the flow, whether or not it was known.
            Ok(PubrecOutcome::Unknown) => (!is_error).then_some(Reason::PacketIdentifierNotFound),
            Err(_) => None,
        };
        self.tidy();
        received.map(|_| answer)
    }

    /// PUBCOMP.
    pub(in super::super) fn complete(&mut self, packet_id: u16) -> Result<(), Reason> {
        let Self { outbox, name, is_durable, .. } = self;
        let Some(outbox) = outbox.as_deref_mut() else { return Ok(()) };
        if let Some(ended) = outbox.inflight.complete(packet_id)? {
            outbox.send_slip_back(ended.position, name.client_id(), Fate::Acknowledged);
            outbox.end(&ended, *is_durable);
        }
        self.tidy();
        Ok(())
    }
}

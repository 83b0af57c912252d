//! What comes to a subscriber, judged as it comes: nothing invented, nothing changed, nothing
//! twice that may come once, nothing out of order, nothing that nobody asked for.

use std::sync::Arc;

use super::message::MessageId;
use super::{Latest, Ledger, Receipt, Routing, Sent, Subscriber};

/// A PUBLISH that a subscriber takes: repeated QoS 2 packets of a flow under way do not count.
#[derive(Clone, Debug)]
pub struct Delivery<'a> {
    /// `None`: it has no payload.
    pub id: Option<MessageId>,
    /// Where it was published.
    pub topic: &'a str,
    /// 0 to 2.
    pub qos: u8,
    /// RETAIN: for a new subscription.
    pub retain: bool,
    /// DUP: perhaps not for the first time.
    pub dup: bool,
    /// 0 with QoS 0.
    pub packet_id: u16,
}

impl Ledger {
    /// A subscriber's new connection, with that life of the server.
    pub fn begin_connection(&mut self, subscriber: usize, life: u32) {
        let subscriber = &mut self.subscribers[subscriber];
        subscriber.connection += 1;
        subscriber.life = life;
        subscriber.latest_again.clear();
    }

    /// A message came.
    pub fn delivered(&mut self, subscriber: usize, delivery: &Delivery<'_>) {
        self.moment += 1;
        if delivery.qos == 2 {
            let unreleased = &mut self.subscribers[subscriber].unreleased;
            unreleased.insert(delivery.packet_id, delivery.id);
        }
        if delivery.qos == 1 {
            // It answers at once.
            self.subscribers[subscriber].confirmed.extend(delivery.id);
        }
        if let Err(text) = self.judge(subscriber, delivery) {
            let about = delivery.id.map_or_else(
                || format!("an empty message on {}", delivery.topic),
                |id| self.described(id),
            );
            let name = self.subscribers[subscriber].name.clone();
            let Delivery { topic, qos, retain, dup, packet_id, .. } = delivery;
            self.fault(format_args!(
                "{name}: {text}: {about}; came on {topic}, QoS {qos}, packet id {packet_id}, \
                 DUP {dup}, RETAIN {retain}"
            ));
        }
    }

    /// A QoS 2 PUBLISH came again, under a packet id whose PUBREL is awaited.
    pub fn repeated(&mut self, subscriber: usize, delivery: &Delivery<'_>) {
        self.moment += 1;
        self.counts.repeated += 1;
        let of = &mut self.subscribers[subscriber];
        let sent = delivery.id.and_then(|id| Some((id, self.messages.get(&id)?)));
        if let Some((id, sent)) = sent.filter(|_| !delivery.retain)
            && let Err(text) = judge_order_again(of, id, sent, delivery)
        {
            let (name, about) = (of.name.clone(), self.described(id));
            self.fault(format_args!("{name}: {text}: {about}"));
        }
        let subscriber = &self.subscribers[subscriber];
        let before = subscriber.unreleased.get(&delivery.packet_id).copied().flatten();
        if before != delivery.id {
            let (name, packet_id) = (subscriber.name.clone(), delivery.packet_id);
            let describe = |id: Option<MessageId>| {
                id.map_or_else(|| "an empty message".to_owned(), |id| self.described(id))
            };
            let (before, now) = (describe(before), describe(delivery.id));
            self.fault(format_args!(
                "{name}: packet id {packet_id} is given to {now} while it is that of {before}"
            ));
        }
    }

    /// PUBREL came.
    pub fn released(&mut self, subscriber: usize, packet_id: u16) {
        self.moment += 1;
        let subscriber = &mut self.subscribers[subscriber];
        subscriber.confirmed.extend(subscriber.unreleased.remove(&packet_id).flatten());
    }

    fn judge(&mut self, subscriber: usize, delivery: &Delivery<'_>) -> Result<(), String> {
        let Some(id) = delivery.id else { return self.judge_empty(delivery) };
        let is_settled = id.number < self.floors.get(&id.publisher).copied().unwrap_or(0);
        if is_settled && delivery.qos == 1 {
            // Its PUBACK may have been lost with the server.
            self.counts.repeated += 1;
            return Ok(());
        }
        if is_settled && !delivery.retain {
            return Err("delivered again after all was settled".into());
        }
        let Some(sent) = self.messages.get(&id) else {
            let text = if is_settled { "retained long after it was replaced" } else { "invented" };
            return Err(text.into());
        };
        let subscriber = &mut self.subscribers[subscriber];
        if *sent.what.topic != *delivery.topic {
            return Err("it came on another topic".into());
        }
        let right = judge_right(subscriber, sent, delivery);
        let receipt = subscriber.receipts.entry(id).or_default();
        if delivery.retain {
            right?;
            receipt.retained_times += 1;
            let asks = |sent: &Sent| -> u32 {
                let terms = subscriber.terms.iter().filter(|term| term.matches(sent));
                terms.map(|term| term.asks).sum()
            };
            return match receipt.retained_times > asks(sent) && delivery.qos == 2 {
                true => Err("a retained message came more often than it was asked for".into()),
                false => Ok(()),
            };
        }
        let here = Routing {
            packet_id: delivery.packet_id,
            connection: subscriber.connection,
            life: subscriber.life,
        };
        let before = receipt.clone();
        receipt.add(here, self.round);
        right?;
        if before.times == 0 {
            self.counts.delivered += 1;
            return judge_order(subscriber, id, sent, delivery, self.disk_fails);
        }
        self.counts.repeated += 1;
        let known = before.routings.iter().find(|routing| routing.packet_id == here.packet_id);
        if let Some(known) = known.filter(|_| delivery.qos > 0 && !delivery.dup) {
            if known.life == here.life {
                return Err("delivered again without DUP".into());
            }
            self.counts.repeated_without_dup += 1;
        }
        judge_repetition(&before, sent, delivery, known.copied(), here)?;
        judge_order_again(subscriber, id, sent, delivery)
    }

    /// Without payload nothing says which message it is: one of its kind must have been sent.
    fn judge_empty(&self, delivery: &Delivery<'_>) -> Result<(), String> {
        let is_sent = |sent: &Sent| sent.what.empty && *sent.what.topic == *delivery.topic;
        if delivery.retain {
            return Err("an empty message cannot be retained".into());
        }
        // A floor means that some are forgotten.
        if self.floors.is_empty() && !self.messages.values().any(is_sent) {
            return Err("invented: nobody sent one".into());
        }
        Ok(())
    }
}

impl Receipt {
    fn add(&mut self, here: Routing, round: u32) {
        if self.times == 0 {
            self.round = round;
        }
        self.times += 1;
        self.at_most_once_times += u32::from(here.packet_id == 0);
        match self.routings.iter_mut().find(|routing| routing.packet_id == here.packet_id) {
            Some(known) => *known = here,
            None => self.routings.push(here),
        }
    }
}

/// That the subscriber has asked for it, at this QoS.
fn judge_right(
    subscriber: &Subscriber,
    sent: &Sent,
    delivery: &Delivery<'_>,
) -> Result<(), String> {
    let highest = |certain: bool| {
        let holds = |term: &&super::Term| {
            if certain { term.holds_for(sent) } else { term.may_hold_for(sent) }
        };
        subscriber.terms.iter().filter(holds).map(|term| term.qos.min(sent.what.qos)).max()
    };
    match highest(false) {
        None => {
            let ever = subscriber.terms.iter().any(|term| term.matches(sent));
            Err(if ever { "came after UNSUBACK" } else { "nobody asked for it" }.into())
        }
        Some(most) if delivery.qos > most => Err(format!("QoS {most} was asked for at most")),
        // A retained one comes by the new subscription's QoS alone.
        Some(_) => match highest(true).filter(|_| !delivery.retain) {
            Some(least) if delivery.qos < least => Err(format!("QoS {least} was granted")),
            _ => Ok(()),
        },
    }
}

/// Of a publisher, a topic and a QoS, first deliveries are in the order sent.
fn judge_order(
    subscriber: &mut Subscriber,
    id: MessageId,
    sent: &Sent,
    delivery: &Delivery<'_>,
    disk_fails: bool,
) -> Result<(), String> {
    let Some(after) = overtaken(&mut subscriber.latest, id, sent, delivery) else { return Ok(()) };
    // One that was sent again, and only then found the subscription, comes late in good order; so
    // does one whose first copy was lost, as it may be at QoS 0.
    // Of one that has expired a copy that was dropped is found again by a start, if the removal was not on disk.
    if sent.has_expired {
        return Ok(());
    }
    // One that was refused was dropped, and a start finds it all the same if it got to the disk.
    if sent.refused.is_some() && disk_fails {
        return Ok(());
    }
    let is_certain = delivery.qos > 0 && subscriber.terms.iter().any(|term| term.holds_for(sent));
    if (is_certain && !disk_fails) || sent.sends == 1 {
        return Err(format!("out of order: after message {after}"));
    }
    Ok(())
}

/// Of a publisher, a topic and a QoS, what one connection is sent again comes in the order sent [MQTT-4.6.0-1].
fn judge_order_again(
    subscriber: &mut Subscriber,
    id: MessageId,
    sent: &Sent,
    delivery: &Delivery<'_>,
) -> Result<(), String> {
    // Of one that its publisher sent again there may be a copy behind later ones.
    match overtaken(&mut subscriber.latest_again, id, sent, delivery) {
        Some(before) if sent.sends == 1 => {
            Err(format!("sent again out of order: after message {before}"))
        }
        _ => Ok(()),
    }
}

/// Notes that a message has come, and returns a later one of its kind that came before it, if any.
fn overtaken(
    latest: &mut Latest,
    id: MessageId,
    sent: &Sent,
    delivery: &Delivery<'_>,
) -> Option<u32> {
    let kind = (id.publisher, Arc::clone(&sent.what.topic), sent.what.qos, delivery.qos);
    let latest = latest.entry(kind).or_insert(id.number);
    let before = *latest;
    *latest = before.max(id.number);
    (before > id.number).then_some(before)
}

/// A delivery of what was delivered before; `known`: where it came last under this packet id.
fn judge_repetition(
    before: &Receipt,
    sent: &Sent,
    delivery: &Delivery<'_>,
    known: Option<Routing>,
    here: Routing,
) -> Result<(), String> {
    let times = before.times + 1;
    let routings = before.routings.len() as u32 + u32::from(known.is_none());
    let acknowledged = before.routings.iter().filter(|routing| routing.packet_id != 0).count();
    let copies = acknowledged as u32 + before.at_most_once_times + 1;
    match (sent.what.qos, delivery.qos) {
        (2, 2) => {
            let round = before.round;
            Err(format!("exactly once, and it came {times} times (first in round {round})"))
        }
        // Each copy that its publisher has sent may have come at another QoS.
        (_, 0) if copies > sent.sends || sent.what.qos == 2 => {
            Err(format!("at most once, and it came {times} times"))
        }
        (2, 1) if known.is_none() => Err(format!(
            "published exactly once, and routed twice: it came as {:?} before",
            before.routings
        )),
        (1, 1) if routings > sent.sends => {
            Err(format!("sent {} times, and it came under {routings} packet ids", sent.sends))
        }
        (_, 1) if known.is_some_and(|known| known.connection == here.connection) => {
            Err("delivered again on the same connection".into())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;

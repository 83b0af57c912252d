//! Finds what is missing when nothing is under way any more.

use super::message::MessageId;
use super::{Ledger, Receipt, Sent, Subscriber};

/// Most bytes of a PUBLISH beside topic and payload: headers, lengths, and the properties that
/// tests send.
const HEAD_BYTES: usize = 24;

impl Ledger {
    /// How many deliveries and unfinished flows are still to come.
    pub fn missing(&self) -> usize {
        let flows = self.messages.values().filter(|sent| !sent.complete).count();
        let releases: usize = self.subscribers.iter().map(|one| one.unreleased.len()).sum();
        let deliveries: usize = self.subscribers.iter().map(|one| self.owed(one).count()).sum();
        let shared: usize = self.groups.iter().map(|group| self.group_owes(group).count()).sum();
        flows + releases + deliveries + shared
    }

    /// Judges what did not come, and forgets everything settled except what may be retained.
    pub fn settle(&mut self) {
        let mut faults = Vec::new();
        for (id, sent) in self.messages.iter().filter(|(_, sent)| !sent.complete) {
            let last = if sent.acknowledged.is_some() { "PUBCOMP" } else { "PUBACK or PUBREC" };
            faults.push(format!("its flow never ended, no {last}: {}", self.described(*id)));
        }
        for subscriber in &self.subscribers {
            let name = &subscriber.name;
            for (id, sent, by) in self.owed(subscriber) {
                let qos = sent.what.qos.min(by.qos);
                faults.push(format!(
                    "{name}: lost: {} never came at QoS {qos}; SUBACK of {} came in round {}",
                    self.described(id),
                    by.filter,
                    by.granted_round
                ));
            }
            for (packet_id, id) in &subscriber.unreleased {
                let what = id.map_or("an empty message".to_owned(), |id| self.described(id));
                faults.push(format!("{name}: no PUBREL for packet id {packet_id}: {what}"));
            }
        }
        for group in &self.groups {
            for (id, _) in self.group_owes(group) {
                let (about, filter) = (self.described(id), &group.filter);
                faults.push(format!("group of {filter}: lost: {about} came to no member"));
            }
        }
        faults.into_iter().for_each(|text| self.fault(text));
        self.forget();
    }

    /// Messages that a subscriber should have got and has not, with their subscriptions.
    fn owed<'a>(
        &'a self,
        subscriber: &'a Subscriber,
    ) -> impl Iterator<Item = (MessageId, &'a Sent, &'a super::Term)> {
        let promised = self.messages.iter().filter(|(_, sent)| sent.is_owed());
        let fits = |sent: &Sent| {
            let bytes = HEAD_BYTES + sent.what.topic.len() + sent.payload_bytes;
            subscriber.packet_bytes_max.is_none_or(|max| bytes <= max)
        };
        let promised = promised.filter(move |(_, sent)| !sent.what.empty && fits(sent));
        promised.filter_map(move |(id, sent)| {
            let came = subscriber.receipts.get(id).is_some_and(Receipt::is_there);
            let terms = subscriber.terms.iter().filter(|_| !came);
            let by = terms.filter(|term| term.qos > 0 && term.holds_for(sent));
            by.max_by_key(|term| term.qos).map(|term| (*id, sent, term))
        })
    }

    /// Keeps what may still be retained, including an empty message that says so.
    fn forget(&mut self) {
        let possible = self.retained_possible();
        let may_stand = |id: &MessageId, sent: &Sent| {
            let may = possible.get(&sent.what.topic).filter(|_| sent.what.retain);
            may.is_some_and(|may| may.messages.contains(id) || (sent.what.empty && may.nothing))
        };
        for id in self.messages.keys() {
            let floor = self.floors.entry(id.publisher).or_insert(0);
            *floor = (*floor).max(id.number + 1);
        }
        self.messages.retain(|id, sent| may_stand(id, sent));
        for subscriber in &mut self.subscribers {
            let messages = &self.messages;
            let gone: Vec<_> = subscriber.terms.iter().filter(|term| term.gone.is_some()).collect();
            subscriber.receipts.retain(|id, receipt| {
                let Some(sent) = messages.get(id) else { return false };
                // What these terms have asked for is forgotten with them.
                let asked = gone.iter().filter(|term| term.matches(sent)).map(|term| term.asks);
                receipt.retained_times = receipt.retained_times.saturating_sub(asked.sum());
                true
            });
            subscriber.unreleased.clear();
            subscriber.confirmed.clear();
            subscriber.terms.retain(|term| term.gone.is_none());
        }
        self.forget_groups();
    }
}

impl Receipt {
    /// Whether the message came, as a publish or for a new subscription.
    fn is_there(&self) -> bool {
        self.times > 0
    }
}

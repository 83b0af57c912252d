//! A publish on its way to all that it goes to: the search for them, the deliveries, the letters to
//! other shards, and the answer to its publisher.
//!
//! One publish may have as many receivers as all clients together subscribed to. So it is done in
//! steps of a budget, which its publisher's session pays (`fair_queue`), and waits between them.
//! What its session does next waits behind it; so do, on another shard, its next letters: the order
//! of a publisher's messages is kept. What is to be written of it, on all shards, is one write at the
//! end, as ever.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Shard;
use super::errands::Errand;
use super::share::Placed;
use crate::broker::{
    Budget, Charge, Group, GroupSearch, Matching, Message, QoS, ShardSearch, ShardSet,
};
use crate::mqtt::codec::Reason;
use crate::mqtt::{Delivery, OutboxFull, PublishReceipt};
use crate::shard::agenda::{Flow, Progress};
use crate::shard::journal::{Done, Draft, Part, Ticket};
use crate::shard::mutant::{Rule, is_left_out};
use crate::shard::ports::{Ports, Token};
use crate::shard::post::{Letter, Mail, Stamp};
use crate::store::SessionNumber;

/// What a delivery costs beside the match: an outbox, and a session that is read from memory.
const DELIVERY_UNITS: u32 = 6;

/// What a letter costs the sender.
const LETTER_UNITS: u32 = 6;

/// What a group costs: a member is picked, and gets it.
pub(super) const GROUP_UNITS: u32 = 12;

/// What a member costs that has no room.
pub(super) const REFUSAL_UNITS: u32 = 2;

/// Who is to be told what became of a publish.
#[derive(Debug)]
pub(super) struct Publisher {
    pub(super) client: Token,
    pub(super) key: u32,
    pub(super) number: SessionNumber,
    pub(super) receipt: PublishReceipt,
}

/// A publish under way on one shard.
#[derive(Debug)]
pub(super) struct Fanout {
    flow: Flow,
    message: Arc<Message>,
    /// The key of the session of this shard that published it. See `begun`.
    from: Option<u32>,
    stage: Stage,
    shards: ShardSearch,
    /// Shards that no letter has gone to yet.
    others: ShardSet,
    groups: Groups,
    matching: Matching,
    /// What is to be written with it; in the part, once there is one.
    draft: Draft,
    ticket: Option<Arc<Ticket>>,
    part: Part,
    reason: Reason,
    publisher: Option<Publisher>,
    /// Keys of sessions are given again: one with this number, or a later one, has begun since the
    /// search did, and is not whom it has found.
    begun: SessionNumber,
    /// It has waited, so sessions may have ended since.
    is_resumed: bool,
    /// Of the letter by which it came.
    stamp: Option<Stamp>,
    /// Of a will: held, so that wills that wait for their turn count against the total of all.
    _charge: Option<Charge>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Shards,
    FirstGroup,
    Letters,
    Matches,
    Deliveries,
    Groups,
}

/// Groups that the message goes to one member of each, found a few at a time.
#[derive(Debug, Default)]
struct Groups {
    search: GroupSearch,
    found: Vec<Arc<Group>>,
    is_over: bool,
}

impl Fanout {
    /// Of a message that a session of this shard, or nobody any more, published.
    pub(super) fn published(
        flow: Flow,
        message: Arc<Message>,
        from: Option<u32>,
        draft: Draft,
        publisher: Option<Publisher>,
    ) -> Self {
        Self {
            flow,
            message,
            from,
            stage: Stage::Shards,
            shards: ShardSearch::default(),
            others: ShardSet::default(),
            groups: Groups::default(),
            matching: Matching::default(),
            draft,
            ticket: None,
            part: Part::default(),
            reason: Reason::Success,
            publisher,
            begun: SessionNumber(u64::MAX),
            is_resumed: false,
            stamp: None,
            _charge: None,
        }
    }

    /// The same of a will, with what that counts against the total of all wills.
    pub(super) fn of_will(self, charge: Option<Charge>) -> Self {
        Self { _charge: charge, ..self }
    }

    /// Of a letter from another shard.
    pub(super) fn received(letter: Letter) -> Self {
        let Letter { flow, message, ticket, stamp } = letter;
        let groups = Groups { is_over: true, ..Groups::default() };
        let draft = Draft::default();
        Self {
            stage: Stage::Matches,
            groups,
            ticket,
            stamp: Some(stamp),
            ..Self::published(flow, message, None, draft, None)
        }
    }

    /// Whether the session that a key names now was there when it began.
    fn is_older(&self, number: Option<SessionNumber>) -> bool {
        number.is_some_and(|number| number < self.begun)
    }

    /// Whether it came from another shard.
    pub(super) fn is_received(&self) -> bool {
        self.stamp.is_some()
    }
}

impl<P: Ports> Shard<P> {
    /// Begins a publish. Returns what is left of it when the budget is spent.
    pub(super) fn begin_fanout(
        &mut self,
        mut fanout: Fanout,
        budget: &mut Budget,
    ) -> Option<(Box<Fanout>, Progress)> {
        fanout.matching = self.publishing.take_matching();
        fanout.begun = SessionNumber(self.here.shared().next_number.load(Ordering::Relaxed));
        let progress = self.go_on_with(&mut fanout, budget);
        if progress != Progress::Done {
            self.here.counters().publishes_cut.add(1);
            return Some((Box::new(fanout), progress));
        }
        fanout.matching.clear();
        self.publishing.give_matching_back(fanout.matching);
        None
    }

    /// Has a publish done when it is its turn.
    pub(super) fn queue_fanout(&mut self, mut fanout: Fanout) {
        fanout.begun = SessionNumber(self.here.shared().next_number.load(Ordering::Relaxed));
        let flow = fanout.flow;
        self.agenda.push(flow, Errand::Fanout(Box::new(fanout)));
    }

    /// Goes on with a publish until the budget is spent.
    pub(super) fn go_on_with(&mut self, fanout: &mut Fanout, budget: &mut Budget) -> Progress {
        self.agenda.begin_payment(fanout.flow);
        let progress = self.step(fanout, budget);
        self.agenda.end_payment();
        fanout.is_resumed = true;
        progress
    }

    fn step(&mut self, fanout: &mut Fanout, budget: &mut Budget) -> Progress {
        if self.waits_for_store() && !fanout.draft.is_empty() {
            return Progress::StoreBehind;
        }
        if fanout.stage == Stage::Shards {
            let topic = &fanout.message.topic;
            if !self.here.shared().routing.search(
                topic,
                self.post.all_shards(),
                &mut fanout.shards,
                budget,
            ) {
                return Progress::Spent;
            }
            fanout.stage = Stage::FirstGroup;
        }
        if fanout.stage == Stage::FirstGroup {
            if !self.find_groups(fanout, budget) {
                return Progress::Spent;
            }
            self.begin_part(fanout);
            fanout.stage = Stage::Letters;
        }
        if fanout.stage == Stage::Letters {
            if !self.send_letters(fanout, budget) {
                return Progress::Blocked;
            }
            let is_here = fanout.shards.found().contains(self.here.index());
            fanout.stage = if is_here { Stage::Matches } else { Stage::Groups };
        }
        if fanout.stage == Stage::Matches {
            let from = fanout.from.filter(|&key| {
                let number = self.sessions.entry_mut(key).map(|entry| entry.number);
                fanout.is_older(number)
            });
            let (topic, matching) = (&fanout.message.topic, &mut fanout.matching);
            if !self.publishing.subscriptions().search(topic, from, matching, budget) {
                return Progress::Spent;
            }
            let units = matching.found().len() as i64 * i64::from(DELIVERY_UNITS);
            if fanout.is_received() {
                fanout.part = Part::of_receiver(fanout.ticket.take());
            }
            if units > budget.left() {
                // Who gets it first may acknowledge it before the write is filed.
                fanout.part.wait_for_more();
            }
            fanout.stage = Stage::Deliveries;
        }
        if fanout.stage == Stage::Deliveries {
            let progress = self.deliver_matches(fanout, budget);
            if progress != Progress::Done {
                return progress;
            }
            fanout.stage = Stage::Groups;
        }
        let progress = self.place_groups(fanout, budget);
        if progress == Progress::Done {
            self.end_fanout(fanout);
        }
        progress
    }

    /// Whether what needs the store has to wait. Not when the server stops, which no disk is to hold up.
    pub(super) fn waits_for_store(&self) -> bool {
        self.journal.is_behind() && !self.stop.has_begun()
    }

    /// Finds a few groups, at least one if there is any. Returns whether it has come so far.
    fn find_groups(&self, fanout: &mut Fanout, budget: &mut Budget) -> bool {
        let Groups { search, found, is_over } = &mut fanout.groups;
        if !*is_over && found.is_empty() {
            *is_over =
                self.here.shared().shares.search(&fanout.message.topic, search, budget, found);
        }
        *is_over || !found.is_empty()
    }

    /// It is known who gets it, or at least whether anybody does.
    fn begin_part(&mut self, fanout: &mut Fanout) {
        let shards = fanout.shards.found();
        let others = shards.without(self.here.index());
        let has_groups = !fanout.groups.found.is_empty();
        let nobody = shards.is_empty() && !has_groups;
        fanout.reason = if nobody { Reason::NoMatchingSubscribers } else { Reason::Success };
        let draft = std::mem::take(&mut fanout.draft);
        // Other shards may have something to write, too: all of it is one write. Or to say, as long as
        // the publisher can be refused.
        let has_parts = self.here.shared().store.is_some()
            || self.here.shared().config.limits.outbox_full == OutboxFull::Refuse;
        let is_shared_write = (!others.is_empty() || has_groups)
            && has_parts
            && (fanout.message.qos != QoS::AtMostOnce || !draft.is_empty());
        fanout.part = Part::of_publisher(draft, is_shared_write);
        fanout.others = others;
    }

    /// Sends a letter to every other shard with a subscriber. Returns whether all have gone.
    fn send_letters(&mut self, fanout: &mut Fanout, budget: &mut Budget) -> bool {
        for shard in fanout.others.iter() {
            let Some(stamp) = self.stamp(shard, fanout.flow, &fanout.message) else { return false };
            let message = Arc::clone(&fanout.message);
            let ticket = fanout.part.another();
            let letter = Letter { flow: fanout.flow, message, ticket, stamp };
            self.post(shard, Mail::Publish(letter));
            budget.charge(LETTER_UNITS);
            fanout.others = fanout.others.without(shard);
        }
        true
    }

    /// Delivers to this shard's subscribers.
    fn deliver_matches(&mut self, fanout: &mut Fanout, budget: &mut Budget) -> Progress {
        let Fanout { message, matching, part, begun, is_resumed, .. } = fanout;
        while let Some(found) = matching.found().last() {
            if budget.is_spent() {
                return Progress::Spent;
            }
            if self.waits_for_store()
                && message.qos.min(found.qos) != QoS::AtMostOnce
                && self.is_durable(found.subscriber)
            {
                part.wait_for_more();
                return Progress::StoreBehind;
            }
            budget.charge(DELIVERY_UNITS);
            let Some(found) = matching.found().pop() else { break };
            if *is_resumed {
                let number = self.sessions.entry(found.subscriber).map(|entry| entry.number);
                if number.is_none_or(|number| number >= *begun) {
                    continue;
                }
            }
            let delivery = Delivery {
                message: Arc::clone(message),
                qos: message.qos.min(found.qos),
                retain: message.retain && found.retain_as_published,
                via: found.via,
            };
            self.deliver_to(found.subscriber, delivery, part);
        }
        Progress::Done
    }

    /// Gives it to one member of each group.
    fn place_groups(&mut self, fanout: &mut Fanout, budget: &mut Budget) -> Progress {
        loop {
            let needs_store = !fanout.groups.found.is_empty() && fanout.part.is_shared();
            if needs_store && self.waits_for_store() {
                return Progress::StoreBehind;
            }
            while let Some(group) = fanout.groups.found.pop() {
                if budget.is_spent() {
                    fanout.groups.found.push(group);
                    return Progress::Spent;
                }
                budget.charge(GROUP_UNITS);
                let message = Arc::clone(&fanout.message);
                let placed = self.place(fanout.flow, message, &group, &mut fanout.part);
                budget.charge(placed.refusal_units());
                if placed == Placed::Blocked {
                    fanout.groups.found.push(group);
                    return Progress::Blocked;
                }
            }
            if fanout.groups.is_over {
                return Progress::Done;
            }
            if !self.find_groups(fanout, budget) {
                return Progress::Spent;
            }
        }
    }

    fn end_fanout(&mut self, fanout: &mut Fanout) {
        let mut part = std::mem::take(&mut fanout.part);
        if let Some(publisher) = fanout.publisher.take() {
            let reason = if part.is_refused() { Reason::QuotaExceeded } else { fanout.reason };
            self.answer_publisher(&publisher, reason, &mut part);
        }
        self.finish_part(part);
    }

    /// Answers a publish, at once or when its part of the store's work is done.
    pub(super) fn answer_publisher(
        &mut self,
        publisher: &Publisher,
        reason: Reason,
        part: &mut Part,
    ) {
        let Publisher { client, key, number: session_number, receipt } = *publisher;
        let session = (key, session_number);
        let has_to_wait = part.has_to_wait() && !is_left_out(Rule::PublishWaits);
        let served = self.resolve(client).filter(|index| self.is_served(*index));
        let number = match served {
            Some(index) if !has_to_wait && self.clients[index].receipts.is_none() => {
                self.acknowledge_publish(index, receipt, reason);
                return;
            }
            Some(index) => self.wait_receipt(index, receipt),
            None if !has_to_wait => {
                self.settle_for_absent(session, receipt, reason);
                return;
            }
            // Nobody looks for it among those of its connection, which is gone.
            None => 0,
        };
        let done = Done::Publish { client, number, reason, session, receipt };
        part.draft.waiting.push((self.here.index(), done));
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::broker::{Held, TopicName};

    /// No Local is for whoever published, not for who has its key now [MQTT-3.8.3-3].
    #[test]
    fn a_key_that_is_given_again_is_not_the_publisher() {
        let message = Arc::new(Message {
            topic: TopicName::parse("t", 8).expect("a topic"),
            payload: Bytes::new(),
            qos: QoS::AtMostOnce,
            retain: false,
            properties: None,
            expires_at: None,
            held: Held::default(),
        });
        let draft = Draft::default();
        let mut fanout = Fanout::published(
            Flow::session(0, SessionNumber(1).into()),
            message,
            Some(1),
            draft,
            None,
        );
        fanout.begun = SessionNumber(7);
        assert!(fanout.is_older(Some(SessionNumber(6))));
        assert!(
            !fanout.is_older(Some(SessionNumber(7))),
            "it began when the fan-out did, or later"
        );
        assert!(!fanout.is_older(None), "it has ended");
    }
}

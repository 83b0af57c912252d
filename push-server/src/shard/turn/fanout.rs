//! A publish on its way to its receivers: the search for them, the deliveries, the letters to other shards, and the
//! answer to its publisher.
//!
//! One publish may have a receiver for each subscription that there is. So it is done in steps of a budget, which
//! its publisher's session pays (`fair_queue`), and waits between them. The session's later work waits behind it,
//! and so do the session's later letters on another shard: a publisher's messages keep their order. All its writes,
//! on all shards, are one write at the end.

use std::sync::Arc;

use super::Shard;
use super::errand::Errand;
use super::share::Placed;
use crate::broker::{Budget, QoS};
use crate::mqtt::OutboxFull;
use crate::shard::agenda::Progress;
use crate::shard::ports::Ports;
use crate::shard::post::Mail;
use crate::shard::publish::{Author, Fanout, FanoutStage};
use crate::shard::sessions::Entry;

/// Units that a delivery costs beside the match: an outbox, and a session that is read from memory.
const DELIVERY_UNITS: u32 = 6;

/// Units that a letter costs the sender.
const LETTER_UNITS: u32 = 6;

/// Units that a group costs: a member is picked, and gets the message.
pub(super) const GROUP_UNITS: u32 = 12;

impl<P: Ports> Shard<P> {
    /// Begins a publish. Returns it if it is not done when the budget is spent.
    pub(super) fn begin_fanout(
        &mut self,
        mut fanout: Fanout,
        budget: &mut Budget,
    ) -> Option<(Box<Fanout>, Progress)> {
        fanout.lend(self.publishing.take_matching());
        fanout.begin(self.here.shared().journal.next_number());
        let progress = self.go_on_with(&mut fanout, budget);
        if progress != Progress::Done {
            self.here.counters().publishes_cut.add(1);
            return Some((Box::new(fanout), progress));
        }
        if let Some(matching) = fanout.into_lent() {
            self.publishing.give_matching_back(matching);
        }
        None
    }

    /// Queues a publish, to begin when it is its turn.
    pub(super) fn queue_fanout(&mut self, mut fanout: Fanout) {
        fanout.begin(self.here.shared().journal.next_number());
        self.agenda.push(fanout.flow(), Errand::Fanout(Box::new(fanout)));
    }

    /// Goes on with a publish until the budget is spent.
    pub(super) fn go_on_with(&mut self, fanout: &mut Fanout, budget: &mut Budget) -> Progress {
        self.agenda.begin_payment(fanout.flow());
        let progress = self.step(fanout, budget);
        self.agenda.end_payment();
        fanout.pause();
        progress
    }

    fn step(&mut self, fanout: &mut Fanout, budget: &mut Budget) -> Progress {
        if self.waits_for_store() && fanout.has_draft() {
            return Progress::StoreBehind;
        }
        if fanout.stage() == FanoutStage::Shards {
            let all = self.post.all_shards();
            if !fanout.find_shards(&self.here.shared().routing, all, budget) {
                return Progress::Spent;
            }
        }
        if fanout.stage() == FanoutStage::FirstGroup {
            if !fanout.find_groups(&self.here.shared().shares, budget) {
                return Progress::Spent;
            }
            fanout.begin_part(self.here.index(), self.may_have_parts());
        }
        if fanout.stage() == FanoutStage::Letters {
            if !self.send_letters(fanout, budget) {
                return Progress::Blocked;
            }
            fanout.end_letters(self.here.index());
        }
        if fanout.stage() == FanoutStage::Matches {
            let sender = fanout.from().and_then(|key| self.sessions.entry(key));
            let sender = sender.map(Entry::number);
            if !self.publishing.find_matches(fanout, sender, budget) {
                return Progress::Spent;
            }
            let units = fanout.matches_len() as i64 * i64::from(DELIVERY_UNITS);
            if units > budget.left() {
                // The first receivers may acknowledge it before its write is filed.
                fanout.part().wait_for_more();
            }
        }
        if fanout.stage() == FanoutStage::Deliveries {
            let progress = self.deliver_matches(fanout, budget);
            if progress != Progress::Done {
                return progress;
            }
            fanout.end_deliveries();
        }
        let progress = self.place_groups(fanout, budget);
        if progress == Progress::Done {
            self.end_fanout(fanout);
        }
        progress
    }

    /// Whether work that needs the store has to wait. Not when the server stops: the disk must not hold up the
    /// stop.
    pub(super) fn waits_for_store(&self) -> bool {
        self.journal.is_behind() && !self.stop.has_begun()
    }

    /// Whether other shards may add to a publish's write, which then is one for all of them, or may have a refusal
    /// to report.
    fn may_have_parts(&self) -> bool {
        self.here.shared().store.is_some()
            || self.here.shared().config.limits.outbox_full == OutboxFull::Refuse
    }

    /// Sends a letter to every other shard with a subscriber. Returns whether all have gone.
    fn send_letters(&mut self, fanout: &mut Fanout, budget: &mut Budget) -> bool {
        while let Some(shard) = fanout.next_shard() {
            let stamp = self.stamp(shard, fanout.flow(), fanout.message());
            let Some(stamp) = stamp else { return false };
            self.post(shard, Mail::Publish(fanout.letter(shard, stamp)));
            budget.charge(LETTER_UNITS);
        }
        true
    }

    /// Delivers to this shard's subscribers.
    fn deliver_matches(&mut self, fanout: &mut Fanout, budget: &mut Budget) -> Progress {
        let has_slips = fanout.part().has_slips();
        while let Some((subscriber, qos)) = fanout.next_match() {
            if budget.is_spent() {
                return Progress::Spent;
            }
            if self.waits_for_store()
                && qos != QoS::AtMostOnce
                && self.sessions.is_durable(subscriber)
            {
                fanout.part().wait_for_more();
                return Progress::StoreBehind;
            }
            budget.charge(DELIVERY_UNITS);
            let Some(delivery) = fanout.take_delivery() else { break };
            if fanout.may_be_another(|| self.sessions.entry(subscriber).map(Entry::number)) {
                continue;
            }
            let slip = if has_slips { fanout.part().slip() } else { None };
            self.deliver_to(subscriber, delivery, slip, fanout.part());
        }
        Progress::Done
    }

    /// Delivers to one member of each group.
    fn place_groups(&mut self, fanout: &mut Fanout, budget: &mut Budget) -> Progress {
        loop {
            if fanout.has_groups() && fanout.is_shared() && self.waits_for_store() {
                return Progress::StoreBehind;
            }
            while let Some(group) = fanout.next_group() {
                if budget.is_spent() {
                    return Progress::Spent;
                }
                budget.charge(GROUP_UNITS);
                let (flow, message) = (fanout.flow(), Arc::clone(fanout.message()));
                let placed = self.place(flow, message, group, fanout.part());
                budget.charge(placed.refusal_units());
                if placed == Placed::Blocked {
                    return Progress::Blocked;
                }
                fanout.end_group();
            }
            if fanout.knows_all_groups() {
                return Progress::Done;
            }
            if !fanout.find_groups(&self.here.shared().shares, budget) {
                return Progress::Spent;
            }
        }
    }

    fn end_fanout(&mut self, fanout: &mut Fanout) {
        let (mut part, author, reason) = fanout.end();
        match author {
            Author::Client { publisher: Some(publisher), .. } => {
                self.answer_publisher(publisher, reason, &mut part);
            }
            Author::Door(entered) => self.answer_door(entered, reason, &mut part),
            Author::Client { publisher: None, .. }
            | Author::Will { .. }
            | Author::Letter { .. } => {}
        }
        self.finish_part(part);
    }
}

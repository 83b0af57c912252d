//! A publish on its way to its receivers: how far one shard has come with it, which receivers it has found, and
//! what is to be written with it. `turn/fanout` does the steps, and knows what they cost.

use std::sync::Arc;

use super::author::Author;
use crate::broker::{
    Budget, Group, GroupSearch, Matching, Message, QoS, Routing, ShardSearch, ShardSet, Shares,
    Subscriptions,
};
use crate::mqtt::Delivery;
use crate::mqtt::codec::Reason;
use crate::shard::agenda::Flow;
use crate::shard::journal::{Draft, Part, Ticket};
use crate::shard::post::{Letter, Stamp};
use crate::store::SessionNumber;

/// A publish under way on one shard.
#[derive(Debug)]
pub(crate) struct Fanout {
    flow: Flow,
    message: Arc<Message>,
    author: Author,
    stage: FanoutStage,
    receivers: Receivers,
    writing: Writing,
    reason: Reason,
    /// The number that the next session had when the search began. Keys are given again: a session with this number
    /// or a later one is not the one that the search has found.
    begun: SessionNumber,
    /// It has waited, so sessions may have ended since.
    is_resumed: bool,
}

/// The next step of a publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FanoutStage {
    /// Find the shards with a subscriber.
    Shards,
    /// Find out whether there is a group at all.
    FirstGroup,
    /// Send letters to other shards.
    Letters,
    /// Find the subscribers of this shard.
    Matches,
    /// Deliver to them.
    Deliveries,
    /// Deliver to a member of each group.
    Groups,
}

/// The receivers of a publish that are known and do not have it yet.
#[derive(Debug, Default)]
struct Receivers {
    shards: ShardSearch,
    /// Shards that no letter has gone to yet.
    others: ShardSet,
    /// Boxed, and made only when it is needed: a publish is moved several times, and most are done at once with
    /// the shard's scratch memory.
    matching: Option<Box<Matching>>,
    groups: GroupReceivers,
}

/// Groups that match: one member of each gets the message. They are found a few at a time.
#[derive(Debug, Default)]
struct GroupReceivers {
    search: GroupSearch,
    found: Vec<Arc<Group>>,
    is_over: bool,
}

/// What is to be written with a publish. The part begins when the receivers are known; until then the publishing
/// shard has a draft, and another shard has the letter's ticket.
#[derive(Debug, Default)]
struct Writing {
    draft: Draft,
    ticket: Option<Arc<Ticket>>,
    part: Part,
}

impl Fanout {
    /// For a message that was published on this shard.
    pub(crate) fn published(
        flow: Flow,
        message: Arc<Message>,
        author: Author,
        draft: Draft,
    ) -> Self {
        Self {
            flow,
            message,
            author,
            stage: FanoutStage::Shards,
            receivers: Receivers::default(),
            writing: Writing { draft, ..Writing::default() },
            reason: Reason::Success,
            begun: SessionNumber(u64::MAX),
            is_resumed: false,
        }
    }

    /// For a letter from another shard, which deals with the groups itself.
    pub(crate) fn received(letter: Letter) -> Self {
        let Letter { flow, message, ticket, stamp } = letter;
        let author = Author::Letter { _stamp: stamp };
        let published = Self::published(flow, message, author, Draft::default());
        let groups = GroupReceivers { is_over: true, ..GroupReceivers::default() };
        Self {
            stage: FanoutStage::Matches,
            receivers: Receivers { groups, ..Receivers::default() },
            writing: Writing { ticket, ..Writing::default() },
            ..published
        }
    }

    /// Whether it came from another shard.
    pub(crate) fn is_received(&self) -> bool {
        matches!(self.author, Author::Letter { .. })
    }

    /// The flow that pays for it.
    pub(crate) fn flow(&self) -> Flow {
        self.flow
    }

    pub(crate) fn message(&self) -> &Arc<Message> {
        &self.message
    }

    /// The key of the session of this shard that published it.
    pub(crate) fn from(&self) -> Option<u32> {
        self.author.key()
    }

    pub(crate) fn stage(&self) -> FanoutStage {
        self.stage
    }

    /// It begins. `next`: the number of the next new session.
    pub(crate) fn begin(&mut self, next: SessionNumber) {
        self.begun = next;
    }

    /// It may go on in another turn.
    pub(crate) fn pause(&mut self) {
        self.is_resumed = true;
    }

    /// Lends it scratch memory for its search.
    pub(crate) fn lend(&mut self, matching: Box<Matching>) {
        self.receivers.matching = Some(matching);
    }

    /// Returns the scratch memory, empty.
    pub(crate) fn into_lent(self) -> Option<Box<Matching>> {
        let mut matching = self.receivers.matching?;
        matching.clear();
        Some(matching)
    }

    /// Whether it has writes that do not depend on its receivers.
    pub(crate) fn has_draft(&self) -> bool {
        !self.writing.draft.is_empty()
    }

    /// The part of its write that this shard adds.
    pub(crate) fn part(&mut self) -> &mut Part {
        &mut self.writing.part
    }

    /// Whether other shards may have parts of its write.
    pub(crate) fn is_shared(&self) -> bool {
        self.writing.part.is_shared()
    }

    /// Looks for the shards with a subscriber. Returns whether all are known.
    pub(crate) fn find_shards(
        &mut self,
        routing: &Routing,
        all: ShardSet,
        budget: &mut Budget,
    ) -> bool {
        let is_over = routing.search(&self.message.topic, all, &mut self.receivers.shards, budget);
        if is_over {
            self.stage = FanoutStage::FirstGroup;
        }
        is_over
    }

    /// Finds a few groups, at least one if there is any. Returns whether it has, or knows that there are no more.
    pub(crate) fn find_groups(&mut self, shares: &Shares, budget: &mut Budget) -> bool {
        let GroupReceivers { search, found, is_over } = &mut self.receivers.groups;
        if !*is_over && found.is_empty() {
            *is_over = shares.search(&self.message.topic, search, budget, found);
        }
        *is_over || !found.is_empty()
    }

    /// It is known whether there are receivers, and on which shards: begins this shard's part of the write. `here`:
    /// this shard. `may_have_parts`: other shards may have something to write, or a refusal to report.
    pub(crate) fn begin_part(&mut self, here: u16, may_have_parts: bool) {
        let shards = self.receivers.shards.found();
        let others = shards.without(here);
        let has_groups = self.has_groups();
        let nobody = shards.is_empty() && !has_groups;
        self.reason = if nobody { Reason::NoMatchingSubscribers } else { Reason::Success };
        let draft = std::mem::take(&mut self.writing.draft);
        let goes_on = !others.is_empty() || has_groups;
        self.writing.part = match &self.author {
            // The reply counts the receivers of all shards, so it waits for each shard's part.
            Author::Door(entered) => Part::of_door(draft, goes_on, Arc::clone(entered)),
            _ => {
                let is_safe = self.message.qos != QoS::AtMostOnce || !draft.is_empty();
                Part::of_publisher(draft, goes_on && may_have_parts && is_safe)
            }
        };
        self.receivers.others = others;
        self.stage = FanoutStage::Letters;
    }

    /// The next shard that a letter is to go to.
    pub(crate) fn next_shard(&self) -> Option<u16> {
        self.receivers.others.iter().next()
    }

    /// The letter to that shard.
    pub(crate) fn letter(&mut self, shard: u16, stamp: Stamp) -> Letter {
        self.receivers.others = self.receivers.others.without(shard);
        let (message, ticket) = (Arc::clone(&self.message), self.writing.part.another());
        Letter { flow: self.flow, message, ticket, stamp }
    }

    /// All letters have gone. `here`: this shard.
    pub(crate) fn end_letters(&mut self, here: u16) {
        let is_here = self.receivers.shards.found().contains(here);
        self.stage = if is_here { FanoutStage::Matches } else { FanoutStage::Groups };
    }

    /// Looks for this shard's subscribers. `sender`: the number of the session that now has the publisher's key.
    /// Returns whether all are known.
    pub(crate) fn find_matches(
        &mut self,
        subscriptions: &Subscriptions,
        sender: Option<SessionNumber>,
        budget: &mut Budget,
    ) -> bool {
        // No Local is for the session that published, not for another one that has its key now [MQTT-3.8.3-3].
        let from = self.author.key().filter(|_| self.is_older(sender));
        let matching = self.receivers.matching.get_or_insert_default();
        if !subscriptions.search(&self.message.topic, from, matching, budget) {
            return false;
        }
        if self.is_received() {
            self.writing.part = Part::of_receiver(self.writing.ticket.take());
        }
        self.stage = FanoutStage::Deliveries;
        true
    }

    /// How many known subscribers of this shard do not have it yet.
    pub(crate) fn matches_len(&mut self) -> usize {
        self.receivers.matching.as_mut().map_or(0, |matching| matching.found().len())
    }

    /// The key of the next such subscriber, and the QoS of its delivery.
    pub(crate) fn next_match(&mut self) -> Option<(u32, QoS)> {
        let found = self.receivers.matching.as_mut()?.found().last()?;
        Some((found.subscriber, self.message.qos.min(found.qos)))
    }

    /// Takes that subscriber's delivery.
    pub(crate) fn take_delivery(&mut self) -> Option<Delivery> {
        let found = self.receivers.matching.as_mut()?.found().pop()?;
        Some(Delivery {
            message: Arc::clone(&self.message),
            qos: self.message.qos.min(found.qos),
            retain: self.message.retain && found.retain_as_published,
            via: found.via,
        })
    }

    /// Whether the session that now has a subscriber's key, with this number, may be another than the one that was
    /// found. The number is asked for only if others may have had their turn since.
    pub(crate) fn may_be_another(&self, number: impl FnOnce() -> Option<SessionNumber>) -> bool {
        self.is_resumed && !self.is_older(number())
    }

    /// All subscribers of this shard have it.
    pub(crate) fn end_deliveries(&mut self) {
        self.stage = FanoutStage::Groups;
    }

    /// Whether known groups wait for it.
    pub(crate) fn has_groups(&self) -> bool {
        !self.receivers.groups.found.is_empty()
    }

    /// The next such group.
    pub(crate) fn next_group(&self) -> Option<Arc<Group>> {
        self.receivers.groups.found.last().map(Arc::clone)
    }

    /// That group has been dealt with.
    pub(crate) fn end_group(&mut self) {
        self.receivers.groups.found.pop();
    }

    /// Whether all groups have been found.
    pub(crate) fn knows_all_groups(&self) -> bool {
        self.receivers.groups.is_over
    }

    /// All receivers have it. Returns this shard's part of the write, the author, and what the author hears.
    pub(crate) fn end(&mut self) -> (Part, &Author, Reason) {
        let part = std::mem::take(&mut self.writing.part);
        let reason = if part.is_refused() { Reason::QuotaExceeded } else { self.reason };
        (part, &self.author, reason)
    }

    /// Whether a session with this number was there when it began.
    fn is_older(&self, number: Option<SessionNumber>) -> bool {
        number.is_some_and(|number| number < self.begun)
    }
}

#[cfg(test)]
mod tests;

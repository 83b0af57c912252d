//! A publish on its way to all that it goes to: how far one shard has come with it, whom it has found, and
//! what is to be written with it. Who does the steps, and what they cost, is decided elsewhere.

use std::sync::Arc;

use super::author::Author;
use crate::broker::{
    Budget, Group, GroupSearch, Match, Matching, Message, QoS, Routing, ShardSearch, ShardSet,
    Shares, Subscriptions,
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
    stage: Stage,
    receivers: Receivers,
    writing: Writing,
    reason: Reason,
    /// Keys of sessions are given again: one with this number, or a later one, has begun since the
    /// search did, and is not whom it has found.
    begun: SessionNumber,
    /// It has waited, so sessions may have ended since.
    is_resumed: bool,
}

/// What comes next of a publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Which shards have a subscriber?
    Shards,
    /// Is there a group at all?
    FirstGroup,
    /// Letters go to other shards.
    Letters,
    /// Who on this shard gets it?
    Matches,
    /// They get it.
    Deliveries,
    /// A member of each group gets it.
    Groups,
}

/// Whom a publish goes to, as far as they are known and have not got it yet.
#[derive(Debug, Default)]
struct Receivers {
    shards: ShardSearch,
    /// Shards that no letter has gone to yet.
    others: ShardSet,
    matching: Matching,
    groups: GroupReceivers,
}

/// Groups that the message goes to one member of each, found a few at a time.
#[derive(Debug, Default)]
struct GroupReceivers {
    search: GroupSearch,
    found: Vec<Arc<Group>>,
    is_over: bool,
}

/// What is to be written with a publish. The part begins when it is known who gets the message; until then the
/// publishing shard has a draft, another one the ticket of the letter.
#[derive(Debug, Default)]
struct Writing {
    draft: Draft,
    ticket: Option<Arc<Ticket>>,
    part: Part,
}

impl Fanout {
    /// Of a message that this shard is the first to see.
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
            stage: Stage::Shards,
            receivers: Receivers::default(),
            writing: Writing { draft, ..Writing::default() },
            reason: Reason::Success,
            begun: SessionNumber(u64::MAX),
            is_resumed: false,
        }
    }

    /// Of a letter from another shard, which has looked for the groups.
    pub(crate) fn received(letter: Letter) -> Self {
        let Letter { flow, message, ticket, stamp } = letter;
        let author = Author::Letter { _stamp: stamp };
        let published = Self::published(flow, message, author, Draft::default());
        let groups = GroupReceivers { is_over: true, ..GroupReceivers::default() };
        Self {
            stage: Stage::Matches,
            receivers: Receivers { groups, ..Receivers::default() },
            writing: Writing { ticket, ..Writing::default() },
            ..published
        }
    }

    /// Whether it came from another shard.
    pub(crate) fn is_received(&self) -> bool {
        matches!(self.author, Author::Letter { .. })
    }

    /// On whose account it is done.
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

    pub(crate) fn stage(&self) -> Stage {
        self.stage
    }

    /// It begins, where the next session that begins has the number `next`.
    pub(crate) fn begin(&mut self, next: SessionNumber) {
        self.begun = next;
    }

    /// It goes on from here in another turn, perhaps.
    pub(crate) fn pause(&mut self) {
        self.is_resumed = true;
    }

    /// It searches with memory that is kept for that.
    pub(crate) fn lend(&mut self, matching: Matching) {
        self.receivers.matching = matching;
    }

    /// Returns that memory, empty.
    pub(crate) fn into_lent(self) -> Matching {
        let mut matching = self.receivers.matching;
        matching.clear();
        matching
    }

    /// Whether something is to be written that does not depend on who gets it.
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
            self.stage = Stage::FirstGroup;
        }
        is_over
    }

    /// Finds a few groups, at least one if there is any. Returns whether it has come so far.
    pub(crate) fn find_groups(&mut self, shares: &Shares, budget: &mut Budget) -> bool {
        let GroupReceivers { search, found, is_over } = &mut self.receivers.groups;
        if !*is_over && found.is_empty() {
            *is_over = shares.search(&self.message.topic, search, budget, found);
        }
        *is_over || !found.is_empty()
    }

    /// It is known who gets it, or at least whether anybody does: begins what is to be written. `here`: this
    /// shard. Other shards `may_have_parts` of that, to write or to say.
    pub(crate) fn begin_part(&mut self, here: u16, may_have_parts: bool) {
        let shards = self.receivers.shards.found();
        let others = shards.without(here);
        let has_groups = self.has_groups();
        let nobody = shards.is_empty() && !has_groups;
        self.reason = if nobody { Reason::NoMatchingSubscribers } else { Reason::Success };
        let draft = std::mem::take(&mut self.writing.draft);
        let goes_on = !others.is_empty() || has_groups;
        self.writing.part = match &self.author {
            // Its receivers are counted on every shard before its reply.
            Author::Door(entered) => Part::of_door(draft, goes_on, Arc::clone(entered)),
            _ => {
                let is_safe = self.message.qos != QoS::AtMostOnce || !draft.is_empty();
                Part::of_publisher(draft, goes_on && may_have_parts && is_safe)
            }
        };
        self.receivers.others = others;
        self.stage = Stage::Letters;
    }

    /// A shard that a letter is to go to, and to which none has gone yet.
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
        self.stage = if is_here { Stage::Matches } else { Stage::Groups };
    }

    /// Looks for this shard's subscribers. `sender`: the number of the session that has the key of the one that
    /// published it. Returns whether all are known.
    pub(crate) fn find_matches(
        &mut self,
        subscriptions: &Subscriptions,
        sender: Option<SessionNumber>,
        budget: &mut Budget,
    ) -> bool {
        // No Local is for whoever published, not for who has its key now [MQTT-3.8.3-3].
        let from = self.author.key().filter(|_| self.is_older(sender));
        let matching = &mut self.receivers.matching;
        if !subscriptions.search(&self.message.topic, from, matching, budget) {
            return false;
        }
        if self.is_received() {
            self.writing.part = Part::of_receiver(self.writing.ticket.take());
        }
        self.stage = Stage::Deliveries;
        true
    }

    /// How many subscribers of this shard are known that have not got it yet.
    pub(crate) fn matches_len(&mut self) -> usize {
        self.receivers.matching.found().len()
    }

    /// The key of one of them, and the QoS that it gets.
    pub(crate) fn next_match(&mut self) -> Option<(u32, QoS)> {
        let found = self.receivers.matching.found().last()?;
        Some((found.subscriber, self.message.qos.min(found.qos)))
    }

    /// Takes that one.
    pub(crate) fn take_match(&mut self) -> Option<Match> {
        self.receivers.matching.found().pop()
    }

    /// What a subscriber gets.
    pub(crate) fn delivery(&self, found: Match) -> Delivery {
        Delivery {
            message: Arc::clone(&self.message),
            qos: self.message.qos.min(found.qos),
            retain: self.message.retain && found.retain_as_published,
            via: found.via,
        }
    }

    /// Whether a session with this number, or none, may be another than the one that was found.
    pub(crate) fn may_be_another(&self, number: Option<SessionNumber>) -> bool {
        self.is_resumed && !self.is_older(number)
    }

    /// Whoever subscribes on this shard has it.
    pub(crate) fn end_deliveries(&mut self) {
        self.stage = Stage::Groups;
    }

    /// Whether groups are known of which no member has it yet.
    pub(crate) fn has_groups(&self) -> bool {
        !self.receivers.groups.found.is_empty()
    }

    /// One of them.
    pub(crate) fn next_group(&self) -> Option<Arc<Group>> {
        self.receivers.groups.found.last().map(Arc::clone)
    }

    /// That one has been dealt with.
    pub(crate) fn end_group(&mut self) {
        self.receivers.groups.found.pop();
    }

    /// Whether there are no further groups.
    pub(crate) fn knows_all_groups(&self) -> bool {
        self.receivers.groups.is_over
    }

    /// Everybody has it. Returns what is to be written, and whom to tell what.
    pub(crate) fn end(&mut self) -> (Part, &Author, Reason) {
        let part = std::mem::take(&mut self.writing.part);
        let reason = if part.is_refused() { Reason::QuotaExceeded } else { self.reason };
        (part, &self.author, reason)
    }

    /// Whether the session that a key names now was there when it began.
    fn is_older(&self, number: Option<SessionNumber>) -> bool {
        number.is_some_and(|number| number < self.begun)
    }
}

#[cfg(test)]
mod tests;

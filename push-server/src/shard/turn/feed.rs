//! Retained messages for new subscriptions: found and delivered as fast as the client takes them, a bounded step at
//! a time. A wide filter may match more than an outbox holds, or may match nothing and yet have to look at every
//! topic.
//!
//! A session whose connection has ended is still owed them: its outbox takes as many as it has room for.

use super::Shard;
use crate::broker::{QoS, SubscriptionOptions, TopicFilter};
use crate::mqtt::{Delivered, Delivery};
use crate::shard::clients::Phase;
use crate::shard::journal::Part;
use crate::shard::ports::Ports;
use crate::shard::publish::{Backlog, SubscriptionWalk};
use crate::shard::sessions::Entry;

/// While the outbox of a connected client holds this many, retained messages wait outside it.
const FEED_MESSAGES: usize = 64;

/// Topics visited for one session before the next session's turn: about a millisecond.
const FEED_NODES: usize = 8_192;

/// How far a session was fed.
struct FeedOutcome {
    /// Messages have left the backlog, or the search has gone on.
    any: bool,
    /// The outbox has no room, or a SUBACK has to leave first.
    is_full: bool,
}

impl<P: Ports> Shard<P> {
    /// Whether a session may ask for the retained messages of one more subscription. It may wait for those of as
    /// many subscriptions as it may have.
    pub(super) fn has_backlog_room(&self, key: u32) -> bool {
        let waiting = self.publishing.walks(key);
        waiting < self.here.shared().config.limits.subscriptions_max as usize
    }

    /// Queues the retained messages of a filter that the session has subscribed to with `subscribe`. They wait for
    /// `release_retained`.
    pub(super) fn queue_retained(
        &mut self,
        key: u32,
        filter: &TopicFilter,
        options: SubscriptionOptions,
        subscribe: u64,
    ) {
        let Some(number) = self.sessions.entry(key).map(Entry::number) else { return };
        let Some(mut walk) = self.here.shared().retained.begin_walk(filter) else { return };
        if options.no_local
            && let Some(session) = self.sessions.session_mut(key)
        {
            walk = walk.without(session.client_id());
        }
        let walk = SubscriptionWalk::new(filter.clone(), options, walk, subscribe);
        self.publishing.push_walk(key, number, walk, &self.here.shared().retained);
    }

    /// The SUBACK of `subscribe` is on its way to the client: its retained messages may follow, unless it has
    /// `failed`.
    pub(super) fn release_retained(&mut self, key: u32, subscribe: u64, failed: bool) {
        if failed {
            self.publishing.fail_walks(key, subscribe, &self.here.shared().retained);
        } else {
            self.publishing.release_walks(key, subscribe);
        }
    }

    /// Moves retained messages into a client's outbox while that is nearly empty. Returns whether some are left,
    /// and more can be moved at once.
    pub(super) fn feed_backlog(&mut self, index: u32) -> bool {
        let &Phase::Serving { session: key, .. } = self.clients[index].phase() else {
            return false;
        };
        if !self.publishing.has_backlog(key) {
            return false;
        }
        let fed = self.feed(key, true);
        self.publishing.has_backlog(key) && (fed.any || !fed.is_full)
    }

    /// Whether a session is still owed retained messages.
    pub(super) fn has_backlog(&self, key: u32) -> bool {
        self.publishing.has_backlog(key)
    }

    /// A connection has ended: the rest of its session's backlog goes to the outbox, unless the session `ends`,
    /// too.
    pub(super) fn leave_backlog(&mut self, key: u32, ends: bool) {
        if ends {
            let found = self.publishing.end_backlog(key, &self.here.shared().retained);
            self.here.counters().dropped_session_ended.add(found as u64);
        } else {
            self.publishing.leave_backlog(key);
        }
    }

    /// Whether sessions without a connection have a backlog.
    pub(super) fn has_absent_backlogs(&self) -> bool {
        self.publishing.absent_backlogs() > 0
    }

    /// Feeds sessions without a connection, each once, until the turn has lasted long enough; one at least, unless
    /// shards rest.
    pub(super) fn feed_absent(&mut self) {
        if self.agenda.is_resting() {
            return;
        }
        for _ in 0..self.publishing.absent_backlogs() {
            let Some(key) = self.publishing.take_absent() else { break };
            if !self.publishing.has_backlog(key) {
                continue;
            }
            match self.sessions.entry(key).map(Entry::client) {
                None => {
                    self.publishing.end_backlog(key, &self.here.shared().retained);
                }
                // It is back, and its flushes feed it.
                Some(Some(index)) => self.mark_dirty(index),
                Some(None) => {
                    self.feed(key, false);
                    if self.publishing.has_backlog(key) {
                        self.publishing.push_absent(key);
                    }
                }
            }
            if self.is_late() {
                break;
            }
        }
    }

    fn feed(&mut self, key: u32, connected: bool) -> FeedOutcome {
        let mut fed = FeedOutcome { any: false, is_full: false };
        let Some(mut backlog) = self.publishing.take_backlog(key) else { return fed };
        if !self.sessions.is_there(key, backlog.number()) {
            backlog.end_walks(&self.here.shared().retained);
            return fed;
        }
        let mut part = Part::default();
        let mut nodes = FEED_NODES;
        for _ in 0..FEED_MESSAGES {
            let owed = self.sessions.session_mut(key).map_or(0, |session| session.owed());
            if connected && owed >= FEED_MESSAGES {
                fed.is_full = true;
                break;
            }
            if !backlog.has_found() {
                if backlog.awaits_suback() {
                    fed.is_full = true;
                    break;
                }
                self.find(key, &mut backlog, &mut nodes);
            }
            let Some(delivery) = backlog.pop_found() else { break };
            if let Err(delivery) = self.bring(key, delivery, connected, &mut part) {
                fed.is_full = true;
                backlog.put_found_back(delivery);
                break;
            }
            fed.any = true;
        }
        self.finish_part(part);
        self.publishing.add_walked((FEED_NODES - nodes) as u32);
        fed.any |= nodes < FEED_NODES;
        if !backlog.is_empty() {
            self.publishing.put_backlog_back(key, backlog);
        }
        fed
    }

    /// Looks for the next messages, until some are found or `nodes` topics were visited.
    fn find(&mut self, key: u32, backlog: &mut Backlog, nodes: &mut usize) {
        let (retained, now) = (&self.here.shared().retained, self.agenda.now());
        let session = self.sessions.session(key);
        let is_subscribed = |filter: &TopicFilter| {
            session.is_some_and(|session| session.subscriptions().contains(filter))
        };
        let mut scratch = self.publishing.take_scratch();
        backlog.find(retained, now, FEED_MESSAGES, nodes, &mut scratch, is_subscribed);
        self.publishing.give_scratch_back(scratch);
    }

    /// Puts one message into the outbox. A message that has been replaced meanwhile is left out, because the
    /// subscription has delivered the new one already. Returns the message if a connected client has to take others
    /// first.
    fn bring(
        &mut self,
        key: u32,
        delivery: Delivery,
        connected: bool,
        part: &mut Part,
    ) -> Result<(), Delivery> {
        if !self.here.shared().retained.holds(&delivery.message) {
            return Ok(());
        }
        if !connected && delivery.qos == QoS::AtMostOnce {
            self.here.counters().dropped_session_ended.add(1);
            return Ok(());
        }
        // A retained message is old news: no other message is dropped for it.
        let (limits, memory) =
            (&self.here.shared().config.limits, &self.here.shared().memory.outboxes);
        let session = self.sessions.session_mut(key);
        let has_room =
            session.is_none_or(|session| session.has_room(&delivery, connected, limits, memory));
        if !connected && !has_room {
            self.here.counters().dropped_outbox_full.add(1);
            return Ok(());
        }
        match self.put_into_outbox(key, delivery.clone(), connected, part) {
            Delivered::Queued => {}
            Delivered::QueuedDropping(others) => {
                self.here.counters().dropped_outbox_full.add(u64::from(others));
            }
            // It waits until the client has taken messages; nothing else would deliver it.
            Delivered::Dropped | Delivered::Refused | Delivered::Overflow
                if connected
                    && self.sessions.session(key).is_some_and(|session| session.owed() > 0) =>
            {
                return Err(delivery);
            }
            Delivered::Dropped | Delivered::Refused | Delivered::Overflow => {
                self.here.counters().dropped_outbox_full.add(1);
            }
        }
        Ok(())
    }
}

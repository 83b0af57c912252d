//! Retained messages that subscriptions still bring to a session: looked for and handed out as the
//! client takes them, each time for a while only. A wide filter may match more than an outbox holds,
//! and may match nothing and yet pass by every topic there is.
//!
//! A session whose connection has ended is still owed them: its outbox takes what it has room for.

use std::collections::VecDeque;
use std::sync::Arc;

use hashbrown::HashMap;

use super::client::Phase;
use super::ports::Ports;
use super::ticket::Part;
use super::worker::Worker;
use crate::broker::{Message, QoS, SubscriptionOptions, TopicFilter, Walk};
use crate::mqtt::{Delivered, Delivery};
use crate::store::SessionNumber;

/// Retained messages wait outside the outbox of a connected client while it holds this many.
const FEED_MESSAGES: usize = 64;

/// Topics visited for one session before others have their turn: about a millisecond.
const FEED_NODES: usize = 8_192;

/// The backlogs of a shard's sessions.
#[derive(Debug, Default)]
pub(super) struct Backlogs {
    by_session: HashMap<u32, Backlog, foldhash::fast::RandomState>,
    /// Sessions without connection among them, in turns.
    absent: VecDeque<u32>,
    /// Scratch, kept for its memory.
    found: Vec<Arc<Message>>,
}

/// What a session is still to be brought.
#[derive(Debug)]
struct Backlog {
    /// Whose it is: keys are given again.
    number: SessionNumber,
    /// In the order of the subscriptions; the first one is under way.
    walks: VecDeque<Subscribed>,
    /// Found, and the outbox had no room; at most `FEED_MESSAGES`.
    found: VecDeque<Delivery>,
}

/// A subscription whose retained messages are looked for.
#[derive(Debug)]
struct Subscribed {
    filter: TopicFilter,
    options: SubscriptionOptions,
    walk: Walk,
    /// The SUBSCRIBE whose SUBACK is to leave first: simple clients expect that.
    awaits: Option<u64>,
}

impl Backlog {
    /// Lets what waits for certain SUBSCRIBEs to be answered go on.
    fn release(&mut self, is_answered: impl Fn(u64) -> bool) {
        for Subscribed { awaits, .. } in &mut self.walks {
            awaits.take_if(|awaited| is_answered(*awaited));
        }
    }

    fn awaits_suback(&self) -> bool {
        self.walks.front().is_some_and(|subscribed| subscribed.awaits.is_some())
    }
}

/// How far a session was fed.
struct Fed {
    /// Something has come out of the backlog, or some way was gone.
    any: bool,
    /// The outbox has no room, or a SUBACK has to leave first.
    is_full: bool,
}

impl<P: Ports> Worker<P> {
    /// Whether a session may ask for the retained messages of one more subscription: as many wait
    /// as it may have subscriptions.
    pub(super) fn has_backlog_room(&self, key: u32) -> bool {
        let waiting = self.backlogs.by_session.get(&key).map_or(0, |backlog| backlog.walks.len());
        waiting < self.shared.config.limits.subscriptions_max as usize
    }

    /// Has the retained messages of a filter, which the session has subscribed to by now with
    /// `subscribe`, sent as soon as `release_retained` says so.
    pub(super) fn queue_retained(
        &mut self,
        key: u32,
        filter: &TopicFilter,
        options: SubscriptionOptions,
        subscribe: u64,
    ) {
        let Some(number) = self.sessions.entry_mut(key).map(|entry| entry.number) else { return };
        let Some(mut walk) = self.shared.retained.begin_walk(filter) else { return };
        if options.no_local
            && let Some(session) = self.sessions.session_mut(key)
        {
            walk = walk.without(session.client_id());
        }
        if self.backlogs.by_session.get(&key).is_some_and(|backlog| backlog.number != number) {
            self.drop_backlog(key);
        }
        let backlog = self.backlogs.by_session.entry(key).or_insert_with(|| Backlog {
            number,
            walks: VecDeque::new(),
            found: VecDeque::new(),
        });
        let awaits = Some(subscribe);
        backlog.walks.push_back(Subscribed { filter: filter.clone(), options, walk, awaits });
    }

    /// The SUBACK of `subscribe` is on its way to the client: what the subscriptions bring may follow, unless
    /// they have `failed`.
    pub(super) fn release_retained(&mut self, key: u32, subscribe: u64, failed: bool) {
        let Some(backlog) = self.backlogs.by_session.get_mut(&key) else { return };
        if failed {
            let awaits = |subscribed: &Subscribed| subscribed.awaits == Some(subscribe);
            for subscribed in backlog.walks.iter_mut().filter(|subscribed| awaits(subscribed)) {
                self.shared.retained.end_walk(&mut subscribed.walk);
            }
            backlog.walks.retain(|subscribed| !awaits(subscribed));
        } else {
            backlog.release(|awaited| awaited == subscribe);
        }
    }

    /// Moves retained messages on into a client's outbox while it is nearly empty and takes them.
    /// Returns whether some were moved, or may be at once, and some are left.
    pub(super) fn feed_backlog(&mut self, index: u32) -> bool {
        let Phase::Serving { session: key, .. } = self.clients[index].phase else {
            return false;
        };
        if !self.backlogs.by_session.contains_key(&key) {
            return false;
        }
        let fed = self.feed(key, true);
        self.backlogs.by_session.contains_key(&key) && (fed.any || !fed.is_full)
    }

    /// Whether retained messages are still to be brought to a session.
    pub(super) fn has_backlog(&self, key: u32) -> bool {
        self.backlogs.by_session.contains_key(&key)
    }

    /// A connection has ended: what its session is still to be brought goes to its outbox, unless
    /// the session `ends`, too.
    pub(super) fn leave_backlog(&mut self, key: u32, ends: bool) {
        match self.backlogs.by_session.get(&key) {
            Some(backlog) if ends => {
                self.counters.dropped_session_ended.add(backlog.found.len() as u64);
                self.drop_backlog(key);
            }
            Some(_) => self.backlogs.absent.push_back(key),
            None => return,
        }
        if let Some(backlog) = self.backlogs.by_session.get_mut(&key) {
            // Its SUBACKs have nobody to go to.
            backlog.release(|_| true);
        }
    }

    /// Whether sessions without connection are still to be brought something.
    pub(super) fn has_absent_backlogs(&self) -> bool {
        !self.backlogs.absent.is_empty()
    }

    /// Feeds sessions without connection, each once, until the turn has lasted long enough; one at
    /// least.
    pub(super) fn feed_absent(&mut self) {
        for _ in 0..self.backlogs.absent.len() {
            let Some(key) = self.backlogs.absent.pop_front() else { break };
            if !self.backlogs.by_session.contains_key(&key) {
                continue;
            }
            match self.sessions.entry_mut(key).map(|entry| entry.presence.client()) {
                None => self.drop_backlog(key),
                // It is back, and fed like any other.
                Some(Some(index)) => self.mark_dirty(index),
                Some(None) => {
                    self.feed(key, false);
                    if self.backlogs.by_session.contains_key(&key) {
                        self.backlogs.absent.push_back(key);
                    }
                }
            }
            if self.is_late() {
                break;
            }
        }
    }

    fn feed(&mut self, key: u32, connected: bool) -> Fed {
        let mut fed = Fed { any: false, is_full: false };
        let Some(mut backlog) = self.backlogs.by_session.remove(&key) else { return fed };
        if self.sessions.entry_mut(key).is_none_or(|entry| entry.number != backlog.number) {
            self.end_walks(&mut backlog);
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
            if backlog.found.is_empty() {
                if backlog.awaits_suback() {
                    fed.is_full = true;
                    break;
                }
                self.find(key, &mut backlog, &mut nodes);
            }
            let Some(delivery) = backlog.found.pop_front() else { break };
            if let Err(delivery) = self.bring(key, delivery, connected, &mut part) {
                fed.is_full = true;
                backlog.found.push_front(delivery);
                break;
            }
            fed.any = true;
        }
        self.finish_part(part);
        self.walked += (FEED_NODES - nodes) as u32;
        fed.any |= nodes < FEED_NODES;
        if backlog.walks.is_empty() && backlog.found.is_empty() {
            return fed;
        }
        self.backlogs.by_session.insert(key, backlog);
        fed
    }

    /// Looks for the next messages, until some are found or `nodes` topics were visited.
    fn find(&mut self, key: u32, backlog: &mut Backlog, nodes: &mut usize) {
        let retained = &self.shared.retained;
        while *nodes > 0
            && let Some(Subscribed { filter, options, walk, awaits: None }) =
                backlog.walks.front_mut()
        {
            // Who unsubscribes has nothing more brought [MQTT-3.10.4-2].
            let is_wanted = self
                .sessions
                .session_mut(key)
                .is_some_and(|session| session.subscriptions.contains(filter));
            let mut found = std::mem::take(&mut self.backlogs.found);
            let is_over = !is_wanted
                || retained.walk_on(
                    filter,
                    walk,
                    self.agenda.now(),
                    nodes,
                    FEED_MESSAGES,
                    &mut found,
                );
            backlog.found.extend(found.drain(..).map(|message| Delivery {
                qos: message.qos.min(options.qos),
                message,
                retain: true,
                via: options.id.into(),
            }));
            self.backlogs.found = found;
            if is_over {
                retained.end_walk(walk);
                backlog.walks.pop_front();
            }
            if !backlog.found.is_empty() {
                return;
            }
        }
    }

    /// Puts one message into the outbox. One that has been replaced meanwhile is left out: the
    /// subscription has brought the new one already. It is given back where a connected client has
    /// to take others first.
    fn bring(
        &mut self,
        key: u32,
        delivery: Delivery,
        connected: bool,
        part: &mut Part,
    ) -> Result<(), Delivery> {
        if !self.shared.retained.holds(&delivery.message) {
            return Ok(());
        }
        if !connected && delivery.qos == QoS::AtMostOnce {
            self.counters.dropped_session_ended.add(1);
            return Ok(());
        }
        // What is retained is no news: nothing else is dropped for it.
        let (limits, memory) = (&self.shared.config.limits, &self.shared.memory.outboxes);
        let session = self.sessions.session_mut(key);
        let has_room =
            session.is_none_or(|session| session.has_room(&delivery, connected, limits, memory));
        if !connected && !has_room {
            self.counters.dropped_outbox_full.add(1);
            return Ok(());
        }
        match self.put_into_outbox(key, delivery.clone(), connected, part) {
            Delivered::Queued => {}
            Delivered::QueuedDropping(others) => {
                self.counters.dropped_outbox_full.add(u64::from(others));
            }
            // Its turn comes when the client has taken what it is owed; nothing else would bring it.
            Delivered::Dropped | Delivered::Refused | Delivered::Overflow
                if connected
                    && self.sessions.session(key).is_some_and(|session| session.owed() > 0) =>
            {
                return Err(delivery);
            }
            Delivered::Dropped | Delivered::Refused | Delivered::Overflow => {
                self.counters.dropped_outbox_full.add(1);
            }
        }
        Ok(())
    }

    fn drop_backlog(&mut self, key: u32) {
        if let Some(mut backlog) = self.backlogs.by_session.remove(&key) {
            self.end_walks(&mut backlog);
        }
    }

    fn end_walks(&self, backlog: &mut Backlog) {
        for Subscribed { walk, .. } in &mut backlog.walks {
            self.shared.retained.end_walk(walk);
        }
    }
}

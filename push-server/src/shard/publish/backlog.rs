//! Retained messages that a shard's sessions are still owed for their subscriptions. `feed` finds and
//! delivers them.

use std::collections::VecDeque;
use std::sync::Arc;

use hashbrown::HashMap;

use crate::broker::{Message, Retained, SubscriptionOptions, TopicFilter, Walk};
use crate::mqtt::Delivery;
use crate::store::SessionNumber;

/// The backlogs of a shard's sessions, by key.
#[derive(Debug, Default)]
pub(crate) struct Backlogs {
    by_session: HashMap<u32, Backlog, foldhash::fast::RandomState>,
    /// The sessions among them that have no connection, in turns.
    absent: VecDeque<u32>,
    /// Topics visited that no flow has been charged for yet.
    walked: u32,
    /// Scratch, kept for its memory.
    found: Vec<Arc<Message>>,
}

/// The retained messages that a session is still owed.
#[derive(Debug)]
pub(crate) struct Backlog {
    /// The number of its session: keys are given again.
    pub(crate) number: SessionNumber,
    /// In the order of the subscriptions; the first one is under way.
    pub(crate) walks: VecDeque<SubscriptionWalk>,
    /// Messages found, for which the outbox had no room. The search bounds their number.
    pub(crate) found: VecDeque<Delivery>,
}

/// A subscription whose retained messages are looked for.
#[derive(Debug)]
pub(crate) struct SubscriptionWalk {
    pub(crate) filter: TopicFilter,
    pub(crate) options: SubscriptionOptions,
    pub(crate) walk: Walk,
    /// The SUBSCRIBE whose SUBACK has to leave first: simple clients expect that order.
    pub(crate) awaits: Option<u64>,
}

impl Backlog {
    /// Lets searches go on that waited for SUBSCRIBEs which now are answered.
    fn release(&mut self, is_answered: impl Fn(u64) -> bool) {
        for SubscriptionWalk { awaits, .. } in &mut self.walks {
            awaits.take_if(|awaited| is_answered(*awaited));
        }
    }

    pub(crate) fn awaits_suback(&self) -> bool {
        self.walks.front().is_some_and(|walk| walk.awaits.is_some())
    }
}

impl Backlogs {
    /// Whether a session is still owed retained messages.
    pub(crate) fn has(&self, key: u32) -> bool {
        self.by_session.contains_key(&key)
    }

    /// For how many subscriptions a session is still owed them.
    pub(crate) fn walks(&self, key: u32) -> usize {
        self.by_session.get(&key).map_or(0, |backlog| backlog.walks.len())
    }

    /// Adds a subscription of the session with this key and number. The caller has `end`ed the backlog of an
    /// earlier session with this key.
    pub(crate) fn push(&mut self, key: u32, number: SessionNumber, walk: SubscriptionWalk) {
        let backlog = self.by_session.entry(key).or_insert_with(|| Backlog {
            number,
            walks: VecDeque::new(),
            found: VecDeque::new(),
        });
        backlog.walks.push_back(walk);
    }

    /// The number of the session whose backlog a key has.
    pub(crate) fn number(&self, key: u32) -> Option<SessionNumber> {
        self.by_session.get(&key).map(|backlog| backlog.number)
    }

    /// The SUBACK of a SUBSCRIBE is out: its retained messages may follow.
    pub(crate) fn release(&mut self, key: u32, subscribe: u64) {
        if let Some(backlog) = self.by_session.get_mut(&key) {
            backlog.release(|awaited| awaited == subscribe);
        }
    }

    /// A SUBSCRIBE has failed: its retained messages are not delivered.
    pub(crate) fn fail(&mut self, key: u32, subscribe: u64, retained: &Retained) {
        let Some(backlog) = self.by_session.get_mut(&key) else { return };
        let awaits = |walk: &SubscriptionWalk| walk.awaits == Some(subscribe);
        for walk in backlog.walks.iter_mut().filter(|walk| awaits(walk)) {
            retained.end_walk(&mut walk.walk);
        }
        backlog.walks.retain(|walk| !awaits(walk));
    }

    /// A session has lost its connection: its backlog waits for no SUBACK any more.
    pub(crate) fn leave(&mut self, key: u32) {
        if let Some(backlog) = self.by_session.get_mut(&key) {
            self.absent.push_back(key);
            backlog.release(|_| true);
        }
    }

    /// Ends a session's backlog. Returns how many messages were found and not brought.
    pub(crate) fn end(&mut self, key: u32, retained: &Retained) -> usize {
        let Some(mut backlog) = self.by_session.remove(&key) else { return 0 };
        backlog.end_walks(retained);
        backlog.found.len()
    }

    /// Takes a session's backlog out, to be put back if messages are left.
    pub(crate) fn take(&mut self, key: u32) -> Option<Backlog> {
        self.by_session.remove(&key)
    }

    pub(crate) fn put_back(&mut self, key: u32, backlog: Backlog) {
        self.by_session.insert(key, backlog);
    }

    /// How many sessions without a connection have a backlog.
    pub(crate) fn absent(&self) -> usize {
        self.absent.len()
    }

    /// Takes the next session without connection.
    pub(crate) fn take_absent(&mut self) -> Option<u32> {
        self.absent.pop_front()
    }

    /// Puts a session without a connection behind the others.
    pub(crate) fn push_absent(&mut self, key: u32) {
        self.absent.push_back(key);
    }

    /// So many topics were visited.
    pub(crate) fn add_walked(&mut self, nodes: u32) {
        self.walked += nodes;
    }

    /// Takes the number of visits that are not charged yet.
    pub(crate) fn take_walked(&mut self) -> u32 {
        std::mem::take(&mut self.walked)
    }

    /// Scratch for messages that are found; to be given back, empty.
    pub(crate) fn take_scratch(&mut self) -> Vec<Arc<Message>> {
        std::mem::take(&mut self.found)
    }

    pub(crate) fn give_scratch_back(&mut self, found: Vec<Arc<Message>>) {
        self.found = found;
    }
}

impl Backlog {
    pub(crate) fn end_walks(&mut self, retained: &Retained) {
        for SubscriptionWalk { walk, .. } in &mut self.walks {
            retained.end_walk(walk);
        }
    }
}

//! One shard's subscriptions, from filters to sessions of that shard: a hash map for filters
//! without wildcards, a tree of topic levels for those with.
//!
//! A session with several filters that match a topic gets one copy:
//! - with the highest QoS of them [MQTT-3.3.4-2];
//! - with the identifiers of all of them [MQTT-3.3.4-3] [MQTT-3.3.4-4];
//! - `retain_as_published` if any of them asks for it: clearing the flag would deny that
//!   subscription what it asked for.
//!
//! A `no_local` subscription matches nothing that its own session published [MQTT-3.8.3-3], so it
//! adds neither QoS nor identifier to one that does.
//!
//! Shared filters (`$share/...`) belong in `Shares` and match nothing here.
//!
//! What a client can make grow: its subscriptions, which `subscriptions_max` and
//! `subscription_bytes_max` limit for each session, and the nodes of a filter, which
//! `topic_levels_max` limits. A publish visits each node at most once, in steps of a budget that
//! its caller sets.
//!
//! `tests/tests/weights.rs` measures what a filter takes here, in `Routing` and in its session's
//! list: a thousand of nine levels, nearly all `+`, take 750 bytes each, 430 of them nodes.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Bound;

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;

use super::budget::Budget;
use super::filter_table::{
    Cursor, ExactFilters, SEGMENTS, TextHasher, Visited, Way, WildcardFilters,
};
use super::level_tree::Vacant;
use super::message::{ALLOCATION_BYTES, COUNTS_BYTES, QoS};
use super::routing::ShardSet;
use super::subscription::{SubscriptionId, SubscriptionOptions};
use super::topic::{TopicFilter, TopicName};
use super::via::Via;

/// Bytes that a subscription takes beside its filter's text and the tables: its entry in its
/// session's list, which may be half empty, and the text's allocation.
const SUBSCRIPTION_BYTES: usize = 2 * 32 + COUNTS_BYTES + ALLOCATION_BYTES;

/// Bytes that a filter without wildcards takes: an entry in its shard's table, and one in
/// `Routing`.
const EXACT_BYTES: usize =
    ExactFilters::<Subscribers>::FILTER_BYTES + ExactFilters::<ShardSet>::FILTER_BYTES;

/// The same for a filter with wildcards, without its levels.
const WILDCARD_BYTES: usize =
    WildcardFilters::<Subscribers>::FILTER_BYTES + WildcardFilters::<ShardSet>::FILTER_BYTES;

/// Bytes that a level of a filter with wildcards takes, without its text: a node in the shard's
/// tree, and one in `Routing`'s.
const LEVEL_BYTES: usize =
    WildcardFilters::<Subscribers>::LEVEL_BYTES + WildcardFilters::<ShardSet>::LEVEL_BYTES;

/// Bytes that the text of a level takes beside its characters, in both trees. Levels of one byte,
/// `+` and `#` included, are not counted: there are a few hundred different ones in all.
const LEVEL_TEXT_BYTES: usize = 2 * WildcardFilters::<Subscribers>::TEXT_BYTES;

/// Bytes that a shared subscription takes in `Shares`: a group with its members.
const SHARE_BYTES: usize = 768;

/// Most bytes that a subscription takes in memory, if none shares anything with it.
/// `tests/tests/weights.rs` holds this against the allocator.
pub fn subscription_weight_bytes(filter: &TopicFilter) -> usize {
    let text_bytes = filter.as_str().len();
    let filter_bytes = if filter.has_wildcards() {
        let level_bytes = |level: &str| match level.len() {
            0 | 1 => LEVEL_BYTES,
            len => LEVEL_BYTES + LEVEL_TEXT_BYTES + 2 * len,
        };
        WILDCARD_BYTES + filter.as_str().split('/').map(level_bytes).sum::<usize>()
    } else {
        EXACT_BYTES
    };
    let share_bytes = if filter.is_shared() { SHARE_BYTES + text_bytes } else { 0 };
    SUBSCRIPTION_BYTES + text_bytes + filter_bytes + share_bytes
}

/// A session that must get a message; overlapping filters are merged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// The session's key in its shard.
    pub subscriber: u32,
    /// The highest QoS for the delivery.
    pub qos: QoS,
    /// Whether the RETAIN flag is kept as published.
    pub retain_as_published: bool,
    /// The identifiers of the subscriptions.
    pub via: Via,
}

/// The subscriptions of one shard.
#[derive(Debug)]
pub struct Subscriptions {
    hasher: TextHasher,
    exact: Box<[ExactFilters<Subscribers>]>,
    wildcard: WildcardFilters<Subscribers>,
    len: usize,
}

impl Default for Subscriptions {
    fn default() -> Self {
        Self {
            hasher: TextHasher::default(),
            exact: (0..SEGMENTS).map(|_| ExactFilters::default()).collect(),
            wildcard: WildcardFilters::default(),
            len: 0,
        }
    }
}

impl Subscriptions {
    /// Adds or replaces a subscription. Returns whether it replaced one, and whether this is the
    /// shard's first subscriber of the filter (then call `Routing::add`).
    ///
    /// Without wildcards, the filter's text is shared with `filter`, not copied.
    pub fn insert(
        &mut self,
        filter: &TopicFilter,
        subscriber: u32,
        options: SubscriptionOptions,
    ) -> (bool, bool) {
        let subscribers = if filter.has_wildcards() {
            self.wildcard.make(filter)
        } else {
            let hash = self.hasher.hash(filter.as_str());
            self.exact[TextHasher::segment(hash)].make(hash, filter, &self.hasher)
        };
        let first = subscribers.is_vacant();
        let replaced = subscribers.insert(subscriber, Packed::from(options));
        self.len += usize::from(!replaced);
        (replaced, first)
    }

    /// Removes a subscription. Returns whether it was there, and whether it was the shard's last
    /// subscriber of the filter (then call `Routing::remove`).
    pub fn remove(&mut self, filter: &TopicFilter, subscriber: u32) -> (bool, bool) {
        let change = |subscribers: &mut Subscribers| {
            let removed = subscribers.remove(subscriber);
            (removed, removed && subscribers.is_vacant())
        };
        let (removed, last) = if filter.has_wildcards() {
            self.wildcard.change(filter, change)
        } else {
            let hash = self.hasher.hash(filter.as_str());
            self.exact[TextHasher::segment(hash)].change(hash, filter, &self.hasher, change)
        }
        .unwrap_or_default();
        self.len -= usize::from(removed);
        (removed, last)
    }

    /// Searches for the sessions that must get `topic`, until the budget is spent. `from`: the
    /// publishing session, if it is in this table. Returns whether all are found.
    pub fn search(
        &self,
        topic: &TopicName,
        from: Option<u32>,
        matching: &mut Matching,
        budget: &mut Budget,
    ) -> bool {
        let Matching { cursor, matches } = matching;
        if topic.is_out_of_reach() {
            cursor.end();
        }
        let matches = RefCell::new(matches);
        let visit = |subscribers: &Subscribers, behind: &mut Option<u32>, budget: &mut Budget| {
            matches.borrow_mut().add(subscribers, from, behind, budget)
        };
        let exact = |behind: &mut Option<u32>, budget: &mut Budget| {
            let hash = self.hasher.hash(topic.as_str());
            let found = self.exact[TextHasher::segment(hash)].find(hash, topic.as_str());
            found.map_or(Visited::Whole, |subscribers| visit(subscribers, behind, budget))
        };
        let wildcard = |way: &mut Way<Option<u32>>, budget: &mut Budget| {
            self.wildcard.is_empty() || self.wildcard.walk(topic, way, budget, visit)
        };
        cursor.step(budget, exact, wildcard)
    }

    /// How many subscriptions there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A search for the sessions that must get a topic, in one or several steps, with its result so
/// far.
///
/// A subscription that comes, goes or changes meanwhile may or may not bring the message. A session
/// that is subscribed the whole time is found once.
#[derive(Debug, Default)]
pub struct Matching {
    cursor: Cursor<Option<u32>>,
    matches: Matches,
}

/// The sessions found, each once.
#[derive(Debug, Default)]
struct Matches {
    found: Vec<Match>,
    /// Index in `found` by session, for the first `placed` of them; filled as soon as a session may
    /// come twice.
    places: MatchIndices,
    placed: usize,
    /// Another filter may bring sessions that are in `found` already. Within one filter's set a
    /// session comes once, so the first filter needs no look-up.
    is_merging: bool,
}

type MatchIndices = HashMap<u32, usize, foldhash::fast::RandomState>;

/// A table of places with room for more than this is not kept for the next search.
const PLACES_KEPT_MAX: usize = 4_096;

impl Matching {
    /// The sessions found so far; complete once `search` says so.
    pub fn found(&mut self) -> &mut Vec<Match> {
        &mut self.matches.found
    }

    /// Empties the result, and keeps its memory for the next search.
    pub fn clear(&mut self) {
        self.cursor = Cursor::default();
        let Matches { found, places, placed, is_merging } = &mut self.matches;
        found.clear();
        if places.capacity() > PLACES_KEPT_MAX {
            *places = MatchIndices::default();
        }
        places.clear();
        (*placed, *is_merging) = (0, false);
    }
}

impl Matches {
    /// Adds the subscribers of one filter after `behind`, as far as the budget goes.
    fn add(
        &mut self,
        subscribers: &Subscribers,
        from: Option<u32>,
        behind: &mut Option<u32>,
        budget: &mut Budget,
    ) -> Visited {
        if behind.is_none() && !self.found.is_empty() {
            self.is_merging = true;
        }
        if self.is_merging {
            while let Some(known) = self.found.get(self.placed) {
                self.places.insert(known.subscriber, self.placed);
                self.placed += 1;
                budget.charge(1);
                if budget.is_spent() {
                    return Visited::Part;
                }
            }
        }
        match subscribers {
            Subscribers::Nobody => {}
            // There were more subscribers when the last step stopped.
            Subscribers::One(subscriber, _) if *behind >= Some(*subscriber) => {}
            Subscribers::One(subscriber, options) => {
                budget.charge(1);
                self.add_one(*subscriber, *options, from);
            }
            Subscribers::Many(set) => {
                let start = behind.map_or(Bound::Unbounded, Bound::Excluded);
                for (&subscriber, &options) in set.0.range((start, Bound::Unbounded)) {
                    budget.charge(1);
                    self.add_one(subscriber, options, from);
                    if budget.is_spent() {
                        *behind = Some(subscriber);
                        return Visited::Part;
                    }
                }
            }
        }
        Visited::Whole
    }

    fn add_one(&mut self, subscriber: u32, options: Packed, from: Option<u32>) {
        if from == Some(subscriber) && options.is_no_local() {
            return;
        }
        let found = options.matched(subscriber);
        if self.is_merging {
            match self.places.entry(subscriber) {
                Entry::Occupied(place) => return self.found[*place.get()].merge(&found),
                Entry::Vacant(place) => place.insert(self.found.len()),
            };
            self.placed += 1;
        }
        self.found.push(found);
    }
}

impl Match {
    /// Merges two subscriptions of one session, as the module says.
    fn merge(&mut self, other: &Self) {
        self.qos = self.qos.max(other.qos);
        self.retain_as_published |= other.retain_as_published;
        for &id in other.via.ids() {
            self.via.add(Some(id));
        }
    }
}

/// The options that a delivery needs, in a word: two bits of QoS, two flags, and the identifier (0:
/// none). `retain_handling` only matters when subscribing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Packed(u32);

const QOS_BITS: u32 = 0b11;
const NO_LOCAL: u32 = 1 << 2;
const RETAIN_AS_PUBLISHED: u32 = 1 << 3;
const ID_SHIFT: u32 = 4;

impl From<SubscriptionOptions> for Packed {
    fn from(options: SubscriptionOptions) -> Self {
        let flag = |set, bit| if set { bit } else { 0 };
        Self(
            options.qos as u32
                | flag(options.no_local, NO_LOCAL)
                | flag(options.retain_as_published, RETAIN_AS_PUBLISHED)
                | options.id.map_or(0, SubscriptionId::value) << ID_SHIFT,
        )
    }
}

impl Packed {
    /// Whether the session does not get what it published itself.
    fn is_no_local(self) -> bool {
        self.0 & NO_LOCAL != 0
    }

    fn matched(self, subscriber: u32) -> Match {
        Match {
            subscriber,
            qos: match self.0 & QOS_BITS {
                0 => QoS::AtMostOnce,
                1 => QoS::AtLeastOnce,
                _ => QoS::ExactlyOnce,
            },
            retain_as_published: self.0 & RETAIN_AS_PUBLISHED != 0,
            via: Via::Own(SubscriptionId::new(self.0 >> ID_SHIFT)),
        }
    }
}

/// Sorted by subscriber.
type Entries = BTreeMap<u32, Packed>;

/// Boxed, because few filters have more than one subscriber.
#[derive(Debug, Default)]
struct Set(Entries);

/// The subscribers of one filter: 16 bytes if there is one, as usual, else a sorted map. A topic
/// with a million of them loses one as fast as any other topic, and a search may stop after any of
/// them.
#[derive(Debug, Default)]
enum Subscribers {
    #[default]
    Nobody,
    One(u32, Packed),
    Many(Box<Set>),
}

impl Vacant for Subscribers {
    fn is_vacant(&self) -> bool {
        matches!(self, Self::Nobody)
    }
}

impl Subscribers {
    /// Returns whether it replaced one.
    fn insert(&mut self, subscriber: u32, options: Packed) -> bool {
        match self {
            Self::Nobody => {
                *self = Self::One(subscriber, options);
                false
            }
            Self::One(known, replaced) if *known == subscriber => {
                *replaced = options;
                true
            }
            Self::One(known, known_options) => {
                let both = [(*known, *known_options), (subscriber, options)];
                *self = Self::Many(Box::new(Set(both.into_iter().collect())));
                false
            }
            Self::Many(set) => set.0.insert(subscriber, options).is_some(),
        }
    }

    /// Returns whether it was there.
    fn remove(&mut self, subscriber: u32) -> bool {
        match self {
            Self::Nobody => false,
            Self::One(known, _) => {
                let found = *known == subscriber;
                if found {
                    *self = Self::Nobody;
                }
                found
            }
            Self::Many(set) => {
                let found = set.0.remove(&subscriber).is_some();
                if set.0.len() == 1 {
                    let last =
                        set.0.iter().next().map(|(&subscriber, &options)| (subscriber, options));
                    *self = last.map_or(Self::Nobody, |(known, options)| Self::One(known, options));
                }
                found
            }
        }
    }
}

#[cfg(test)]
mod tests;

//! Shared subscriptions: groups of sessions, on any shards, that share a filter's messages [MQTT5
//! 4.8.2]. One table for all shards.
//!
//! A group is a share name and a filter. Each message that its filter matches goes to one member.
//! The publishing shard picks the member. The member's shard asks here again if the pick no longer
//! fits: the member has left, or lost its connection meanwhile.
//!
//! - Online members take turns, over all shards. A member that joins or leaves moves another's turn
//!   by one place at most.
//! - If nobody is online, members with a QoS 1 or 2 subscription take turns keeping the message
//!   until they are back; QoS 0 members cannot keep one.
//!
//! What a client can make grow: its memberships; `subscriptions_max` limits them for each session.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hashbrown::HashMap;

use super::budget::Budget;
use super::filter_table::{Cursor, Visited};
use super::level_tree::Vacant;
use super::locked_filters::LockedFilters;
use super::message::QoS;
use super::subscription::SubscriptionOptions;
use super::topic::{TopicFilter, TopicName};

/// Most members that one pick skips because they accept no packet so large. After that many it
/// picks the next one regardless.
const PASSED_BY_MAX: usize = 64;

/// A session of a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Member {
    /// Its shard.
    pub shard: u16,
    /// Its key in that shard.
    pub session: u32,
}

/// The state of a member in its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The options of its subscription.
    pub options: SubscriptionOptions,
    /// How many other members could be picked instead.
    pub others: usize,
    /// Whether picks skip it, because it is away and others are not.
    pub is_passed_over: bool,
    /// Whether the group takes it for online.
    pub is_online: bool,
}

/// All groups.
#[derive(Debug, Default)]
pub struct Shares {
    /// By the filter without share name.
    groups: LockedFilters<Groups>,
    /// How many groups there are: without any, a publish skips the look-up.
    len: AtomicUsize,
}

type Map<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// The groups of one filter, sorted by their full text, so that a search may stop after any of
/// them.
#[derive(Debug, Default)]
struct Groups(Option<Box<ByText>>);

/// Boxed, because every node of the filter tree has a place for it.
#[derive(Debug, Default)]
struct ByText(BTreeMap<TopicFilter, Arc<Group>>);

/// A search for groups, in one or several steps. It finds every group that exists the whole time
/// once; it may miss those that come or go.
#[derive(Debug, Default)]
pub struct GroupSearch(Cursor<Option<TopicFilter>>);

impl Vacant for Groups {
    fn is_vacant(&self) -> bool {
        self.0.is_none()
    }
}

/// A share name, a filter, and the sessions that subscribed with both.
#[derive(Debug)]
pub struct Group {
    filter: TopicFilter,
    members: Mutex<Members>,
}

#[derive(Debug, Default)]
struct Members {
    places: Map<Member, MemberEntry>,
    /// The turns of the members that are online, and of those that are away.
    online: Rotation,
    waiting: Rotation,
}

#[derive(Clone, Copy, Debug)]
struct MemberEntry {
    options: SubscriptionOptions,
    among: Among,
    /// Its index in that rotation.
    index: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Among {
    Online,
    Waiting,
    /// Away, with a QoS 0 subscription, so it cannot keep a message.
    Neither,
}

/// One message's way through the members of its group. It has a position of its own, so turns that
/// other messages take meanwhile do not bring it to a member twice.
#[derive(Clone, Copy, Debug, Default)]
pub struct Round {
    next: Option<usize>,
}

impl Round {
    /// The member picked last has left. The last member has moved to its place, and must not be
    /// skipped.
    pub fn member_left(&mut self) {
        self.next = self.next.map(|next| next.saturating_sub(1));
    }
}

#[derive(Debug, Default)]
struct Rotation {
    members: Vec<Turn>,
    next: usize,
}

#[derive(Clone, Copy, Debug)]
struct Turn {
    member: Member,
    /// The largest packet that it accepts, in bytes.
    packet_bytes_max: u32,
}

impl Shares {
    /// A session subscribes; with the same filter again, the new options replace the old. Returns
    /// whether they did.
    pub fn join(
        &self,
        filter: &TopicFilter,
        member: Member,
        options: SubscriptionOptions,
        is_online: bool,
    ) -> bool {
        let Some(plain) = filter.unshared() else { return false };
        self.groups.make(&plain, |groups| {
            let groups = groups.0.get_or_insert_default();
            let group = groups.0.entry(filter.clone()).or_insert_with(|| {
                self.len.fetch_add(1, Ordering::Release);
                Arc::new(Group { filter: filter.clone(), members: Mutex::default() })
            });
            let mut members = group.lock();
            let replaced = members.remove(member);
            members.insert(member, options, is_online);
            replaced.is_some()
        })
    }

    /// A session unsubscribes or ends. Returns whether it was a member.
    pub fn leave(&self, filter: &TopicFilter, member: Member) -> bool {
        let Some(plain) = filter.unshared() else { return false };
        let left = self.groups.change(&plain, |groups| {
            let map = groups.0.as_deref_mut()?;
            let group = map.0.get(filter)?;
            let mut members = group.lock();
            let left = members.remove(member);
            let is_empty = members.places.is_empty();
            drop(members);
            if is_empty {
                map.0.remove(filter);
                self.len.fetch_sub(1, Ordering::Release);
            }
            if map.0.is_empty() {
                groups.0 = None;
            }
            left
        });
        left.flatten().is_some()
    }

    /// A member has another name from now on, and keeps its turn.
    pub fn rename(&self, filter: &TopicFilter, before: Member, now: Member) {
        if let Some(group) = self.find(filter) {
            group.lock().rename(before, now);
        }
    }

    /// A member has come online or gone.
    pub fn set_online(&self, filter: &TopicFilter, member: Member, is_online: bool) {
        if let Some(group) = self.find(filter) {
            group.set_online(member, is_online);
        }
    }

    /// The client of an online member accepts packets up to this many bytes, until it goes.
    pub fn set_packet_bytes_max(&self, filter: &TopicFilter, member: Member, bytes: u32) {
        let Some(group) = self.find(filter) else { return };
        let mut members = group.lock();
        let Members { places, online, .. } = &mut *members;
        if let Some(MemberEntry { among: Among::Online, index, .. }) = places.get(&member)
            && let Some(turn) = online.members.get_mut(*index)
        {
            turn.packet_bytes_max = bytes;
        }
    }

    /// Appends the groups whose filter matches `topic` to `out`, until the budget is spent. Returns
    /// whether there are no more.
    pub fn search(
        &self,
        topic: &TopicName,
        search: &mut GroupSearch,
        budget: &mut Budget,
        out: &mut Vec<Arc<Group>>,
    ) -> bool {
        if self.len.load(Ordering::Acquire) == 0 {
            search.0.end();
        }
        let out = RefCell::new(out);
        self.groups.walk(topic, &mut search.0, budget, |groups, behind, budget| {
            let Some(map) = &groups.0 else { return Visited::Whole };
            let start = behind.take().map_or(Bound::Unbounded, Bound::Excluded);
            for group in map.0.range((start, Bound::Unbounded)).map(|(_, group)| group) {
                budget.charge(1);
                out.borrow_mut().push(Arc::clone(group));
                if budget.is_spent() {
                    *behind = Some(group.filter.clone());
                    return Visited::Part;
                }
            }
            Visited::Whole
        })
    }

    /// Picks the member of `group` whose turn it is and that accepts a packet of `packet_bytes`.
    /// `None`: no member can take a message of this QoS. Within one `round`, a member that refused
    /// is picked again only after all others. If every member of `group` has left, `group` becomes
    /// the present group of that name, and the member is one of that.
    pub fn pick(
        &self,
        group: &mut Arc<Group>,
        qos: QoS,
        packet_bytes: usize,
        round: &mut Round,
    ) -> Option<Member> {
        let picked = group.pick(qos, packet_bytes, round);
        if picked.is_some() {
            return picked;
        }
        *group = self.find(&group.filter)?;
        group.pick(qos, packet_bytes, round)
    }

    /// Whether any member could take a message.
    pub fn is_served(&self, filter: &TopicFilter) -> bool {
        self.find(filter).is_some_and(|group| {
            let members = group.lock();
            !members.online.members.is_empty() || !members.waiting.members.is_empty()
        })
    }

    /// How many members a group has, if it exists.
    #[cfg(test)]
    fn members_len(&self, filter: &TopicFilter) -> Option<usize> {
        Some(self.find(filter)?.lock().places.len())
    }

    /// The group of a shared filter, if it has members.
    pub fn find(&self, filter: &TopicFilter) -> Option<Arc<Group>> {
        let plain = filter.unshared()?;
        self.groups.look(&plain, |groups| groups.0.as_ref()?.0.get(filter).cloned()).flatten()
    }
}

/// Groups with the same text are equal, even if one was made anew.
impl PartialEq for Group {
    fn eq(&self, other: &Self) -> bool {
        self.filter == other.filter
    }
}

impl Eq for Group {}

impl Group {
    /// The filter that its members subscribed with: `$share/{name}/{filter}`.
    pub fn filter(&self) -> &TopicFilter {
        &self.filter
    }

    /// A member has come online or gone.
    pub fn set_online(&self, member: Member, is_online: bool) {
        let mut members = self.lock();
        if let Some(MemberEntry { options, .. }) = members.remove(member) {
            members.insert(member, options, is_online);
        }
    }

    /// The state of a member; `None`: it is not in the group.
    pub fn standing(&self, member: Member) -> Option<Standing> {
        let members = self.lock();
        let place = members.places.get(&member)?;
        let (online, waiting) = (members.online.members.len(), members.waiting.members.len());
        let others = match place.among {
            Among::Online => online - 1,
            _ if online > 0 => online,
            Among::Waiting => waiting - 1,
            Among::Neither => waiting,
        };
        let is_online = place.among == Among::Online;
        let is_passed_over = online > 0 && !is_online;
        Some(Standing { options: place.options, others, is_passed_over, is_online })
    }

    fn pick(&self, qos: QoS, packet_bytes: usize, round: &mut Round) -> Option<Member> {
        let mut members = self.lock();
        match members.online.next(packet_bytes, round) {
            None if qos != QoS::AtMostOnce => members.waiting.next(packet_bytes, round),
            picked => picked,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Members {
    /// Adds a member that is not in the group yet.
    fn insert(&mut self, member: Member, options: SubscriptionOptions, is_online: bool) {
        let among = match is_online {
            true => Among::Online,
            false if options.qos != QoS::AtMostOnce => Among::Waiting,
            false => Among::Neither,
        };
        let index = self.turns(among).map_or(0, |turns| turns.add(member));
        self.places.insert(member, MemberEntry { options, among, index });
    }

    fn rename(&mut self, before: Member, now: Member) {
        let Some(place) = self.places.remove(&before) else { return };
        if let Some(turns) = self.turns(place.among) {
            turns.members[place.index].member = now;
        }
        self.places.insert(now, place);
    }

    fn remove(&mut self, member: Member) -> Option<MemberEntry> {
        let place = self.places.remove(&member)?;
        let moved = self.turns(place.among).and_then(|turns| turns.remove(place.index));
        if let Some(moved) = moved.and_then(|moved| self.places.get_mut(&moved)) {
            moved.index = place.index;
        }
        Some(place)
    }

    fn turns(&mut self, among: Among) -> Option<&mut Rotation> {
        match among {
            Among::Online => Some(&mut self.online),
            Among::Waiting => Some(&mut self.waiting),
            Among::Neither => None,
        }
    }
}

impl Rotation {
    fn next(&mut self, packet_bytes: usize, round: &mut Round) -> Option<Member> {
        let len = self.members.len();
        let next = round.next.unwrap_or(self.next);
        let first = if next < len { next } else { 0 };
        let looked_at = (0..len.min(PASSED_BY_MAX)).map(|passed_by| (first + passed_by) % len);
        let mut fits = looked_at
            .filter(|&index| packet_bytes <= self.members[index].packet_bytes_max as usize);
        let index = fits.next().unwrap_or(first);
        let turn = self.members.get(index)?;
        self.next = index + 1;
        round.next = Some(index + 1);
        Some(turn.member)
    }

    /// Returns the member's index.
    fn add(&mut self, member: Member) -> usize {
        self.members.push(Turn { member, packet_bytes_max: u32::MAX });
        self.members.len() - 1
    }

    /// Returns the member that has moved to `index`, if any.
    fn remove(&mut self, index: usize) -> Option<Member> {
        self.members.swap_remove(index);
        self.members.get(index).map(|turn| turn.member)
    }
}

#[cfg(test)]
mod tests;

//! Filters and what is kept for each: `ExactFilters`, a hash map in segments, for filters without
//! wildcards; `WildcardFilters`, a tree, for the others.
//!
//! Most subscribers of a push server have one topic of their own. Such a filter costs an entry of
//! the hash map and shares its text with the session. The map comes in segments, so that growing
//! one never stops a shard for longer than it takes to move a 64th of a million entries, and so
//! that shards can lock them one by one.

use std::hash::BuildHasher;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::arena::{Arena, Key};
use super::arena::{SPARSE, SPARSE_CAPACITY_MIN};
use super::budget::Budget;
use super::level_names::{LevelId, LevelNames};
use super::level_tree::{LevelTree, NodeId, ROOT, Vacant};
use super::topic::{TopicFilter, TopicName};

/// Segments of the filters without wildcards; a power of two.
pub(super) const SEGMENTS: usize = 64;

/// Hashes the text of filters and names, both alike, with a seed of its own: which filters
/// collide is not for a client to know.
#[derive(Debug, Default)]
pub(super) struct TextHasher(foldhash::fast::RandomState);

impl TextHasher {
    /// The hash of `text`.
    pub(super) fn hash(&self, text: &str) -> u64 {
        self.0.hash_one(text)
    }

    /// The segment that a hash belongs to. The bits are none that the segment's table looks at.
    pub(super) fn segment(hash: u64) -> usize {
        (hash >> 40) as usize % SEGMENTS
    }
}

/// One segment of filters without wildcards.
#[derive(Debug)]
pub(super) struct ExactFilters<V>(HashTable<(TopicFilter, V)>);

impl<V> Default for ExactFilters<V> {
    fn default() -> Self {
        Self(HashTable::new())
    }
}

impl<V: Default + Vacant> ExactFilters<V> {
    /// What a filter takes at the most, beside its text: its entry of a table that is half empty.
    pub(super) const FILTER_BYTES: usize = 16 * (size_of::<(TopicFilter, V)>() + 1) / 7;

    /// What is kept for the filter that reads `text`.
    pub(super) fn find(&self, hash: u64, text: &str) -> Option<&V> {
        let (_, value) = self.0.find(hash, |(filter, _)| filter.as_str() == text)?;
        Some(value)
    }

    /// What is kept for `filter`, a default where nothing was: make it other than vacant.
    pub(super) fn make(&mut self, hash: u64, filter: &TopicFilter, hasher: &TextHasher) -> &mut V {
        let entry = self.0.entry(
            hash,
            |(known, _)| known == filter,
            |(known, _)| hasher.hash(known.as_str()),
        );
        let (_, value) = match entry {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert((filter.clone(), V::default())).into_mut(),
        };
        value
    }

    /// Changes what is kept for `filter`, if anything, and forgets it when `change` left it vacant.
    pub(super) fn change<R>(
        &mut self,
        hash: u64,
        filter: &TopicFilter,
        hasher: &TextHasher,
        change: impl FnOnce(&mut V) -> R,
    ) -> Option<R> {
        let mut entry = self.0.find_entry(hash, |(known, _)| known == filter).ok()?;
        let (_, value) = entry.get_mut();
        let result = change(value);
        if value.is_vacant() {
            entry.remove();
            let capacity = self.0.capacity();
            if capacity > SPARSE_CAPACITY_MIN && self.0.len() < capacity / SPARSE {
                self.0.shrink_to(self.0.len() * 2, |(known, _)| hasher.hash(known.as_str()));
            }
        }
        Some(result)
    }

    /// How many filters there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

/// How far `visit` got with a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Visited {
    /// It is done with it.
    Whole,
    /// The budget is spent, and the value is not done with: `visit` wants it again, with what it
    /// noted of how far it got.
    Part,
    /// It needs no further value.
    Enough,
}

/// How far a walk over the filters that match a topic has come. `P`: how far it has come within what
/// is kept for one filter.
///
/// Filters come and go between two steps, so a way names no node, but how to get to one: at each
/// level by `+` or by the topic's own. A walk takes all ways in one fixed order. So it goes by each
/// place once: a filter that is there all the time is shown once, one that comes or goes meanwhile
/// once or not at all.
#[derive(Debug)]
pub(super) struct Cursor<P> {
    stage: Stage,
    way: Way<P>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// At the filter that reads like the topic.
    #[default]
    Exact,
    /// At those with wildcards.
    Wildcard,
    Over,
}

/// A place among the filters with wildcards: a node yet to be visited, and how far within it.
#[derive(Debug)]
pub(super) struct Way<P> {
    /// For each level above the node whether it is `+`.
    levels: Vec<bool>,
    /// What ends below the node is done with.
    is_here: bool,
    within: P,
}

impl<P: Default> Default for Cursor<P> {
    fn default() -> Self {
        let way = Way { levels: Vec::new(), is_here: false, within: P::default() };
        Self { stage: Stage::default(), way }
    }
}

impl<P: Default> Way<P> {
    fn leave_node(&mut self) {
        self.is_here = false;
        self.within = P::default();
    }
}

impl<P: Default> Cursor<P> {
    /// Whether all is shown.
    pub(super) fn is_over(&self) -> bool {
        self.stage == Stage::Over
    }

    /// There is nothing to show, or nothing more that matters.
    pub(super) fn end(&mut self) {
        self.stage = Stage::Over;
    }

    /// Goes on until the budget is spent: `exact` with the filter that reads like the topic, then
    /// `wildcard` with those that have wildcards. Returns whether all is shown.
    pub(super) fn step(
        &mut self,
        budget: &mut Budget,
        exact: impl FnOnce(&mut P, &mut Budget) -> Visited,
        wildcard: impl FnOnce(&mut Way<P>, &mut Budget) -> bool,
    ) -> bool {
        if self.stage == Stage::Exact {
            budget.charge(1);
            self.stage = match exact(&mut self.way.within, budget) {
                Visited::Whole => Stage::Wildcard,
                Visited::Part => return false,
                Visited::Enough => Stage::Over,
            };
            self.way.leave_node();
        }
        if self.stage == Stage::Wildcard && wildcard(&mut self.way, budget) {
            self.stage = Stage::Over;
        }
        self.is_over()
    }
}

/// What is kept for the filters that end at a node of the tree.
#[derive(Debug, Default)]
struct Ends<V> {
    /// For the filter that ends here.
    here: V,
    /// For the filter that ends with `#` below here. It matches what ends here, too.
    below: V,
}

impl<V: Vacant> Vacant for Ends<V> {
    fn is_vacant(&self) -> bool {
        self.here.is_vacant() && self.below.is_vacant()
    }
}

/// Filters with wildcards. Most nodes lead to others and are the end of no filter, so what is kept for
/// filters lies beside the tree.
#[derive(Debug)]
pub(super) struct WildcardFilters<V> {
    tree: LevelTree<Option<Key>>,
    ends: Arena<Ends<V>>,
}

impl<V> Default for WildcardFilters<V> {
    fn default() -> Self {
        Self { tree: LevelTree::default(), ends: Arena::default() }
    }
}

impl<V> WildcardFilters<V> {
    /// What a filter takes at the most, beside its levels.
    pub(super) const FILTER_BYTES: usize =
        Arena::<Ends<V>>::VALUE_BYTES + LevelTree::<Option<Key>>::PATH_BYTES;

    /// What a level of a filter takes at the most, beside its text.
    pub(super) const LEVEL_BYTES: usize = LevelTree::<Option<Key>>::NODE_BYTES;

    /// What the text of a level takes beside its bytes, if no other level reads the same.
    pub(super) const TEXT_BYTES: usize = LevelNames::NAME_BYTES;
}

impl<V: Default + Vacant> WildcardFilters<V> {
    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.ends.len() == 0
    }

    /// What is kept for `filter`; perhaps vacant.
    pub(super) fn find(&self, filter: &TopicFilter) -> Option<&V> {
        let path = FilterPath::of(filter);
        let ends = self.ends_at(self.tree.find(path.levels())?)?;
        Some(if path.below { &ends.below } else { &ends.here })
    }

    /// What is kept for `filter`, a default where nothing was: make it other than vacant.
    pub(super) fn make(&mut self, filter: &TopicFilter) -> &mut V {
        let path = FilterPath::of(filter);
        let node = self.tree.make(path.levels());
        let Self { tree, ends } = self;
        let key = *tree.value_mut(node).get_or_insert_with(|| ends.insert(Ends::default()));
        path.end(ends.at_mut(key))
    }

    /// Changes what is kept for `filter`, if anything, and forgets it when `change` left it vacant.
    pub(super) fn change<R>(
        &mut self,
        filter: &TopicFilter,
        change: impl FnOnce(&mut V) -> R,
    ) -> Option<R> {
        let path = FilterPath::of(filter);
        let node = self.tree.find(path.levels())?;
        let key = (*self.tree.value(node))?;
        let ends = self.ends.at_mut(key);
        let value = path.end(ends);
        if value.is_vacant() {
            return None;
        }
        let result = change(value);
        if ends.is_vacant() {
            self.ends.remove(key);
            *self.tree.value_mut(node) = None;
            self.tree.prune(node);
        }
        Some(result)
    }

    /// Shows `visit` what is kept for each filter that matches `topic`, going on where `way` stands,
    /// until the budget is spent. Visits no node twice; the stack holds at most two entries a level.
    /// Returns whether the walk is over.
    pub(super) fn walk<P: Default>(
        &self,
        topic: &TopicName,
        way: &mut Way<P>,
        budget: &mut Budget,
        mut visit: impl FnMut(&V, &mut P, &mut Budget) -> Visited,
    ) -> bool {
        let levels = self.resolve(topic);
        let mut stack = self.stack_at(&levels, way);
        while let Some((node, depth)) = stack.pop() {
            if budget.is_spent() {
                way.levels = self.levels_to(node);
                return false;
            }
            budget.charge(1);
            let hidden = node == ROOT && levels.is_hidden;
            let is_end = depth == levels.ids.len();
            if let Some(Ends { here, below }) = self.ends_at(node) {
                let shown = [(!hidden).then_some(below), is_end.then_some(here)];
                for (value, is_here) in shown.into_iter().zip([false, true]) {
                    if way.is_here && !is_here {
                        continue;
                    }
                    let Some(value) = value.filter(|value| !value.is_vacant()) else {
                        way.within = P::default();
                        continue;
                    };
                    match visit(value, &mut way.within, budget) {
                        Visited::Whole => way.within = P::default(),
                        Visited::Part => {
                            way.is_here = is_here;
                            way.levels = self.levels_to(node);
                            return false;
                        }
                        Visited::Enough => return true,
                    }
                }
            }
            way.leave_node();
            stack.extend(self.plus_below(node, depth, &levels));
            stack.extend(self.same_below(node, depth, &levels));
        }
        true
    }

    /// Where a walk goes on, as `walk` keeps it: nodes, each with how many levels of the topic led
    /// there, the next one last. If the node that `way` leads to is gone, so is what `way` says of the
    /// inside of it.
    fn stack_at<P: Default>(&self, levels: &Levels, way: &mut Way<P>) -> Vec<(NodeId, usize)> {
        let mut stack = Vec::new();
        let mut at = (ROOT, 0);
        for is_plus in std::mem::take(&mut way.levels) {
            let (node, depth) = at;
            let plus = self.plus_below(node, depth, levels);
            let next = if is_plus {
                plus
            } else {
                stack.extend(plus);
                self.same_below(node, depth, levels)
            };
            let Some(next) = next else {
                way.leave_node();
                return stack;
            };
            at = next;
        }
        stack.push(at);
        stack
    }

    /// The ids of a topic's levels, as the tree has them now.
    fn resolve(&self, topic: &TopicName) -> Levels {
        Levels {
            ids: topic.as_str().split('/').map(|level| self.tree.level_id(level)).collect(),
            plus: self.tree.level_id("+"),
            is_hidden: topic.is_hidden(),
        }
    }

    /// The child of a node for any next level, if there is a next level.
    fn plus_below(&self, node: NodeId, depth: usize, levels: &Levels) -> Option<(NodeId, usize)> {
        let is_hidden = node == ROOT && levels.is_hidden;
        let plus = levels.plus.filter(|_| !is_hidden && depth < levels.ids.len())?;
        Some((self.tree.child_by_id(node, plus)?, depth + 1))
    }

    /// The child of a node for the topic's next level.
    fn same_below(&self, node: NodeId, depth: usize, levels: &Levels) -> Option<(NodeId, usize)> {
        let level = (*levels.ids.get(depth)?)?;
        Some((self.tree.child_by_id(node, level)?, depth + 1))
    }

    /// The way from the root to `node`.
    fn levels_to(&self, node: NodeId) -> Vec<bool> {
        let above = std::iter::successors(Some(node), |node| self.tree.parent(*node));
        let mut levels: Vec<_> = above
            .take_while(|node| *node != ROOT)
            .map(|node| self.tree.level(node) == "+")
            .collect();
        levels.reverse();
        levels
    }

    fn ends_at(&self, node: NodeId) -> Option<&Ends<V>> {
        self.tree.value(node).map(|key| self.ends.at(key))
    }

    /// Nodes in use.
    #[cfg(test)]
    pub(super) fn nodes_len(&self) -> usize {
        self.tree.nodes_len()
    }
}

/// A topic's levels as a tree knows them; `None`: it has none of that name.
struct Levels {
    ids: Vec<Option<LevelId>>,
    plus: Option<LevelId>,
    is_hidden: bool,
}

/// A filter as a path: its levels without a last `#`. `None`: `#` alone, the root itself.
struct FilterPath<'a> {
    levels: Option<&'a str>,
    below: bool,
}

impl<'a> FilterPath<'a> {
    fn of(filter: &'a TopicFilter) -> Self {
        let text = filter.as_str();
        match text.strip_suffix('#') {
            Some(start) => Self { levels: start.strip_suffix('/'), below: true },
            None => Self { levels: Some(text), below: false },
        }
    }

    fn levels(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.levels.into_iter().flat_map(|text| text.split('/'))
    }

    fn end<'v, V>(&self, ends: &'v mut Ends<V>) -> &'v mut V {
        if self.below { &mut ends.below } else { &mut ends.here }
    }
}

#[cfg(test)]
mod tests;

//! Tables from filters to values: `ExactFilters`, a hash map in segments, for filters without
//! wildcards; `WildcardFilters`, a tree, for the others.
//!
//! Most subscribers of a push server have one topic of their own. Such a filter costs one entry of
//! the hash map, and shares its text with the session. The map has segments so that growing one
//! stops a shard no longer than it takes to move a 64th of a million entries, and so that shards
//! can lock them one by one.

use std::hash::BuildHasher;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::arena::{Arena, Key};
use super::arena::{SPARSE, SPARSE_CAPACITY_MIN};
use super::budget::Budget;
use super::level_names::{LevelId, LevelNames};
use super::level_tree::{LevelTree, NodeId, ROOT, Vacant};
use super::topic::{TopicFilter, TopicName};

/// Segments of the filters without wildcards. 64, and a power of two, so that bits of the hash pick
/// one.
pub(super) const SEGMENTS: usize = 64;

/// Hashes the text of filters and names alike. The seed is random, so that clients do not know
/// which filters collide.
#[derive(Debug, Default)]
pub(super) struct TextHasher(foldhash::fast::RandomState);

impl TextHasher {
    /// The hash of `text`.
    pub(super) fn hash(&self, text: &str) -> u64 {
        self.0.hash_one(text)
    }

    /// The segment of a hash. Uses bits that the segment's own table does not use.
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
    /// Most bytes that a filter takes beside its text: its entry in a table that is half empty.
    pub(super) const FILTER_BYTES: usize = 16 * (size_of::<(TopicFilter, V)>() + 1) / 7;

    /// The value of the filter with this text.
    pub(super) fn find(&self, hash: u64, text: &str) -> Option<&V> {
        let (_, value) = self.0.find(hash, |(filter, _)| filter.as_str() == text)?;
        Some(value)
    }

    /// The value of `filter`, or a new default; the caller must not leave it vacant.
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

    /// Changes the value of `filter`, if there is one, and removes it if `change` left it vacant.
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

/// How far `visit` came with a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Visited {
    /// It has finished the value.
    Whole,
    /// The budget is spent before the value is finished: `visit` gets it again next time, with the
    /// progress that it noted.
    Part,
    /// It needs no more values.
    Enough,
}

/// Progress of a walk over the filters that match a topic. `P`: progress within one filter's value.
///
/// Filters come and go between two steps, so a way does not name a node, but how to get to it: at
/// each level by `+` or by the topic's own level. A walk takes all ways in one fixed order and
/// passes each place once. So it shows a filter that stays the whole time exactly once, and one
/// that comes or goes meanwhile once or not at all.
#[derive(Debug)]
pub(super) struct Cursor<P> {
    stage: Stage,
    way: Way<P>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// At the filter that is equal to the topic.
    #[default]
    Exact,
    /// Among the filters with wildcards.
    Wildcard,
    Over,
}

/// A place among the filters with wildcards: a node to visit, and progress within it.
#[derive(Debug)]
pub(super) struct Way<P> {
    /// For each level above the node, whether the way goes by `+`.
    levels: Vec<bool>,
    /// The filter that ends with `#` is finished, so the one that ends at the node is next.
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
    /// Whether the walk has shown everything.
    pub(super) fn is_over(&self) -> bool {
        self.stage == Stage::Over
    }

    /// Ends the walk: nothing more to show, or nothing that matters.
    pub(super) fn end(&mut self) {
        self.stage = Stage::Over;
    }

    /// Goes on until the budget is spent: `exact` gets the filter that is equal to the topic, then
    /// `wildcard` those with wildcards. Returns whether everything is shown.
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

/// The values of the filters that end at a node of the tree.
#[derive(Debug, Default)]
struct Ends<V> {
    /// Of the filter that ends at this node.
    here: V,
    /// Of the filter that ends with `#` below this node. It matches topics that end here, too.
    below: V,
}

impl<V: Vacant> Vacant for Ends<V> {
    fn is_vacant(&self) -> bool {
        self.here.is_vacant() && self.below.is_vacant()
    }
}

/// Filters with wildcards. At most nodes no filter ends, so the values lie beside the tree.
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
    /// Most bytes that a filter takes, beside its levels.
    pub(super) const FILTER_BYTES: usize =
        Arena::<Ends<V>>::VALUE_BYTES + LevelTree::<Option<Key>>::PATH_BYTES;

    /// Most bytes that a level of a filter takes, beside its text.
    pub(super) const LEVEL_BYTES: usize = LevelTree::<Option<Key>>::NODE_BYTES;

    /// Bytes that a level's text takes beside its characters, if no other level has the same.
    pub(super) const TEXT_BYTES: usize = LevelNames::NAME_BYTES;
}

impl<V: Default + Vacant> WildcardFilters<V> {
    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.ends.len() == 0
    }

    /// The value of `filter`, perhaps vacant.
    pub(super) fn find(&self, filter: &TopicFilter) -> Option<&V> {
        let path = FilterPath::of(filter);
        let ends = self.ends_at(self.tree.find(path.levels())?)?;
        Some(if path.below { &ends.below } else { &ends.here })
    }

    /// The value of `filter`, or a new default; the caller must not leave it vacant.
    pub(super) fn make(&mut self, filter: &TopicFilter) -> &mut V {
        let path = FilterPath::of(filter);
        let node = self.tree.make(path.levels());
        let Self { tree, ends } = self;
        let key = *tree.value_mut(node).get_or_insert_with(|| ends.insert(Ends::default()));
        path.end(ends.at_mut(key))
    }

    /// Changes the value of `filter`, if there is one, and removes it if `change` left it vacant.
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

    /// Shows `visit` the value of each filter that matches `topic`, from `way` on, until the budget
    /// is spent. Visits no node twice; its stack holds at most two entries for each level. Returns
    /// whether the walk is over.
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

    /// The stack that `walk` left off with: nodes, each with the number of topic levels that lead
    /// there; the next one is last. If the node of `way` is gone, this drops the progress within
    /// it.
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

    /// The level ids of a topic, as the tree has them now.
    fn resolve(&self, topic: &TopicName) -> Levels {
        Levels {
            ids: topic.as_str().split('/').map(|level| self.tree.level_id(level)).collect(),
            plus: self.tree.level_id("+"),
            is_hidden: topic.is_hidden(),
        }
    }

    /// The `+` child of a node, if the topic has a further level.
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

/// The level ids of a topic; `None`: the tree has no level of that name.
struct Levels {
    ids: Vec<Option<LevelId>>,
    plus: Option<LevelId>,
    is_hidden: bool,
}

/// A filter as a path: its levels without a final `#`. `None`: `#` alone, which is the root.
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

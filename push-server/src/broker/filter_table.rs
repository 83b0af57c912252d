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
use super::level_names::LevelNames;
use super::level_tree::{LevelTree, NodeId, ROOT, SPARSE, SPARSE_CAPACITY_MIN, Vacant};
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
        let path = Path::of(filter);
        let ends = self.ends_at(self.tree.find(path.levels())?)?;
        Some(if path.below { &ends.below } else { &ends.here })
    }

    /// What is kept for `filter`, a default where nothing was: make it other than vacant.
    pub(super) fn make(&mut self, filter: &TopicFilter) -> &mut V {
        let path = Path::of(filter);
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
        let path = Path::of(filter);
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

    /// Shows `visit` what is kept for each filter that matches `topic`. Visits no node twice; the
    /// stack holds at most two entries a level.
    pub(super) fn visit(&self, topic: &TopicName, mut visit: impl FnMut(&V)) {
        let mut show = |value: &V| {
            if !value.is_vacant() {
                visit(value);
            }
        };
        let tree = &self.tree;
        let levels: Vec<_> = topic.as_str().split('/').map(|level| tree.level_id(level)).collect();
        let wild = tree.level_id("+");
        // Where to go on, and how many levels of the topic led there.
        let mut stack: Vec<(NodeId, usize)> = vec![(ROOT, 0)];
        while let Some((node, depth)) = stack.pop() {
            let hidden = node == ROOT && topic.is_hidden();
            let ends = self.ends_at(node);
            if let Some(ends) = ends
                && !hidden
            {
                show(&ends.below);
            }
            let Some(&level) = levels.get(depth) else {
                if let Some(ends) = ends {
                    show(&ends.here);
                }
                continue;
            };
            let next = |level| Some((tree.child_by_id(node, level?)?, depth + 1));
            if !hidden {
                stack.extend(next(wild));
            }
            stack.extend(next(level));
        }
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

/// A filter as a path: its levels without a last `#`. `None`: `#` alone, the root itself.
struct Path<'a> {
    levels: Option<&'a str>,
    below: bool,
}

impl<'a> Path<'a> {
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
mod tests {
    use super::*;

    fn filter(text: &str) -> TopicFilter {
        TopicFilter::parse(text, 128).unwrap()
    }

    #[test]
    fn hash_at_the_start_is_the_root_and_hash_below_is_its_parent() {
        let levels = |text: &str| {
            let filter = filter(text);
            let path = Path::of(&filter);
            (path.levels().map(str::to_owned).collect::<Vec<_>>(), path.below)
        };
        assert_eq!(levels("#"), (vec![], true));
        assert_eq!(levels("/#"), (vec![String::new()], true));
        assert_eq!(levels("a/#"), (vec!["a".into()], true));
        assert_eq!(levels("a/"), (vec!["a".into(), String::new()], false));
    }

    #[test]
    fn exact_segments_forget_and_shrink() {
        let hasher = TextHasher::default();
        let mut segment = ExactFilters::<Option<u32>>::default();
        for number in 0..1_000u32 {
            let filter = filter(&number.to_string());
            *segment.make(hasher.hash(filter.as_str()), &filter, &hasher) = Some(number);
        }
        let full = segment.0.capacity();
        for number in 10..1_000u32 {
            let filter = filter(&number.to_string());
            let hash = hasher.hash(filter.as_str());
            assert_eq!(segment.change(hash, &filter, &hasher, Option::take), Some(Some(number)));
            assert_eq!(segment.change(hash, &filter, &hasher, Option::take), None);
        }
        assert!(segment.0.capacity() < full / 4, "{} of {full}", segment.0.capacity());
        for number in 0..10u32 {
            let text = number.to_string();
            assert_eq!(segment.find(hasher.hash(&text), &text), Some(&Some(number)));
        }
    }

    #[test]
    fn changing_what_is_not_there_makes_nothing() {
        let mut tree = WildcardFilters::<Option<u32>>::default();
        *tree.make(&filter("a/b/#")) = Some(1);
        for text in ["a/#", "a/+", "a/b/+", "#", "+/b/#"] {
            assert_eq!(tree.change(&filter(text), Option::take), None, "{text}");
        }
        assert_eq!(tree.nodes_len(), 2);
        assert_eq!(tree.change(&filter("a/b/#"), Option::take), Some(Some(1)));
        assert!(tree.is_empty());
    }

    #[test]
    fn the_filter_of_everything_counts_though_it_needs_no_node() {
        let mut tree = WildcardFilters::<Option<u32>>::default();
        *tree.make(&filter("#")) = Some(1);
        assert!(!tree.is_empty());
        assert_eq!(tree.nodes_len(), 0);
    }
}

//! A tree of topic levels, for the wildcard filters of a shard, the routing between shards, the
//! retained messages and the filters of rules. It treats levels as text, and knows no wildcards.
//!
//! Nodes live in one arena and name each other by index, so nothing recurses, neither walks nor
//! drops, however deep a peer makes the tree. Peers choose how many nodes their filters and topics
//! need, and pay two bytes of text for each, so a node is small: it names its level's text, which
//! `LevelNames` stores once, and the parent alone finds an only child. For nodes with several
//! children, the edges of all share one hash table with entries of 8 bytes. A node that holds
//! nothing and leads nowhere is removed at once, and its place is used again.

use std::hash::BuildHasher;

use hashbrown::HashTable;

use super::arena::{Arena, Key, SPARSE, SPARSE_CAPACITY_MIN};
use super::level_names::{LevelId, LevelNames, spread};

/// A value that may be removed when it is vacant.
pub(crate) trait Vacant {
    /// Whether it equals its default.
    fn is_vacant(&self) -> bool;
}

impl<T> Vacant for Option<T> {
    fn is_vacant(&self) -> bool {
        self.is_none()
    }
}

/// A node of one tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NodeId(Key);

/// The root, where every path begins. It is never removed.
pub(crate) const ROOT: NodeId = NodeId(Key::FIRST);

#[derive(Debug)]
struct Node<V> {
    level: LevelId,
    /// `None` only for the root.
    parent: Option<NodeId>,
    first_child: Option<NodeId>,
    next_sibling: Option<NodeId>,
    previous_sibling: Option<NodeId>,
    value: V,
}

/// An edge to one of several children: the child, and 32 bits of its hash, so that the table grows
/// without reading nodes.
#[derive(Clone, Copy, Debug)]
struct Edge {
    hash: u32,
    child: NodeId,
}

/// The tree.
#[derive(Debug)]
pub(crate) struct LevelTree<V> {
    nodes: Arena<Node<V>>,
    names: LevelNames,
    edges: HashTable<Edge>,
    hasher: foldhash::fast::RandomState,
}

impl<V: Default> Default for LevelTree<V> {
    fn default() -> Self {
        let (mut nodes, mut names) = (Arena::default(), LevelNames::default());
        let root = nodes.insert(Node::new(names.take(""), None, None));
        debug_assert_eq!(NodeId(root), ROOT);
        let hasher = foldhash::fast::RandomState::default();
        Self { nodes, names, edges: HashTable::new(), hasher }
    }
}

impl<V: Default> Node<V> {
    fn new(level: LevelId, parent: Option<NodeId>, next_sibling: Option<NodeId>) -> Self {
        let value = V::default();
        Self { level, parent, first_child: None, next_sibling, previous_sibling: None, value }
    }
}

impl<V> LevelTree<V> {
    /// Bytes that a node takes beside its level's text and its edges.
    pub(super) const NODE_BYTES: usize = Arena::<Node<V>>::VALUE_BYTES;

    /// Most bytes that the edges of a new path take, in a table that is half empty: where it
    /// branches off, two children get an edge that had none.
    pub(super) const PATH_BYTES: usize = 2 * Self::EDGE_BYTES;

    /// Bytes that an edge takes, in a table that is half empty.
    pub(super) const EDGE_BYTES: usize = 16 * (size_of::<Edge>() + 1) / 7;

    /// Whether there is nothing but the root.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.nodes.len() == 1
    }

    /// Nodes, the root not counted.
    pub(super) fn nodes_len(&self) -> usize {
        self.nodes.len() - 1
    }

    /// The value of `node`.
    pub(crate) fn value(&self, node: NodeId) -> &V {
        &self.node(node).value
    }

    /// The value of `node`. Call `prune` if it may have become vacant.
    pub(crate) fn value_mut(&mut self, node: NodeId) -> &mut V {
        &mut self.node_mut(node).value
    }

    /// The last level of `node`'s path.
    pub(super) fn level(&self, node: NodeId) -> &str {
        self.names.text(self.node(node).level)
    }

    /// The id by which `child_by_id` finds children at `level`; `None`: no node has this level.
    /// Valid until a node is removed.
    pub(crate) fn level_id(&self, level: &str) -> Option<LevelId> {
        self.names.find(level)
    }

    /// The child of `node` at `level`.
    pub(crate) fn child(&self, node: NodeId, level: &str) -> Option<NodeId> {
        self.child_by_id(node, self.level_id(level)?)
    }

    /// The child of `node` at the level with this id.
    pub(crate) fn child_by_id(&self, node: NodeId, level: LevelId) -> Option<NodeId> {
        let first = self.node(node).first_child?;
        let child = self.node(first);
        if child.level == level {
            return Some(first);
        }
        // An only child has no edge.
        child.next_sibling?;
        let hash = self.edge_hash(node, level);
        let edge = self.edges.find(spread(hash), |edge| self.is_edge(edge, hash, node, level))?;
        Some(edge.child)
    }

    /// The node that `levels` lead to from the root.
    pub(super) fn find<'a>(&self, levels: impl IntoIterator<Item = &'a str>) -> Option<NodeId> {
        levels.into_iter().try_fold(ROOT, |node, level| self.child(node, level))
    }

    /// How many nodes `make` would add.
    pub(super) fn missing<'a>(&self, levels: impl IntoIterator<Item = &'a str>) -> usize {
        let mut node = Some(ROOT);
        let missing = levels.into_iter().filter(|level| {
            node = node.and_then(|parent| self.child(parent, level));
            node.is_none()
        });
        missing.count()
    }

    /// One of `node`'s children; the others are its siblings.
    pub(super) fn first_child(&self, node: NodeId) -> Option<NodeId> {
        self.node(node).first_child
    }

    /// The next child of `node`'s parent, in no particular order.
    pub(super) fn next_sibling(&self, node: NodeId) -> Option<NodeId> {
        self.node(node).next_sibling
    }

    /// `node`'s parent; the root has none.
    pub(super) fn parent(&self, node: NodeId) -> Option<NodeId> {
        self.node(node).parent
    }

    fn edge_hash(&self, parent: NodeId, level: LevelId) -> u32 {
        // The upper half: foldhash folds its last multiplication, so both halves are equally good.
        (self.hasher.hash_one((parent.0, level)) >> 32) as u32
    }

    fn is_edge(&self, edge: &Edge, hash: u32, parent: NodeId, level: LevelId) -> bool {
        edge.hash == hash && {
            let child = self.node(edge.child);
            child.parent == Some(parent) && child.level == level
        }
    }

    fn node(&self, id: NodeId) -> &Node<V> {
        self.nodes.at(id.0)
    }

    fn node_mut(&mut self, id: NodeId) -> &mut Node<V> {
        self.nodes.at_mut(id.0)
    }
}

impl<V: Default + Vacant> LevelTree<V> {
    /// The node that `levels` lead to from the root, with missing nodes made. Give it a value, or
    /// `prune` it.
    pub(crate) fn make<'a>(&mut self, levels: impl IntoIterator<Item = &'a str>) -> NodeId {
        levels.into_iter().fold(ROOT, |node, level| {
            self.child(node, level).unwrap_or_else(|| self.add_child(node, level))
        })
    }

    /// Removes `node` if it holds nothing and leads nowhere, then its ancestors likewise.
    pub(super) fn prune(&mut self, node: NodeId) {
        let mut id = node;
        loop {
            let node = self.node(id);
            let Some(parent) = node.parent else { break };
            if node.first_child.is_some() || !node.value.is_vacant() {
                break;
            }
            self.remove_leaf(id, parent);
            id = parent;
        }
        let capacity = self.edges.capacity();
        if capacity > SPARSE_CAPACITY_MIN && self.edges.len() < capacity / SPARSE {
            self.edges.shrink_to(self.edges.len() * 2, |edge| spread(edge.hash));
        }
    }

    fn add_child(&mut self, parent: NodeId, level: &str) -> NodeId {
        let level = self.names.take(level);
        let sibling = self.node(parent).first_child;
        let child = NodeId(self.nodes.insert(Node::new(level, Some(parent), sibling)));
        self.node_mut(parent).first_child = Some(child);
        if let Some(sibling) = sibling {
            self.node_mut(sibling).previous_sibling = Some(child);
            if self.next_sibling(sibling).is_none() {
                self.add_edge(parent, sibling);
            }
            self.add_edge(parent, child);
        }
        child
    }

    fn remove_leaf(&mut self, id: NodeId, parent: NodeId) {
        let Node { level, next_sibling, previous_sibling, .. } = self.nodes.remove(id.0);
        match previous_sibling {
            None => self.node_mut(parent).first_child = next_sibling,
            Some(previous) => self.node_mut(previous).next_sibling = next_sibling,
        }
        if let Some(next) = next_sibling {
            self.node_mut(next).previous_sibling = previous_sibling;
        }
        if let Some(first) = self.node(parent).first_child {
            self.remove_edge(parent, id, level);
            let first_node = self.node(first);
            if first_node.next_sibling.is_none() {
                self.remove_edge(parent, first, first_node.level);
            }
        }
        self.names.give_back(level);
    }

    fn add_edge(&mut self, parent: NodeId, child: NodeId) {
        let hash = self.edge_hash(parent, self.node(child).level);
        self.edges.insert_unique(spread(hash), Edge { hash, child }, |edge| spread(edge.hash));
    }

    fn remove_edge(&mut self, parent: NodeId, child: NodeId, level: LevelId) {
        let hash = spread(self.edge_hash(parent, level));
        if let Ok(edge) = self.edges.find_entry(hash, |edge| edge.child == child) {
            edge.remove();
        }
    }
}

#[cfg(test)]
mod tests;

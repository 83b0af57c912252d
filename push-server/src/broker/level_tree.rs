//! A tree of topic levels: what the wildcard filters of a shard, the routing between shards and
//! the retained messages are kept in. It knows levels as text, and nothing of wildcards.
//!
//! Nodes live in one arena and name each other by index, so that nothing recurses: neither a walk
//! nor the drop of a tree a peer made deep. The edges of all nodes share one hash table of 8 byte
//! entries, so a node without children owns no table of its own. A node that holds nothing and
//! leads nowhere is removed at once; its place is used again.

use std::hash::BuildHasher;

use hashbrown::HashTable;
use slab::Slab;

use super::message::ALLOCATION_BYTES;

/// A table is shrunk when less than 1 / `SPARSE` of it is in use...
pub(super) const SPARSE: usize = 4;
/// ...and it is not small anyway.
pub(super) const SPARSE_CAPACITY_MIN: usize = 64;

/// Whether what a place holds may be forgotten.
pub(super) trait Vacant {
    /// Whether it is as good as its default.
    fn is_vacant(&self) -> bool;
}

impl<T> Vacant for Option<T> {
    fn is_vacant(&self) -> bool {
        self.is_none()
    }
}

/// A node of the tree that is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct NodeId(u32);

/// Where every path begins. It is never removed.
pub(super) const ROOT: NodeId = NodeId(0);

/// In place of an index: there is no such node. As a parent, parent of the root alone.
const NONE: u32 = u32::MAX;

#[derive(Debug)]
struct Node<V> {
    level: Box<str>,
    parent: u32,
    first_child: u32,
    next_sibling: u32,
    previous_sibling: u32,
    value: V,
}

/// An edge: where it leads, and 32 bits of its hash, so that the table grows without reading nodes.
#[derive(Clone, Copy, Debug)]
struct Edge {
    hash: u32,
    child: u32,
}

/// The tree.
#[derive(Debug)]
pub(super) struct LevelTree<V> {
    nodes: Slab<Node<V>>,
    edges: HashTable<Edge>,
    hasher: foldhash::fast::RandomState,
}

impl<V: Default> Default for LevelTree<V> {
    fn default() -> Self {
        let mut nodes = Slab::new();
        nodes.insert(Node::new("", NONE, NONE));
        Self { nodes, edges: HashTable::new(), hasher: foldhash::fast::RandomState::default() }
    }
}

impl<V: Default> Node<V> {
    fn new(level: &str, parent: u32, next_sibling: u32) -> Self {
        Self {
            level: level.into(),
            parent,
            first_child: NONE,
            next_sibling,
            previous_sibling: NONE,
            value: V::default(),
        }
    }
}

impl<V> LevelTree<V> {
    /// What a node takes at the most, beside the text of its level: its place in the arena and its
    /// edge, where both are half empty, as they are when they have just grown, and the text's
    /// allocation. `tests/weights.rs` holds it against the allocator.
    pub(super) const NODE_BYTES: usize =
        2 * size_of::<(Node<V>, u64)>() + 16 * (size_of::<Edge>() + 1) / 7 + ALLOCATION_BYTES;

    /// Whether there is nothing but the root.
    pub(super) fn is_empty(&self) -> bool {
        self.nodes.len() == 1
    }

    /// Nodes, the root not counted.
    pub(super) fn nodes_len(&self) -> usize {
        self.nodes.len() - 1
    }

    /// What `node` holds.
    pub(super) fn value(&self, node: NodeId) -> &V {
        &self.node(node.0).value
    }

    /// What `node` holds. Call `prune` when it may have become vacant.
    pub(super) fn value_mut(&mut self, node: NodeId) -> &mut V {
        &mut self.node_mut(node.0).value
    }

    /// What all nodes hold, in no particular order.
    pub(super) fn values(&self) -> impl Iterator<Item = &V> {
        self.nodes.iter().map(|(_, node)| &node.value)
    }

    /// The last level of `node`'s path.
    pub(super) fn level(&self, node: NodeId) -> &str {
        &self.node(node.0).level
    }

    /// The child of `node` at `level`.
    pub(super) fn child(&self, node: NodeId, level: &str) -> Option<NodeId> {
        let hash = self.edge_hash(node.0, level);
        let edge = self.edges.find(spread(hash), |edge| self.is_edge(edge, hash, node.0, level))?;
        Some(NodeId(edge.child))
    }

    /// Where `levels` lead from the root.
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
        some(self.node(node.0).first_child)
    }

    /// The next child of `node`'s parent, in no particular order.
    pub(super) fn next_sibling(&self, node: NodeId) -> Option<NodeId> {
        some(self.node(node.0).next_sibling)
    }

    /// `node`'s parent; the root has none.
    pub(super) fn parent(&self, node: NodeId) -> Option<NodeId> {
        some(self.node(node.0).parent)
    }

    fn edge_hash(&self, parent: u32, level: &str) -> u32 {
        // The upper half: foldhash folds its last multiplication, both halves are as good.
        (self.hasher.hash_one((parent, level)) >> 32) as u32
    }

    fn is_edge(&self, edge: &Edge, hash: u32, parent: u32, level: &str) -> bool {
        edge.hash == hash && {
            let child = self.node(edge.child);
            child.parent == parent && *child.level == *level
        }
    }

    fn node(&self, index: u32) -> &Node<V> {
        &self.nodes[index as usize]
    }

    fn node_mut(&mut self, index: u32) -> &mut Node<V> {
        &mut self.nodes[index as usize]
    }
}

impl<V: Default + Vacant> LevelTree<V> {
    /// Where `levels` lead from the root, made where it is missing. Give it a value, or `prune`.
    pub(super) fn make<'a>(&mut self, levels: impl IntoIterator<Item = &'a str>) -> NodeId {
        levels.into_iter().fold(ROOT, |node, level| {
            self.child(node, level).unwrap_or_else(|| self.add_child(node, level))
        })
    }

    /// Removes `node` when it holds nothing and leads nowhere, and so its ancestors.
    pub(super) fn prune(&mut self, node: NodeId) {
        let mut index = node.0;
        loop {
            let node = self.node(index);
            let parent = node.parent;
            if parent == NONE || node.first_child != NONE || !node.value.is_vacant() {
                break;
            }
            self.remove_leaf(index);
            index = parent;
        }
        let capacity = self.edges.capacity();
        if capacity > SPARSE_CAPACITY_MIN && self.edges.len() < capacity / SPARSE {
            self.edges.shrink_to(self.edges.len() * 2, |edge| spread(edge.hash));
        }
        // The arena cannot be moved together, its indices being names; but it can be let go.
        if self.is_empty() {
            self.nodes.shrink_to_fit();
        }
    }

    fn add_child(&mut self, parent: NodeId, level: &str) -> NodeId {
        let hash = self.edge_hash(parent.0, level);
        let sibling = self.node(parent.0).first_child;
        let key = self.nodes.insert(Node::new(level, parent.0, sibling));
        // Four billion nodes need 160 GB: memory ends first, and limits on subscriptions and
        // retained messages long before.
        let child = u32::try_from(key).expect("fewer nodes than 32 bits can name");
        if sibling != NONE {
            self.node_mut(sibling).previous_sibling = child;
        }
        self.node_mut(parent.0).first_child = child;
        self.edges.insert_unique(spread(hash), Edge { hash, child }, |edge| spread(edge.hash));
        NodeId(child)
    }

    fn remove_leaf(&mut self, index: u32) {
        let Node { level, parent, next_sibling, previous_sibling, .. } =
            self.nodes.remove(index as usize);
        match previous_sibling {
            NONE => self.node_mut(parent).first_child = next_sibling,
            previous => self.node_mut(previous).next_sibling = next_sibling,
        }
        if next_sibling != NONE {
            self.node_mut(next_sibling).previous_sibling = previous_sibling;
        }
        let hash = spread(self.edge_hash(parent, &level));
        if let Ok(edge) = self.edges.find_entry(hash, |edge| edge.child == index) {
            edge.remove();
        }
    }
}

fn some(index: u32) -> Option<NodeId> {
    (index != NONE).then_some(NodeId(index))
}

/// Makes of 32 bits of hash the 64 that the table wants: it reads the lowest and the highest.
fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Tree = LevelTree<Option<u32>>;

    fn add(tree: &mut Tree, path: &str, value: u32) -> NodeId {
        let node = tree.make(path.split('/'));
        *tree.value_mut(node) = Some(value);
        node
    }

    fn remove(tree: &mut Tree, path: &str) {
        let node = tree.find(path.split('/')).unwrap();
        *tree.value_mut(node) = None;
        tree.prune(node);
    }

    #[test]
    fn removed_paths_leave_no_nodes_and_no_edges() {
        let mut tree = Tree::default();
        for path in ["a/b/c", "a/b", "a/x/y", "/", "b"] {
            add(&mut tree, path, 1);
        }
        assert_eq!(tree.nodes_len(), 5 + 2 + 1);
        remove(&mut tree, "a/b");
        assert_eq!(tree.nodes_len(), 8, "a/b leads to a/b/c and stays");
        remove(&mut tree, "a/b/c");
        assert_eq!(tree.nodes_len(), 6);
        for path in ["/", "a/x/y", "b"] {
            remove(&mut tree, path);
        }
        assert!(tree.is_empty());
        assert_eq!((tree.edges.len(), tree.first_child(ROOT)), (0, None));
    }

    #[test]
    fn siblings_stay_linked_when_one_between_goes() {
        let mut tree = Tree::default();
        for path in ["a", "b", "c", "d"] {
            add(&mut tree, path, 1);
        }
        for (gone, left) in [("b", "acd"), ("d", "ac"), ("a", "c")] {
            remove(&mut tree, gone);
            let mut levels = Vec::new();
            let mut next = tree.first_child(ROOT);
            while let Some(node) = next {
                levels.push(tree.level(node).to_owned());
                next = tree.next_sibling(node);
            }
            levels.sort();
            assert_eq!(levels.concat(), left);
        }
    }

    #[test]
    fn tables_shrink_when_most_is_gone() {
        let mut tree = Tree::default();
        for number in 0..10_000 {
            add(&mut tree, &number.to_string(), number);
        }
        let full = tree.edges.capacity();
        for number in 100..10_000u32 {
            remove(&mut tree, &number.to_string());
        }
        assert!(tree.edges.capacity() < full / 10);
        for number in 0..100 {
            let node = tree.find([number.to_string().as_str()]).unwrap();
            assert_eq!(*tree.value(node), Some(number));
        }
    }

    #[test]
    fn a_path_of_the_most_levels_is_made_found_pruned_and_dropped() {
        let deep = "/".repeat(65_534);
        let mut tree = Tree::default();
        add(&mut tree, &deep, 1);
        assert_eq!(tree.nodes_len(), 65_535);
        remove(&mut tree, &deep);
        assert!(tree.is_empty());
        add(&mut tree, &deep, 1);
        drop(tree);
    }

    #[test]
    fn a_node_is_no_larger_than_it_says() {
        assert_eq!(size_of::<Node<[u128; 0]>>(), 32);
        assert_eq!(size_of::<Edge>(), 8);
    }
}

//! Retained messages: one per topic, shared by all shards, in a tree of topic levels.
//!
//! Both limits are hard. A message over one is refused and changes nothing: the topic keeps the
//! retained message it had. The message is still delivered, so its publisher is not told. What
//! expired is never shown; it gives its place back when its topic is set again or by
//! `remove_expired`, which shards call now and then.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use push_common::clock::Monotonic;

use super::level_tree::{LevelTree, NodeId, ROOT};
use super::message::Message;
use super::topic::{TopicFilter, TopicName};

/// The most that one `remove_expired` removes: publishers on other shards wait for it.
pub const EXPIRED_PER_CALL_MAX: usize = 1_000;

/// Why a message was not retained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RetainedFull {
    /// `--retained-messages-max` is reached.
    #[error("the limit of retained messages is reached")]
    Messages,
    /// `--retained-bytes-max` is reached.
    #[error("the limit of retained bytes is reached")]
    Bytes,
}

/// The store.
#[derive(Debug)]
pub struct Retained {
    messages_max: usize,
    bytes_max: usize,
    store: RwLock<Store>,
}

#[derive(Debug, Default)]
struct Store {
    tree: LevelTree<Option<Arc<Message>>>,
    /// Where the messages are that expire, in the order they do.
    expiries: BTreeSet<(Monotonic, NodeId)>,
    messages: usize,
    bytes: usize,
}

impl Retained {
    /// An empty store with its limits. Bytes are those of topic, payload and properties.
    pub fn new(messages_max: usize, bytes_max: usize) -> Self {
        Self { messages_max, bytes_max, store: RwLock::default() }
    }

    /// Keeps `message` as its topic's retained one; an empty payload removes [MQTT-3.3.1-6].
    pub fn set(&self, message: &Arc<Message>) -> Result<(), RetainedFull> {
        let mut store = self.write();
        let levels = || message.topic.as_str().split('/');
        let known = store.tree.find(levels());
        if message.payload.is_empty() {
            if let Some(node) = known {
                store.clear(node);
            }
            return Ok(());
        }
        let replaced = known.and_then(|node| store.tree.value(node).as_deref());
        let (replaced, freed) = replaced.map_or((0, 0), |old| (1, old.weight_bytes()));
        if store.messages - replaced >= self.messages_max {
            return Err(RetainedFull::Messages);
        }
        if (store.bytes - freed).saturating_add(message.weight_bytes()) > self.bytes_max {
            return Err(RetainedFull::Bytes);
        }
        let node = known.unwrap_or_else(|| store.tree.make(levels()));
        store.put(node, message);
        Ok(())
    }

    /// The retained message of `topic`, expired or not.
    pub fn get(&self, topic: &TopicName) -> Option<Arc<Message>> {
        let store = self.read();
        let node = store.tree.find(topic.as_str().split('/'))?;
        store.tree.value(node).clone()
    }

    /// All there are, expired or not, in no particular order.
    pub fn all(&self) -> Vec<Arc<Message>> {
        let store = self.read();
        let mut all = Vec::with_capacity(store.messages);
        all.extend(store.tree.values().flatten().cloned());
        all
    }

    /// Whether `message` is its topic's retained one still.
    pub fn holds(&self, message: &Arc<Message>) -> bool {
        self.get(&message.topic).is_some_and(|kept| Arc::ptr_eq(&kept, message))
    }

    /// Appends what `filter` matches and has not expired at `now`. A shared filter matches
    /// nothing: subscribing with one brings no retained messages [MQTT5 3.8.4].
    pub fn matches(&self, filter: &TopicFilter, now: Monotonic, out: &mut Vec<Arc<Message>>) {
        if filter.is_shared() {
            return;
        }
        let store = self.read();
        let mut take = |node| {
            let message = store.tree.value(node).as_ref();
            out.extend(message.filter(|message| !message.is_expired(now)).cloned());
        };
        if filter.has_wildcards() {
            store.walk(filter, take);
        } else if let Some(node) = store.tree.find(filter.as_str().split('/')) {
            take(node);
        }
    }

    /// Removes what has expired at `now`, at most `EXPIRED_PER_CALL_MAX` messages, and returns it.
    pub fn remove_expired(&self, now: Monotonic) -> Vec<Arc<Message>> {
        let nothing_due = |store: &Store| store.expiries.first().is_none_or(|first| first.0 > now);
        if nothing_due(&self.read()) {
            return Vec::new();
        }
        let mut store = self.write();
        let mut removed = Vec::new();
        while removed.len() < EXPIRED_PER_CALL_MAX && !nothing_due(&store) {
            let Some(&(_, node)) = store.expiries.first() else { break };
            removed.extend(store.clear(node));
        }
        removed
    }

    /// How many there are, expired ones that still hold a place included.
    pub fn len(&self) -> usize {
        self.read().messages
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many bytes count against the limit.
    pub fn bytes(&self) -> usize {
        self.read().bytes
    }

    fn read(&self) -> RwLockReadGuard<'_, Store> {
        self.store.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Store> {
        self.store.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    fn put(&mut self, node: NodeId, message: &Arc<Message>) {
        let old = self.tree.value_mut(node).replace(Arc::clone(message));
        self.forget(node, old.as_deref());
        self.messages += 1;
        self.bytes += message.weight_bytes();
        self.expiries.extend(message.expires_at.map(|at| (at, node)));
    }

    /// Returns what was there.
    fn clear(&mut self, node: NodeId) -> Option<Arc<Message>> {
        let old = self.tree.value_mut(node).take();
        self.forget(node, old.as_deref());
        self.tree.prune(node);
        old
    }

    /// Gives back what `old`, no longer at `node`, took.
    fn forget(&mut self, node: NodeId, old: Option<&Message>) {
        let Some(old) = old else { return };
        self.messages -= 1;
        self.bytes -= old.weight_bytes();
        if let Some(at) = old.expires_at {
            self.expiries.remove(&(at, node));
        }
    }

    /// Shows `visit` every node whose topic `filter` matches, whether it holds a message or not.
    /// The stack holds at most two entries a level, however many children a `+` stands for.
    fn walk(&self, filter: &TopicFilter, mut visit: impl FnMut(NodeId)) {
        let mut stack = vec![Step { node: ROOT, rest: Some(filter.as_str()), siblings: false }];
        while let Some(Step { node, rest, siblings }) = stack.pop() {
            if siblings {
                let next = self.shown(self.tree.next_sibling(node));
                stack.extend(next.map(|node| Step { node, rest, siblings }));
            }
            let Some(rest) = rest else {
                visit(node);
                continue;
            };
            let (level, rest) = match rest.split_once('/') {
                Some((level, rest)) => (level, Some(rest)),
                None => (rest, None),
            };
            match level {
                "#" => self.visit_subtree(node, &mut visit),
                "+" => {
                    let first = self.shown(self.tree.first_child(node));
                    stack.extend(first.map(|node| Step { node, rest, siblings: true }));
                }
                _ => {
                    let child = self.tree.child(node, level);
                    stack.extend(child.map(|node| Step { node, rest, siblings: false }));
                }
            }
        }
    }

    /// Shows `visit` `top` and all below it, hidden topics not, when `top` is the root.
    fn visit_subtree(&self, top: NodeId, visit: &mut impl FnMut(NodeId)) {
        let mut node = top;
        loop {
            visit(node);
            let mut next = self.shown(self.tree.first_child(node));
            while next.is_none() && node != top {
                next = self.shown(self.tree.next_sibling(node));
                if next.is_none() {
                    node = self.tree.parent(node).unwrap_or(top);
                }
            }
            let Some(next) = next else { return };
            node = next;
        }
    }

    /// `node`, or its first sibling from there on that wildcards see: topics that begin with `$`
    /// are hidden from a wildcard in a filter's first level [MQTT-4.7.2-1].
    fn shown(&self, mut node: Option<NodeId>) -> Option<NodeId> {
        while let Some(candidate) = node {
            let hidden = self.tree.parent(candidate) == Some(ROOT)
                && self.tree.level(candidate).starts_with('$');
            if !hidden {
                break;
            }
            node = self.tree.next_sibling(candidate);
        }
        node
    }
}

/// Where a walk goes on.
struct Step<'a> {
    node: NodeId,
    /// The part of the filter not walked yet; `None`: none is left.
    rest: Option<&'a str>,
    /// Whether the siblings behind `node` are to be walked as well.
    siblings: bool,
}

#[cfg(test)]
mod tests;

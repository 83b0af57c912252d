//! Retained messages: one for each topic, shared by all shards, in a tree of topic levels.
//!
//! Both limits are hard. A message that exceeds one is refused and changes nothing: the topic keeps
//! its retained message. Subscribers still get the message, so its publisher is not told. An
//! expired message is never delivered. It is removed when its topic is set again, or by
//! `remove_expired`, which shards call now and then.
//!
//! A subscription finds its messages by a `Walk`, which the shard takes in parts, since a filter
//! may pass every topic and match none.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use push_common::clock::Monotonic;

use super::arena::{Arena, Key};
use super::level_names::LevelNames;
use super::level_tree::{LevelTree, NodeId, Vacant};
use super::message::{ALLOCATION_BYTES, COUNTS_BYTES, Message};
use super::topic::TopicName;

pub use change::RetainedChange;
pub use kept::Kept;
pub use walk::Walk;

use change::Changes;

mod change;
mod kept;
mod walk;

/// Most messages that one `remove_expired` removes: publishers on other shards wait meanwhile.
pub(crate) const EXPIRED_PER_CALL_MAX: usize = 1_000;

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

/// Bytes that the order of expiry takes for a message: an entry of a tree whose nodes are at least
/// half full.
const EXPIRY_BYTES: usize = 48;

/// Bytes that a publisher's id takes beside its text.
const PUBLISHER_BYTES: usize = COUNTS_BYTES + ALLOCATION_BYTES;

/// The retained messages of all topics.
#[derive(Debug)]
pub struct Retained {
    messages_max: usize,
    bytes_max: usize,
    topics: RwLock<TopicTree>,
}

#[derive(Debug, Default)]
struct TopicTree {
    tree: LevelTree<TopicNode>,
    /// The messages. They lie beside the tree, since most of its nodes hold none.
    contents: Arena<Content>,
    /// Nodes whose messages expire, in order of expiry.
    expiries: BTreeSet<(Monotonic, NodeId)>,
    /// Bytes of the messages, without the tree's nodes.
    bytes: usize,
    /// How many messages were set so far.
    set: u64,
    /// Changes under way to the store.
    changes: Changes,
}

/// The value of a node.
#[derive(Debug, Default)]
struct TopicNode {
    content: Option<Key>,
    /// Walks that rest here, for which the node must stay.
    walks: AtomicU32,
}

impl Vacant for TopicNode {
    fn is_vacant(&self) -> bool {
        self.content.is_none() && self.walks.load(Ordering::Relaxed) == 0
    }
}

/// The retained message of a topic.
#[derive(Debug)]
struct Content {
    kept: Kept,
    /// The number of the `set` that brought it.
    set: u64,
}

impl Content {
    /// Bytes that `kept` takes here: the tree has its topic once more, as levels.
    fn weight_bytes(kept: &Kept) -> usize {
        let Kept { message, publisher } = kept;
        let expiry_bytes = message.expires_at.map_or(0, |_| EXPIRY_BYTES);
        let publisher_bytes = publisher.as_ref().map_or(0, |name| PUBLISHER_BYTES + name.len());
        message.weight_bytes()
            + message.topic.as_str().len()
            + Arena::<Self>::VALUE_BYTES
            + expiry_bytes
            + publisher_bytes
    }
}

impl Retained {
    /// An empty table with its limits. Bytes are the memory that messages and tree take.
    pub fn new(messages_max: usize, bytes_max: usize) -> Self {
        Self { messages_max, bytes_max, topics: RwLock::default() }
    }

    /// Like `set_by`, if the publisher does not matter.
    pub fn set(&self, message: &Arc<Message>) -> Result<(), RetainedFull> {
        self.set_by(message, None)
    }

    /// Makes `message` its topic's retained one, published by the client with this id. An empty
    /// payload removes the topic's message [MQTT-3.3.1-6].
    pub fn set_by(
        &self,
        message: &Arc<Message>,
        publisher: Option<&str>,
    ) -> Result<(), RetainedFull> {
        self.set_in(&mut self.write(), message, publisher).map(drop)
    }

    /// Like `set_by`, and returns the change for the store.
    pub fn change(
        &self,
        message: &Arc<Message>,
        publisher: Option<&str>,
    ) -> Result<RetainedChange, RetainedFull> {
        let mut topics = self.write();
        let kept = self.set_in(&mut topics, message, publisher)?;
        Ok(topics.changes.begin(&message.topic, kept))
    }

    /// Returns what the topic keeps now.
    fn set_in(
        &self,
        topics: &mut TopicTree,
        message: &Arc<Message>,
        publisher: Option<&str>,
    ) -> Result<Option<Kept>, RetainedFull> {
        let levels = || message.topic.as_str().split('/');
        let known = topics.tree.find(levels());
        if message.payload.is_empty() {
            if let Some(node) = known {
                topics.clear(node);
            }
            return Ok(None);
        }
        let replaced = known.and_then(|node| topics.content_of(node));
        let (replaced, freed) =
            replaced.map_or((0, 0), |old| (1, Content::weight_bytes(&old.kept)));
        if topics.contents.len() - replaced >= self.messages_max {
            return Err(RetainedFull::Messages);
        }
        let kept = Kept { message: Arc::clone(message), publisher: publisher.map(Arc::from) };
        let new_nodes = if known.is_some() { 0 } else { topics.tree.missing(levels()) };
        let taken = topics.bytes_taken() - freed + new_nodes * NODE_BYTES;
        if taken.saturating_add(Content::weight_bytes(&kept)) > self.bytes_max {
            return Err(RetainedFull::Bytes);
        }
        let node = known.unwrap_or_else(|| topics.tree.make(levels()));
        topics.put(node, kept.clone());
        Ok(Some(kept))
    }

    /// The retained message of `topic`, even if it has expired.
    pub fn get(&self, topic: &TopicName) -> Option<Kept> {
        let topics = self.read();
        let node = topics.tree.find(topic.as_str().split('/'))?;
        Some(topics.content_of(node)?.kept.clone())
    }

    /// All retained messages, expired ones included, in no particular order.
    pub fn all(&self) -> Vec<Kept> {
        let topics = self.read();
        topics.contents.iter().map(|content| content.kept.clone()).collect()
    }

    /// Whether `message` is still its topic's retained one.
    pub fn holds(&self, message: &Arc<Message>) -> bool {
        self.get(&message.topic).is_some_and(|kept| Arc::ptr_eq(&kept.message, message))
    }

    /// Removes messages that have expired at `now`, at most `EXPIRED_PER_CALL_MAX`. Returns the
    /// changes for the store.
    pub fn remove_expired(&self, now: Monotonic) -> Vec<RetainedChange> {
        let nothing_due =
            |topics: &TopicTree| topics.expiries.first().is_none_or(|first| first.0 > now);
        if nothing_due(&self.read()) {
            return Vec::new();
        }
        let mut topics = self.write();
        let mut removed = Vec::new();
        while removed.len() < EXPIRED_PER_CALL_MAX && !nothing_due(&topics) {
            let Some(&(_, node)) = topics.expiries.first() else { break };
            let Some(kept) = topics.clear(node) else { break };
            removed.push(topics.changes.begin(&kept.message.topic, None));
        }
        removed
    }

    /// How many there are, expired ones that are not removed yet included.
    pub fn len(&self) -> usize {
        self.read().contents.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that count against the limit.
    pub fn bytes(&self) -> usize {
        self.read().bytes_taken()
    }

    fn read(&self) -> RwLockReadGuard<'_, TopicTree> {
        self.topics.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, TopicTree> {
        self.topics.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes of a topic level that no other topic shares: a node, an edge, and the place of its text.
const NODE_BYTES: usize = LevelTree::<TopicNode>::NODE_BYTES
    + LevelTree::<TopicNode>::EDGE_BYTES
    + LevelNames::NAME_BYTES;

impl TopicTree {
    fn bytes_taken(&self) -> usize {
        self.bytes + self.tree.nodes_len() * NODE_BYTES
    }

    fn content_of(&self, node: NodeId) -> Option<&Content> {
        self.tree.value(node).content.map(|key| self.contents.at(key))
    }

    fn put(&mut self, node: NodeId, kept: Kept) {
        self.set += 1;
        let (bytes, expires_at) = (Content::weight_bytes(&kept), kept.message.expires_at);
        let content = Content { kept, set: self.set };
        if let Some(key) = self.tree.value(node).content {
            let old = std::mem::replace(self.contents.at_mut(key), content);
            self.forget(node, &old.kept);
        } else {
            self.tree.value_mut(node).content = Some(self.contents.insert(content));
        }
        self.bytes += bytes;
        self.expiries.extend(expires_at.map(|at| (at, node)));
    }

    /// Returns what was removed.
    fn clear(&mut self, node: NodeId) -> Option<Kept> {
        let old = self.tree.value_mut(node).content.take().map(|key| self.contents.remove(key));
        if let Some(old) = &old {
            self.forget(node, &old.kept);
        }
        self.tree.prune(node);
        old.map(|content| content.kept)
    }

    /// Gives back the bytes of `old`, which is no longer at `node`.
    fn forget(&mut self, node: NodeId, old: &Kept) {
        self.bytes -= Content::weight_bytes(old);
        if let Some(at) = old.message.expires_at {
            self.expiries.remove(&(at, node));
        }
    }
}

#[cfg(test)]
mod tests;

//! A filter's walk through the retained messages, in parts of bounded length.
//!
//! Each level of a filter, up to its `#`, is one level of the tree. So the last node visited says
//! how far the walk has come, and only that node has to stay while the walk rests. Others come and
//! go meanwhile. The walk skips messages that were set after it began, since its subscription has
//! delivered those already.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use push_common::clock::Monotonic;

use super::{Content, Retained, TopicTree};
use crate::broker::level_tree::{NodeId, ROOT};
use crate::broker::message::Message;
use crate::broker::topic::TopicFilter;

/// A walk under way. End it with `Retained::end_walk`, unless it came to its end.
#[derive(Debug)]
#[must_use]
pub struct Walk {
    /// Messages set later are skipped.
    last_set: u64,
    /// The client whose messages are skipped (No Local).
    without: Option<Arc<str>>,
    /// The last node visited, which is kept for the walk. `None`: none yet.
    rests_at: Option<NodeId>,
}

impl Walk {
    /// Skips messages that the client with this id has published.
    pub fn without(self, client_id: &str) -> Self {
        Self { without: Some(client_id.into()), ..self }
    }

    fn passes_by(&self, content: &Content) -> bool {
        let publisher = content.kept.publisher.as_ref();
        content.set > self.last_set || (publisher.is_some() && publisher == self.without.as_ref())
    }
}

impl Retained {
    /// Begins a walk over the messages retained now that `filter` matches. `None`: there are none
    /// to look for. A shared filter matches nothing: a subscription with one gets no retained
    /// messages [MQTT5 3.8.4].
    pub fn begin_walk(&self, filter: &TopicFilter) -> Option<Walk> {
        let topics = self.read();
        let is_wild = |level: &&str| matches!(*level, "+" | "#");
        let start = filter.as_str().split('/').take_while(|level| !is_wild(level));
        let found = (!filter.is_shared()).then(|| topics.tree.find(start)).flatten()?;
        let may_match = filter.has_wildcards() || topics.content_of(found).is_some();
        may_match.then(|| Walk { last_set: topics.set, without: None, rests_at: None })
    }

    /// Continues a walk with the `filter` that it was begun with. Visits at most `nodes` topics,
    /// counting `nodes` down, and appends at most `messages_max` messages that have not expired at
    /// `now`. Returns whether the walk has ended.
    pub fn walk_on(
        &self,
        filter: &TopicFilter,
        walk: &mut Walk,
        now: Monotonic,
        nodes: &mut usize,
        messages_max: usize,
        out: &mut Vec<Arc<Message>>,
    ) -> bool {
        let path = FilterLevels::of(filter);
        let out_len_max = out.len() + messages_max;
        let topics = self.read();
        let mut last = walk.rests_at;
        let mut next = match last {
            None => Some((ROOT, 0)),
            Some(node) => topics.following(&path, node, topics.depth(node)),
        };
        while let Some((node, depth)) = next
            && *nodes > 0
            && out.len() < out_len_max
        {
            *nodes -= 1;
            if let Some(content) = topics.content_of(node)
                && path.ends_at(depth)
                && !topics.is_hidden(&path, node, depth)
                && !walk.passes_by(content)
                && !content.kept.message.is_expired(now)
            {
                out.push(Arc::clone(&content.kept.message));
            }
            last = Some(node);
            next = topics.following(&path, node, depth);
        }
        let rests_at = last.filter(|_| next.is_some());
        if let Some(node) = rests_at {
            // Before the lock is released, since the node may be removed afterwards.
            topics.tree.value(node).walks.fetch_add(1, Ordering::Relaxed);
        }
        drop(topics);
        self.leave(std::mem::replace(&mut walk.rests_at, rests_at));
        next.is_none()
    }

    /// Ends a walk early.
    pub fn end_walk(&self, walk: &mut Walk) {
        self.leave(walk.rests_at.take());
    }

    /// A walk no longer rests at `node`.
    fn leave(&self, node: Option<NodeId>) {
        let Some(node) = node else { return };
        let topics = self.read();
        let place = topics.tree.value(node);
        if place.content.is_some() {
            place.walks.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        drop(topics);
        let mut topics = self.write();
        *topics.tree.value_mut(node).walks.get_mut() -= 1;
        topics.tree.prune(node);
    }
}

impl TopicTree {
    /// Levels from the root to `node`.
    fn depth(&self, node: NodeId) -> usize {
        std::iter::successors(self.tree.parent(node), |&node| self.tree.parent(node)).count()
    }

    /// A wildcard in a filter's first level does not match topics that begin with `$`
    /// [MQTT-4.7.2-1].
    fn is_hidden(&self, path: &FilterLevels<'_>, node: NodeId, depth: usize) -> bool {
        depth == 1 && path.is_wild(0) && self.tree.level(node).starts_with('$')
    }

    /// The node to visit after `node`: a child, else a sibling, its own or of an ancestor.
    fn following(
        &self,
        path: &FilterLevels<'_>,
        mut node: NodeId,
        mut depth: usize,
    ) -> Option<(NodeId, usize)> {
        let below = match path.levels.get(depth) {
            _ if self.is_hidden(path, node, depth) => None,
            Some(level) if !path.is_wild(depth) => self.tree.child(node, level),
            None if !path.is_open => None,
            _ => self.tree.first_child(node),
        };
        if let Some(below) = below {
            return Some((below, depth + 1));
        }
        while depth > 0 {
            let beside = path.is_wild(depth - 1).then(|| self.tree.next_sibling(node)).flatten();
            if let Some(beside) = beside {
                return Some((beside, depth));
            }
            node = self.tree.parent(node)?;
            depth -= 1;
        }
        None
    }
}

/// A filter, level by level.
struct FilterLevels<'a> {
    /// Without a last `#`.
    levels: Vec<&'a str>,
    /// Whether the filter ends with `#`.
    is_open: bool,
}

impl<'a> FilterLevels<'a> {
    fn of(filter: &'a TopicFilter) -> Self {
        let mut levels: Vec<_> = filter.as_str().split('/').collect();
        let is_open = levels.pop_if(|level| *level == "#").is_some();
        Self { levels, is_open }
    }

    /// Whether this level is a wildcard.
    fn is_wild(&self, index: usize) -> bool {
        self.levels.get(index).map_or(self.is_open, |level| *level == "+")
    }

    /// Whether the filter matches topics with this number of levels, as far as the number goes.
    fn ends_at(&self, depth: usize) -> bool {
        depth == self.levels.len() || (self.is_open && depth > self.levels.len())
    }
}

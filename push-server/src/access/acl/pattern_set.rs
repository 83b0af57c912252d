//! Many patterns, of which a look finds one: the same answers as asking each of them, and as fast
//! with a thousand.

use super::pattern::{Line, Names, Pattern, has_names, level_is};
use super::rule::Effect;
use crate::broker::{LevelTree, NodeId, ROOT, Vacant};

/// Up to so many patterns are asked one by one, which is as fast as a tree and takes less memory.
const ASKED_ONE_BY_ONE_MAX: usize = 4;

/// In front of a level with names, which no topic's level can begin with: so such a level is not
/// mistaken for one that is the same text.
const NAMED: char = '\0';

/// Patterns that allow, and patterns that deny.
#[derive(Debug)]
pub(super) struct PatternSet(Form);

#[derive(Debug)]
enum Form {
    Few(Box<[(Effect, Pattern)]>),
    Many(Box<LevelTree<Node>>),
}

/// What begins or ends at a node of the tree: the level `#` has no node of its own.
#[derive(Debug, Default)]
struct Node {
    /// Patterns that end here.
    whole: Ends,
    /// Patterns that end here with `#`.
    below: Ends,
    /// The child whose level is `+`.
    any: Option<NodeId>,
    /// Children whose level has `%u` or `%c`, and that level.
    named: Vec<(Box<str>, NodeId)>,
}

/// The first pattern of each effect that ends at a place.
#[derive(Clone, Copy, Debug, Default)]
struct Ends {
    allow: Option<Place>,
    deny: Option<Place>,
}

impl Vacant for Node {
    fn is_vacant(&self) -> bool {
        self.whole.is_vacant()
            && self.below.is_vacant()
            && self.any.is_none()
            && self.named.is_empty()
    }
}

impl Ends {
    fn is_vacant(&self) -> bool {
        self.allow.is_none() && self.deny.is_none()
    }

    fn note(&mut self, effect: Effect, place: Place) {
        match effect {
            Effect::Allow => self.allow.get_or_insert(place),
            Effect::Deny => self.deny.get_or_insert(place),
        };
    }
}

/// Where a pattern is: a line of the file, or a token.
type Place = Option<Line>;

/// The patterns that a look has found.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Found {
    pub(super) allow: Option<Place>,
    pub(super) deny: Option<Place>,
}

impl Found {
    /// Takes what ends at a place. Returns whether the look is over: denial beats allowance.
    fn take(&mut self, ends: Ends) -> bool {
        self.allow = self.allow.or(ends.allow);
        self.deny = ends.deny;
        self.deny.is_some()
    }
}

impl PatternSet {
    pub(super) fn new(patterns: Vec<(Effect, Pattern)>) -> Self {
        if patterns.len() <= ASKED_ONE_BY_ONE_MAX {
            return Self(Form::Few(patterns.into()));
        }
        let mut tree = LevelTree::default();
        patterns.iter().for_each(|(effect, pattern)| add(&mut tree, *effect, pattern));
        Self(Form::Many(Box::new(tree)))
    }

    pub(super) fn is_empty(&self) -> bool {
        matches!(&self.0, Form::Few(patterns) if patterns.is_empty())
    }

    /// Looks for patterns that match all topics of `filter`, which may be a topic's name, until one
    /// denies. Returns whether one does.
    pub(super) fn look(&self, filter: &str, names: Names<'_>, found: &mut Found) -> bool {
        match &self.0 {
            Form::Few(patterns) => {
                for (effect, pattern) in patterns {
                    let mut ends = Ends::default();
                    if pattern.covers(filter, names) {
                        ends.note(*effect, pattern.line());
                    }
                    if found.take(ends) {
                        return true;
                    }
                }
                false
            }
            Form::Many(tree) => below(tree, ROOT, Some(filter), names, found),
        }
    }
}

fn add(tree: &mut LevelTree<Node>, effect: Effect, pattern: &Pattern) {
    let place = pattern.line();
    let mut node = ROOT;
    let mut path: Vec<String> = Vec::new();
    for level in pattern.text().split('/') {
        if level == "#" {
            tree.value_mut(node).below.note(effect, place);
            return;
        }
        let is_named = has_names(level);
        path.push(if is_named { format!("{NAMED}{level}") } else { level.to_owned() });
        let child = tree.make(path.iter().map(String::as_str));
        let parent = tree.value_mut(node);
        if level == "+" {
            parent.any = Some(child);
        }
        if is_named && !parent.named.iter().any(|(known, _)| **known == *level) {
            parent.named.push((level.into(), child));
        }
        node = child;
    }
    tree.value_mut(node).whole.note(effect, place);
}

/// Looks below a node for patterns that cover the rest of a filter; `None`: nothing is left of it.
/// Returns whether one denies. Recurses as deep as patterns have levels.
fn below(
    tree: &LevelTree<Node>,
    id: NodeId,
    rest: Option<&str>,
    names: Names<'_>,
    found: &mut Found,
) -> bool {
    let node = tree.value(id);
    let Some(rest) = rest else { return found.take(node.whole) || found.take(node.below) };
    let (level, rest) = match rest.split_once('/') {
        Some((level, rest)) => (level, Some(rest)),
        None => (rest, None),
    };
    let is_first = id == ROOT;
    // [MQTT-4.7.2-1]
    let takes_wildcards = !is_first || !level.starts_with('$');
    if takes_wildcards && found.take(node.below) {
        return true;
    }
    if level == "#" {
        // Every topic has a first level, so +/# is # there.
        let any = node.any.filter(|_| is_first);
        return any.is_some_and(|any| found.take(tree.value(any).below));
    }
    if level != "+" {
        if let Some(child) = tree.child(id, level)
            && below(tree, child, rest, names, found)
        {
            return true;
        }
        for (pattern, child) in &node.named {
            if level_is(pattern, level, names, is_first) && below(tree, *child, rest, names, found)
            {
                return true;
            }
        }
    }
    let any = node.any.filter(|_| takes_wildcards);
    any.is_some_and(|any| below(tree, any, rest, names, found))
}

#[cfg(test)]
mod tests;

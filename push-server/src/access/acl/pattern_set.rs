//! Many patterns, of which a look finds one: the same answers as asking each of them, and as fast
//! with a thousand.

use super::pattern::{Line, Names, Pattern, has_names, level_is};
use crate::broker::{LevelTree, NodeId, ROOT, Vacant};

/// Up to so many patterns are asked one by one, which is as fast as a tree and takes less memory.
const ASKED_ONE_BY_ONE_MAX: usize = 4;

/// In front of a level with names, which no topic's level can begin with: so such a level is not
/// mistaken for one that is the same text.
const NAMED: char = '\0';

/// A set of patterns.
#[derive(Debug)]
pub(super) struct PatternSet(Form);

#[derive(Debug)]
enum Form {
    Few(Box<[Pattern]>),
    Many(Box<LevelTree<Ends>>),
}

/// What begins or ends at a node of the tree: the level `#` has no node of its own.
#[derive(Debug, Default)]
struct Ends {
    /// A pattern ends here.
    whole: Option<Place>,
    /// A pattern ends here with `#`.
    below: Option<Place>,
    /// Children whose level has `%u` or `%c`, and that level.
    named: Vec<(Box<str>, NodeId)>,
}

impl Vacant for Ends {
    fn is_vacant(&self) -> bool {
        self.whole.is_none() && self.below.is_none() && self.named.is_empty()
    }
}

/// Where a pattern is: a line of the file, or a token.
type Place = Option<Line>;

impl PatternSet {
    pub(super) fn new(patterns: Vec<Pattern>) -> Self {
        if patterns.len() <= ASKED_ONE_BY_ONE_MAX {
            return Self(Form::Few(patterns.into()));
        }
        let mut tree = LevelTree::default();
        patterns.iter().for_each(|pattern| add(&mut tree, pattern));
        Self(Form::Many(Box::new(tree)))
    }

    pub(super) fn is_empty(&self) -> bool {
        matches!(&self.0, Form::Few(patterns) if patterns.is_empty())
    }

    /// The place of a pattern that matches all topics of `filter`, which may be a topic's name.
    pub(super) fn covering(&self, filter: &str, names: Names<'_>) -> Option<Place> {
        match &self.0 {
            Form::Few(patterns) => {
                let mut covering = patterns.iter().filter(|pattern| pattern.covers(filter, names));
                covering.next().map(Pattern::line)
            }
            Form::Many(tree) => below(tree, ROOT, Some(filter), names),
        }
    }
}

fn add(tree: &mut LevelTree<Ends>, pattern: &Pattern) {
    let place = pattern.line();
    let mut node = ROOT;
    let mut path: Vec<String> = Vec::new();
    for level in pattern.text().split('/') {
        if level == "#" {
            tree.value_mut(node).below.get_or_insert(place);
            return;
        }
        let is_named = has_names(level);
        path.push(if is_named { format!("{NAMED}{level}") } else { level.to_owned() });
        let child = tree.make(path.iter().map(String::as_str));
        let named = &mut tree.value_mut(node).named;
        if is_named && !named.iter().any(|(known, _)| **known == *level) {
            named.push((level.into(), child));
        }
        node = child;
    }
    tree.value_mut(node).whole.get_or_insert(place);
}

/// Looks below a node for a pattern that covers the rest of a filter; `None`: nothing is left of
/// it. Recurses as deep as patterns have levels.
fn below(
    tree: &LevelTree<Ends>,
    node: NodeId,
    rest: Option<&str>,
    names: Names<'_>,
) -> Option<Place> {
    let ends = tree.value(node);
    let Some(rest) = rest else { return ends.whole.or(ends.below) };
    let (level, rest) = match rest.split_once('/') {
        Some((level, rest)) => (level, Some(rest)),
        None => (rest, None),
    };
    let is_first = node == ROOT;
    // [MQTT-4.7.2-1]
    let takes_wildcards = !is_first || !level.starts_with('$');
    if takes_wildcards && ends.below.is_some() {
        return ends.below;
    }
    if level == "#" {
        // Every topic has a first level, so +/# is # there.
        let any = tree.child(ROOT, "+").filter(|_| is_first)?;
        return tree.value(any).below;
    }
    if level != "+" {
        let found = tree.child(node, level).and_then(|child| below(tree, child, rest, names));
        if found.is_some() {
            return found;
        }
        for (pattern, child) in &ends.named {
            if level_is(pattern, level, names, is_first)
                && let Some(found) = below(tree, *child, rest, names)
            {
                return Some(found);
            }
        }
    }
    let any = tree.child(node, "+").filter(|_| takes_wildcards)?;
    below(tree, any, rest, names)
}

#[cfg(test)]
mod tests;

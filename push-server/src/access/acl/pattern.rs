//! A filter of a rule, in which `%u` stands for the client's user and `%c` for its id.

use std::num::NonZeroU32;

use crate::broker::{TopicError, TopicFilter};

/// The line of a file, counted from 1.
pub type Line = NonZeroU32;

/// Most levels of a rule's filter. It bounds how deep a look into the filters recurses.
pub const PATTERN_LEVELS_MAX: u16 = 128;

/// A filter, with the line that has it; `None`: a token brought it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    text: Box<str>,
    line: Option<Line>,
}

/// Why a text is no filter for a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// It is no filter.
    #[error(transparent)]
    Filter(#[from] TopicError),
    /// It names a group.
    #[error("rules are about the filter behind the group: leave out $share/GROUP/")]
    Shared,
}

/// What `%u` and `%c` stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Names<'a> {
    /// The user; `None`: the client has not authenticated.
    pub(super) user: Option<&'a str>,
    /// The client id.
    pub(super) client_id: &'a str,
}

impl Pattern {
    /// Parses a filter of a rule.
    pub(super) fn parse(text: &str, line: Option<Line>) -> Result<Self, PatternError> {
        let filter = TopicFilter::parse(text, PATTERN_LEVELS_MAX)?;
        if filter.is_shared() {
            return Err(PatternError::Shared);
        }
        Ok(Self { text: text.into(), line })
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn line(&self) -> Option<Line> {
        self.line
    }

    /// Whether it matches all topics that `filter` matches. A topic is a filter for itself alone.
    pub(super) fn covers(&self, filter: &str, names: Names<'_>) -> bool {
        let mut patterns = self.text.split('/');
        let mut levels = filter.split('/');
        let mut is_first = true;
        loop {
            match (patterns.next(), levels.next()) {
                (Some("#"), None) | (None, None) => return true,
                (Some(_), None) | (None, Some(_)) => return false,
                (Some(wildcard @ ("+" | "#")), Some(level)) => {
                    // [MQTT-4.7.2-1]
                    if is_first && level.starts_with('$') {
                        return false;
                    }
                    if wildcard == "#" {
                        return true;
                    }
                    if level == "#" {
                        // Every topic has a first level, so +/# is # there.
                        return is_first && patterns.next() == Some("#");
                    }
                }
                (Some(pattern), Some(level)) => {
                    if !level_is(pattern, level, names, is_first) {
                        return false;
                    }
                }
            }
            is_first = false;
        }
    }

    /// Whether any topic matches both it and `filter`.
    pub(super) fn overlaps(&self, filter: &str, names: Names<'_>) -> bool {
        names.filled(&self.text).is_some_and(|filled| overlap(&filled, filter))
    }
}

impl Names<'_> {
    /// A pattern with the names in it; `None`: it matches nothing, since a name does not fit.
    fn filled(&self, pattern: &str) -> Option<String> {
        let mut filled = String::new();
        let mut rest = pattern;
        while let Some((before, which, after)) = next_name(rest) {
            filled.push_str(before);
            filled.push_str(self.name(which)?);
            rest = after;
        }
        filled.push_str(rest);
        let is_hidden_by_name = filled.starts_with('$') && !pattern.starts_with('$');
        (!is_hidden_by_name).then_some(filled)
    }

    /// The name that may stand in a pattern. One with `+`, `#` or `/` would reach further than one
    /// level (CVE-2017-7650).
    fn name(&self, which: Name) -> Option<&str> {
        let name = match which {
            Name::User => self.user?,
            Name::ClientId => self.client_id,
        };
        (!name.is_empty() && !name.contains(['+', '#', '/'])).then_some(name)
    }
}

/// A name that a pattern asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    User,
    ClientId,
}

/// Splits a pattern at its first `%u` or `%c`.
fn next_name(pattern: &str) -> Option<(&str, Name, &str)> {
    let mut from = 0;
    loop {
        let at = from + pattern[from..].find('%')?;
        let which = match pattern.as_bytes().get(at + 1) {
            Some(b'u') => Name::User,
            Some(b'c') => Name::ClientId,
            _ => {
                from = at + 1;
                continue;
            }
        };
        return Some((&pattern[..at], which, &pattern[at + 2..]));
    }
}

/// Whether a level of a pattern asks for a name.
pub(super) fn has_names(level: &str) -> bool {
    next_name(level).is_some()
}

/// Whether `level` is what a level of a pattern without wildcards says. A name never makes the
/// first level one of the server's own, which begin with `$`.
pub(super) fn level_is(pattern: &str, level: &str, names: Names<'_>, is_first: bool) -> bool {
    let (mut pattern_rest, mut level_rest) = (pattern, level);
    while let Some((before, which, after)) = next_name(pattern_rest) {
        let rest = level_rest.strip_prefix(before);
        let name = names.name(which);
        let Some(rest) = rest.zip(name).and_then(|(rest, name)| rest.strip_prefix(name)) else {
            return false;
        };
        (pattern_rest, level_rest) = (after, rest);
    }
    let is_hidden_by_name = is_first && level.starts_with('$') && !pattern.starts_with('$');
    pattern_rest == level_rest && !is_hidden_by_name
}

/// Whether any topic matches both filters.
fn overlap(one: &str, other: &str) -> bool {
    let (mut ones, mut others) = (one.split('/'), other.split('/'));
    let mut is_first = true;
    loop {
        // [MQTT-4.7.2-1]
        let is_hidden = |level: &str| is_first && level.starts_with('$');
        match (ones.next(), others.next()) {
            (Some("#"), level) | (level, Some("#")) => return !level.is_some_and(is_hidden),
            (None, None) => return true,
            (Some("+"), Some(level)) | (Some(level), Some("+")) if !is_hidden(level) => {}
            (one, other) if one == other => {}
            _ => return false,
        }
        is_first = false;
    }
}

#[cfg(test)]
mod tests;

//! Topic names and filters: parsed once at the edge, valid from then on [MQTT-4.7].
//!
//! Both are shared text (`Arc<str>`), because the session, its shard's subscriptions and the
//! routing between shards keep the same filter: a clone costs a reference, not a copy.
//!
//! Text arrives as UTF-8; the codec checks the encoding [MQTT-1.5.3-1].

use std::sync::Arc;

/// Bytes of the longest topic name or filter: the most that a two-byte length can say
/// [MQTT-4.7.3-3].
pub(crate) const TOPIC_BYTES_MAX: usize = 65_535;

/// The prefix of a shared subscription's filter [MQTT-4.8.2-1].
pub const SHARE_PREFIX: &str = "$share/";

/// A valid topic name: 1 to 65,535 bytes of UTF-8 without wildcards and U+0000.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicName(Arc<str>);

/// A valid topic filter. `$share/...` filters parse too and say so by `share()`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicFilter(Arc<str>);

/// The two parts of a shared subscription's filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share<'a> {
    /// The share name.
    pub group: &'a str,
    /// The ordinary filter.
    pub filter: &'a str,
}

/// Why a topic name or filter is not valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    /// Zero bytes long [MQTT-4.7.3-1].
    #[error("a topic must have at least one character")]
    Empty,
    /// Longer than 65,535 bytes [MQTT-4.7.3-3].
    #[error("a topic must not have more than {TOPIC_BYTES_MAX} bytes")]
    TooLong,
    /// U+0000 [MQTT-4.7.3-2].
    #[error("a topic must not contain U+0000")]
    Nul,
    /// More levels than the server allows.
    #[error("a topic must not have more than {levels_max} levels")]
    TooManyLevels {
        /// The limit.
        levels_max: u16,
    },
    /// `+` or `#` in a topic name [MQTT-3.3.2-2].
    #[error("a topic name must not contain the wildcards + and #")]
    WildcardInName,
    /// `#` beside other characters or before the last level [MQTT-4.7.1-2].
    #[error("# must be the whole of a filter's last level")]
    MisplacedHash,
    /// `+` beside other characters [MQTT-4.7.1-3].
    #[error("+ must be the whole of a filter's level")]
    MisplacedPlus,
    /// `$share/` without a group, or a group with `+` or `#`, or no filter behind it
    /// [MQTT-4.8.2-1, MQTT-4.8.2-2].
    #[error("a shared filter must read $share/group/filter, without wildcards in the group")]
    MalformedShare,
}

impl TopicName {
    /// Parses a topic name; at most `levels_max` levels.
    pub fn parse(text: &str, levels_max: u16) -> Result<Self, TopicError> {
        let name = Self::parse_any_depth(text)?;
        if name.is_deeper_than(levels_max) {
            return Err(TopicError::TooManyLevels { levels_max });
        }
        Ok(name)
    }

    /// Parses a topic name with any number of levels; the caller asks `is_deeper_than`.
    pub fn parse_any_depth(text: &str) -> Result<Self, TopicError> {
        check_text(text)?;
        if text.contains(['+', '#']) {
            return Err(TopicError::WildcardInName);
        }
        Ok(Self(text.into()))
    }

    /// This topic if it has at most `bytes_max` bytes; else one that begins like it and has hardly more.
    pub(crate) fn cut_behind(&self, bytes_max: usize) -> Self {
        if self.0.len() <= bytes_max {
            return self.clone();
        }
        Self(self.0[..self.0.ceil_char_boundary(bytes_max + 1)].into())
    }

    /// Whether it has more than `levels_max` levels.
    pub fn is_deeper_than(&self, levels_max: u16) -> bool {
        // A topic of n bytes has at most n + 1 levels, so nearly all need no counting.
        self.0.len() >= usize::from(levels_max) && has_more_levels(&self.0, levels_max)
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a leading wildcard does not match it, because it begins with `$` [MQTT-4.7.2-1].
    /// Such topics are the server's own: clients may subscribe to them, but not publish [MQTT
    /// 4.7.2].
    pub fn is_hidden(&self) -> bool {
        self.0.starts_with('$')
    }

    /// Whether no ordinary filter can match it, because it begins with `$share/`: such a filter
    /// parses as a shared one, and leading wildcards do not match topics with `$`.
    pub(super) fn is_out_of_reach(&self) -> bool {
        self.0.starts_with(SHARE_PREFIX)
    }
}

impl TopicFilter {
    /// Parses a topic filter; at most `levels_max` levels, `$share/{group}/` not counted.
    pub fn parse(text: &str, levels_max: u16) -> Result<Self, TopicError> {
        check_text(text)?;
        let plain = match text.strip_prefix(SHARE_PREFIX) {
            Some(rest) => split_share(rest).ok_or(TopicError::MalformedShare)?.filter,
            None => text,
        };
        check_levels(plain, levels_max)?;
        check_wildcards(plain)?;
        Ok(Self(text.into()))
    }

    /// The filter as the client sent it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Group and filter, if this is a shared subscription (`$share/{group}/{filter}`).
    pub fn share(&self) -> Option<Share<'_>> {
        split_share(self.0.strip_prefix(SHARE_PREFIX)?)
    }

    /// The ordinary filter of a shared subscription; `None`: this is not one.
    pub(super) fn unshared(&self) -> Option<Self> {
        self.share().map(|share| Self(share.filter.into()))
    }

    /// Whether it is a shared subscription (`$share/{group}/{filter}`).
    pub fn is_shared(&self) -> bool {
        self.share().is_some()
    }

    /// Whether it has `+` or `#`.
    pub fn has_wildcards(&self) -> bool {
        self.0.contains(['+', '#'])
    }

    /// Whether `topic` matches; leading wildcards do not match topics that begin with `$`
    /// [MQTT-4.7.2-1]. For a shared subscription its ordinary filter decides.
    pub fn matches(&self, topic: &TopicName) -> bool {
        let plain = self.share().map_or(self.as_str(), |share| share.filter);
        if topic.is_hidden() && plain.starts_with(['+', '#']) {
            return false;
        }
        let mut levels = topic.as_str().split('/');
        for wanted in plain.split('/') {
            if wanted == "#" {
                return true;
            }
            match levels.next() {
                Some(level) if wanted == "+" || wanted == level => {}
                _ => return false,
            }
        }
        levels.next().is_none()
    }
}

/// Checks the rules that names and filters share.
fn check_text(text: &str) -> Result<(), TopicError> {
    if text.is_empty() {
        return Err(TopicError::Empty);
    }
    if text.len() > TOPIC_BYTES_MAX {
        return Err(TopicError::TooLong);
    }
    if text.contains('\0') {
        return Err(TopicError::Nul);
    }
    Ok(())
}

fn check_levels(text: &str, levels_max: u16) -> Result<(), TopicError> {
    if has_more_levels(text, levels_max) {
        return Err(TopicError::TooManyLevels { levels_max });
    }
    Ok(())
}

fn has_more_levels(text: &str, levels_max: u16) -> bool {
    text.split('/').count() > usize::from(levels_max)
}

fn check_wildcards(filter: &str) -> Result<(), TopicError> {
    let mut levels = filter.split('/').peekable();
    while let Some(level) = levels.next() {
        if level.contains('#') && (level != "#" || levels.peek().is_some()) {
            return Err(TopicError::MisplacedHash);
        }
        if level.contains('+') && level != "+" {
            return Err(TopicError::MisplacedPlus);
        }
    }
    Ok(())
}

/// Splits the text after `$share/`; `None`: group or filter are missing or invalid.
fn split_share(rest: &str) -> Option<Share<'_>> {
    let (group, filter) = rest.split_once('/')?;
    let valid = !group.is_empty() && !group.contains(['+', '#']) && !filter.is_empty();
    valid.then_some(Share { group, filter })
}

#[cfg(test)]
mod tests;

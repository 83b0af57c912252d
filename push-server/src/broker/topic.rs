//! Topic names and filters: parsed once at the edge, valid ever after [MQTT-4.7].
//!
//! Both are shared text (`Arc<str>`), because the session, its shard's subscriptions and the
//! routing between shards all keep the same filter: a clone costs a reference, not a copy.
//!
//! Text arrives as UTF-8 already; the encoding itself is the codec's to check [MQTT-1.5.3-1].

use std::sync::Arc;

/// Longest topic name or filter, in bytes: what a two byte length can say [MQTT-4.7.3-3].
pub const TOPIC_BYTES_MAX: usize = 65_535;

/// What a shared subscription's filter starts with [MQTT-4.8.2-1].
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
    /// Who shares: the name of the group.
    pub group: &'a str,
    /// What they share: an ordinary filter.
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
    /// More levels than the server grants.
    #[error("a topic must not have more than {levels_max} levels")]
    TooManyLevels {
        /// The limit passed.
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

    /// Parses a topic name and leaves it to the caller to ask whether it `is_deeper_than` it may be.
    pub fn parse_any_depth(text: &str) -> Result<Self, TopicError> {
        check_text(text)?;
        if text.contains(['+', '#']) {
            return Err(TopicError::WildcardInName);
        }
        Ok(Self(text.into()))
    }

    /// Whether it has more than `levels_max` levels.
    pub fn is_deeper_than(&self, levels_max: u16) -> bool {
        // A topic of n bytes has at most n + 1 levels: nearly all need no counting.
        self.0.len() >= usize::from(levels_max) && has_more_levels(&self.0, levels_max)
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether wildcards at a filter's start pass it by: it begins with `$` [MQTT-4.7.2-1]. Such topics
    /// are the server's own; clients may subscribe to them and not publish [MQTT 4.7.2].
    pub fn is_hidden(&self) -> bool {
        self.0.starts_with('$')
    }

    /// Whether no filter that is not itself shared can match it: it begins with `$share/`. Such
    /// a filter parses as a shared one, and leading wildcards pass `$`-topics by.
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

    /// The filter as the client wrote it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Group and filter, when it is a shared subscription (`$share/{group}/{filter}`).
    pub fn share(&self) -> Option<Share<'_>> {
        split_share(self.0.strip_prefix(SHARE_PREFIX)?)
    }

    /// The ordinary filter behind the group, when it is a shared subscription.
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

    /// Whether `topic` matches, `$`-topics being hidden from leading wildcards [MQTT-4.7.2-1]. Of
    /// a shared subscription, whether its filter matches.
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

/// What is the same for names and filters.
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

/// Splits what follows `$share/`; `None` when group or filter are missing or not allowed.
fn split_share(rest: &str) -> Option<Share<'_>> {
    let (group, filter) = rest.split_once('/')?;
    let valid = !group.is_empty() && !group.contains(['+', '#']) && !filter.is_empty();
    valid.then_some(Share { group, filter })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> TopicName {
        TopicName::parse(text, 128).unwrap()
    }

    fn filter(text: &str) -> TopicFilter {
        TopicFilter::parse(text, 128).unwrap()
    }

    /// Filter, topic, whether they match: every example of MQTT 3.1.1 and 5, sections 4.7.1 to
    /// 4.7.3, and the corners that they imply.
    const SPECIFICATION: &[(&str, &str, bool)] = &[
        // 4.7.1.2, multi-level wildcard.
        ("sport/tennis/player1/#", "sport/tennis/player1", true),
        ("sport/tennis/player1/#", "sport/tennis/player1/ranking", true),
        ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true),
        ("sport/tennis/player1/#", "sport/tennis/player10", false),
        ("sport/#", "sport", true),
        ("#", "sport/tennis", true),
        ("#", "/", true),
        ("sport/tennis/#", "sport/tennis/player1", true),
        ("sport/tennis/#", "sport", false),
        // 4.7.1.3, single-level wildcard.
        ("sport/tennis/+", "sport/tennis/player1", true),
        ("sport/tennis/+", "sport/tennis/player2", true),
        ("sport/tennis/+", "sport/tennis/player1/ranking", false),
        ("sport/+", "sport", false),
        ("sport/+", "sport/", true),
        ("+", "sport", true),
        ("+", "sport/tennis", false),
        ("+/tennis/#", "sport/tennis", true),
        ("+/tennis/#", "sport/tennis/player1", true),
        ("+/tennis/#", "sport/chess/player1", false),
        ("sport/+/player1", "sport/tennis/player1", true),
        ("sport/+/player1", "sport/player1", false),
        ("+/+", "/finance", true),
        ("/+", "/finance", true),
        ("+", "/finance", false),
        // 4.7.2, topics beginning with $.
        ("#", "$SYS/monitor/Clients", false),
        ("+/monitor/Clients", "$SYS/monitor/Clients", false),
        ("+/#", "$SYS/monitor/Clients", false),
        ("+", "$SYS", false),
        ("$SYS/#", "$SYS/monitor/Clients", true),
        ("$SYS/#", "$SYS", true),
        ("$SYS/monitor/+", "$SYS/monitor/Clients", true),
        ("$SYS/+/Clients", "$SYS/monitor/Clients", true),
        ("sport/#", "sport/$SYS", true),
        ("sport/+", "sport/$SYS", true),
        // 4.7.3, semantics: case, spaces, leading and trailing separators, no normalisation.
        ("ACCOUNTS", "Accounts", false),
        ("Accounts payable", "Accounts payable", true),
        ("/finance", "finance", false),
        ("finance/", "finance", false),
        ("finance", "finance/", false),
        ("a//b", "a//b", true),
        ("a/+/b", "a//b", true),
        ("a//b", "a/b", false),
        ("/", "/", true),
        ("+/+", "/", true),
        ("/#", "/", true),
        ("/#", "/finance", true),
        ("\u{c5}", "A\u{30a}", false),
        // 4.8.2, shared subscriptions: the filter behind the group.
        ("$share/consumer1/sport/tennis/+", "sport/tennis/player1", true),
        ("$share/consumer2//finance", "/finance", true),
        ("$share/consumer1/sport/tennis/+", "sport/tennis", false),
        ("$share/g/#", "$SYS/monitor/Clients", false),
        ("$share/g/$SYS/#", "$SYS/monitor/Clients", true),
        ("$share/g/a", "$share/g/a", false),
    ];

    #[test]
    fn filters_match_as_the_specification_says() {
        for &(pattern, topic, expected) in SPECIFICATION {
            assert_eq!(filter(pattern).matches(&name(topic)), expected, "{pattern} on {topic}");
        }
    }

    #[test]
    fn filters_parse_as_the_specification_says() {
        use TopicError::{Empty, MalformedShare, MisplacedHash, MisplacedPlus, Nul};
        let valid = ["#", "+", "/", "//", "+/+/#", "sport/#", "+/tennis/#", "sport/+/player1"];
        let valid = valid.iter().chain(&["$share", "$shared/+", "$share/g/#", "$share/g//", "$"]);
        for text in valid {
            assert_eq!(filter(text).as_str(), *text);
        }
        for (text, error) in [
            ("", Empty),
            ("a\0", Nul),
            ("sport/tennis#", MisplacedHash),
            ("sport/tennis/#/ranking", MisplacedHash),
            ("##", MisplacedHash),
            ("#/", MisplacedHash),
            ("sport+", MisplacedPlus),
            ("++/a", MisplacedPlus),
            ("+a/b", MisplacedPlus),
            ("$share/", MalformedShare),
            ("$share/g", MalformedShare),
            ("$share/g/", MalformedShare),
            ("$share//a", MalformedShare),
            ("$share/+/a", MalformedShare),
            ("$share/g#/a", MalformedShare),
            ("$share/g/a#", MisplacedHash),
        ] {
            assert_eq!(TopicFilter::parse(text, 128), Err(error), "{text:?}");
        }
    }

    #[test]
    fn names_refuse_wildcards_and_nul() {
        for text in ["a", "/", "$SYS/a", "a b", "\u{10ffff}", "$share/g/a"] {
            assert_eq!(name(text).as_str(), text);
        }
        assert_eq!(TopicName::parse("", 128), Err(TopicError::Empty));
        assert_eq!(TopicName::parse("a/+", 128), Err(TopicError::WildcardInName));
        assert_eq!(TopicName::parse("a#", 128), Err(TopicError::WildcardInName));
        assert_eq!(TopicName::parse("a\0b", 128), Err(TopicError::Nul));
    }

    #[test]
    fn length_is_limited_to_65535_bytes() {
        let longest = "\u{e4}".repeat(32_767) + "x";
        assert_eq!(longest.len(), TOPIC_BYTES_MAX);
        assert!(TopicName::parse(&longest, 128).is_ok());
        assert!(TopicFilter::parse(&longest, 128).is_ok());
        let too_long = longest + "x";
        assert_eq!(TopicName::parse(&too_long, 128), Err(TopicError::TooLong));
        assert_eq!(TopicFilter::parse(&too_long, 128), Err(TopicError::TooLong));
    }

    #[test]
    fn levels_are_limited_and_the_share_prefix_is_not_counted() {
        let refused = TopicError::TooManyLevels { levels_max: 3 };
        assert!(TopicName::parse("a/b/c", 3).is_ok());
        assert_eq!(TopicName::parse("a/b/c/", 3), Err(refused));
        assert!(TopicFilter::parse("a/+/#", 3).is_ok());
        assert_eq!(TopicFilter::parse("a/b/+/#", 3), Err(refused));
        assert!(TopicFilter::parse("$share/g/a/+/#", 3).is_ok());
        assert_eq!(TopicFilter::parse("$share/g/a/b/+/#", 3), Err(refused));
    }

    #[test]
    fn shared_filters_say_group_and_filter() {
        let shared = filter("$share/g//finance/+");
        assert_eq!(shared.share(), Some(Share { group: "g", filter: "/finance/+" }));
        assert!(shared.is_shared() && shared.has_wildcards());
        for text in ["$share", "$shared/g/a", "share/g/a"] {
            assert!(!filter(text).is_shared(), "{text}");
        }
        assert!(!filter("$share/g/a").has_wildcards());
    }
}

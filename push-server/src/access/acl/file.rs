//! The file of rules: TOML in, rules out, or every mistake with its line and column.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use ipnet::IpNet;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::super::client_limits::GroupLimits;
use super::glob::Glob;
use super::group::{self, GROUP_KEYS, LIMIT_KEYS, NoLimit};
use super::pattern::{Line, Pattern, PatternError};
use super::rule::{Effect, ListenerPattern, Rule, Whom};

/// Most mistakes that are told of one file.
pub const MISTAKES_MAX: usize = 20;

/// The groups of a file, with their members, and its rules.
#[derive(Debug, Default)]
pub(super) struct File {
    pub(super) groups: BTreeMap<Box<str>, Vec<Box<str>>>,
    /// Of the groups that have any.
    pub(super) limits: BTreeMap<Box<str>, GroupLimits>,
    pub(super) rules: Vec<Rule>,
}

/// A mistake in a file of rules.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{line}:{column}: {problem}")]
pub struct Mistake {
    /// The line, counted from 1.
    pub line: usize,
    /// The character of the line, counted from 1.
    pub column: usize,
    /// What is wrong, and what to do.
    pub problem: Problem,
}

/// What is wrong with a place of a file of rules, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// It is no TOML.
    #[error("not TOML: {0}")]
    Syntax(String),
    /// A key that there is not.
    #[error("unknown key {key:?}: {place} may have {known}")]
    UnknownKey {
        /// The key.
        key: String,
        /// Where it stands.
        place: &'static str,
        /// The keys that there are.
        known: &'static str,
    },
    /// A value of the wrong kind.
    #[error("{key} has to be {expected}")]
    Kind {
        /// The key.
        key: String,
        /// The right kind.
        expected: &'static str,
    },
    /// A filter that is none.
    #[error("{text:?} is no filter: {source}")]
    Filter {
        /// The filter.
        text: String,
        /// Why.
        source: PatternError,
    },
    /// An address that is none.
    #[error("{0:?} is no address and no network: write 192.0.2.7, 10.0.0.0/8 or 2001:db8::/32")]
    Address(String),
    /// A list without anything in it.
    #[error("{0} is empty, so the rule would be about nobody: name some, or leave it out")]
    Empty(String),
    /// An empty name.
    #[error("an empty name in {0}: clients without a user are `anonymous = true`")]
    EmptyName(String),
    /// A rule about a group that the file does not have.
    #[error(
        "there is no group {0:?} in [groups]: add it, even without members if only tokens name it"
    )]
    UnknownGroup(String),
    /// A rule that says nothing.
    #[error("the rule has no filter: add publish = [...] or subscribe = [...]")]
    NoFilter,
    /// A rule that is about nobody.
    #[error(
        "a client without a user has none of these: leave out `anonymous = true` or the users and groups"
    )]
    AnonymousUser,
}

/// What is wrong with a file of rules.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Mistakes(Vec<Mistake>);

impl Mistakes {
    /// The mistakes, by line; of many the first ones.
    pub fn iter(&self) -> impl Iterator<Item = &Mistake> {
        self.0.iter()
    }

    /// The first of them.
    pub fn first(&self) -> Option<&Mistake> {
        self.0.first()
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(first) = self.first() else { return Ok(()) };
        first.fmt(formatter)?;
        match self.0.len() {
            1 => Ok(()),
            MISTAKES_MAX => {
                write!(formatter, " (and {} mistakes more, or even more)", MISTAKES_MAX - 1)
            }
            count => write!(formatter, " (and {} mistakes more)", count - 1),
        }
    }
}

/// Keys of the file.
const FILE_KEYS: &str = "[groups], [[allow]] and [[deny]]";
/// Keys of a rule.
const RULE_KEYS: &str =
    "users, groups, anonymous, clients, addresses, listeners, publish and subscribe";

/// Reads a file of rules.
pub(super) fn parse(text: &str) -> Result<File, Mistakes> {
    let line_begins = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1));
    let line_begins = line_begins.collect();
    let mut reader = Reader { text, line_begins, file: File::default(), mistakes: Vec::new() };
    match DeTable::parse(text) {
        Ok(table) => reader.file(table.get_ref()),
        Err(error) => {
            let message = error.message().trim().replace('\n', ", ");
            let span = error.span().unwrap_or_default();
            reader.mistake(&span, Problem::Syntax(message));
        }
    }
    let Reader { file, mut mistakes, .. } = reader;
    if mistakes.is_empty() {
        return Ok(file);
    }
    mistakes.sort_by_key(|mistake| (mistake.line, mistake.column));
    mistakes.truncate(MISTAKES_MAX);
    Err(Mistakes(mistakes))
}

type Item<'a> = Spanned<DeValue<'a>>;

struct Reader<'a> {
    text: &'a str,
    /// Where each line begins.
    line_begins: Vec<usize>,
    file: File,
    mistakes: Vec<Mistake>,
}

impl Reader<'_> {
    fn file(&mut self, table: &DeTable<'_>) {
        for (key, value) in table {
            if key.get_ref() == "groups" {
                self.groups(value);
            }
        }
        for (key, value) in table {
            match &**key.get_ref() {
                "groups" => {}
                "allow" => self.rules(Effect::Allow, "allow", value),
                "deny" => self.rules(Effect::Deny, "deny", value),
                other => self.unknown(&key.span(), other, "the file", FILE_KEYS),
            }
        }
    }

    fn groups(&mut self, value: &Item<'_>) {
        let Some(groups) = value.get_ref().as_table() else {
            return self.kind(value, "groups", "a table of lists of users");
        };
        for (name, group) in groups {
            let members = match group.get_ref().as_table() {
                Some(table) => self.group(name.get_ref(), table),
                None => self.names(group, name.get_ref()),
            };
            self.file.groups.insert((&**name.get_ref()).into(), members);
        }
    }

    /// A group that is a table of its own. Returns its members.
    fn group(&mut self, name: &str, table: &DeTable<'_>) -> Vec<Box<str>> {
        let mut members = Vec::new();
        for (key, value) in table {
            match &**key.get_ref() {
                "users" => members = self.names(value, "users"),
                "limits" => {
                    let limits = self.limits(value);
                    self.file.limits.insert(name.into(), limits);
                }
                other => self.unknown(&key.span(), other, "a group", GROUP_KEYS),
            }
        }
        members
    }

    fn limits(&mut self, value: &Item<'_>) -> GroupLimits {
        let mut limits = GroupLimits::default();
        let Some(table) = value.get_ref().as_table() else {
            self.kind(value, "limits", "a table: write [groups.NAME.limits]");
            return limits;
        };
        for (key, value) in table {
            let number = value.get_ref().as_integer();
            let number =
                number.and_then(|number| i64::from_str_radix(number.as_str(), number.radix()).ok());
            match group::set(&mut limits, key.get_ref(), number) {
                Ok(()) => {}
                Err(NoLimit::Unknown) => {
                    self.unknown(&key.span(), key.get_ref(), "the limits of a group", LIMIT_KEYS);
                }
                Err(NoLimit::Value(expected)) => self.kind(value, key.get_ref(), expected),
            }
        }
        limits
    }

    fn rules(&mut self, effect: Effect, key: &str, value: &Item<'_>) {
        let Some(rules) = value.get_ref().as_array() else {
            return self.kind(value, key, "an array of tables: write [[allow]] or [[deny]]");
        };
        for rule in rules.iter() {
            match rule.get_ref().as_table() {
                Some(table) => self.rule(effect, rule, table),
                None => self.kind(rule, key, "an array of tables: write [[allow]] or [[deny]]"),
            }
        }
    }

    fn rule(&mut self, effect: Effect, item: &Item<'_>, table: &DeTable<'_>) {
        let mut whom = Whom::default();
        let (mut publish, mut subscribe, mut has_filters) = (Vec::new(), Vec::new(), false);
        for (key, value) in table {
            match &**key.get_ref() {
                "users" => whom.users = Some(self.some_names(value, "users")),
                "groups" => whom.groups = Some(self.known_groups(value)),
                "clients" => {
                    let names = self.some_names(value, "clients");
                    whom.clients = Some(names.iter().map(|name| Glob::new(name)).collect());
                }
                "addresses" => whom.addresses = Some(self.addresses(value)),
                "listeners" => {
                    let names = self.some_names(value, "listeners");
                    let listeners = names.iter().map(|name| ListenerPattern::new(name)).collect();
                    whom.listeners = Some(listeners);
                }
                "anonymous" => match value.get_ref().as_bool() {
                    Some(anonymous) => whom.anonymous = Some(anonymous),
                    None => self.kind(value, "anonymous", "true or false"),
                },
                "publish" => (publish, has_filters) = (self.filters(value, "publish"), true),
                "subscribe" => (subscribe, has_filters) = (self.filters(value, "subscribe"), true),
                other => self.unknown(&key.span(), other, "a rule", RULE_KEYS),
            }
        }
        if !has_filters {
            self.mistake(&item.span(), Problem::NoFilter);
        }
        if whom.anonymous == Some(true) && (whom.users.is_some() || whom.groups.is_some()) {
            self.mistake(&item.span(), Problem::AnonymousUser);
        }
        self.file.rules.push(Rule { effect, whom, publish, subscribe });
    }

    fn known_groups(&mut self, value: &Item<'_>) -> Vec<Box<str>> {
        for (name, span) in texts(value) {
            if !name.is_empty() && !self.file.groups.contains_key(name) {
                self.mistake(&span, Problem::UnknownGroup(name.to_owned()));
            }
        }
        self.some_names(value, "groups")
    }

    fn addresses(&mut self, value: &Item<'_>) -> Vec<IpNet> {
        self.some_names(value, "addresses");
        let mut nets = Vec::new();
        for (text, span) in texts(value) {
            let address = || text.parse::<std::net::IpAddr>().ok().map(IpNet::from);
            match text.parse().ok().or_else(address) {
                Some(net) => nets.push(net),
                None if text.is_empty() => {}
                None => self.mistake(&span, Problem::Address(text.to_owned())),
            }
        }
        nets
    }

    fn filters(&mut self, value: &Item<'_>, key: &str) -> Vec<Pattern> {
        self.list(value, key);
        let mut patterns = Vec::new();
        for (text, span) in texts(value) {
            match Pattern::parse(text, self.line(span.start)) {
                Ok(pattern) => patterns.push(pattern),
                Err(source) => {
                    self.mistake(&span, Problem::Filter { text: text.to_owned(), source });
                }
            }
        }
        patterns
    }

    /// Names, at least one.
    fn some_names(&mut self, value: &Item<'_>, key: &str) -> Vec<Box<str>> {
        let is_list = value.get_ref().as_array().is_some();
        let names = self.names(value, key);
        if is_list && names.is_empty() && texts(value).next().is_none() {
            self.mistake(&value.span(), Problem::Empty(key.to_owned()));
        }
        names
    }

    fn names(&mut self, value: &Item<'_>, key: &str) -> Vec<Box<str>> {
        self.list(value, key);
        let mut names = Vec::new();
        for (name, span) in texts(value) {
            match name {
                "" => self.mistake(&span, Problem::EmptyName(key.to_owned())),
                name => names.push(name.into()),
            }
        }
        names
    }

    /// Checks that a value is a list of texts.
    fn list(&mut self, value: &Item<'_>, key: &str) {
        let Some(items) = value.get_ref().as_array() else {
            return self.kind(value, key, "a list of texts: [\"...\"]");
        };
        for item in items.iter().filter(|item| item.get_ref().as_str().is_none()) {
            self.kind(item, key, "a list of texts: [\"...\"]");
        }
    }

    fn kind(&mut self, value: &Item<'_>, key: &str, expected: &'static str) {
        self.mistake(&value.span(), Problem::Kind { key: key.to_owned(), expected });
    }

    fn unknown(
        &mut self,
        span: &Range<usize>,
        key: &str,
        place: &'static str,
        known: &'static str,
    ) {
        self.mistake(span, Problem::UnknownKey { key: key.to_owned(), place, known });
    }

    fn mistake(&mut self, span: &Range<usize>, problem: Problem) {
        let (line, begins) = self.line_of(span.start);
        let before = self.text.get(begins..span.start).unwrap_or_default();
        self.mistakes.push(Mistake { line, column: 1 + before.chars().count(), problem });
    }

    fn line(&self, offset: usize) -> Option<Line> {
        Line::new(u32::try_from(self.line_of(offset).0).unwrap_or(u32::MAX))
    }

    /// The line at an offset, counted from 1, and where it begins.
    fn line_of(&self, offset: usize) -> (usize, usize) {
        let line = self.line_begins.partition_point(|&begins| begins <= offset);
        (line, self.line_begins[line - 1])
    }
}

/// The texts of a list, and where each stands.
fn texts<'a>(value: &'a Item<'_>) -> impl Iterator<Item = (&'a str, Range<usize>)> {
    let items = value.get_ref().as_array().into_iter().flat_map(|items| items.iter());
    items.filter_map(|item| Some((item.get_ref().as_str()?, item.span())))
}

#[cfg(test)]
mod tests;

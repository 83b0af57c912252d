//! What one client may do, compiled: a pointer for each connection. Which rules are about a client
//! decides what it points to; `%u` and `%c` are filled in when a filter is looked for, so clients
//! share it whatever their names are.

use std::fmt;
use std::sync::Arc;

use super::pattern::{Line, Names, Pattern, PatternError};
use super::pattern_set::{Found, PatternSet};
use super::rule::{Effect, Rule};
use crate::broker::{TopicFilter, TopicName};

/// Most filters of a token, for publishing and subscribing together: each connection with it has
/// them in memory.
pub const GRANT_FILTERS_MAX: usize = 1_024;

/// What a client may do. By default all but reading the server's own topics: there are no rules.
#[derive(Clone, Default)]
pub struct Rights(Option<Arc<Compiled>>);

impl fmt::Debug for Rights {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the rules, of which there may be thousands.
        formatter.write_str(if self.has_rules() { "Rights" } else { "Unlimited" })
    }
}

/// What rules say about one set of clients.
#[derive(Debug)]
pub(super) struct Compiled {
    publish: Filters,
    subscribe: Filters,
    /// Tells the file of rules from others.
    edition: Edition,
    /// Those that a token has named: another file may have rules about them.
    groups: Arc<[Box<str>]>,
}

/// Filters of one action.
#[derive(Debug)]
struct Filters {
    sets: Box<[Arc<PatternSet>]>,
    /// What a token allows, in the place of what the sets allow.
    granted: Option<Arc<PatternSet>>,
}

/// Names one reading of a file of rules.
#[derive(Clone, Debug, Default)]
pub(super) struct Edition(Arc<()>);

/// Filters that several sets of clients may share: those of some rules.
#[derive(Debug)]
pub(super) struct RuleSet {
    publish: Arc<PatternSet>,
    subscribe: Arc<PatternSet>,
}

/// The rights that a token brings: the filters that it allows. They take the place of what the
/// file allows; what the file denies is denied.
#[derive(Clone, Debug)]
pub struct Grant {
    publish: Arc<PatternSet>,
    subscribe: Arc<PatternSet>,
}

/// Why the rights of a token are not valid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// A filter that is none.
    #[error("{text:?} is no filter: {source}")]
    Filter {
        /// The filter.
        text: String,
        /// Why.
        source: PatternError,
    },
    /// More filters than a token may have.
    #[error("more than {GRANT_FILTERS_MAX} filters")]
    TooMany,
}

/// What a rule says about an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Allowed. The line of the filter that allows it; `None`: a token does, or there are no rules.
    Allowed(Option<Line>),
    /// Denied. The line of the filter that denies it; `None`: nothing allows it.
    Denied(Option<Line>),
}

impl Decision {
    /// Whether it is allowed.
    pub fn is_allowed(self) -> bool {
        matches!(self, Self::Allowed(_))
    }
}

impl Grant {
    /// Parses the filters of a token.
    ///
    /// # Errors
    /// A filter is not valid, or there are too many.
    pub fn parse<'a>(
        publish: impl IntoIterator<Item = &'a str>,
        subscribe: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, GrantError> {
        let mut left = GRANT_FILTERS_MAX;
        let mut publish_patterns = Vec::new();
        let mut subscribe_patterns = Vec::new();
        let mut take = |text: &str, patterns: &mut Vec<_>| {
            left = left.checked_sub(1).ok_or(GrantError::TooMany)?;
            let pattern = Pattern::parse(text, None).map_err(|source| {
                let text = text.to_owned();
                GrantError::Filter { text, source }
            })?;
            patterns.push((Effect::Allow, pattern));
            Ok(())
        };
        publish.into_iter().try_for_each(|text| take(text, &mut publish_patterns))?;
        subscribe.into_iter().try_for_each(|text| take(text, &mut subscribe_patterns))?;
        let set = |patterns| Arc::new(PatternSet::new(patterns));
        Ok(Self { publish: set(publish_patterns), subscribe: set(subscribe_patterns) })
    }
}

impl RuleSet {
    /// The filters of some rules.
    pub(super) fn of<'a>(rules: &[&'a Rule]) -> Self {
        let set = |filters: fn(&'a Rule) -> &'a Vec<Pattern>| {
            let of_rule = |rule: &&'a Rule| {
                let effect = rule.effect;
                filters(rule).iter().map(move |pattern| (effect, pattern.clone()))
            };
            Arc::new(PatternSet::new(rules.iter().flat_map(of_rule).collect()))
        };
        Self { publish: set(|rule| &rule.publish), subscribe: set(|rule| &rule.subscribe) }
    }
}

impl Rights {
    /// Of clients about whom these rules are, with the groups that their token names and what it brings, if it brings
    /// rights.
    pub(super) fn of(
        rule_sets: &[Arc<RuleSet>],
        (groups, grant): (&Arc<[Box<str>]>, Option<&Grant>),
        edition: &Edition,
    ) -> Self {
        let filters = |set: fn(&RuleSet) -> &Arc<PatternSet>, granted: fn(&Grant) -> &Arc<_>| {
            let sets = rule_sets.iter().map(|rules| set(rules)).filter(|set| !set.is_empty());
            Filters { sets: sets.cloned().collect(), granted: grant.map(granted).cloned() }
        };
        let publish = filters(|rules| &rules.publish, |grant| &grant.publish);
        let subscribe = filters(|rules| &rules.subscribe, |grant| &grant.subscribe);
        let (edition, groups) = (edition.clone(), Arc::clone(groups));
        Self(Some(Arc::new(Compiled { publish, subscribe, edition, groups })))
    }

    /// The groups and the rights that a token has brought, as far as these rights depend on them.
    pub(in crate::access) fn of_token(&self) -> (Arc<[Box<str>]>, Option<Grant>) {
        let Some(compiled) = &self.0 else { return (Arc::default(), None) };
        let Compiled { publish, subscribe, groups, .. } = &**compiled;
        let grant = publish.granted.clone().zip(subscribe.granted.clone());
        (Arc::clone(groups), grant.map(|(publish, subscribe)| Grant { publish, subscribe }))
    }

    pub(super) fn from_compiled(compiled: Arc<Compiled>) -> Self {
        Self(Some(compiled))
    }

    pub(super) fn compiled(&self) -> Option<&Arc<Compiled>> {
        self.0.as_ref()
    }

    /// Whether there are rules, or a token's rights, that have to be asked.
    pub fn has_rules(&self) -> bool {
        self.0.is_some()
    }

    /// Whether these are the same compiled rights.
    pub fn are_same(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(own), Some(other)) => Arc::ptr_eq(own, other),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        }
    }

    /// Whether these are rights by this edition of the rules.
    pub(super) fn is_of(&self, edition: &Edition) -> bool {
        self.0.as_ref().is_some_and(|compiled| Arc::ptr_eq(&compiled.edition.0, &edition.0))
    }

    /// Whether a client with these names may publish to a topic.
    pub fn may_publish(&self, topic: &TopicName, user: Option<&str>, client_id: &str) -> Decision {
        self.0.as_ref().map_or(Decision::Allowed(None), |compiled| {
            compiled.publish.decide(topic.as_str(), Names { user, client_id })
        })
    }

    /// Whether a client with these names may subscribe with a filter: one allowed filter covers all
    /// of it, and no denied one does. Of a shared subscription the filter behind the group counts.
    pub fn may_subscribe(
        &self,
        filter: &TopicFilter,
        user: Option<&str>,
        client_id: &str,
    ) -> Decision {
        self.judge(plain(filter), Names { user, client_id })
    }

    /// Whether a client with these names may have a message.
    pub fn may_receive(&self, topic: &TopicName, user: Option<&str>, client_id: &str) -> Decision {
        self.judge(topic.as_str(), Names { user, client_id })
    }

    /// Whether the client may have all that a filter, or a topic, stands for.
    fn judge(&self, filter: &str, names: Names<'_>) -> Decision {
        match &self.0 {
            Some(compiled) => compiled.subscribe.decide(filter, names),
            None if is_servers_own(filter) => Decision::Denied(None),
            None => Decision::Allowed(None),
        }
    }
}

impl Filters {
    fn decide(&self, filter: &str, names: Names<'_>) -> Decision {
        let mut found = Found::default();
        for set in &self.sets {
            if set.look(filter, names, &mut found) {
                return Decision::Denied(found.deny.flatten());
            }
        }
        if let Some(granted) = &self.granted {
            found = Found::default();
            granted.look(filter, names, &mut found);
        }
        found.allow.map_or(Decision::Denied(None), Decision::Allowed)
    }
}

/// The filter behind the group of a shared one.
pub(super) fn plain(filter: &TopicFilter) -> &str {
    filter.share().map_or(filter.as_str(), |share| share.filter)
}

/// Whether a filter asks for topics of the server's own: `$SYS` or below.
fn is_servers_own(filter: &str) -> bool {
    filter.strip_prefix("$SYS").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests;

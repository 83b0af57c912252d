//! Authorization by the rules of a file (`--acl`), and by those that a token brings.
//!
//! `file` reads the rules, `rule` says which clients each is about, `pattern` and `pattern_set`
//! find the filters that match, and `rights` holds what one client may do. A rule that is about a
//! client allows or denies it filters; denial beats allowance, their order means nothing, and what
//! nothing allows is denied. `mosquitto` translates rules of that broker.

mod file;
mod glob;
mod group;
mod mosquitto;
mod pattern;
mod pattern_set;
mod rights;
mod rule;

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::client_limits::GroupLimits;
use super::identity::Identity;
use crate::broker::TopicFilter;
pub use file::{MISTAKES_MAX, Mistake, Mistakes, Problem};
pub use mosquitto::{Imported, Remark, import};
pub use pattern::{Line, PATTERN_LEVELS_MAX, PatternError};
pub use rights::{Decision, GRANT_FILTERS_MAX, Grant, GrantError, Rights};
pub use rule::Origin;

use pattern::Names;
use rights::{Compiled, Edition, Groups, RuleSet, plain};
use rule::{Client, Effect, Rule};

/// The rules of a file.
#[derive(Debug)]
pub struct Acl {
    rules: Vec<Rule>,
    /// The groups of each user.
    groups: HashMap<Box<str>, Vec<Box<str>>>,
    /// What groups say of limits.
    limits: HashMap<Box<str>, GroupLimits>,
    /// Rules that name users, by user.
    by_user: HashMap<Box<str>, Vec<u32>>,
    /// Rules that name groups and no users, by group.
    by_group: HashMap<Box<str>, Vec<u32>>,
    /// Rules that name neither, without those about everybody.
    others: Vec<u32>,
    everybody: Arc<RuleSet>,
    asks_for_addresses: bool,
    edition: Edition,
    compiled: Mutex<Shared>,
}

/// The places of rules in their file.
type Indices = Box<[u32]>;

/// What clients share, as long as any of them has it.
#[derive(Debug, Default)]
struct Shared {
    /// By the groups of a token, too.
    rights: Remembered<(Indices, Groups), Compiled>,
    rule_sets: Remembered<Indices, RuleSet>,
}

/// Values by the rules that they are made of.
#[derive(Debug)]
struct Remembered<K, T> {
    values: HashMap<K, Weak<T>>,
    /// The newest of them, which are kept even if nobody has them: a client that comes again and
    /// again does not have them made each time.
    recent: VecDeque<Arc<T>>,
    /// Values that are gone are forgotten when there are so many.
    forget_at: usize,
}

/// Values that are kept while nobody has them.
const RECENT_MAX: usize = 64;

/// Fewer remembered values are not looked through.
const FORGET_AT_MIN: usize = 2 * RECENT_MAX;

impl Acl {
    /// Reads the rules of a file.
    ///
    /// # Errors
    /// The mistakes in it.
    pub fn parse(text: &str) -> Result<Self, Mistakes> {
        let file = file::parse(text)?;
        let (mut groups, mut by_user) = (HashMap::<_, Vec<_>>::new(), HashMap::<_, Vec<_>>::new());
        let (mut by_group, mut others) = (HashMap::<_, Vec<_>>::new(), Vec::new());
        for (group, members) in &file.groups {
            for member in members {
                let groups = groups.entry(member.clone()).or_default();
                if !groups.contains(group) {
                    groups.push(group.clone());
                }
            }
        }
        for (index, rule) in (0u32..).zip(&file.rules) {
            let note = |table: &mut HashMap<Box<str>, Vec<u32>>, names: &[Box<str>]| {
                for name in names {
                    table.entry(name.clone()).or_default().push(index);
                }
            };
            match &rule.whom {
                whom if whom.is_everybody() => {}
                whom if whom.users.is_some() => {
                    note(&mut by_user, whom.users.as_deref().unwrap_or_default());
                }
                whom if whom.groups.is_some() => {
                    note(&mut by_group, whom.groups.as_deref().unwrap_or_default());
                }
                _ => others.push(index),
            }
        }
        let everybody: Vec<_> = file.rules.iter().filter(|rule| rule.whom.is_everybody()).collect();
        let everybody = RuleSet::of(&everybody);
        let asks_for_addresses = file
            .rules
            .iter()
            .any(|rule| rule.whom.addresses.is_some() || rule.whom.listeners.is_some());
        Ok(Self {
            rules: file.rules,
            groups,
            limits: file.limits.into_iter().collect(),
            by_user,
            by_group,
            others,
            everybody: Arc::new(everybody),
            asks_for_addresses,
            edition: Edition::default(),
            compiled: Mutex::default(),
        })
    }

    /// How many rules there are.
    pub fn rules_len(&self) -> usize {
        self.rules.len()
    }

    /// Whether any rule asks where clients have come from.
    pub fn asks_for_addresses(&self) -> bool {
        self.asks_for_addresses
    }

    /// The rights of a client that has connected. `origin`: `None` if nobody remembers where it had
    /// come from, nor which groups its token named: then rules that depend on it deny and do not
    /// allow.
    pub fn rights(
        &self,
        identity: &Identity,
        client_id: &str,
        origin: Option<Origin<'_>>,
    ) -> Rights {
        let about: Indices = self.rules_about(identity, client_id, origin).into();
        let about = (about, Arc::clone(identity.brings().0));
        // A panic leaves the tables whole: each holds what it holds, or lacks it.
        let mut shared = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        if identity.grant().is_none()
            && let Some(compiled) = shared.rights.find(&about)
        {
            return Rights::from_compiled(compiled);
        }
        let (named, unnamed): (Vec<u32>, Vec<u32>) =
            about.0.iter().partition(|&&index| self.rule(index).whom.users.is_some());
        let mut rule_sets = vec![Arc::clone(&self.everybody)];
        for indices in [unnamed, named].map(Indices::from) {
            if indices.is_empty() {
                continue;
            }
            let rule_set = shared.rule_sets.find(&indices).unwrap_or_else(|| {
                let rules: Vec<_> = indices.iter().map(|&index| self.rule(index)).collect();
                let rule_set = Arc::new(RuleSet::of(&rules));
                shared.rule_sets.remember(indices, &rule_set);
                rule_set
            });
            rule_sets.push(rule_set);
        }
        let rights = Rights::of(&rule_sets, identity.brings(), &self.edition);
        if identity.grant().is_none()
            && let Some(compiled) = rights.compiled()
        {
            shared.rights.remember(about, compiled);
        }
        rights
    }

    /// What the groups of a client's user say of limits.
    pub fn limits(&self, identity: &Identity) -> GroupLimits {
        if self.limits.is_empty() {
            return GroupLimits::default();
        }
        let limits = self.groups_of(identity).filter_map(|group| self.limits.get(group));
        limits.fold(GroupLimits::default(), GroupLimits::or_more)
    }

    /// The groups that the file and its token put a client's user into.
    fn groups_of<'a>(&'a self, identity: &'a Identity) -> impl Iterator<Item = &'a str> {
        let of_file = identity.user().and_then(|user| self.groups.get(user));
        of_file.into_iter().flatten().chain(identity.groups()).map(|group| &**group)
    }

    /// Whether these are rights by these rules, rather than by others that have been read before.
    pub fn gave(&self, rights: &Rights) -> bool {
        rights.is_of(&self.edition)
    }

    /// The lines of the filters that are denied to a client and that messages of a subscription may
    /// match.
    pub fn taken_out(
        &self,
        identity: &Identity,
        client_id: &str,
        origin: Option<Origin<'_>>,
        filter: &TopicFilter,
    ) -> Vec<Line> {
        let names = Names { user: identity.user(), client_id };
        let about = self.rules_about(identity, client_id, origin);
        let about = about.iter().map(|&index| self.rule(index));
        let everybody = self.rules.iter().filter(|rule| rule.whom.is_everybody());
        let denied = everybody.chain(about).filter(|rule| rule.effect == Effect::Deny);
        let patterns = denied.flat_map(|rule| &rule.subscribe);
        let overlapping = patterns.filter(|pattern| pattern.overlaps(plain(filter), names));
        let mut lines: Vec<_> = overlapping.filter_map(|pattern| pattern.line()).collect();
        lines.sort();
        lines.dedup();
        lines
    }

    /// The rules about a client, in the order of the file, without those about everybody.
    fn rules_about(
        &self,
        identity: &Identity,
        client_id: &str,
        origin: Option<Origin<'_>>,
    ) -> Vec<u32> {
        let user = identity.user();
        let groups: Vec<&str> = self.groups_of(identity).collect();
        let client = Client { user, groups: &groups, client_id, origin };
        let by_name = |table: &HashMap<Box<str>, Vec<u32>>, name: &str| {
            table.get(name).cloned().unwrap_or_default()
        };
        let mut candidates = self.others.clone();
        candidates.extend(user.map(|user| by_name(&self.by_user, user)).unwrap_or_default());
        match origin {
            Some(_) => {
                candidates.extend(groups.iter().flat_map(|group| by_name(&self.by_group, group)));
            }
            // Its token may have named any group.
            None => candidates.extend(self.by_group.values().flatten()),
        }
        candidates.sort_unstable();
        candidates.dedup();
        candidates.retain(|&index| {
            let rule = self.rule(index);
            rule.whom.is_about(&client, rule.effect == Effect::Deny)
        });
        candidates
    }

    fn rule(&self, index: u32) -> &Rule {
        &self.rules[index as usize]
    }
}

/// The rights of a client where there may be rules, and it may have a token.
pub fn rights_under(
    acl: Option<&Acl>,
    identity: &Identity,
    client_id: &str,
    origin: Option<Origin<'_>>,
) -> Rights {
    match (acl, identity.grant()) {
        (Some(acl), _) => acl.rights(identity, client_id, origin),
        (None, Some(_)) => Rights::of(&[], identity.brings(), &Edition::default()),
        (None, None) => Rights::default(),
    }
}

impl<K, T> Default for Remembered<K, T> {
    fn default() -> Self {
        Self { values: HashMap::new(), recent: VecDeque::new(), forget_at: FORGET_AT_MIN }
    }
}

impl<K: Eq + Hash, T> Remembered<K, T> {
    fn find(&self, key: &K) -> Option<Arc<T>> {
        self.values.get(key)?.upgrade()
    }

    /// Remembers a value as long as anybody has it, and a while longer.
    fn remember(&mut self, key: K, value: &Arc<T>) {
        if self.recent.len() >= RECENT_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(Arc::clone(value));
        if self.values.len() >= self.forget_at {
            self.values.retain(|_, value| value.strong_count() > 0);
            self.forget_at = FORGET_AT_MIN.max(2 * self.values.len());
        }
        self.values.insert(key, Arc::downgrade(value));
    }
}

#[cfg(test)]
mod tests;

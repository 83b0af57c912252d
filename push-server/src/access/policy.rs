//! What a client may do. Rules only forbid: everything that no rule denies is allowed.
//!
//! Each action has its own rules, so an action without rules costs one check of a length. By
//! default that holds for three of the four.

use super::identity::Subject;
use crate::broker::{TopicFilter, TopicName};

/// An action that a policy may deny.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Publish to a topic.
    Publish,
    /// Subscribe with a filter, shared or not.
    Subscribe,
    /// Leave a will for a topic, or have it published.
    Will,
    /// Receive a message.
    Receive,
}

/// The clients that a rule applies to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whom {
    /// Every client.
    Everybody,
    /// Clients that have authenticated as this user.
    User(Box<str>),
}

/// A rule: who is denied which topics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The clients that it applies to.
    pub whom: Whom,
    /// For topics: those that match it. For filters: only this filter as written, not others that
    /// match the same topics.
    pub filter: TopicFilter,
}

/// Whether a rule for everybody or one for the client denied an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The rule applies to every client.
    #[error("nobody may")]
    Everybody,
    /// The rule applies to this client.
    #[error("this client may not")]
    Subject,
}

/// The rules of all four actions.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    publish: Vec<Rule>,
    subscribe: Vec<Rule>,
    will: Vec<Rule>,
    receive: Vec<Rule>,
}

impl Policy {
    /// Denies everybody these filters, as written.
    pub fn denying_filters(filters: impl IntoIterator<Item = TopicFilter>) -> Self {
        let rule = |filter| Rule { whom: Whom::Everybody, filter };
        Self { subscribe: filters.into_iter().map(rule).collect(), ..Self::default() }
    }

    /// Adds a rule.
    #[must_use]
    pub fn deny(mut self, action: Action, rule: Rule) -> Self {
        match action {
            Action::Publish => self.publish.push(rule),
            Action::Subscribe => self.subscribe.push(rule),
            Action::Will => self.will.push(rule),
            Action::Receive => self.receive.push(rule),
        }
        self
    }

    /// The filters that are denied to everybody, as written.
    pub fn filters_denied(&self) -> impl Iterator<Item = &TopicFilter> {
        let everybodys = self.subscribe.iter().filter(|rule| rule.whom == Whom::Everybody);
        everybodys.map(|rule| &rule.filter)
    }

    /// Whether `receive` has any rules; without, no message needs a look before it is sent.
    pub fn judges_receivers(&self) -> bool {
        !self.receive.is_empty()
    }

    /// Whether a client may publish to a topic.
    ///
    /// # Errors
    /// A rule denies it.
    pub fn publish(&self, topic: &TopicName, subject: Subject<'_>) -> Result<(), Denied> {
        judge(&self.publish, subject, |rule| rule.filter.matches(topic))
    }

    /// Whether a client may subscribe with a filter. Of a shared one the filter after the group
    /// counts.
    ///
    /// # Errors
    /// A rule denies it.
    pub fn subscribe(&self, filter: &TopicFilter, subject: Subject<'_>) -> Result<(), Denied> {
        let plain = filter.share().map_or(filter.as_str(), |share| share.filter);
        judge(&self.subscribe, subject, |rule| rule.filter.as_str() == plain)
    }

    /// Whether a client may leave a will for a topic.
    ///
    /// # Errors
    /// A rule denies it.
    pub fn will(&self, topic: &TopicName, subject: Subject<'_>) -> Result<(), Denied> {
        judge(&self.will, subject, |rule| rule.filter.matches(topic))
    }

    /// Whether a client may receive a message.
    ///
    /// # Errors
    /// A rule denies it.
    pub fn receive(&self, topic: &TopicName, subject: Subject<'_>) -> Result<(), Denied> {
        judge(&self.receive, subject, |rule| rule.filter.matches(topic))
    }
}

/// The first rule that applies to this client and this topic or filter.
fn judge(
    rules: &[Rule],
    subject: Subject<'_>,
    applies: impl Fn(&Rule) -> bool,
) -> Result<(), Denied> {
    for rule in rules {
        let denied = match &rule.whom {
            Whom::Everybody => Denied::Everybody,
            Whom::User(user) if subject.user == Some(user) => Denied::Subject,
            Whom::User(_) => continue,
        };
        if applies(rule) {
            return Err(denied);
        }
    }
    Ok(())
}

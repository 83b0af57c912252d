//! What a client may do. Rules only take away: what no rule denies is allowed.
//!
//! Each action has rules of its own, so that an action without rules costs one look at a length. That is the state
//! of three of the four actions unless an operator asks for more.

use super::identity::Subject;
use crate::broker::{TopicFilter, TopicName};

/// What a policy is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Publishes to a topic.
    Publish,
    /// Subscribes by a filter, shared or not.
    Subscribe,
    /// Leaves a will for a topic, or has it published.
    Will,
    /// Is sent a message.
    Receive,
}

/// Whom a rule is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whom {
    /// Every client.
    Everybody,
    /// Clients that have authenticated as this user.
    User(Box<str>),
}

/// What somebody may not do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Who.
    pub whom: Whom,
    /// For a topic: those that match it. For a filter: this one, as written; others that match the same topics are
    /// not denied.
    pub filter: TopicFilter,
}

/// Why somebody may not do something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// No client may.
    #[error("nobody may")]
    Everybody,
    /// This client may not.
    #[error("this client may not")]
    Subject,
}

/// What clients may not do.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    publish: Vec<Rule>,
    subscribe: Vec<Rule>,
    will: Vec<Rule>,
    receive: Vec<Rule>,
}

impl Policy {
    /// Nobody may subscribe to one of these, as they are written.
    pub fn denying_filters(filters: impl IntoIterator<Item = TopicFilter>) -> Self {
        let rule = |filter| Rule { whom: Whom::Everybody, filter };
        Self { subscribe: filters.into_iter().map(rule).collect(), ..Self::default() }
    }

    /// Denies one thing more.
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

    /// The filters that nobody may subscribe to, as they are written.
    pub fn filters_denied(&self) -> impl Iterator<Item = &TopicFilter> {
        let everybodys = self.subscribe.iter().filter(|rule| rule.whom == Whom::Everybody);
        everybodys.map(|rule| &rule.filter)
    }

    /// Whether messages are to be looked at before they are sent to a client.
    pub fn judges_receivers(&self) -> bool {
        !self.receive.is_empty()
    }

    /// Whether a client may publish to a topic.
    ///
    /// # Errors
    /// It may not.
    pub fn publish(&self, topic: &TopicName, subject: Subject<'_>) -> Result<(), Denied> {
        judge(&self.publish, subject, |rule| rule.filter.matches(topic))
    }

    /// Whether a client may subscribe by a filter; of a shared one, the filter behind the group counts.
    ///
    /// # Errors
    /// It may not.
    pub fn subscribe(&self, filter: &TopicFilter, subject: Subject<'_>) -> Result<(), Denied> {
        let plain = filter.share().map_or(filter.as_str(), |share| share.filter);
        judge(&self.subscribe, subject, |rule| rule.filter.as_str() == plain)
    }

    /// Whether a client may leave a will for a topic.
    ///
    /// # Errors
    /// It may not.
    pub fn will(&self, topic: &TopicName, subject: Subject<'_>) -> Result<(), Denied> {
        judge(&self.will, subject, |rule| rule.filter.matches(topic))
    }

    /// Whether a client may be sent a message.
    ///
    /// # Errors
    /// It may not.
    pub fn receive(&self, topic: &TopicName, subject: Subject<'_>) -> Result<(), Denied> {
        judge(&self.receive, subject, |rule| rule.filter.matches(topic))
    }
}

/// The first rule that is about this client, and applies.
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

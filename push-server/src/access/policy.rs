//! What a client may do: what its rights say, and which filters are denied to everybody as written.
//!
//! A client has rights only where there is a file of rules, or its token brings some. Without, three
//! of the four questions cost one look at a pointer.

use super::acl::Decision;
use super::identity::Subject;
use crate::broker::{TopicFilter, TopicName};

/// Who denied an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// Every client is denied it.
    #[error("nobody may")]
    Everybody,
    /// The client's rights do not have it.
    #[error("this client may not")]
    Subject,
}

/// What holds for every client, beside each one's own rights.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    denied_filters: Vec<TopicFilter>,
}

impl Policy {
    /// Denies everybody these filters, as written.
    pub fn denying_filters(filters: impl IntoIterator<Item = TopicFilter>) -> Self {
        Self { denied_filters: filters.into_iter().collect() }
    }

    /// The filters that are denied to everybody, as written.
    pub fn filters_denied(&self) -> impl Iterator<Item = &TopicFilter> {
        self.denied_filters.iter()
    }

    /// Whether a client may publish to a topic.
    ///
    /// # Errors
    /// Its rights do not have it.
    pub fn publish(&self, topic: &TopicName, subject: Subject<'_>) -> Result<(), Denied> {
        let Subject { user, client_id, rights } = subject;
        judge(rights.may_publish(topic, user, client_id))
    }

    /// Whether a client may subscribe with a filter. Of a shared one the filter after the group
    /// counts.
    ///
    /// # Errors
    /// The filter is denied to everybody, or the client's rights do not have it.
    pub fn subscribe(&self, filter: &TopicFilter, subject: Subject<'_>) -> Result<(), Denied> {
        let plain = filter.share().map_or(filter.as_str(), |share| share.filter);
        if self.denied_filters.iter().any(|denied| denied.as_str() == plain) {
            return Err(Denied::Everybody);
        }
        let Subject { user, client_id, rights } = subject;
        judge(rights.may_subscribe(filter, user, client_id))
    }

    /// Whether a client may leave a will for a topic, or have it published: what it may publish.
    ///
    /// # Errors
    /// Its rights do not have it.
    pub fn will(&self, topic: &TopicName, subject: Subject<'_>) -> Result<(), Denied> {
        self.publish(topic, subject)
    }

    /// Whether a client may receive a message. Where there are no rules, only the server's own topics are kept from
    /// it, which its subscriptions cannot name.
    ///
    /// # Errors
    /// Its rights do not have it.
    pub fn receive(&self, topic: &TopicName, subject: Subject<'_>) -> Result<(), Denied> {
        let Subject { user, client_id, rights } = subject;
        if !rights.has_rules() {
            return Ok(());
        }
        judge(rights.may_receive(topic, user, client_id))
    }
}

fn judge(decision: Decision) -> Result<(), Denied> {
    if decision.is_allowed() { Ok(()) } else { Err(Denied::Subject) }
}

#[cfg(test)]
mod tests;

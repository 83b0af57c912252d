//! Topic aliases: numbers that stand for topics said before on the same connection, one table each
//! way [MQTT-3.3.2-10]. Both belong to the connection and end with it [MQTT-3.3.2-7].

use std::num::NonZeroU16;

use super::codec::Reason;
use crate::broker::TopicName;

/// The shortest topic that gets an alias, in bytes: the property takes 3, and an alias is to pay at
/// the second message.
const ALIASED_BYTES_MIN: usize = 6;

/// What a client's aliases stand for. Bounded by `Limits::topic_alias_max` topics.
#[derive(Debug, Default)]
pub(super) struct Inbound(Vec<Option<TopicName>>);

impl Inbound {
    /// What a PUBLISH with `alias` is about, `topic` being what it said; from now on the alias
    /// stands for that. `max` is what we announced: every alias up to it is accepted
    /// [MQTT-3.3.2-12], 0 and those above it never [MQTT-3.3.2-8] [MQTT-3.3.2-9].
    pub(super) fn resolve(
        &mut self,
        topic: Option<TopicName>,
        alias: u16,
        max: u16,
    ) -> Result<TopicName, Reason> {
        if alias == 0 || alias > max {
            return Err(Reason::TopicAliasInvalid);
        }
        let index = usize::from(alias) - 1;
        if let Some(topic) = topic {
            if self.0.len() <= index {
                self.0.resize(index + 1, None);
            }
            self.0[index] = Some(topic.clone());
            return Ok(topic);
        }
        // An alias that no PUBLISH has given a topic yet [MQTT5 3.3.2.3.4].
        self.0.get(index).cloned().flatten().ok_or(Reason::ProtocolError)
    }
}

/// How a PUBLISH to a client says its topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TopicForm {
    /// In full.
    Whole,
    /// In full, and from now on the alias stands for it.
    Introduced(NonZeroU16),
    /// By its alias.
    Alias(NonZeroU16),
}

impl TopicForm {
    /// The alias to send, if any.
    pub(super) fn alias(self) -> Option<NonZeroU16> {
        match self {
            Self::Whole => None,
            Self::Introduced(alias) | Self::Alias(alias) => Some(alias),
        }
    }
}

/// Our aliases towards a client. Full, it goes on by the clock rule: a topic without alias takes
/// the place under the hand unless that was used since the hand last came by, so that topics said
/// once do not drive out those said often, and a miss looks at one place only.
#[derive(Debug, Default)]
pub(super) struct Outbound {
    places: Vec<Alias>,
    hand: usize,
}

#[derive(Debug)]
struct Alias {
    topic: TopicName,
    used: bool,
}

impl Outbound {
    /// How to say `topic` to a client that takes `max` aliases. To be told by `introduced` when a
    /// packet that introduces one is sent.
    pub(super) fn form(&mut self, topic: &TopicName, max: u16) -> TopicForm {
        if !pays(topic, max) {
            return TopicForm::Whole;
        }
        if let Some(index) = self.places.iter().position(|place| place.topic == *topic) {
            self.places[index].used = true;
            return alias_at(index).map_or(TopicForm::Whole, TopicForm::Alias);
        }
        let mut index = self.places.len();
        if index >= usize::from(max) {
            index = self.hand;
            self.hand = (self.hand + 1) % self.places.len();
            if std::mem::take(&mut self.places[index].used) {
                return TopicForm::Whole;
            }
        }
        alias_at(index).map_or(TopicForm::Whole, TopicForm::Introduced)
    }

    /// A PUBLISH of that form is sent, so the client knows.
    pub(super) fn introduced(&mut self, topic: &TopicName, alias: NonZeroU16) {
        let place = Alias { topic: topic.clone(), used: false };
        match self.places.get_mut(usize::from(alias.get()) - 1) {
            Some(known) => *known = place,
            None => self.places.push(place),
        }
    }
}

/// Whether a topic may have an alias at all towards a client that takes `max`.
pub(super) fn pays(topic: &TopicName, max: u16) -> bool {
    max != 0 && topic.as_str().len() >= ALIASED_BYTES_MIN
}

fn alias_at(index: usize) -> Option<NonZeroU16> {
    u16::try_from(index + 1).ok().and_then(NonZeroU16::new)
}

#[cfg(test)]
mod tests;

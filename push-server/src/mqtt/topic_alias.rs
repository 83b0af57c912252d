//! Topic aliases: numbers for topics that were sent before on the same connection, one table for
//! each direction [MQTT-3.3.2-10]. Both end with the connection [MQTT-3.3.2-7].

use std::num::NonZeroU16;

use super::codec::Reason;
use crate::broker::TopicName;

/// The shortest topic that gets an alias, in bytes. 6: the property takes 3 bytes, so the alias
/// pays from the second message on.
const ALIASED_BYTES_MIN: usize = 6;

/// Topics by the client's alias. `Limits::topic_alias_max` bounds it.
#[derive(Debug, Default)]
pub(super) struct Inbound(Vec<Option<TopicName>>);

impl Inbound {
    /// The topic of a PUBLISH with `alias`. `topic` is the one in the packet; if there is one, the
    /// alias stands for it from now on. `max` is what CONNACK announced: aliases up to it are
    /// accepted [MQTT-3.3.2-12], 0 and higher ones are errors [MQTT-3.3.2-8] [MQTT-3.3.2-9].
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

/// How a PUBLISH to a client names its topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TopicForm {
    /// In full, without an alias.
    Whole,
    /// In full, and the alias stands for it from now on.
    Introduced(NonZeroU16),
    /// By its alias alone.
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

/// Our aliases towards a client. When all are taken, the clock rule decides: a new topic takes the
/// alias under the hand, unless that was used since the hand last passed. So topics sent once do
/// not drive out those sent often, and a miss checks one alias only.
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
    /// The form for `topic` to a client that accepts `max` aliases. When a packet that introduces
    /// an alias is sent, call `introduced`.
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

    /// The packet was sent, so the client knows the alias.
    pub(super) fn introduced(&mut self, topic: &TopicName, alias: NonZeroU16) {
        let place = Alias { topic: topic.clone(), used: false };
        match self.places.get_mut(usize::from(alias.get()) - 1) {
            Some(known) => *known = place,
            None => self.places.push(place),
        }
    }
}

/// Whether an alias for this topic would pay with a client that accepts `max`.
pub(super) fn pays(topic: &TopicName, max: u16) -> bool {
    max != 0 && topic.as_str().len() >= ALIASED_BYTES_MIN
}

fn alias_at(index: usize) -> Option<NonZeroU16> {
    u16::try_from(index + 1).ok().and_then(NonZeroU16::new)
}

#[cfg(test)]
mod tests;

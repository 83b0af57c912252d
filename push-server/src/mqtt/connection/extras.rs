//! Parts that few connections have, in a box, so that the others do not pay for them.

use super::reauthentication::Reauthentication;
use crate::broker::TopicName;
use crate::mqtt::topic_alias::{self, Inbound, Outbound, TopicForm};
use crate::mqtt::{Connect, Will};

/// Will, topic aliases and how the client has authenticated.
#[derive(Debug, Default)]
pub(super) struct Extras {
    pub(super) will: Option<Box<Will>>,
    /// The client's topic aliases.
    pub(super) inbound: Inbound,
    /// The server's topic aliases.
    pub(super) outbound: Outbound,
    /// Present if the client has authenticated by an exchange; then it may do so again.
    pub(super) reauthentication: Option<Box<Reauthentication>>,
}

impl Extras {
    /// The extras that a CONNECT asks for, if any.
    pub(super) fn of(connect: &mut Connect) -> Option<Box<Self>> {
        let will = connect.will.take();
        let reauthentication = Reauthentication::of(connect).map(Box::new);
        let any = will.is_some() || reauthentication.is_some();
        any.then(|| Box::new(Self { will, reauthentication, ..Self::default() }))
    }
}

/// The form of a topic for a client that accepts `max` aliases. Makes the box if the topic needs
/// one.
pub(super) fn form(extras: &mut Option<Box<Extras>>, topic: &TopicName, max: u16) -> TopicForm {
    if topic_alias::pays(topic, max) {
        extras.get_or_insert_default().outbound.form(topic, max)
    } else {
        TopicForm::Whole
    }
}

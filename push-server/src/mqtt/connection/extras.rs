//! What few connections have, in a box that the others do not pay for.

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
    /// The aliases that the server has said.
    pub(super) outbound: Outbound,
    /// For a client that has authenticated by an exchange, and may do so again.
    pub(super) reauthentication: Option<Box<Reauthentication>>,
}

impl Extras {
    /// What a CONNECT brings of it, if any.
    pub(super) fn of(connect: &mut Connect) -> Option<Box<Self>> {
        let will = connect.will.take();
        let reauthentication = Reauthentication::of(connect).map(Box::new);
        let any = will.is_some() || reauthentication.is_some();
        any.then(|| Box::new(Self { will, reauthentication, ..Self::default() }))
    }
}

/// How to say a topic to a client that takes `max` aliases; a box is made where there is one.
pub(super) fn form(extras: &mut Option<Box<Extras>>, topic: &TopicName, max: u16) -> TopicForm {
    if topic_alias::pays(topic, max) {
        extras.get_or_insert_default().outbound.form(topic, max)
    } else {
        TopicForm::Whole
    }
}

//! What few connections have, in a box that the others do not pay for.

use crate::broker::TopicName;
use crate::mqtt::scram::Exchange;
use crate::mqtt::topic_alias::{self, Inbound, Outbound, TopicForm};
use crate::mqtt::{Authenticated, Connect, Will};

/// Will, topic aliases and who the client is.
#[derive(Debug, Default)]
pub(super) struct Extras {
    pub(super) will: Option<Box<Will>>,
    /// The client's topic aliases.
    pub(super) inbound: Inbound,
    /// The aliases that the server has said.
    pub(super) outbound: Outbound,
    /// Who the client is, if it had to show it.
    pub(super) identity: Option<Box<Identity>>,
}

impl Extras {
    /// What a CONNECT brings of it, if any.
    pub(super) fn of(connect: &mut Connect) -> Option<Box<Self>> {
        let will = connect.will.take();
        let identity = connect.authenticated.as_ref().map(|shown| Box::new(Identity::of(shown)));
        let any = will.is_some() || identity.is_some();
        any.then(|| Box::new(Self { will, identity, ..Self::default() }))
    }
}

/// The user that a client has authenticated as, and the exchange under way if it does so again.
#[derive(Debug)]
pub(super) struct Identity {
    pub(super) user: Box<str>,
    pub(super) exchange: Option<Exchange>,
}

impl Identity {
    fn of(authenticated: &Authenticated) -> Self {
        Self { user: authenticated.user.clone(), exchange: None }
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

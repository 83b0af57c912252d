//! A message for one member of a group, while it looks for a member that takes it.

use std::sync::Arc;

use super::postage::Stamp;
use crate::broker::{Group, Message, Round, Slip};
use crate::shard::agenda::Flow;
use crate::shard::journal::Ticket;

/// A message for one member of a group, on its way to that member's shard.
#[derive(Debug)]
pub(crate) struct SharedMail {
    pub(crate) message: Arc<Message>,
    pub(crate) group: Arc<Group>,
    pub(crate) session: u32,
    /// Members that have refused it.
    pub(crate) tries: u16,
    pub(crate) round: Round,
    /// The write that it is part of.
    pub(crate) ticket: Option<Arc<Ticket>>,
    /// On whose account it is delivered.
    pub(crate) flow: Flow,
    pub(crate) stamp: Option<Stamp>,
    /// Whether another member has handed it on.
    pub(crate) is_left: bool,
    /// The slip of a message that came in by a door.
    pub(crate) slip: Option<Slip>,
}

impl SharedMail {
    pub(crate) fn new(flow: Flow, message: Arc<Message>, group: Arc<Group>) -> Self {
        Self {
            message,
            group,
            session: 0,
            tries: 0,
            round: Round::default(),
            ticket: None,
            flow,
            stamp: None,
            is_left: false,
            slip: None,
        }
    }

    pub(crate) fn flow(&self) -> Flow {
        self.flow
    }
}

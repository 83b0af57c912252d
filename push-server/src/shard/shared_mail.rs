//! A message for one member of a group, while it looks for a member that takes it.

use std::sync::Arc;

use super::fair_queue::Flow;
use super::postage::Stamp;
use super::ticket::Ticket;
use crate::broker::{Group, Message, Round};

/// A message for one member of a group, on its way to that member's shard.
#[derive(Debug)]
pub(super) struct SharedMail {
    pub(super) message: Arc<Message>,
    pub(super) group: Arc<Group>,
    pub(super) session: u32,
    /// Members that have refused it.
    pub(super) tries: u16,
    pub(super) round: Round,
    /// The write that it is part of.
    pub(super) ticket: Option<Arc<Ticket>>,
    /// Whose work it is.
    pub(super) flow: Flow,
    pub(super) stamp: Option<Stamp>,
    /// Whether somebody who left was owed it.
    pub(super) is_left: bool,
}

impl SharedMail {
    pub(super) fn new(flow: Flow, message: Arc<Message>, group: Arc<Group>) -> Self {
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
        }
    }

    pub(super) fn flow(&self) -> Flow {
        self.flow
    }
}

//! What shards send each other. `post` carries it.

use std::sync::Arc;

use super::moved::Moved;
use super::postage::Stamp;
use super::shared_mail::SharedMail;
use crate::broker::{Holder, Message};
use crate::mqtt::Connecting;
use crate::shard::agenda::Flow;
use crate::shard::clients::Client;
use crate::shard::journal::Ticket;
use crate::shard::ports::Ports;

/// A piece of mail. Plain data, like all that it holds.
#[derive(Debug)]
pub(crate) enum Mail<P: Ports> {
    /// A message that some session of the receiving shard is subscribed to.
    Publish(Letter),
    /// A message for one session of the receiving shard, picked from a group.
    Share(Box<SharedMail>),
    /// A client whose session lives with the receiving shard.
    Adopt(Box<Adoption<P>>),
    /// A session that lives with the receiving shard from now on.
    Moved(Box<Moved<P>>),
    /// One unused session is to end. `Some`: one whose end makes room in this newcomer's shares.
    GiveWay(Option<Holder>),
}

/// A publish that goes on at another shard.
#[derive(Debug)]
pub(crate) struct Letter {
    /// On whose account its deliveries are.
    pub(crate) flow: Flow,
    pub(crate) message: Arc<Message>,
    /// The write that it is part of.
    pub(crate) ticket: Option<Arc<Ticket>>,
    pub(crate) stamp: Stamp,
}

/// A client on its way to its session's shard, with the CONNECT it sent. No ring operation is under way, and
/// nothing was sent on its socket, but for an authentication that was over when the session had gone elsewhere.
#[derive(Debug)]
pub(crate) struct Adoption<P: Ports> {
    pub(crate) client: Client<P>,
    /// It is accepted. `None`: it has to authenticate, and has not been sent AUTH yet.
    pub(crate) connecting: Option<Connecting>,
}

impl<P: Ports> Adoption<P> {
    /// Of the CONNECT, which has come whole.
    pub(crate) fn client_id(&self) -> Option<&str> {
        match &self.connecting {
            Some(connecting) => Some(&connecting.connect.client_id),
            None => self.client.pending()?.handshake.client_id(),
        }
    }
}

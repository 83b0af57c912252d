//! What shards send each other. `post` carries it.

use std::sync::Arc;

use super::moved::Moved;
use super::postage::Stamp;
use super::shared_mail::SharedMail;
use crate::broker::{Holder, Message};
use crate::mqtt::Connecting;
use crate::shard::agenda::Flow;
use crate::shard::clients::PendingClient;
use crate::shard::connect_order::ConnectNumber;
use crate::shard::journal::Ticket;
use crate::shard::ports::{Ports, SlotOf, SocketOf};
use crate::transport::Transport;

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

/// A socket on its way to its session's shard, with the CONNECT it sent. No ring operation is under way, and
/// nothing was sent on it, but for an authentication that was over when the session had gone elsewhere.
#[derive(Debug)]
pub(crate) struct Adoption<P: Ports> {
    pub(crate) socket: SocketOf<P>,
    pub(crate) arrival: Arrival,
    /// With what it still owes to the client.
    pub(crate) transport: Transport,
    pub(crate) connect_number: ConnectNumber,
    /// Bytes that the socket has accepted, and the slot that knows of them.
    pub(crate) sent_bytes: u64,
    pub(crate) slot: Option<SlotOf<P>>,
}

/// How far a client has come with its handshake.
#[derive(Debug)]
pub(crate) enum Arrival {
    /// It is accepted.
    Admitted(Connecting),
    /// It has to authenticate, and has not been sent AUTH yet.
    Questioned(PendingClient),
}

impl Arrival {
    /// Of the CONNECT, which has come whole.
    pub(crate) fn client_id(&self) -> Option<&str> {
        match self {
            Self::Admitted(connecting) => Some(&connecting.connect.client_id),
            Self::Questioned(pending) => pending.handshake.client_id(),
        }
    }
}

//! A session that moves to another shard, with its client if it has one: all that the shard had of it.
//! Nothing of it is under way anywhere, because all shards rest.

use crate::broker::{Member, PeerNetwork};
use crate::mqtt::Session;
use crate::shard::clients::{Client, Unsent};
use crate::shard::ports::Ports;
use crate::shard::publish::Backlog;
use crate::shard::sessions::Absence;
use crate::store::SessionNumber;

/// A session on its way.
#[derive(Debug)]
pub(crate) struct Moved<P: Ports> {
    pub(crate) session: Session,
    pub(crate) number: SessionNumber,
    pub(crate) network: PeerNetwork,
    pub(crate) company: Company<P>,
    /// Retained messages that it is still to be brought.
    pub(crate) backlog: Option<Backlog>,
    /// As what its groups know it, until they are told what it is now.
    pub(crate) from: Member,
}

/// What a session has with it.
#[derive(Debug)]
pub(crate) enum Company<P: Ports> {
    /// Its client, what the client's socket was handed and has not taken, and when it has to leave, in seconds since
    /// 1970.
    Client(Box<Client<P>>, Option<Unsent>, Option<u64>),
    /// None.
    Nobody(Absence),
}

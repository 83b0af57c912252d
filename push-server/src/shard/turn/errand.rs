//! Work that may wait for its session's turn, as a value: `turn/errands` does it.

use std::sync::Arc;

use crate::mqtt::HandshakeProgress;
use crate::shard::door::Doorway;
use crate::shard::journal::{Done, Giver, Retrying};
use crate::shard::ports::Token;
use crate::shard::post::SharedMail;
use crate::shard::publish::{Fanout, Subscribing, Unsubscribing};

/// Work that waits for its session's turn.
#[derive(Debug)]
pub(super) enum Errand {
    /// A client's input goes on.
    Input(Token),
    /// A publish goes on.
    Fanout(Box<Fanout>),
    /// A SUBSCRIBE goes on.
    Subscribe(Box<Subscribing>),
    /// An UNSUBSCRIBE goes on.
    Unsubscribe(Box<Unsubscribing>),
    /// A message for one of this shard's members of a group.
    Share(Box<SharedMail>),
    /// A session hands on messages to other members of its groups.
    HandOn(Giver),
    /// Filters of an ended session, by its key, are removed from the tables.
    Forget(u32),
    /// Groups of a session that is back, by its key, are told.
    Return(u32),
    /// The store is offered again what it has refused.
    Retry(Box<Retrying>),
    /// Messages that have come in by a door go out.
    Door(Arc<Doorway>),
    /// A client goes on with its handshake, which was held back.
    Handshake(Token, Box<HandshakeProgress>),
    /// What somebody else has said of a client, and was held back.
    News(Box<Done>),
}

impl Errand {
    /// Whether it came from another shard.
    pub(super) fn is_letter(&self) -> bool {
        match self {
            Self::Fanout(fanout) => fanout.is_received(),
            Self::Share(_) => true,
            Self::Input(_)
            | Self::Subscribe(_)
            | Self::Unsubscribe(_)
            | Self::HandOn(_)
            | Self::Forget(_)
            | Self::Return(_)
            | Self::Retry(_)
            | Self::Door(_)
            | Self::Handshake(..)
            | Self::News(_) => false,
        }
    }

    /// Whether it is held back while shards come to rest. All else has been begun, and is finished before.
    pub(super) fn is_held_at_rest(&self) -> bool {
        match self {
            Self::Input(_)
            | Self::HandOn(Giver { key: None, .. })
            | Self::Forget(_)
            | Self::Door(_)
            | Self::Handshake(..)
            | Self::News(_) => true,
            Self::Fanout(_)
            | Self::Subscribe(_)
            | Self::Unsubscribe(_)
            | Self::Share(_)
            | Self::HandOn(_)
            | Self::Return(_)
            | Self::Retry(_) => false,
        }
    }

    /// How many bytes of a client's packet it holds, without messages, which count elsewhere.
    pub(super) fn held_bytes(&self) -> usize {
        match self {
            Self::Subscribe(subscribing) => subscribing.left_bytes(),
            Self::Unsubscribe(unsubscribing) => unsubscribing.left_bytes(),
            Self::Input(_)
            | Self::Fanout(_)
            | Self::Share(_)
            | Self::HandOn(_)
            | Self::Forget(_)
            | Self::Return(_)
            | Self::Retry(_)
            | Self::Door(_)
            | Self::Handshake(..)
            | Self::News(_) => 0,
        }
    }
}

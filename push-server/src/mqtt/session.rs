//! A client's MQTT state, which outlives connections.

mod deliver;
mod disk;
mod exactly_once;
mod groups;
mod send;

use push_common::clock::Monotonic;

use super::connect::Connect;
use super::outbox::Outbox;
use super::subscription_list::SubscriptionList;
use crate::access::Subject;
use crate::broker::QoS;
pub use deliver::Delivered;
pub(super) use send::{Next, SendOutcome};

/// A session.
///
/// A durable one is also kept on disk, by the shard: `Filing` says how far each message is on its
/// way there, and `take_changes` what is to be done.
#[derive(Debug)]
pub struct Session {
    name: SessionName,
    /// The client's subscriptions, for resumption and clean-up.
    pub subscriptions: SubscriptionList,
    /// Nothing while the session is owed nothing, as with nearly every session nearly always.
    outbox: Option<Box<Outbox>>,
    /// The place of the next message.
    next_position: u64,
    /// How long it outlives its connection, in seconds; `u32::MAX`: for ever.
    pub expiry_secs: u32,
    is_durable: bool,
    keeps_will: bool,
    /// Its outbox may hold messages of groups that it has left.
    has_left_groups: bool,
}

/// Whose a session is. A session that nobody was authenticated for pays nothing for that.
#[derive(Debug)]
enum SessionName {
    Anybodys(Box<str>),
    Owned(Box<Owned>),
}

#[derive(Debug)]
struct Owned {
    client_id: Box<str>,
    user: Box<str>,
}

impl SessionName {
    fn subject(&self) -> Subject<'_> {
        match self {
            Self::Anybodys(client_id) => Subject { user: None, client_id },
            Self::Owned(owned) => Subject { user: Some(&owned.user), client_id: &owned.client_id },
        }
    }

    fn user(&self) -> Option<&str> {
        self.subject().user
    }
}

/// What a CONNECT with a session's client id makes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It goes on.
    Resumed,
    /// It ends, and another one begins.
    Replaced,
    /// It belongs to another user: the CONNECT is refused, and the session stays as it is.
    Refused,
}

/// What a session forgets with its connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// Messages of QoS 0.
    pub at_most_once: u32,
    /// Others whose expiry interval had passed before they were sent.
    pub expired: u32,
}


impl Session {
    /// What a session takes in memory as soon as it is owed anything, beside the first step of what is counted.
    pub const OUTBOX_BYTES: usize = size_of::<Outbox>();

    /// A new session.
    pub fn new(client_id: &str, expiry_secs: u32) -> Self {
        Self {
            name: SessionName::Anybodys(client_id.into()),
            subscriptions: SubscriptionList::default(),
            outbox: None,
            next_position: 0,
            expiry_secs,
            is_durable: false,
            keeps_will: false,
            has_left_groups: false,
        }
    }

    /// The same, to be kept on disk.
    pub fn durable(client_id: &str, expiry_secs: u32) -> Self {
        Self { is_durable: true, ..Self::new(client_id, expiry_secs) }
    }

    /// The same, of which nothing is kept on disk but a record with the will of its connection.
    pub fn keeping_will(client_id: &str) -> Self {
        Self { keeps_will: true, ..Self::new(client_id, 0) }
    }

    /// The same, made by a client that was authenticated as `user`; `None`: by one that was not.
    #[must_use]
    pub fn of_user(mut self, user: Option<&str>) -> Self {
        if let Some(user) = user {
            let (client_id, user) = (self.client_id().into(), user.into());
            self.name = SessionName::Owned(Box::new(Owned { client_id, user }));
        }
        self
    }

    /// Its client's identifier.
    pub fn client_id(&self) -> &str {
        self.name.subject().client_id
    }

    /// Whom a policy is asked about for it.
    pub fn subject(&self) -> Subject<'_> {
        self.name.subject()
    }

    /// Whose it is: the user that its client was authenticated as.
    pub fn user(&self) -> Option<&str> {
        self.name.user()
    }

    /// What becomes of it by a CONNECT with its client id.
    ///
    /// Only its user may resume a user's session. A session without a user does not keep a user out,
    /// but the user does not resume it either: a stranger could have chosen the subscriptions in it,
    /// and which messages are taken for duplicates.
    pub fn claimed_by(&self, connect: &Connect) -> Claim {
        match (self.user(), connect.user()) {
            (Some(owner), user) if user != Some(owner) => Claim::Refused,
            (None, Some(_)) => Claim::Replaced,
            _ if connect.clean_start => Claim::Replaced,
            _ => Claim::Resumed,
        }
    }

    /// Whether nobody would miss it: it has no subscription, and was never owed anything.
    pub fn is_unused(&self) -> bool {
        self.next_position == 0
            && self.outbox.is_none()
            && self.subscriptions.iter().next().is_none()
    }

    /// Whether it is kept on disk.
    pub fn is_durable(&self) -> bool {
        self.is_durable
    }

    /// Whether nothing of it is kept on disk but a record with the will of its connection.
    pub fn keeps_will(&self) -> bool {
        self.keeps_will
    }

    /// The place that was given to a message last.
    pub fn last_position(&self) -> u64 {
        self.next_position.saturating_sub(1)
    }

    /// Messages owed: outbox and inflight.
    pub fn owed(&self) -> usize {
        self.outbox.as_ref().map_or(0, |outbox| outbox.total().messages as usize)
    }

    /// Tells the session that its connection ended at `now`: what was sent and not acknowledged is
    /// to be sent again, QoS 0 messages are forgotten, and so are expired ones that were never
    /// sent. Returns how many were forgotten.
    ///
    /// Receipts of QoS 2 publishes that are still out count as given back, unless the session is
    /// durable: there `routed_exactly_once` is to be told.
    pub fn connection_ended(&mut self, now: Monotonic) -> Forgotten {
        let Some(outbox) = self.outbox.as_deref_mut() else { return Forgotten::default() };
        let at_most_once = outbox.discard(|delivery| delivery.qos == QoS::AtMostOnce);
        let expired = outbox.discard(|delivery| delivery.message.is_expired(now));
        self.restart();
        Forgotten { at_most_once, expired }
    }

    /// A new connection begins, whether or not anybody said that the last one ended: what is
    /// unacknowledged is to be sent again.
    pub(super) fn restart(&mut self) {
        let Some(outbox) = self.outbox.as_deref_mut() else { return };
        outbox.inflight.restart();
        if self.is_durable {
            outbox.exactly.keep();
            outbox.store_away();
            outbox.release_again();
        } else {
            outbox.exactly.restart();
        }
        self.tidy();
    }

    #[cfg(test)]
    pub(super) fn outbox(&self) -> Option<&Outbox> {
        self.outbox.as_deref()
    }

    /// Gives the outbox back once it is empty.
    pub fn tidy(&mut self) {
        if self.outbox.as_deref().is_some_and(Outbox::is_empty) {
            self.outbox = None;
        }
    }
}

#[cfg(test)]
mod tests;

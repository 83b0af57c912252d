//! A client's MQTT state, which outlives connections. It decides; the shard sends, and reads and
//! writes the disk.

mod deliver;
mod disk;
mod exactly_once;
mod groups;
mod send;

use push_common::clock::Monotonic;

use super::Limits;
use super::connect::Connect;
use super::outbox::Outbox;
use super::subscription_list::{ListFull, SubscriptionList};
use crate::access::{Rights, Subject};
use crate::broker::{QoS, SubscriptionOptions, TopicFilter};
pub use deliver::Delivered;
pub(super) use send::{Next, SendOutcome};

/// A client's session.
///
/// The shard keeps a durable one on disk: `Filing` says how far the write of each message has come,
/// and `take_changes` what to write next.
#[derive(Debug)]
pub struct Session {
    name: SessionName,
    /// What its client may do, since it connected last. A start does not know.
    rights: Rights,
    /// For resumption and clean-up.
    subscriptions: SubscriptionList,
    /// `None` while the session is owed nothing, as nearly every session is nearly always.
    outbox: Option<Box<Outbox>>,
    /// The position of the next message.
    next_position: u64,
    /// How long the session outlives its connection, in seconds; `u32::MAX`: for ever.
    expiry_secs: u32,
    is_durable: bool,
    keeps_will: bool,
    /// The outbox may hold messages of groups that the session has left.
    has_left_groups: bool,
}

/// Client id and user. A session without a user pays nothing for the user's field.
#[derive(Debug)]
pub(super) enum SessionName {
    Anybodys(Box<str>),
    Owned(Box<Owned>),
}

#[derive(Debug)]
pub(super) struct Owned {
    client_id: Box<str>,
    user: Box<str>,
}

impl SessionName {
    /// The client that it names, with these rights.
    pub(super) fn subject<'a>(&'a self, rights: &'a Rights) -> Subject<'a> {
        Subject { user: self.user(), client_id: self.client_id(), rights }
    }

    pub(super) fn client_id(&self) -> &str {
        match self {
            Self::Anybodys(client_id) => client_id,
            Self::Owned(owned) => &owned.client_id,
        }
    }

    fn user(&self) -> Option<&str> {
        match self {
            Self::Anybodys(_) => None,
            Self::Owned(owned) => Some(&owned.user),
        }
    }
}

/// What a CONNECT with the session's client id does to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The session goes on.
    Resumed,
    /// The session ends, and a new one begins.
    Replaced,
    /// The session belongs to another user: it stays as it is, and the CONNECT is refused.
    Refused,
}

/// How many messages a session dropped when its connection ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// Messages of QoS 0.
    pub at_most_once: u32,
    /// Unsent messages of QoS 1 and 2 whose expiry interval had passed.
    pub expired: u32,
}

impl Session {
    /// Bytes that a session takes for its outbox. Places of messages come on top: `charge_inflight`
    /// charges them, except a first step.
    pub const OUTBOX_BYTES: usize = size_of::<Outbox>();

    /// A session that is kept in memory alone.
    pub fn new(client_id: &str, expiry_secs: u32) -> Self {
        Self {
            name: SessionName::Anybodys(client_id.into()),
            rights: Rights::default(),
            subscriptions: SubscriptionList::default(),
            outbox: None,
            next_position: 0,
            expiry_secs,
            is_durable: false,
            keeps_will: false,
            has_left_groups: false,
        }
    }

    /// A session that the store keeps.
    pub fn durable(client_id: &str, expiry_secs: u32) -> Self {
        Self { is_durable: true, ..Self::new(client_id, expiry_secs) }
    }

    /// A session that is not kept, but whose connection's will the store keeps.
    pub fn keeping_will(client_id: &str) -> Self {
        Self { keeps_will: true, ..Self::new(client_id, 0) }
    }

    /// The session of a client that has authenticated as `user`; `None`: it has not authenticated.
    #[must_use]
    pub fn of_user(mut self, user: Option<&str>) -> Self {
        if let Some(user) = user {
            let (client_id, user) = (self.client_id().into(), user.into());
            self.name = SessionName::Owned(Box::new(Owned { client_id, user }));
        }
        self
    }

    /// The session that a start finds, with these subscriptions.
    #[must_use]
    pub fn subscribed(mut self, subscriptions: SubscriptionList) -> Self {
        self.subscriptions = subscriptions;
        self
    }

    /// Its client's identifier.
    pub fn client_id(&self) -> &str {
        self.name.client_id()
    }

    /// Whom to ask the policy about.
    pub fn subject(&self) -> Subject<'_> {
        self.name.subject(&self.rights)
    }

    /// What its client may do.
    pub fn rights(&self) -> &Rights {
        &self.rights
    }

    /// The user that its client has authenticated as.
    pub fn user(&self) -> Option<&str> {
        self.name.user()
    }

    /// What a CONNECT with this session's client id does to it.
    ///
    /// Only its user may resume a user's session. A session without a user keeps no user out, but a
    /// user does not resume it: a stranger could have chosen its subscriptions, and the packet ids
    /// that it takes for duplicates.
    pub fn claimed_by(&self, connect: &Connect) -> Claim {
        match (self.user(), connect.user()) {
            (Some(owner), user) if user != Some(owner) => Claim::Refused,
            (None, Some(_)) => Claim::Replaced,
            _ if connect.clean_start => Claim::Replaced,
            _ => Claim::Resumed,
        }
    }

    /// Whether nobody would miss the session: it has no subscription and was never owed anything.
    pub fn is_unused(&self) -> bool {
        self.next_position == 0
            && self.outbox.is_none()
            && self.subscriptions.iter().next().is_none()
    }

    /// Its subscriptions.
    pub fn subscriptions(&self) -> &SubscriptionList {
        &self.subscriptions
    }

    /// Adds a subscription, or changes its options.
    ///
    /// # Errors
    /// The limits allow no more.
    pub fn subscribe(
        &mut self,
        filter: &TopicFilter,
        options: SubscriptionOptions,
        limits: &Limits,
    ) -> Result<(), ListFull> {
        self.subscriptions.set(filter, options, limits)
    }

    /// Removes a subscription. Returns whether it was there.
    pub fn unsubscribe(&mut self, filter: &TopicFilter) -> bool {
        self.subscriptions.remove(filter)
    }

    /// Takes all its subscriptions, when it has ended.
    pub fn take_subscriptions(&mut self) -> SubscriptionList {
        std::mem::take(&mut self.subscriptions)
    }

    /// How long it outlives its connection, in seconds; `u32::MAX`: for ever.
    pub fn expiry_secs(&self) -> u32 {
        self.expiry_secs
    }

    /// CONNECT or DISCONNECT says how long it outlives its connection.
    pub(super) fn set_expiry_secs(&mut self, secs: u32) {
        self.expiry_secs = secs;
    }

    /// Its client may do this from now on.
    pub fn set_rights(&mut self, rights: Rights) {
        self.rights = rights;
    }

    /// Whether the store keeps it.
    pub fn is_durable(&self) -> bool {
        self.is_durable
    }

    /// Whether the store keeps only the will of its connection.
    pub fn keeps_will(&self) -> bool {
        self.keeps_will
    }

    /// The position that the last message got.
    pub fn last_position(&self) -> u64 {
        self.next_position.saturating_sub(1)
    }

    /// How many messages the session is owed, unacknowledged ones included.
    pub fn owed(&self) -> usize {
        self.outbox.as_ref().map_or(0, |outbox| outbox.total().messages as usize)
    }

    /// The connection ended at `now`: unacknowledged messages will be sent again; QoS 0 messages
    /// and expired unsent ones are dropped. Returns how many were dropped.
    ///
    /// Open receipts of QoS 2 publishes count as given back, unless the session is durable: then
    /// call `routed_exactly_once` when they come.
    pub fn connection_ended(&mut self, now: Monotonic) -> Forgotten {
        let Some(outbox) = self.outbox.as_deref_mut() else { return Forgotten::default() };
        let at_most_once = outbox.discard(|delivery| delivery.qos == QoS::AtMostOnce);
        let expired = outbox.discard(|delivery| delivery.message.is_expired(now));
        self.restart();
        Forgotten { at_most_once, expired }
    }

    /// A new connection begins, even if `connection_ended` was not called: unacknowledged messages
    /// will be sent again.
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

    /// Frees the outbox if it is empty.
    pub fn tidy(&mut self) {
        if self.outbox.as_deref().is_some_and(Outbox::is_empty) {
            self.outbox = None;
        }
    }
}

#[cfg(test)]
mod tests;

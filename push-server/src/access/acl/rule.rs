//! A rule of the file: whom it is about, and which filters it allows or denies them.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use super::glob::Glob;
use super::pattern::Pattern;

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Allow,
    Deny,
}

/// A rule.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) effect: Effect,
    pub(super) whom: Whom,
    pub(super) publish: Vec<Pattern>,
    pub(super) subscribe: Vec<Pattern>,
}

/// The clients that a rule is about: those of whom everything holds that it asks for. `None`: it
/// does not ask for that.
#[derive(Clone, Debug, Default)]
pub(super) struct Whom {
    pub(super) users: Option<Vec<Box<str>>>,
    pub(super) groups: Option<Vec<Box<str>>>,
    /// Whether the client has authenticated.
    pub(super) anonymous: Option<bool>,
    pub(super) clients: Option<Vec<Glob>>,
    pub(super) addresses: Option<Vec<IpNet>>,
    pub(super) listeners: Option<Vec<ListenerPattern>>,
}

/// A listener as a rule writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ListenerPattern {
    /// An address; `0.0.0.0` and `[::]` stand for all of their kind.
    Address(SocketAddr),
    /// A name or a path.
    Name(Box<str>),
}

/// Where a client has come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Origin<'a> {
    /// Its address; `None`: it has none, or its socket can no longer tell.
    pub address: Option<IpAddr>,
    /// The server's address that it has connected to.
    pub listener: Option<SocketAddr>,
    /// The name or path of the listener, if it has one.
    pub listener_name: Option<&'a str>,
}

/// A client that has connected, as rules see it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Client<'a> {
    pub(super) user: Option<&'a str>,
    /// Those of the file and those that its token names.
    pub(super) groups: &'a [&'a str],
    pub(super) client_id: &'a str,
    /// `None`: it is gone, and nobody remembers from where it had come, nor its token.
    pub(super) origin: Option<Origin<'a>>,
}

impl Whom {
    /// Whether the rule is about every client.
    pub(super) fn is_everybody(&self) -> bool {
        let Self { users, groups, anonymous, clients, addresses, listeners } = self;
        users.is_none()
            && groups.is_none()
            && anonymous.is_none()
            && clients.is_none()
            && addresses.is_none()
            && listeners.is_none()
    }

    /// Whether the rule is about this client. `unknown`: the answer where that depends on what is
    /// not known of it any more.
    pub(super) fn is_about(&self, client: &Client<'_>, unknown: bool) -> bool {
        let Client { user, groups, client_id, origin } = *client;
        let is_any = |names: &Vec<Box<str>>, name: &str| names.iter().any(|one| **one == *name);
        holds(&self.anonymous, |anonymous| *anonymous == user.is_none())
            && holds(&self.users, |users| user.is_some_and(|user| is_any(users, user)))
            && holds(&self.groups, |wanted| {
                let is_member = groups.iter().any(|group| is_any(wanted, group));
                is_member || (origin.is_none() && unknown)
            })
            && holds(&self.clients, |globs| globs.iter().any(|glob| glob.matches(client_id)))
            && holds(&self.addresses, |nets| {
                let Some(origin) = origin else { return unknown };
                let address = origin.address.map(|address| address.to_canonical());
                address.is_some_and(|address| nets.iter().any(|net| net.contains(&address)))
            })
            && holds(&self.listeners, |listeners| {
                let Some(origin) = origin else { return unknown };
                listeners.iter().any(|listener| listener.is(&origin))
            })
    }
}

fn holds<T>(asked: &Option<T>, holds: impl FnOnce(&T) -> bool) -> bool {
    asked.as_ref().is_none_or(holds)
}

impl ListenerPattern {
    pub(super) fn new(text: &str) -> Self {
        text.parse().map_or_else(|_| Self::Name(text.into()), Self::Address)
    }

    fn is(&self, origin: &Origin<'_>) -> bool {
        match (self, origin.listener) {
            (Self::Name(name), _) => origin.listener_name == Some(name),
            (Self::Address(written), Some(found)) => {
                // One of [::] that serves IPv4 as well shows such addresses in the form of IPv6.
                let stands_for_all =
                    written.ip().is_unspecified() && written.is_ipv4() == found.is_ipv4();
                let is_ip = stands_for_all || written.ip() == found.ip().to_canonical();
                is_ip && written.port() == found.port()
            }
            (Self::Address(_), None) => false,
        }
    }
}

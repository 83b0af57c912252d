//! The listeners, as all shards see them: what rules and the log call each, what its connections
//! speak, and how many of them there may be. A listener is known by its place in the settings.

use std::ops::Index;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::config::{ClientAuthMode, Config, Listener as Settings, ListenerKind};
use crate::transport::Kind;

/// Those of the process.
#[derive(Debug)]
pub(super) struct Listeners(Box<[Listener]>);

/// One of them.
#[derive(Debug)]
pub(super) struct Listener {
    name: Arc<str>,
    kind: Kind,
    client_auth: ClientAuthMode,
    is_unix: bool,
    connections_max: u32,
    /// Its open sockets, of all shards.
    open: AtomicU32,
}

impl Listeners {
    /// Those that the settings name.
    pub(super) fn new(config: &Config) -> Self {
        Self(config.listeners().iter().map(Listener::from).collect())
    }

    /// Others than those of the settings.
    #[cfg(any(test, feature = "simulation"))]
    pub(super) fn of(listeners: impl IntoIterator<Item = Listener>) -> Self {
        Self(listeners.into_iter().collect())
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

impl Index<u16> for Listeners {
    type Output = Listener;

    fn index(&self, place: u16) -> &Listener {
        &self.0[usize::from(place)]
    }
}

impl Listener {
    /// Of TCP, with these layers.
    #[cfg(any(test, feature = "simulation"))]
    pub(super) fn of_kind(name: &str, kind: Kind) -> Self {
        Self {
            name: name.into(),
            kind,
            client_auth: ClientAuthMode::None,
            is_unix: false,
            connections_max: u32::MAX,
            open: AtomicU32::new(0),
        }
    }

    /// What rules and the log call it.
    pub(super) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The layers of its connections.
    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether its clients show certificates.
    pub(super) fn client_auth(&self) -> ClientAuthMode {
        self.client_auth
    }

    /// Whether its connections are no TCP, so that the kernel cannot answer their heartbeats.
    pub(super) fn is_unix(&self) -> bool {
        self.is_unix
    }

    /// Most of its connections.
    pub(super) fn connections_max(&self) -> u32 {
        self.connections_max
    }

    /// Takes a place for a socket, if there is one.
    pub(super) fn take_place(&self) -> bool {
        let has_place = self.open.fetch_add(1, Ordering::Relaxed) < self.connections_max;
        if !has_place {
            self.give_place_back();
        }
        has_place
    }

    /// A socket is closed, or was not let in.
    pub(super) fn give_place_back(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether there is a place.
    pub(super) fn has_place(&self) -> bool {
        self.open.load(Ordering::Relaxed) < self.connections_max
    }
}

impl From<&Settings> for Listener {
    fn from(settings: &Settings) -> Self {
        Self {
            name: Arc::clone(&settings.name),
            kind: kind_of(settings.kind),
            client_auth: settings.client_auth,
            is_unix: settings.address.path().is_some(),
            connections_max: settings.connections_max.unwrap_or(u32::MAX),
            open: AtomicU32::new(0),
        }
    }
}

fn kind_of(kind: ListenerKind) -> Kind {
    match kind {
        ListenerKind::Mqtt => Kind::Plain,
        ListenerKind::Tls => Kind::Tls,
        ListenerKind::WebSocket => Kind::WebSocket,
        ListenerKind::TlsWebSocket => Kind::TlsWebSocket,
    }
}

//! The listeners, as all shards see them: what rules and the log call each, what its connections
//! speak, and how many of them there may be. A listener is known by its place in the settings.

use std::ops::Index;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::proxies::Proxies;
use crate::config::{ClientAuthMode, Config, Listener as Settings, ListenerKind};
use crate::transport::{Kind, UpgradeRules};

/// Those of the process.
#[derive(Debug)]
pub(super) struct Listeners {
    all: Box<[Listener]>,
    proxies: Proxies,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Listener {
    name: Arc<str>,
    kind: Kind,
    client_auth: ClientAuthMode,
    is_unix: bool,
    is_proxied: bool,
    upgrade: Arc<UpgradeRules>,
    connections_max: u32,
    /// Its open sockets, of all shards.
    open: AtomicU32,
}

impl Listeners {
    /// Those that the settings name.
    pub(super) fn new(config: &Config) -> Self {
        Self {
            all: config
                .listeners()
                .iter()
                .map(|listener| Listener::new(listener, config))
                .collect(),
            proxies: Proxies::new(&config.trusted_proxies),
        }
    }

    /// Others than those of the settings.
    #[cfg(any(test, feature = "simulation"))]
    pub(super) fn of(listeners: impl IntoIterator<Item = Listener>, proxies: Proxies) -> Self {
        Self { all: listeners.into_iter().collect(), proxies }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// Those who may say for which client they connect.
    pub(super) fn proxies(&self) -> &Proxies {
        &self.proxies
    }
}

impl Index<u16> for Listeners {
    type Output = Listener;

    fn index(&self, place: u16) -> &Listener {
        &self.all[usize::from(place)]
    }
}

impl Listener {
    /// As the settings say.
    fn new(settings: &Settings, config: &Config) -> Self {
        let reads_forwarded = !config.trusted_proxies.is_empty();
        let upgrade = UpgradeRules::new(settings.web_origins.clone(), reads_forwarded);
        Self {
            name: Arc::clone(&settings.name),
            kind: kind_of(settings.kind),
            client_auth: settings.client_auth,
            is_unix: settings.address.path().is_some(),
            is_proxied: settings.proxy_protocol,
            upgrade: Arc::new(upgrade),
            connections_max: settings.connections_max.unwrap_or(u32::MAX),
            open: AtomicU32::new(0),
        }
    }
    /// Of TCP, with these layers.
    #[cfg(any(test, feature = "simulation"))]
    pub(super) fn of_kind(name: &str, kind: Kind) -> Self {
        Self {
            name: name.into(),
            kind,
            client_auth: ClientAuthMode::None,
            is_unix: false,
            is_proxied: false,
            upgrade: Arc::new(UpgradeRules::new(Vec::new(), true)),
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

    /// The same behind proxies.
    #[cfg(any(test, feature = "simulation"))]
    pub(super) fn behind_proxies(self) -> Self {
        Self { is_proxied: true, ..self }
    }

    /// Whether its connections begin with a proxy's header.
    pub(super) fn is_proxied(&self) -> bool {
        self.is_proxied
    }

    /// What its requests for WebSocket are judged by.
    pub(super) fn upgrade(&self) -> &Arc<UpgradeRules> {
        &self.upgrade
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

fn kind_of(kind: ListenerKind) -> Kind {
    match kind {
        ListenerKind::Mqtt => Kind::Plain,
        ListenerKind::Tls => Kind::Tls,
        ListenerKind::WebSocket => Kind::WebSocket,
        ListenerKind::TlsWebSocket => Kind::TlsWebSocket,
    }
}

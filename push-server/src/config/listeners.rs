//! The listeners that clients connect to: which addresses, with which layers, and what else differs
//! from one to the next. Flags name addresses by kind; `[[listener]]` tables of the file name one
//! listener each.

use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use toml::Value;

use super::addresses::ListenAddress;
use super::bounded::Bounded;
use super::modes::{AnonymousMode, ClientAuthMode, ProtocolMode};
use super::values::{ListenerName, WebOrigin, one_or_more};

/// The key of the tables of listeners.
pub(super) const LISTENER: &str = "listener";

/// Which layers are around MQTT on a listener's connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenerKind {
    /// None.
    Mqtt,
    /// TLS.
    Tls,
    /// WebSocket.
    WebSocket,
    /// WebSocket inside TLS.
    TlsWebSocket,
}

impl ListenerKind {
    /// Every kind, in the order of `--help`.
    pub const ALL: [Self; 4] = [Self::Mqtt, Self::Tls, Self::WebSocket, Self::TlsWebSocket];

    /// The kind with these layers.
    fn new(protocol: ProtocolMode, tls: bool) -> Self {
        match (protocol, tls) {
            (ProtocolMode::Mqtt, false) => Self::Mqtt,
            (ProtocolMode::Mqtt, true) => Self::Tls,
            (ProtocolMode::Ws, false) => Self::WebSocket,
            (ProtocolMode::Ws, true) => Self::TlsWebSocket,
        }
    }

    /// The setting that names addresses of this kind.
    pub fn key(self) -> &'static str {
        match self {
            Self::Mqtt => "listen",
            Self::Tls => "tls-listen",
            Self::WebSocket => "ws-listen",
            Self::TlsWebSocket => "wss-listen",
        }
    }

    /// Whether its connections begin with a handshake of TLS.
    pub fn has_tls(self) -> bool {
        matches!(self, Self::Tls | Self::TlsWebSocket)
    }

    /// Whether they carry WebSocket.
    pub fn has_websocket(self) -> bool {
        matches!(self, Self::WebSocket | Self::TlsWebSocket)
    }
}

/// Highest `max-connections`, of the server and of a listener: liveness slots are numbered in 24 bits.
pub const CONNECTIONS_MAX: u64 = 1 << 24;

/// The setting that names Unix sockets.
pub(super) const UNIX_KEY: &str = "unix-listen";

/// The settings that name addresses, each a kind of listener.
pub(super) const ADDRESS_KEYS: [&str; 5] =
    ["listen", "tls-listen", "ws-listen", "wss-listen", UNIX_KEY];

/// One listener, with all that may differ between two of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// What rules and the log call it: the name that its table gives, or its address as written.
    pub name: Arc<str>,
    /// Where clients connect.
    pub address: ListenAddress,
    /// The layers of its connections.
    pub kind: ListenerKind,
    /// Whether clients show certificates, where it has TLS.
    pub client_auth: ClientAuthMode,
    /// Whether its connections begin with a proxy's header, which names the client.
    pub proxy_protocol: bool,
    /// Most of its connections at once; `None`: as many as the server has.
    pub connections_max: Option<u32>,
    /// Origins of web pages that may connect; empty: all.
    pub web_origins: Vec<String>,
    /// Whether clients may connect to it that nobody knows.
    pub anonymous: AnonymousMode,
    /// The form in which the settings name it.
    pub form: ListenerForm,
}

/// What holds at every listener that does not say otherwise.
#[derive(Clone, Copy, Debug)]
pub(super) struct ForAll<'a> {
    pub(super) client_auth: ClientAuthMode,
    pub(super) anonymous: AnonymousMode,
    pub(super) web_origins: &'a [String],
}

/// The form in which the settings name a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenerForm {
    /// In the list of addresses of this key.
    List(&'static str),
    /// In this `[[listener]]` table, counted from 0.
    Table(usize),
}

impl ListenerForm {
    /// The setting that names its address.
    pub fn key(self) -> &'static str {
        match self {
            Self::List(key) => key,
            Self::Table(_) => "listener.address",
        }
    }
}

impl fmt::Display for ListenerForm {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::List(key) => write!(formatter, "--{key}"),
            Self::Table(_) => formatter.write_str("the address of its [[listener]]"),
        }
    }
}

impl Listener {
    /// One that a list names.
    pub(super) fn listed(
        key: &'static str,
        kind: ListenerKind,
        address: ListenAddress,
        for_all: ForAll<'_>,
    ) -> Self {
        Self {
            name: address.name().into(),
            address,
            kind,
            client_auth: for_all.client_auth,
            proxy_protocol: false,
            connections_max: None,
            web_origins: for_all.web_origins.to_vec(),
            anonymous: for_all.anonymous,
            form: ListenerForm::List(key),
        }
    }

    /// Whether a `[[listener]]` table gives it.
    pub(super) fn is_table(&self) -> bool {
        matches!(self.form, ListenerForm::Table(_))
    }

    /// Whether it has a name besides its address.
    pub(super) fn is_named(&self) -> bool {
        *self.name != *self.address.name()
    }

    /// Whether the other's port would be this one's as well, if `[::]` serves IPv4, too.
    pub(super) fn serves_ipv4_of(&self, other: &Self) -> bool {
        let (Some(one), Some(other)) = (self.address.tcp(), other.address.tcp()) else {
            return false;
        };
        let is_any = one.ip().is_unspecified() && other.ip().is_unspecified();
        is_any && one.is_ipv4() != other.is_ipv4() && one.port() == other.port() && one.port() != 0
    }

    /// Whether other machines can reach it.
    pub(super) fn is_reached_by_others(&self) -> bool {
        match &self.address {
            ListenAddress::Tcp(address) => !address.ip().to_canonical().is_loopback(),
            ListenAddress::Unix(_) => false,
        }
    }

    /// Whether clients without a certificate are refused. A certificate says that a client may connect,
    /// though not who it is.
    pub(super) fn requires_certificates(&self) -> bool {
        self.kind.has_tls() && self.client_auth == ClientAuthMode::Required
    }

    /// Whether clients are asked for a certificate.
    pub(super) fn asks_clients(&self) -> bool {
        self.kind.has_tls() && self.client_auth != ClientAuthMode::None
    }

    /// Keys and values of a table that gives this listener again. `None`: not set.
    pub(super) fn entries(&self) -> Vec<(&'static str, Option<Value>)> {
        let text = |text: String| Some(Value::String(text));
        let protocol =
            if self.kind.has_websocket() { ProtocolMode::Ws } else { ProtocolMode::Mqtt };
        vec![
            ("name", text(self.name.to_string()).filter(|_| self.is_named())),
            ("address", text(self.address.to_string())),
            ("protocol", text(protocol.to_string())),
            ("tls", Some(Value::Boolean(self.kind.has_tls()))),
            ("client-certificate", text(self.client_auth.to_string())),
            ("anonymous", text(self.anonymous.to_string())),
            ("proxy-protocol", Some(Value::Boolean(self.proxy_protocol))),
            ("max-connections", self.connections_max.map(|max| Value::Integer(max.into()))),
            (
                "origins",
                Some(Value::Array(self.web_origins.iter().cloned().map(Value::String).collect())),
            ),
        ]
    }
}

/// A `[[listener]]` table of the file; `None`: not given.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct ListenerTable {
    /// What rules and the log call it.
    pub name: Option<ListenerName>,
    /// Where clients connect: the one key that each table needs.
    pub address: Option<ListenAddress>,
    /// What is inside of TLS, or of nothing.
    pub protocol: Option<ProtocolMode>,
    /// Whether there is TLS.
    pub tls: Option<bool>,
    /// Whether clients show certificates, in the place of `tls-client-auth`.
    pub client_certificate: Option<ClientAuthMode>,
    /// Whether clients may connect that nobody knows, in the place of `anonymous` for all.
    pub anonymous: Option<AnonymousMode>,
    /// Whether its connections begin with a proxy's header.
    pub proxy_protocol: Option<bool>,
    /// Most of its connections at once.
    pub max_connections: Option<Bounded<u32, 1, CONNECTIONS_MAX>>,
    /// Origins of web pages that may connect, in the place of `ws-origins`.
    #[serde(deserialize_with = "one_or_more")]
    pub origins: Option<Vec<WebOrigin>>,
}

impl ListenerTable {
    /// These keys, with `lower`'s where none is given here.
    #[must_use]
    pub(super) fn over(self, lower: Self) -> Self {
        Self {
            name: self.name.or(lower.name),
            address: self.address.or(lower.address),
            protocol: self.protocol.or(lower.protocol),
            tls: self.tls.or(lower.tls),
            client_certificate: self.client_certificate.or(lower.client_certificate),
            anonymous: self.anonymous.or(lower.anonymous),
            proxy_protocol: self.proxy_protocol.or(lower.proxy_protocol),
            max_connections: self.max_connections.or(lower.max_connections),
            origins: self.origins.or(lower.origins),
        }
    }

    /// Its origins, where there are no pages.
    pub(super) fn origins_without_pages(&self) -> Option<&WebOrigin> {
        let is_mqtt = self.protocol != Some(ProtocolMode::Ws);
        self.origins.as_ref().filter(|_| is_mqtt)?.first()
    }

    /// Whether clients are asked for a certificate where there is no TLS to show one by.
    pub(super) fn asks_without_tls(&self) -> bool {
        let asks = self.client_certificate.is_some_and(|mode| mode != ClientAuthMode::None);
        asks && self.tls != Some(true)
    }

    /// The listener, as the `place`th table of the file; `None`: it has no address.
    pub(super) fn listener(&self, place: usize, for_all: ForAll<'_>) -> Option<Listener> {
        let address = self.address.clone()?;
        let name = self.name.as_ref().map(|ListenerName(name)| name.as_str().into());
        let protocol = self.protocol.unwrap_or(ProtocolMode::Mqtt);
        let web_origins = match (&self.origins, protocol) {
            (Some(own), _) => own.iter().map(|WebOrigin(origin)| origin.clone()).collect(),
            (None, ProtocolMode::Ws) => for_all.web_origins.to_vec(),
            (None, ProtocolMode::Mqtt) => Vec::new(),
        };
        Some(Listener {
            name: name.unwrap_or_else(|| address.name().into()),
            address,
            kind: ListenerKind::new(protocol, self.tls.unwrap_or(false)),
            client_auth: self.client_certificate.unwrap_or(for_all.client_auth),
            proxy_protocol: self.proxy_protocol.unwrap_or(false),
            connections_max: self.max_connections.map(Bounded::value),
            web_origins,
            anonymous: self.anonymous.unwrap_or(for_all.anonymous),
            form: ListenerForm::Table(place),
        })
    }
}

//! Validated settings: flag over file over default. These values are valid, so no other code checks
//! them again.
//!
//! `settings` is the table of them, and `table` turns a row into code; `values`, `bounded` and
//! `modes` parse single values, `file` reads the TOML file, `loaded` puts flags over the file. This
//! module has the values in force and their defaults, and `contradictions` the rules that concern
//! several settings.

mod addresses;
mod admission;
mod authentication;
mod bounded;
mod contradictions;
mod error;
mod file;
mod hook;
mod listeners;
mod loaded;
mod log_filter;
mod modes;
mod proxies;
mod rules;
mod settings;
mod table;
#[cfg(test)]
mod tests;
mod tls;
mod totals;
mod values;

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use crate::access::ClientLimits;
use crate::mqtt::Limits;
pub use addresses::{ADMIN_SOCKET, AdminSocket, ListenAddress, UNIX_MODE_DEFAULT, UnixAddress};
pub use admission::Admission;
pub use authentication::{AuthenticationSettings, JwtSettings};
pub use bounded::{Bounded, Bytes, Count, InBytes, InSecs, Secs, Unit};
pub use error::{ConfigError, FILE_BYTES_MAX, SetBy};
pub use hook::{HookSettings, HookUrl};
pub use listeners::{CONNECTIONS_MAX, Listener, ListenerForm, ListenerKind, ListenerTable};
use listeners::{ForAll, UNIX_KEY};
pub use loaded::{Loaded, Reloaded};
pub use log_filter::LogFilter;
pub use modes::{
    AnonymousMode, CertificateUserMode, ClientAuthMode, DurabilityMode, KernelPathMode,
    OutboxFullMode, ProtocolMode, PublishDeniedMode, Switch, TlsVersionMode,
};
pub use proxies::TrustedProxy;
pub use settings::Settings;
pub use tls::TlsSettings;
pub use totals::Totals;
pub use values::{
    Address, Directory, Expected, FilePath, InterfaceName, ListenerName, OptionalAddress,
    PlainFilter, ServerReference, TokenParty, TopicPrefix, WebOrigin,
};

/// Most shards of a server: one for each core of today's machines; a set of shards fits one word.
pub const SHARDS_MAX: u64 = 64;
/// Most addresses that clients may connect to, by each setting that names some.
pub const LISTEN_MAX: usize = 64;
/// Most `[[listener]]` tables: as many as there may be addresses of all kinds without them.
pub const LISTENER_TABLES_MAX: usize = 256;
/// Most networks of proxies: the address of each of their connections is compared with all of them.
pub const TRUSTED_PROXIES_MAX: usize = 64;
/// Most origins of web pages, of a listener or of all.
pub const WS_ORIGINS_MAX: usize = 64;
/// Most filters denied to everybody: each subscription is compared with all of them.
pub const FILTERS_DENIED_MAX: usize = 64;
/// Connections if `max-connections` is not given and the descriptors allow more. One million,
/// because each takes a preallocated slot in the kernel's liveness map.
pub const CONNECTIONS_DEFAULT_MAX: u32 = 1_000_000;
/// Packets of the largest size that must fit into `input-bytes-max`: one client alone must not use
/// up what is for all.
pub const INPUT_PACKETS_MIN: u64 = 4;
/// The default directory for pinned links.
pub const BPF_DIR: &str = "/sys/fs/bpf/push";
/// Default of `start-wait-secs`: longer than a stop takes.
pub const START_WAIT_SECS: u16 = 10;
/// The port of MQTT (IANA).
const MQTT_PORT: u16 = 1883;
/// The port of health and metrics.
const HTTP_PORT: u16 = 9880;

/// Every setting of `push-server run`.
#[derive(Clone, Debug)]
pub struct Config {
    /// `--listen`: addresses for MQTT clients.
    pub listen: Vec<SocketAddr>,
    /// `--tls-listen`: addresses for MQTT clients over TLS.
    pub tls_listen: Vec<SocketAddr>,
    /// `--ws-listen`: addresses for clients over WebSocket.
    pub ws_listen: Vec<SocketAddr>,
    /// `--wss-listen`: addresses for clients over WebSocket inside TLS.
    pub wss_listen: Vec<SocketAddr>,
    /// `--unix-listen`: Unix sockets for MQTT clients.
    pub unix_listen: Vec<UnixAddress>,
    /// The `[[listener]]` tables of the file, in the place of these lists.
    pub listener_tables: Vec<ListenerTable>,
    /// `--trusted-proxies`: whose word about a client's address counts.
    pub trusted_proxies: Vec<TrustedProxy>,
    /// `--listen-dual`: whether `[::]` serves IPv4, too.
    pub listen_dual: bool,
    /// `--ws-origins`: origins of web pages that may connect; empty: all.
    pub ws_origins: Vec<String>,
    /// `--iface`: interfaces to attach to; empty: those that own the listen addresses.
    pub interfaces: Vec<String>,
    /// `--http`: health and metrics; `None`: not served.
    pub http: Option<SocketAddr>,
    /// `--http-connections-max`.
    pub http_connections_max: u16,
    /// `--admin-socket`: for operators.
    pub admin_socket: AdminSocket,
    /// `--redirect-to`: the server that clients are sent to when this one stops.
    pub redirect_to: Option<String>,
    /// What clients over TLS are shown, and asked for.
    pub tls: TlsSettings,
    /// Who may connect.
    pub authentication: AuthenticationSettings,
    /// `--acl`: the file of rules.
    pub acl: Option<PathBuf>,
    /// `--publish-denied`: what happens to a client that publishes where it may not and cannot be
    /// told.
    pub publish_denied: PublishDeniedMode,
    /// `--data-dir`.
    pub data_dir: PathBuf,
    /// `--durability`: what acknowledgements promise.
    pub durability: DurabilityMode,
    /// `--outbox-age-max-secs`: messages that have waited longer on disk are dropped.
    pub outbox_age_max_secs: u32,
    /// `--bpf-dir`: where links are pinned.
    pub bpf_dir: PathBuf,
    /// `--start-wait-secs`: for addresses and directories that an ending server still holds.
    pub start_wait_secs: u16,
    /// `--generations-max`: of dead servers, beside this one's.
    pub generations_max: u16,
    /// `--shards`, 1 to 64.
    pub shards: u16,
    /// `--kernel-path`.
    pub kernel_path: KernelPathMode,
    /// `--max-connections`; `None`: as many as the descriptors allow.
    pub connections_max: Option<u32>,
    /// `--max-sessions`: with and without a connection.
    pub sessions_max: u32,
    /// `--sessions-share-percent`: the part of these that a network or user gets when they are
    /// short; the same of totals of memory.
    pub sessions_share_percent: u8,
    /// `--share-tries-max`: members of a group that may refuse a message before it is dropped.
    pub share_tries_max: u16,
    /// `--connect-timeout-secs`: from accept to CONNECT.
    pub connect_timeout_secs: u16,
    /// `--tcp-keepalive-secs`; 0: TCP never asks.
    pub tcp_keepalive_secs: u16,
    /// `--retained-messages-max`.
    pub retained_messages_max: usize,
    /// `--retained-bytes-max`.
    pub retained_bytes_max: usize,
    /// `--input-bytes-max`: of incomplete packets of all clients.
    pub input_bytes_max: u64,
    /// `--packet-rate-min`: bytes a second at which a large packet must arrive; 0: at any rate.
    pub packet_rate_min: u32,
    /// Memory of all sessions together.
    pub totals: Totals,
    /// `--log`: a tracing filter.
    pub log: String,
    /// `--status`: a status line on stdout each second.
    pub status: bool,
    /// How fast clients may connect, and how many at one address.
    pub admission: Admission,
    /// Rates of each client, where no group of its user says otherwise.
    pub client_limits: ClientLimits,
    /// What the server grants to every client.
    pub limits: Limits,
}

impl Default for Config {
    /// The settings of a server without flags and file.
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            listen: vec![
                (Ipv4Addr::LOCALHOST, MQTT_PORT).into(),
                (Ipv6Addr::LOCALHOST, MQTT_PORT).into(),
            ],
            tls_listen: Vec::new(),
            ws_listen: Vec::new(),
            wss_listen: Vec::new(),
            unix_listen: Vec::new(),
            listener_tables: Vec::new(),
            trusted_proxies: Vec::new(),
            ws_origins: Vec::new(),
            listen_dual: false,
            interfaces: Vec::new(),
            http: Some((Ipv4Addr::LOCALHOST, HTTP_PORT).into()),
            http_connections_max: 64,
            admin_socket: AdminSocket::Auto,
            redirect_to: None,
            tls: TlsSettings::default(),
            authentication: AuthenticationSettings::default(),
            acl: None,
            publish_denied: PublishDeniedMode::Drop,
            data_dir: "/var/lib/push-server".into(),
            durability: DurabilityMode::Fsync,
            outbox_age_max_secs: 7 * 24 * 3600,
            bpf_dir: BPF_DIR.into(),
            start_wait_secs: START_WAIT_SECS,
            generations_max: 8,
            shards: u16::try_from(cores.min(SHARDS_MAX as usize)).unwrap_or(1),
            kernel_path: KernelPathMode::Auto,
            connections_max: None,
            sessions_max: 1_000_000,
            sessions_share_percent: 10,
            share_tries_max: 256,
            connect_timeout_secs: 10,
            tcp_keepalive_secs: 1_800,
            retained_messages_max: 100_000,
            retained_bytes_max: 256 << 20,
            input_bytes_max: 1 << 30,
            packet_rate_min: 256,
            totals: Totals::default(),
            log: "info".into(),
            status: false,
            admission: Admission::default(),
            client_limits: ClientLimits::default(),
            limits: Limits::default(),
        }
    }
}

impl Config {
    /// A settings file that gives these settings.
    pub fn to_toml(&self) -> String {
        self.to_toml_on(self)
    }

    /// A settings file that gives these settings. For those that are not set, comments show what
    /// the machine decides: `here` has the values in force on it.
    pub fn to_toml_on(&self, here: &Self) -> String {
        let line = |((key, value), (_, in_force))| match (value, in_force) {
            (Some(value), _) => format!("{key} = {value}\n"),
            (None, Some(in_force)) => format!("# {key} is not set: {in_force} on this machine\n"),
            (None, None) => format!("# {key} is not set\n"),
        };
        let settings = self.entries().into_iter().zip(here.entries()).map(line);
        settings.chain(self.tables_as_toml()).collect()
    }

    /// The `[[listener]]` tables, with the defaults that hold in them; they come last in a file.
    fn tables_as_toml(&self) -> Vec<String> {
        let listeners = self.listeners();
        let tables = listeners.iter().filter(|listener| listener.is_table());
        let lines = tables.flat_map(|listener| {
            let entries = listener.entries().into_iter().map(|(key, value)| match value {
                Some(value) => format!("{key} = {value}\n"),
                None => format!("# {key} is not set\n"),
            });
            std::iter::once("\n[[listener]]\n".to_owned()).chain(entries)
        });
        lines.collect()
    }

    /// The addresses of one kind that flags name.
    fn addresses_of(&self, kind: ListenerKind) -> &[SocketAddr] {
        match kind {
            ListenerKind::Mqtt => &self.listen,
            ListenerKind::Tls => &self.tls_listen,
            ListenerKind::WebSocket => &self.ws_listen,
            ListenerKind::TlsWebSocket => &self.wss_listen,
        }
    }

    /// The listeners, in the order in which they are bound: by it everybody knows them.
    pub fn listeners(&self) -> Vec<Listener> {
        let for_all = ForAll {
            client_auth: self.tls.client_auth,
            anonymous: self.authentication.anonymous,
            web_origins: &self.ws_origins,
        };
        let tables = self.listener_tables.iter().enumerate();
        let tables = tables.filter_map(|(place, table)| table.listener(place, for_all));
        let listed = ListenerKind::ALL.into_iter().flat_map(|kind| {
            self.addresses_of(kind).iter().map(move |&address| {
                Listener::listed(kind.key(), kind, ListenAddress::Tcp(address), for_all)
            })
        });
        let unix = self.unix_listen.iter().cloned().map(|address| {
            let address = ListenAddress::Unix(address);
            Listener::listed(UNIX_KEY, ListenerKind::Mqtt, address, for_all)
        });
        listed.chain(unix).chain(tables).collect()
    }

    /// Whether any client can connect over TLS.
    pub fn has_tls_listener(&self) -> bool {
        self.listeners().iter().any(|listener| listener.kind.has_tls())
    }
}

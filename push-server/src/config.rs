//! Validated settings: flag over file over default. What is here is valid; nobody checks again.
//!
//! `values` parses single settings, `settings` is the set of them, `file` reads the TOML file; this
//! module puts them together and checks what concerns more than one of them.

mod bounded;
mod error;
mod file;
mod log_filter;
mod modes;
mod settings;
#[cfg(test)]
mod tests;
mod totals;
mod values;

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use push_common::ping_rate::PingRate;
use toml::Value;

use crate::access::Policy;
use crate::mqtt::{Features, Limits};
pub use bounded::{Bounded, Bytes, Count, InBytes, InSecs, Secs, Unit};
pub use error::{ConfigError, FILE_BYTES_MAX, Origin};
pub use log_filter::LogFilter;
pub use modes::{DurabilityMode, KernelPathMode, OutboxFullMode, Switch};
pub use settings::{CONNECTIONS_MAX, SHARDS_MAX, Settings};
pub use totals::Totals;
pub use values::{
    Address, Directory, Expected, FilePath, InterfaceName, OptionalAddress, PlainFilter,
    ServerReference, TopicPrefix,
};

/// Most addresses that clients may connect to, by either kind of listener.
pub const LISTEN_MAX: usize = 64;
/// Most filters that nobody may subscribe to: each subscription is compared with all of them.
pub const FILTERS_DENIED_MAX: usize = 64;
/// Connections where `max-connections` is not given and the descriptors allow more: every one of
/// them takes a preallocated slot in the kernel's liveness map.
pub const CONNECTIONS_DEFAULT_MAX: u32 = 1_000_000;
/// Largest packets that may be under way at once, at the least: one client alone is not to use up
/// what all have.
pub const INPUT_PACKETS_MIN: u64 = 4;
/// Where links are pinned.
pub const BPF_DIR: &str = "/sys/fs/bpf/push";
/// How long a start waits, unless it is told otherwise: longer than a stop takes.
pub const START_WAIT_SECS: u16 = 10;
/// The port of MQTT (IANA).
const MQTT_PORT: u16 = 1883;
/// The port of health and metrics.
const HTTP_PORT: u16 = 9880;

/// Every setting of `push-server run`.
#[derive(Clone, Debug)]
pub struct Config {
    /// `--listen`: where clients connect.
    pub listen: Vec<SocketAddr>,
    /// `--ws-listen`: where clients connect over WebSocket.
    pub ws_listen: Vec<SocketAddr>,
    /// `--iface`: interfaces to attach to; empty: those that own the listen addresses.
    pub interfaces: Vec<String>,
    /// `--http`: health and metrics; `None`: not served.
    pub http: Option<SocketAddr>,
    /// `--http-connections-max`.
    pub http_connections_max: u16,
    /// `--redirect-to`: the server that clients are told to use when this one stops.
    pub redirect_to: Option<String>,
    /// `--scram-users`: who can be authenticated.
    pub scram_users: Option<PathBuf>,
    /// `--scram-required`: whether nobody else is served.
    pub scram_required: bool,
    /// `--data-dir`.
    pub data_dir: PathBuf,
    /// `--durability`: what acknowledgements promise.
    pub durability: DurabilityMode,
    /// `--outbox-age-max-secs`: a message that has waited longer on disk is not delivered.
    pub outbox_age_max_secs: u32,
    /// `--bpf-dir`: where links are pinned.
    pub bpf_dir: PathBuf,
    /// `--start-wait-secs`: for what an ended server still holds.
    pub start_wait_secs: u16,
    /// `--generations-max`: of servers that died, beside this one's.
    pub generations_max: u16,
    /// `--shards`, 1 to 64.
    pub shards: u16,
    /// `--kernel-path`.
    pub kernel_path: KernelPathMode,
    /// `--max-connections`; `None`: as many as the descriptors allow.
    pub connections_max: Option<u32>,
    /// `--max-sessions`: with and without connection.
    pub sessions_max: u32,
    /// `--sessions-share-percent`: of those, how many a network or user may have when they are short; the same
    /// of totals of memory.
    pub sessions_share_percent: u8,
    /// `--share-tries-max`: members of a group that are asked to take a message.
    pub share_tries_max: u16,
    /// `--connect-timeout-secs`: from accept to CONNECT.
    pub connect_timeout_secs: u16,
    /// `--tcp-keepalive-secs`; 0: TCP never asks.
    pub tcp_keepalive_secs: u16,
    /// `--retained-messages-max`.
    pub retained_messages_max: usize,
    /// `--retained-bytes-max`.
    pub retained_bytes_max: usize,
    /// `--input-bytes-max`: of packets of all clients that have not come whole.
    pub input_bytes_max: u64,
    /// `--packet-rate-min`: bytes a second that a large packet has to come at; 0: at any.
    pub packet_rate_min: u32,
    /// What sessions may take of memory, all together.
    pub totals: Totals,
    /// `--log`: a tracing filter.
    pub log: String,
    /// `--status`: a status line on stdout each second.
    pub status: bool,
    /// What the protocol core grants.
    pub limits: Limits,
}

impl Default for Config {
    /// What a server without flags and file runs with.
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            listen: vec![
                (Ipv4Addr::LOCALHOST, MQTT_PORT).into(),
                (Ipv6Addr::LOCALHOST, MQTT_PORT).into(),
            ],
            ws_listen: Vec::new(),
            interfaces: Vec::new(),
            http: Some((Ipv4Addr::LOCALHOST, HTTP_PORT).into()),
            http_connections_max: 64,
            redirect_to: None,
            scram_users: None,
            scram_required: false,
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
            limits: Limits::default(),
        }
    }
}

/// Settings and what cannot be seen from them.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The settings.
    pub config: Config,
    /// Nobody asked for the listen addresses, so one that this machine lacks may be left out.
    pub listen_is_default: bool,
    file: file::File,
}

impl Loaded {
    /// Flag over file over default; all that is wrong with them otherwise.
    pub fn new(flags: &Settings, path: Option<&Path>) -> Result<Self, Vec<ConfigError>> {
        let mut file = path.map(file::File::read).transpose()?.unwrap_or_default();
        let said = flags.clone().over(std::mem::take(&mut file.settings));
        let listen_is_default = said.listen.is_none();
        let config = Config::from(said);
        let origin = |key: &str, is_flag: bool| match is_flag {
            true => Origin::Flag,
            false => file.origin(key).unwrap_or(Origin::Default),
        };
        let errors = config.contradictions(flags, origin);
        if errors.is_empty() { Ok(Self { config, listen_is_default, file }) } else { Err(errors) }
    }

    /// Where the value of `key` comes from, if no flag gave it.
    pub fn origin(&self, key: &str) -> Origin {
        self.file.origin(key).unwrap_or(Origin::Default)
    }
}

impl From<Settings> for Config {
    fn from(said: Settings) -> Self {
        let default = Self::default();
        let limits = Limits {
            packet_bytes_max: value(said.max_packet_bytes, default.limits.packet_bytes_max),
            keep_alive_max_secs: value(
                said.keep_alive_max_secs,
                default.limits.keep_alive_max_secs,
            ),
            keep_alive_default_secs: value(
                said.keep_alive_default_secs,
                default.limits.keep_alive_default_secs,
            ),
            receive_max: value(said.receive_max, default.limits.receive_max),
            inflight_max: value(said.inflight_max, default.limits.inflight_max),
            outbox_messages_max: value(
                said.outbox_messages_max,
                default.limits.outbox_messages_max,
            ),
            outbox_bytes_max: value(said.outbox_bytes_max, default.limits.outbox_bytes_max),
            outbox_full: said.outbox_full.map_or(default.limits.outbox_full, Into::into),
            topic_alias_max: value(said.topic_alias_max, default.limits.topic_alias_max),
            topic_alias_send_max: value(
                said.topic_alias_send_max,
                default.limits.topic_alias_send_max,
            ),
            subscriptions_max: value(said.subscriptions_max, default.limits.subscriptions_max),
            subscription_bytes_max: value(
                said.subscription_bytes_max,
                default.limits.subscription_bytes_max,
            ),
            client_id_bytes_max: value(
                said.client_id_bytes_max,
                default.limits.client_id_bytes_max,
            ),
            topic_levels_max: value(said.topic_levels_max, default.limits.topic_levels_max),
            session_expiry_max_secs: value(
                said.session_expiry_max_secs,
                default.limits.session_expiry_max_secs,
            ),
            answers_bytes_max: value(said.answers_bytes_max, default.limits.answers_bytes_max),
            response_topic_prefix: said
                .response_topic_prefix
                .map(|TopicPrefix(prefix)| prefix.into_boxed_str()),
            ping_rate: PingRate {
                per_sec: value(said.ping_rate, default.limits.ping_rate.per_sec),
                burst: value(said.ping_burst, default.limits.ping_rate.burst),
            },
            policy: said.denied_filter.map_or(default.limits.policy, |filters| {
                Policy::denying_filters(filters.into_iter().map(|PlainFilter(filter)| filter))
            }),
            features: Features {
                wildcard_subscriptions: is_on(
                    said.wildcard_subscriptions,
                    default.limits.features.wildcard_subscriptions,
                ),
                retain: is_on(said.retain, default.limits.features.retain),
                shared_subscriptions: is_on(
                    said.shared_subscriptions,
                    default.limits.features.shared_subscriptions,
                ),
            },
        };
        Self {
            listen: said.listen.map_or(default.listen, socket_addresses),
            ws_listen: said.ws_listen.map_or(default.ws_listen, socket_addresses),
            interfaces: said.iface.map_or(default.interfaces, |names| {
                names.into_iter().map(|InterfaceName(name)| name).collect()
            }),
            http: said.http.map_or(default.http, |OptionalAddress(address)| address),
            http_connections_max: value(said.http_connections_max, default.http_connections_max),
            redirect_to: said.redirect_to.map(|ServerReference(reference)| reference),
            scram_users: said.scram_users.map(|FilePath(path)| path),
            scram_required: said.scram_required.unwrap_or(default.scram_required),
            data_dir: said.data_dir.map_or(default.data_dir, |Directory(path)| path),
            durability: said.durability.unwrap_or(default.durability),
            outbox_age_max_secs: value(said.outbox_age_max_secs, default.outbox_age_max_secs),
            bpf_dir: said.bpf_dir.map_or(default.bpf_dir, |Directory(path)| path),
            start_wait_secs: value(said.start_wait_secs, default.start_wait_secs),
            generations_max: value(said.generations_max, default.generations_max),
            shards: value(said.shards, default.shards),
            kernel_path: said.kernel_path.unwrap_or(default.kernel_path),
            connections_max: said.max_connections.map(Bounded::value),
            sessions_max: value(said.max_sessions, default.sessions_max),
            sessions_share_percent: value(
                said.sessions_share_percent,
                default.sessions_share_percent,
            ),
            share_tries_max: value(said.share_tries_max, default.share_tries_max),
            connect_timeout_secs: value(said.connect_timeout_secs, default.connect_timeout_secs),
            tcp_keepalive_secs: value(said.tcp_keepalive_secs, default.tcp_keepalive_secs),
            retained_messages_max: value(said.retained_messages_max, default.retained_messages_max),
            retained_bytes_max: value(said.retained_bytes_max, default.retained_bytes_max),
            input_bytes_max: value(said.input_bytes_max, default.input_bytes_max),
            packet_rate_min: value(said.packet_rate_min, default.packet_rate_min),
            totals: Totals {
                session_bytes: said.session_bytes_total.map(Bounded::value),
                subscription_bytes: said.subscription_bytes_total.map(Bounded::value),
                will_bytes: said.will_bytes_total.map(Bounded::value),
                inflight_bytes: said.inflight_bytes_total.map(Bounded::value),
                outbox_bytes: said.outbox_bytes_total.map(Bounded::value),
                sending_bytes: said.sending_bytes_total.map(Bounded::value),
            },
            log: said.log.map_or(default.log, |LogFilter(filter)| filter),
            status: said.status.unwrap_or(default.status),
            limits,
        }
    }
}

fn value<T, const MIN: u64, const MAX: u64, U>(
    said: Option<Bounded<T, MIN, MAX, U>>,
    default: T,
) -> T
where
    T: Copy + TryFrom<u64>,
    U: Unit,
{
    said.map_or(default, Bounded::value)
}

fn not_one_of(key: &str) -> String {
    format!("an address that is not one of {key}")
}

fn socket_addresses(said: Vec<Address>) -> Vec<SocketAddr> {
    said.into_iter().map(|Address(address)| address).collect()
}

fn is_on(said: Option<Switch>, default: bool) -> bool {
    said.map_or(default, |switch| switch == Switch::On)
}

impl Config {
    /// Every setting as key and value, in the order of `--help`. `None`: not set.
    pub fn entries(&self) -> Vec<(&'static str, Option<Value>)> {
        let number = |number: u64| Some(Value::Integer(i64::try_from(number).unwrap_or(i64::MAX)));
        let text = |text: &dyn fmt::Display| Some(Value::String(text.to_string()));
        let addresses = |addresses: &[SocketAddr]| {
            let texts = addresses.iter().map(|address| Value::String(address.to_string()));
            Some(Value::Array(texts.collect()))
        };
        let interfaces = self.interfaces.iter().cloned().map(Value::String);
        let denied = self.limits.policy.filters_denied().map(|filter| filter.as_str().into());
        let prefix = &self.limits.response_topic_prefix;
        vec![
            ("listen", addresses(&self.listen)),
            ("ws-listen", addresses(&self.ws_listen)),
            ("iface", (!self.interfaces.is_empty()).then(|| Value::Array(interfaces.collect()))),
            ("http", self.http.map_or_else(|| text(&"off"), |address| text(&address))),
            ("redirect-to", self.redirect_to.as_ref().and_then(|to| text(to))),
            ("response-topic-prefix", prefix.as_ref().and_then(|prefix| text(prefix))),
            ("scram-users", self.scram_users.as_ref().and_then(|path| text(&path.display()))),
            ("scram-required", Some(Value::Boolean(self.scram_required))),
            ("data-dir", text(&self.data_dir.display())),
            ("durability", text(&self.durability)),
            ("shards", number(self.shards.into())),
            ("bpf-dir", text(&self.bpf_dir.display())),
            ("start-wait-secs", number(self.start_wait_secs.into())),
            ("kernel-path", text(&self.kernel_path)),
            ("log", text(&self.log)),
            ("status", Some(Value::Boolean(self.status))),
            ("max-connections", self.connections_max.and_then(|count| number(count.into()))),
            ("generations-max", number(self.generations_max.into())),
            ("http-connections-max", number(self.http_connections_max.into())),
            ("max-sessions", number(self.sessions_max.into())),
            ("sessions-share-percent", number(self.sessions_share_percent.into())),
            ("share-tries-max", number(self.share_tries_max.into())),
            ("retained-messages-max", number(self.retained_messages_max as u64)),
            ("retained-bytes-max", number(self.retained_bytes_max as u64)),
            ("input-bytes-max", number(self.input_bytes_max)),
            ("session-bytes-total", self.totals.session_bytes.and_then(number)),
            ("subscription-bytes-total", self.totals.subscription_bytes.and_then(number)),
            ("will-bytes-total", self.totals.will_bytes.and_then(number)),
            ("inflight-bytes-total", self.totals.inflight_bytes.and_then(number)),
            ("outbox-bytes-total", self.totals.outbox_bytes.and_then(number)),
            ("sending-bytes-total", self.totals.sending_bytes.and_then(number)),
            ("connect-timeout-secs", number(self.connect_timeout_secs.into())),
            ("keep-alive-max-secs", number(self.limits.keep_alive_max_secs.into())),
            ("keep-alive-default-secs", number(self.limits.keep_alive_default_secs.into())),
            ("tcp-keepalive-secs", number(self.tcp_keepalive_secs.into())),
            ("session-expiry-max-secs", number(self.limits.session_expiry_max_secs.into())),
            ("max-packet-bytes", number(self.limits.packet_bytes_max.into())),
            ("packet-rate-min", number(self.packet_rate_min.into())),
            ("receive-max", number(self.limits.receive_max.into())),
            ("inflight-max", number(self.limits.inflight_max.into())),
            ("outbox-messages-max", number(self.limits.outbox_messages_max.into())),
            ("outbox-bytes-max", number(self.limits.outbox_bytes_max)),
            ("outbox-full", text(&OutboxFullMode::from(self.limits.outbox_full))),
            ("outbox-age-max-secs", number(self.outbox_age_max_secs.into())),
            ("answers-bytes-max", number(self.limits.answers_bytes_max.into())),
            ("topic-alias-max", number(self.limits.topic_alias_max.into())),
            ("topic-alias-send-max", number(self.limits.topic_alias_send_max.into())),
            ("subscriptions-max", number(self.limits.subscriptions_max.into())),
            ("subscription-bytes-max", number(self.limits.subscription_bytes_max.into())),
            ("client-id-bytes-max", number(self.limits.client_id_bytes_max.into())),
            ("ping-rate", number(self.limits.ping_rate.per_sec.into())),
            ("ping-burst", number(self.limits.ping_rate.burst.into())),
            ("topic-levels-max", number(self.limits.topic_levels_max.into())),
            (
                "wildcard-subscriptions",
                text(&Switch::from(self.limits.features.wildcard_subscriptions)),
            ),
            ("retain", text(&Switch::from(self.limits.features.retain))),
            (
                "shared-subscriptions",
                text(&Switch::from(self.limits.features.shared_subscriptions)),
            ),
            ("denied-filter", Some(Value::Array(denied.collect()))),
        ]
    }

    /// The settings as a file that would give them.
    pub fn to_toml(&self) -> String {
        let line = |(key, value): (&str, Option<Value>)| match value {
            Some(value) => format!("{key} = {value}\n"),
            None => format!("# {key} is not set\n"),
        };
        self.entries().into_iter().map(line).collect()
    }

    /// What is wrong with settings that are each right by themselves.
    fn contradictions(
        &self,
        flags: &Settings,
        origin: impl Fn(&str, bool) -> Origin,
    ) -> Vec<ConfigError> {
        let mut errors = Vec::new();
        let mut refuse = |key: &str, value: &dyn fmt::Display, is_flag, allowed: String| {
            let (key, value) = (key.to_owned(), value.to_string());
            errors.push(ConfigError::Invalid {
                origin: origin(&key, is_flag),
                key,
                value,
                allowed,
            });
        };
        let mut taken: Vec<(&str, SocketAddr)> = Vec::new();
        for (key, addresses, is_flag, least) in [
            ("listen", &self.listen, flags.listen.is_some(), 1),
            ("ws-listen", &self.ws_listen, flags.ws_listen.is_some(), 0),
        ] {
            let listed = addresses.len();
            if listed < least || listed > LISTEN_MAX {
                let allowed = format!("{least} to {LISTEN_MAX} addresses");
                refuse(key, &format_args!("{listed} addresses"), is_flag, allowed);
            }
            for address in addresses.iter().filter(|address| address.port() != 0) {
                match taken.iter().find(|(_, other)| other == address) {
                    Some(&(other, _)) if other == key => {
                        refuse(key, address, is_flag, "each address once".into());
                    }
                    Some((other, _)) => refuse(key, address, is_flag, not_one_of(other)),
                    None => taken.push((key, *address)),
                }
            }
        }
        if let Some(http) = self.http
            && let Some((key, _)) = taken.iter().find(|(_, address)| *address == http)
        {
            refuse("http", &http, flags.http.is_some(), not_one_of(key));
        }
        let denied = self.limits.policy.filters_denied().count();
        if denied > FILTERS_DENIED_MAX {
            let (value, allowed) =
                (format_args!("{denied} filters"), format!("at most {FILTERS_DENIED_MAX} filters"));
            refuse("denied-filter", &value, flags.denied_filter.is_some(), allowed);
        }
        if self.scram_required && self.scram_users.is_none() {
            let allowed = "a file of users, by scram-users".into();
            refuse("scram-required", &true, flags.scram_required.is_some(), allowed);
        }
        let (outbox, packet) = (self.limits.outbox_bytes_max, self.limits.packet_bytes_max);
        if outbox < u64::from(packet) {
            let allowed = format!("at least max-packet-bytes, which is {packet}");
            refuse("outbox-bytes-max", &outbox, flags.outbox_bytes_max.is_some(), allowed);
        }
        let (input, least) = (self.input_bytes_max, INPUT_PACKETS_MIN * u64::from(packet));
        if input < least {
            let allowed =
                format!("at least {INPUT_PACKETS_MIN} times max-packet-bytes, which is {least}");
            refuse("input-bytes-max", &input, flags.input_bytes_max.is_some(), allowed);
        }
        errors
    }
}

//! The table of settings: each row is a flag of `push-server run` and a key of its TOML file, with
//! the same name in kebab-case.
//!
//! A row has the text of `--help` (where `cli` adds the default), the name, the type with its
//! range, the value's name in the help, and the field of `Config` that the setting fills. That
//! field's default is in `Config::default()` or `Limits::default()`. `live`: a reload applies it.

use super::SHARDS_MAX;
use super::addresses::{AdminSocket, UnixAddress};
use super::bounded::{Bounded, Bytes, Secs};
use super::hook::HookUrl;
use super::listeners::CONNECTIONS_MAX;
use super::log_filter::LogFilter;
use super::modes::{
    AnonymousMode, CertificateUserMode, ClientAuthMode, DurabilityMode, KernelPathMode,
    OutboxFullMode, PublishDeniedMode, Switch, TlsVersionMode,
};
use super::proxies::TrustedProxy;
use super::table::settings;
use super::values::{
    Address, Directory, FilePath, InterfaceName, OptionalAddress, PlainFilter, ServerReference,
    TokenParty, TopicPrefix, WebOrigin, one_or_more,
};

/// Highest `share-tries-max`: each try looks at a session, all of them perhaps in one turn of a
/// shard.
const SHARE_TRIES_MAX: u64 = 1_024;
/// Highest number of sessions, retained messages or messages in an outbox.
pub(super) const COUNT_MAX: u64 = 1_000_000_000;
/// Highest number of bytes for settings without a narrower bound: 1 TiB.
pub(super) const BYTES_MAX: u64 = 1 << 40;
/// Lowest `max-packet-bytes`: room for a CONNECT with a client id.
pub(super) const PACKET_BYTES_MIN: u64 = 128;
/// Highest `max-packet-bytes`, the largest packet that MQTT can express: remaining length
/// 268,435,455 and the fixed header \[MQTT-1.5.5\].
pub(super) const PACKET_BYTES_MAX: u64 = 268_435_455 + 5;
/// Highest `connect-bytes-max`: a CONNECT has five fields of at most 64 KiB each, and properties.
pub(super) const CONNECT_BYTES_MAX: u64 = 512 << 10;
/// Highest `http-connections-max`: each takes a descriptor from the clients.
pub(super) const HTTP_CONNECTIONS_MAX: u64 = 1_024;
/// Highest `start-wait-secs`: ten minutes.
pub(super) const START_WAIT_SECS_MAX: u64 = 600;
/// Highest `generations-max`: the system attaches 64 programs to an interface (`BPF_MPROG_MAX`).
pub(super) const GENERATIONS_MAX: u64 = 62;
/// Highest `connect-timeout-secs`: ten minutes.
pub(super) const CONNECT_TIMEOUT_SECS_MAX: u64 = 600;
/// Highest `auth-threads`: more than any machine has cores to spare; each may keep 256 MiB.
pub(super) const AUTH_THREADS_MAX: u64 = 64;
/// Highest `tls-handshakes-max`: each takes some 20 KB while it is under way.
pub(super) const TLS_HANDSHAKES_MAX: u64 = 65_536;
/// Highest `reload-secs`: a day.
pub(super) const RELOAD_SECS_MAX: u64 = 86_400;
/// Highest `tcp-keepalive-secs`: Linux's own bound (`MAX_TCP_KEEPIDLE`).
pub(super) const TCP_KEEPALIVE_SECS_MAX: u64 = 32_767;
/// Lowest `answers-bytes-max`: an ordinary burst of acknowledgements must not reach it.
pub(super) const ANSWERS_BYTES_MIN: u64 = 1024;
/// Lowest `subscription-bytes-max`: room for a few filters.
pub(super) const SUBSCRIPTION_BYTES_MIN: u64 = 1024;
/// Lowest `client-id-bytes-max`: every server must accept ids of this length \[MQTT-3.1.3-5\].
pub(super) const CLIENT_ID_BYTES_MIN: u64 = 23;
/// Highest `ping-rate` and `ping-burst`.
pub(super) const PINGS_MAX: u64 = 1_000_000;
/// Highest rate and burst of connections, publishes and filters.
pub(super) const RATE_MAX: u64 = 1_000_000_000;
/// Highest `auth-failures`.
pub(super) const AUTH_FAILURES_MAX: u64 = 1_000_000;
/// Highest `topic-alias-send-max`: the server searches these topics one by one.
pub(super) const ALIASES_SENT_MAX: u64 = 256;
/// Highest `answers-bytes-max`: 64 MiB for one client.
pub(super) const ANSWERS_BYTES_MAX: u64 = 64 << 20;

/// Keys that settings had before, and that still work.
pub(super) const FORMER_KEYS: [(&str, &str); 2] =
    [("scram-users", "users"), ("outbox-bytes-total", "queue-bytes-max")];

const U16_MAX: u64 = u16::MAX as u64;
const U32_MAX: u64 = u32::MAX as u64;

settings! {
    "Addresses" {
        /// Address for MQTT clients, IPv4 or IPv6; may be given several times. Only clients that
        /// can reach one of these addresses are served. A default address that this machine does
        /// not have is left out; one that you name must exist.
        #[serde(deserialize_with = "one_or_more")]
        listen: Vec<Address>, "ADDR:PORT" => listen;
        /// Address for MQTT clients over TLS, 8883 by custom; may be given several times. Needs
        /// tls-cert and tls-key.
        #[serde(deserialize_with = "one_or_more")]
        tls_listen: Vec<Address>, "ADDR:PORT" => tls_listen;
        /// Address for MQTT clients over WebSocket, such as browsers; may be given several times.
        /// Every path is accepted, /mqtt by custom; clients offer the subprotocol mqtt.
        #[serde(deserialize_with = "one_or_more")]
        ws_listen: Vec<Address>, "ADDR:PORT" => ws_listen;
        /// Address for MQTT clients over WebSocket inside TLS (wss://); may be given several times.
        /// Needs tls-cert and tls-key.
        #[serde(deserialize_with = "one_or_more")]
        wss_listen: Vec<Address>, "ADDR:PORT" => wss_listen;
        /// Unix socket for MQTT clients on this machine, by its absolute path; may be given several
        /// times. MODE says who may connect, 0660 if it is left out: the server's user and group.
        /// User space answers heartbeats of its clients.
        #[serde(deserialize_with = "one_or_more")]
        unix_listen: Vec<UnixAddress>, "PATH[,mode=MODE]" => unix_listen;
        /// Serve IPv4 clients at [::], too: they need no address of their own then. Without it [::]
        /// is for IPv6 alone.
        #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
        listen_dual: bool, "BOOL" => listen_dual;
        /// Origin of web pages that may connect over WebSocket, as https://app.example.org; may be given
        /// several times. A browser says in each request which page it is of; a page of another origin
        /// is refused (403). Programs other than browsers say what they like, or nothing, and are let
        /// in. Left out: any page may connect, and acts with all that its user's browser can reach.
        #[serde(deserialize_with = "one_or_more")]
        ws_origins: Vec<WebOrigin>, "ORIGIN" => ws_origins;
        /// Network or address of proxies in front of this server, or unix for those that come by a Unix
        /// socket; may be given several times. They say for which client they connect: by the PROXY
        /// protocol at a [[listener]] with proxy-protocol = true, where others are closed, and by
        /// X-Forwarded-For over WebSocket. That client's address counts then, for limits, rules and the
        /// log.
        #[serde(deserialize_with = "one_or_more")]
        trusted_proxies: Vec<TrustedProxy>, "CIDR|unix" => trusted_proxies;
        /// Interface on which the kernel answers heartbeats; may be given several times. User space
        /// serves connections over other interfaces. Left out: the interfaces that own the listen
        /// addresses.
        #[serde(deserialize_with = "one_or_more")]
        iface: Vec<InterfaceName>, "NAME" => interfaces;
        /// Address for /healthz, /readyz and /metrics, without authentication: use one that only
        /// your own machines reach. off: none.
        http: OptionalAddress, "ADDR:PORT|off" => http;
        /// Unix socket for operators on this machine, by its absolute path: push-server reload speaks to
        /// it. The server's user and group may connect. auto: /run/push-server/admin.sock, unless that
        /// cannot be made or another server has it; the log tells. off: none.
        admin_socket: AdminSocket, "PATH|auto|off" => admin_socket;
        /// Another server, to which MQTT 5 clients are sent when this one stops, and when they
        /// connect meanwhile (0x9C with a Server Reference). MQTT 3.1.1 clients are just closed.
        /// Left out: clients are told that the server stops.
        redirect_to: ServerReference, "HOST:PORT" => redirect_to;
        /// Prefix of response topics. MQTT 5 clients that ask for Response Information get TOPIC, a
        /// slash, and their client id. Left out: they get none.
        response_topic_prefix: TopicPrefix, "TOPIC" => limits.response_topic_prefix;
    }
    "TLS" {
        /// File of a certificate (PEM), followed by those between it and a root; may be given several
        /// times, each time with a tls-key. Clients get the one for the host that they name (SNI). The
        /// first is for clients that name none, or one that no certificate is for. Read again on
        /// a reload and by reload-secs, and with it all files of TLS.
        #[serde(deserialize_with = "one_or_more")]
        tls_cert: Vec<FilePath>, "FILE" => tls.cert_files, live;
        /// File of the private key of a tls-cert (PEM, not encrypted), in the same order: ECDSA, RSA
        /// or Ed25519. Only the server's user should be able to read it.
        #[serde(deserialize_with = "one_or_more")]
        tls_key: Vec<FilePath>, "FILE" => tls.key_files, live;
        /// Whether clients show certificates. none: they are not asked. optional: they are asked; one
        /// that is shown must be valid. required: a client without one is refused.
        tls_client_auth: ClientAuthMode, "WHEN" => tls.client_auth;
        /// File of the certificates (PEM) that sign those of clients; may be given several times.
        #[serde(deserialize_with = "one_or_more")]
        tls_client_ca: Vec<FilePath>, "FILE" => tls.client_ca_files, live;
        /// File of lists of revoked certificates (PEM, signed by their issuers); may be given several
        /// times. Then every issuer in a client's chain needs one: a certificate on it is refused, and
        /// so is one whose issuer has none. A list that should have been renewed still counts.
        #[serde(deserialize_with = "one_or_more")]
        tls_client_crl: Vec<FilePath>, "FILE" => tls.client_crl_files, live;
        /// The lowest version of TLS that clients may use, 1.2 or 1.3.
        tls_min: TlsVersionMode, "VERSION" => tls.version_min, live;
        /// Time between two looks at the files of TLS: if one has changed, all are read again. 0:
        /// never; only a reload makes the server read them.
        reload_secs: Secs<u32, 0, RELOAD_SECS_MAX>, "TIME" => tls.reload_secs, live;
    }
    "Authentication" {
        /// Whether clients may connect that nobody knows, as no user. auto: while there are no users,
        /// and then only at addresses that no other machine reaches; the server does not start with
        /// another address. always: at every address; a client that gives a name is still held to its
        /// password while there are users. never.
        anonymous: AnonymousMode, "WHEN" => authentication.anonymous, live;
        /// File of users and hashes of their passwords; push-server user writes it, and one of
        /// mosquitto will do. Clients give name and password in CONNECT, or authenticate by
        /// SCRAM-SHA-256 if the user has a line for it. Read again by a reload. It was called
        /// scram-users before.
        #[arg(alias = "scram-users")]
        #[serde(alias = "scram-users")]
        users: FilePath, "FILE" => authentication.users_file, live;
        /// Which name in a client's certificate is its user, at listeners that ask for certificates. cn: the
        /// common name. san-dns: the DNS name among the alternative names, in small letters. san-uri: the
        /// URI. Such a client needs no password. A certificate without such a name, or with several, proves
        /// no user. none: names in certificates mean nothing.
        certificate_user: CertificateUserMode, "NAME" => authentication.certificate_user;
        /// File of the keys that sign tokens: a JWK Set, or public keys and certificates in PEM. A client
        /// gives its token (JWT) as password; the user is its sub, and it is closed at its exp. Read again
        /// by a reload.
        jwt_keys: FilePath, "FILE" => authentication.jwt.keys_file, live;
        /// An issuer (iss) whose tokens are accepted; may be given several times. Left out: every issuer whose
        /// key is in jwt-keys.
        #[serde(deserialize_with = "one_or_more")]
        jwt_issuer: Vec<TokenParty>, "NAME" => authentication.jwt.issuers, live;
        /// An audience (aud) that tokens may name; may be given several times. Left out: only tokens without
        /// an audience are accepted.
        #[serde(deserialize_with = "one_or_more")]
        jwt_audience: Vec<TokenParty>, "NAME" => authentication.jwt.audiences, live;
        /// URL of a hook that is asked about clients whom neither certificate, SCRAM, token nor file of
        /// users knows: POST with JSON (user, password, client_id, address, listener, protocol). It answers
        /// with JSON within 2 s: its result (allow, deny or ignore), and for a client that it allows its
        /// user, groups, acl and expires_in. After 5 failures in a row it rests for 5 s. https unless it is
        /// on this machine.
        auth_http: HookUrl, "URL" => authentication.hook.url;
        /// File of the certificates (PEM) that sign the hook's. Left out: those that the system trusts.
        /// Read again by a reload.
        auth_http_ca: FilePath, "FILE" => authentication.hook.ca_file;
        /// File of a token that shows the hook who asks (Authorization: Bearer). Read again by a reload.
        auth_http_bearer_file: FilePath, "FILE" => authentication.hook.bearer_file;
        /// Take the user's name for the client id, whatever id the client gives, so that nobody takes over
        /// another user's session. A client without a user is refused (MQTT 5: 0x87, not authorized;
        /// 3.1.1: 5).
        #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
        client_id_from_user: bool, "BOOL" => limits.client_id_from_user;
        /// Refuse clients that do not authenticate by SCRAM-SHA-256 (MQTT 5: 0x87, not authorized;
        /// 3.1.1, which cannot: 5).
        #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
        scram_required: bool, "BOOL" => authentication.scram_required, live;
        /// Threads that hash passwords. A hash takes some 20 ms of one; a password that was right is
        /// remembered for 10 minutes.
        auth_threads: Bounded<u16, 1, AUTH_THREADS_MAX>, "N" => authentication.threads;
    }
    "Authorization" {
        /// File of rules that say what clients may do: TOML with [groups], [[allow]] and [[deny]].
        /// push-server acl check tells what they say, and acl import translates mosquitto's. Read
        /// again by a reload, for connected clients, too. Left out: every client may do everything but
        /// read $SYS.
        acl: FilePath, "FILE" => acl, live;
        /// What happens to a client that publishes where it may not, with QoS 0 or MQTT 3.1.1, which
        /// cannot tell it. drop: the publish is acknowledged and dropped. close: the connection is
        /// closed (MQTT 5: 0x87). With MQTT 5 and QoS 1 or 2 the acknowledgement tells it (0x87).
        publish_denied: PublishDeniedMode, "MODE" => publish_denied;
    }
    "Process" {
        /// Directory for retained messages, and for sessions that outlive their connection with all
        /// that they are owed. Made if it is missing. One server at a time can use it.
        data_dir: Directory, "DIR" => data_dir;
        /// When a message for a persistent session, or a subscription of one, is acknowledged.
        /// fsync: when it is on the disk. os: when the operating system has it, which survives a
        /// crash of the server, not of the machine. off: at once; nothing is stored in data-dir.
        durability: DurabilityMode, "WHEN" => durability;
        /// Threads that serve connections, each with its own ring and listener. Left out: one for each
        /// core.
        shards: Bounded<u16, 1, SHARDS_MAX>, "N" => shards;
        /// Directory on a BPF file system that keeps the programs alive through a crash of the
        /// server. One server at a time can use it. Below /sys/fs/bpf the file system is mounted if
        /// it is missing.
        bpf_dir: Directory, "DIR" => bpf_dir;
        /// How long a start waits for things that a killed or stopping server still holds: a listen
        /// or HTTP address, data-dir, bpf-dir. It does not wait for an address while a process that
        /// is not ending holds it. 0: not at all.
        start_wait_secs: Secs<u16, 0, START_WAIT_SECS_MAX>, "TIME" => start_wait_secs;
        /// Whether the kernel answers heartbeats. auto: if it can; otherwise user space answers
        /// them, and a log line says why. require: exit with 1 if it cannot. off: never.
        kernel_path: KernelPathMode, "WHEN" => kernel_path;
        /// What to log on standard error: a level or a tracing filter, such as
        /// info,push_server::shard=debug.
        log: LogFilter, "FILTER" => log, live;
        /// Show where to connect on standard output, then one line each second about what the server
        /// does.
        #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
        status: bool, "BOOL" => status;
    }
    "Limits of the server" {
        /// Open connections. At the limit accepting pauses until one closes; clients wait in the
        /// listen queue. Left out: as many as RLIMIT_NOFILE allows, at most 1000000.
        max_connections: Bounded<u32, 1, CONNECTIONS_MAX>, "N" => connections_max;
        /// Connections let in a second, of all addresses, in the long run. Beyond rate and burst new
        /// ones wait, and addresses take turns; clients that are connected are not delayed. 0: no
        /// limit.
        connect_rate: Bounded<u32, 0, RATE_MAX>, "N" => admission.connect_rate.per_sec;
        /// Connections that may come at once.
        connect_burst: Bounded<u32, 1, RATE_MAX>, "N" => admission.connect_rate.burst;
        /// Sockets of one address (IPv6: of its /64) whose clients have not connected yet. A further
        /// one is closed. Behind a trusted proxy the client's address counts. 0: no limit.
        address_waiting_max: Bounded<u32, 0, COUNT_MAX>, "N" => admission.address_waiting_max;
        /// Connections of one address (IPv6: of its /64). A further client is refused (MQTT 5: 0x97;
        /// 3.1.1: 3). Thousands of phones may share a carrier's address. 0: no limit.
        address_connections_max: Bounded<u32, 0, COUNT_MAX>, "N" => admission.address_connections_max;
        /// Failures to authenticate a minute, of one name at one address; ten times as many of the
        /// address with all names. After that many they are refused for 60 seconds (MQTT 5: 0x8A,
        /// banned; 3.1.1: 5). Clients that are connected stay. 0: no limit.
        auth_failures: Bounded<u32, 0, AUTH_FAILURES_MAX>, "N" => admission.auth_failures;
        /// Handshakes of TLS under way at once, in all shards. Further ones wait, and have
        /// connect-timeout-secs like any client.
        tls_handshakes_max: Bounded<u32, 1, TLS_HANDSHAKES_MAX>, "N" => tls.handshakes_max;
        /// Killed servers whose programs may stay attached beside this server's, because their
        /// sockets still send. Each costs every packet a little. With more of them user space
        /// answers heartbeats, or the start fails (kernel-path require).
        generations_max: Bounded<u16, 0, GENERATIONS_MAX>, "N" => generations_max;
        /// Connections to the HTTP port. At the limit a new one replaces the one that has asked for
        /// nothing the longest, of the network that has the most.
        http_connections_max: Bounded<u16, 1, HTTP_CONNECTIONS_MAX>, "N" => http_connections_max;
        /// Sessions, with and without connection. From 15 of 16 on, sessions without connection
        /// that have no subscription and were never owed a message give way, the oldest first. At
        /// the limit clients that would need a new session are refused (MQTT 5: 0x97, quota
        /// exceeded; 3.1.1: 3, unavailable).
        max_sessions: Bounded<u32, 1, COUNT_MAX>, "N" => sessions_max;
        /// The part of max-sessions that clients of one network (IPv4 /24, IPv6 /48), or of one
        /// user, may have while more than half of all are taken; never less than 1024. Of an IPv6
        /// network's share one /64 has half, and never less than 1024. A client that would need one
        /// more is refused (MQTT 5: 0x97; 3.1.1: 3). If all clients come through one proxy or
        /// address translator: 100, which sets no share. A network or user has the same part of
        /// subscription-bytes-total, will-bytes-total and inflight-bytes-total while more than half
        /// of them is used.
        sessions_share_percent: Bounded<u8, 1, 100>, "PERCENT" => sessions_share_percent;
        /// Members of a shared subscription that may refuse a message, for want of room or because
        /// of its size, before it is dropped. No client is disconnected for it.
        share_tries_max: Bounded<u16, 1, SHARE_TRIES_MAX>, "N" => share_tries_max;
        /// Retained messages. At the limit no further topic is kept: the publish is delivered, not
        /// retained, and counted.
        retained_messages_max: Bounded<usize, 0, COUNT_MAX>, "N" => retained_messages_max;
        /// Memory of all retained messages: topic, payload and properties, some 250 bytes for each
        /// message, and 120 for each level of its topic that no other shares. The limit acts like
        /// that of their number.
        retained_bytes_max: Bytes<usize, 0, BYTES_MAX>, "SIZE" => retained_bytes_max;
        /// Bytes of incomplete packets of all clients together, counting clients that have 4 KiB of
        /// them or more; at least four times max-packet-bytes. At the limit, the client that has
        /// held the most for the longest is disconnected (MQTT 5: 0x97, quota exceeded).
        input_bytes_max: Bytes<u64, PACKET_BYTES_MIN, BYTES_MAX>, "SIZE" => input_bytes_max;
        /// Memory of all sessions, some 640 bytes and the client id each, without what has totals
        /// of its own. At the limit clients that would need a new session are refused (MQTT 5:
        /// 0x97, quota exceeded; 3.1.1: 3, unavailable). Left out: an eighth of the memory of the
        /// machine, or of the control group that the server runs in.
        session_bytes_total: Bytes<u64, 0, BYTES_MAX>, "SIZE" => totals.session_bytes;
        /// Memory of the subscriptions of all sessions, each counted as for subscription-bytes-max. Further
        /// ones fail in the SUBACK (MQTT 5: 0x97; 3.1.1: 0x80). Left out: an eighth of the memory.
        subscription_bytes_total: Bytes<u64, 0, BYTES_MAX>, "SIZE" => totals.subscription_bytes;
        /// Memory of all wills, of connected and of absent clients. A client whose will does not
        /// fit is refused (MQTT 5: 0x97; 3.1.1: 3). Left out: a 32nd of the memory.
        will_bytes_total: Bytes<u64, 0, BYTES_MAX>, "SIZE" => totals.will_bytes;
        /// Memory of unacknowledged packets in both directions and of places in outboxes, without
        /// the messages, of all sessions that have more than 512 bytes of it. At the limit the
        /// outbox of such a session is full, and its QoS 2 publishes are refused (MQTT 5: 0x97;
        /// 3.1.1: closed). Left out: a 16th of the memory.
        inflight_bytes_total: Bytes<u64, 0, BYTES_MAX>, "SIZE" => totals.inflight_bytes;
        /// Memory of the messages in all outboxes, except those on disk. A message counts once,
        /// however many sessions wait for it, and one of 4 KiB or more until sockets have taken it.
        /// A session may hold as much as it leaves for others, and 2 KiB in any case. Beyond that,
        /// messages that the store keeps wait on disk, and the outbox of any other session is full.
        /// Left out: 1 GiB, or three 16ths of the memory where that is less. It was called
        /// outbox-bytes-total before.
        #[arg(alias = "outbox-bytes-total")]
        #[serde(alias = "outbox-bytes-total")]
        queue_bytes_max: Bytes<u64, 0, BYTES_MAX>, "SIZE" => totals.outbox_bytes;
        /// Memory of bytes that sockets were given and have not taken, copies of small messages and
        /// answers: up to 128 KiB for each connection. From half of the limit on each gets less at
        /// a time, and 4 KiB at the limit; no client is closed for it. Left out: a 32nd of the
        /// memory.
        sending_bytes_total: Bytes<u64, 0, BYTES_MAX>, "SIZE" => totals.sending_bytes;
    }
    "Limits of each client" {
        /// Time from accept to a complete CONNECT. A client that takes longer is closed.
        connect_timeout_secs: Secs<u16, 1, CONNECT_TIMEOUT_SECS_MAX>, "TIME" => connect_timeout_secs;
        /// Largest CONNECT, fixed header included: names, password and will. A client with a larger
        /// one is closed when its length is known, before the rest is read.
        connect_bytes_max: Bytes<u32, PACKET_BYTES_MIN, CONNECT_BYTES_MAX>, "SIZE" => limits.connect_bytes_max;
        /// Longest keep alive granted. MQTT 5 clients that ask for more get this one (Server Keep
        /// Alive), and expire by it; so do those that ask for none (0), except with 65535, which
        /// lets them go without. MQTT 3.1.1 clients cannot be told, and keep their own.
        keep_alive_max_secs: Secs<u16, 1, U16_MAX>, "TIME" => limits.keep_alive_max_secs;
        /// Keep alive for MQTT 5 clients that ask for none (0), at most keep-alive-max-secs. 0:
        /// keep-alive-max-secs alone decides. MQTT 3.1.1 clients cannot be told; tcp-keepalive-secs
        /// finds those that vanish.
        keep_alive_default_secs: Secs<u16, 0, U16_MAX>, "TIME" => limits.keep_alive_default_secs;
        /// Silence of a client after which TCP asks whether it is still there. After five
        /// unanswered probes, a tenth of this apart but a minute at most, the client counts as
        /// gone. This finds vanished clients without keep alive. 0: never.
        tcp_keepalive_secs: Secs<u16, 0, TCP_KEEPALIVE_SECS_MAX>, "TIME" => tcp_keepalive_secs;
        /// Longest session expiry granted. MQTT 5 clients that ask for more get this one; 3.1.1
        /// sessions without clean session end this long after their connection. 0: sessions end
        /// with their connection.
        session_expiry_max_secs: Secs<u32, 0, U32_MAX>, "TIME" => limits.session_expiry_max_secs;
        /// Largest packet accepted, fixed header included. A larger one closes the connection (MQTT 5:
        /// 0x95, packet too large).
        max_packet_bytes: Bytes<u32, PACKET_BYTES_MIN, PACKET_BYTES_MAX>, "SIZE" => limits.packet_bytes_max;
        /// Least bytes a second, over 30 seconds, for an incomplete packet of which 4 KiB or more
        /// have arrived. A slower client is disconnected (MQTT 5: 0x97). 0: no limit.
        packet_rate_min: Bytes<u32, 0, PACKET_BYTES_MAX>, "SIZE" => packet_rate_min;
        /// QoS 1 and 2 publishes that a client may have unacknowledged by the server. MQTT 5
        /// clients are told (Receive Maximum); one that exceeds it is closed (0x93).
        receive_max: Bounded<u16, 1, U16_MAX>, "N" => limits.receive_max;
        /// QoS 1 and 2 publishes that the server sends to a client before it acknowledges; an MQTT
        /// 5 client may ask for fewer. Further messages wait in the outbox.
        inflight_max: Bounded<u16, 1, U16_MAX>, "N" => limits.inflight_max;
        /// Messages in a session's outbox. At the limit QoS 0 messages are dropped; for an absent
        /// client outbox-full says what else is dropped; a connected client that reads too slowly
        /// is disconnected (MQTT 5: 0x97).
        outbox_messages_max: Bounded<u32, 1, COUNT_MAX>, "N" => limits.outbox_messages_max;
        /// Memory of the messages in a session's outbox: what each says and some 250 bytes more; at
        /// least max-packet-bytes. The limit acts like that of their number.
        outbox_bytes_max: Bytes<u64, PACKET_BYTES_MIN, BYTES_MAX>, "SIZE" => limits.outbox_bytes_max;
        /// What happens to a message for an absent client whose outbox is full. drop-oldest: the
        /// outbox takes it, and drops its oldest messages that were never sent. drop-newest: it is
        /// dropped. refuse: it is dropped, and an MQTT 5 publisher is told (PUBACK or PUBREC 0x97),
        /// though other subscribers get it; a 3.1.1 publisher, which cannot be told, gets its usual
        /// answer. All are counted.
        outbox_full: OutboxFullMode, "POLICY" => limits.outbox_full;
        /// How long a message may wait on disk for its client. One that has waited longer is
        /// dropped when its turn comes, and counted.
        outbox_age_max_secs: Secs<u32, 1, U32_MAX>, "TIME" => outbox_age_max_secs;
        /// Bytes of answers (PUBACK, PINGRESP, ...) that wait for a client. Above half of it the
        /// server reads no more from the client until they have left; a client that takes none of
        /// them for 10 seconds is closed (MQTT 5: 0x97).
        answers_bytes_max: Bytes<u32, ANSWERS_BYTES_MIN, ANSWERS_BYTES_MAX>, "SIZE" => limits.answers_bytes_max;
        /// Topic aliases that an MQTT 5 client may use; the server keeps their topics as long as
        /// the connection. Clients are told (Topic Alias Maximum); one that exceeds it is closed
        /// (0x94). 0: none.
        topic_alias_max: Bounded<u16, 0, U16_MAX>, "N" => limits.topic_alias_max;
        /// Topic aliases that the server uses towards an MQTT 5 client, which may accept fewer.
        /// Further topics are sent in full. 0: none.
        topic_alias_send_max: Bounded<u16, 0, ALIASES_SENT_MAX>, "N" => limits.topic_alias_send_max;
        /// Subscriptions of a session. Further ones fail in the SUBACK (MQTT 5: 0x97; 3.1.1: 0x80).
        subscriptions_max: Bounded<u32, 1, COUNT_MAX>, "N" => limits.subscriptions_max;
        /// Memory of a session's subscriptions, if they share nothing with others: for each the
        /// filter's text and some 250 bytes; with wildcards also 50 for each level, and 140 more if
        /// its name is longer than a byte. Further ones fail in the SUBACK (MQTT 5: 0x97; 3.1.1:
        /// 0x80).
        subscription_bytes_max: Bytes<u32, SUBSCRIPTION_BYTES_MIN, U32_MAX>, "SIZE" => limits.subscription_bytes_max;
        /// Longest client id. A client with a longer one is refused (MQTT 5: 0x85, client identifier not
        /// valid; 3.1.1: 2).
        client_id_bytes_max: Bytes<u16, CLIENT_ID_BYTES_MIN, U16_MAX>, "SIZE" => limits.client_id_bytes_max;
        /// Pings a second that a client may send without end, whoever answers them. A client that
        /// exceeds rate and burst is disconnected (MQTT 5: 0x96, message rate too high). A keep
        /// alive below 4 seconds still allows four pings within it. 0: no limit.
        ping_rate: Bounded<u32, 0, PINGS_MAX>, "N" => limits.ping_rate.per_sec;
        /// Pings that a client may send at once, besides those that it did not use in the last 924
        /// seconds.
        ping_burst: Bounded<u32, 1, PINGS_MAX>, "N" => limits.ping_rate.burst;
        /// Connections of one user. A further client is refused (MQTT 5: 0x97; 3.1.1: 3). 0: no limit.
        user_connections_max: Bounded<u32, 0, COUNT_MAX>, "N" => client_limits.user_connections_max;
        /// PUBLISH packets a second that a client may send in the long run. Beyond rate and burst the
        /// server reads no more from it until it is within them again; if it has not caught up after 10
        /// seconds it is disconnected (MQTT 5: 0x96, message rate too high). 0: no limit.
        publish_rate: Bounded<u32, 0, RATE_MAX>, "N" => client_limits.publish.per_sec;
        /// PUBLISH packets that a client may send at once.
        publish_burst: Bounded<u32, 1, RATE_MAX>, "N" => client_limits.publish.burst;
        /// Bytes of PUBLISH packets a second that a client may send in the long run. The limit acts like
        /// that of their number. 0: no limit.
        publish_bytes_rate: Bytes<u32, 0, U32_MAX>, "SIZE" => client_limits.publish_bytes.per_sec;
        /// Bytes of PUBLISH packets that a client may send at once.
        publish_bytes_burst: Bytes<u32, 1, U32_MAX>, "SIZE" => client_limits.publish_bytes.burst;
        /// Filters a second that a client may subscribe to in the long run. Further ones fail in the
        /// SUBACK (MQTT 5: 0x97; 3.1.1: 0x80). 0: no limit.
        subscribe_rate: Bounded<u32, 0, RATE_MAX>, "N" => client_limits.subscribe.per_sec;
        /// Filters that a client may subscribe to at once.
        subscribe_burst: Bounded<u32, 1, RATE_MAX>, "N" => client_limits.subscribe.burst;
        /// Levels of a topic name or filter. A publish or subscription with more is refused.
        topic_levels_max: Bounded<u16, 1, U16_MAX>, "N" => limits.topic_levels_max;
        /// Longest topic name or filter. A publish or subscription with a longer one is refused.
        topic_bytes_max: Bytes<u16, 1, U16_MAX>, "SIZE" => limits.topic_bytes_max;
    }
    "Features" {
        /// Whether filters may have + and #. off: MQTT 5 clients are told, and disconnected if they
        /// use them (0xA2); for 3.1.1 the subscription fails in the SUBACK (0x80).
        wildcard_subscriptions: Switch, "SWITCH" => limits.features.wildcard_subscriptions;
        /// Whether messages may be retained. off: MQTT 5 clients are told, and disconnected if a
        /// publish or a will asks for it (0x9A); 3.1.1 clients are disconnected.
        retain: Switch, "SWITCH" => limits.features.retain;
        /// Whether sessions may share a filter ($share/...). off: MQTT 5 clients are told, and
        /// disconnected if they use it (0x9E); for 3.1.1 the subscription fails in the SUBACK
        /// (0x80).
        shared_subscriptions: Switch, "SWITCH" => limits.features.shared_subscriptions;
        /// A filter that no client may subscribe to, shared or not; may be given several times. The
        /// subscription fails in the SUBACK (0x80). Compared as written: if # is denied, +/# is
        /// not.
        #[serde(deserialize_with = "one_or_more")]
        denied_filter: Vec<PlainFilter>, "FILTER" => limits.policy;
    }
}

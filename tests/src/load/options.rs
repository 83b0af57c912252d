//! The command line of `push-load`.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Loads an MQTT server with many clients of one process.
///
/// Lines for people go to stderr. Stdout has JSON, an object a line; the last one has the counts
/// and the round trips. Exit code 0: it ran; 1: it could not connect; 2: wrong usage.
#[derive(Debug, Parser)]
#[command(name = "push-load", version)]
pub struct Options {
    /// What the clients do.
    #[command(subcommand)]
    pub mode: Mode,
}

/// What the clients do.
#[derive(Debug, Subcommand)]
pub enum Mode {
    /// Connect, ping, measure, end.
    Ping(Ping),
    /// Connect and be quiet, for measuring the server's memory.
    Idle(Idle),
    /// Connect, ping, and now and then publish, until stdin closes or a signal comes.
    Demo(Demo),
    /// Publish at QoS 1 to sessions that outlive their connections, and measure.
    Publish(Publish),
    /// Publish to connected subscribers, by a window or at a rate, and measure.
    Throughput(Throughput),
    /// Connect and disconnect again and again, and measure.
    Connects(Connects),
    /// Make certificates for a server and its clients, and end.
    Certificates(Certificates),
    /// Make tokens (JWT) for clients and the key for their server, and end.
    Tokens(Tokens),
}

/// `push-load ping`.
#[derive(Debug, Args)]
pub struct Ping {
    /// Where and how to connect.
    #[command(flatten)]
    pub common: Common,
    /// Each client pings that often, its phase spread over the interval.
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..=86_400_000))]
    #[arg(required_unless_present_any = ["rate", "inflight"], conflicts_with = "rate")]
    pub interval_ms: Option<u64>,
    /// Pings a second of all clients together.
    #[arg(long, value_name = "PINGS_PER_S")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    pub rate: Option<u64>,
    /// Closed loop: that many pings unanswered at any time, the next one sent when one is
    /// answered. An interval or rate is not used then.
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub inflight: Option<u64>,
    /// How long to measure.
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub seconds: u64,
    /// How long to ping before measuring.
    #[arg(long, value_name = "W", default_value_t = 0)]
    #[arg(value_parser = clap::value_parser!(u64).range(0..=86_400))]
    pub warmup_s: u64,
}

/// `push-load idle`.
///
/// Prints `{"event":"ready",...}` when all clients are up.
#[derive(Debug, Args)]
pub struct Idle {
    /// Where and how to connect.
    #[command(flatten)]
    pub common: Common,
    /// Hold the connections until stdin closes. A line `to N` on stdin grows to N clients and
    /// prints `ready` again.
    #[arg(long)]
    pub hold: bool,
}

/// `push-load demo`.
///
/// Every tenth device subscribes to `demo/<its number>`; the first one publishes to one of them
/// each second. Devices that lose their connection try again every 2 seconds.
#[derive(Debug, Args)]
pub struct Demo {
    /// Where and how to connect.
    #[command(flatten)]
    pub common: Common,
    /// Each client pings that often.
    #[arg(long, value_name = "MS", default_value_t = 2_000)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=86_400_000))]
    pub interval_ms: u64,
}

/// `push-load publish`.
///
/// The clients are sessions: each subscribes at QoS 1 to a topic of its own, and acknowledges what
/// comes, or goes away again. Publishers beside them publish to all topics in turn, at QoS 1, as many
/// unacknowledged at a time as the window says. All of it is MQTT 3.1.1.
///
/// Prints `{"event":"ready",...}` when the sessions are there, `begin` and `end` around the time
/// measured.
#[derive(Debug, Args)]
pub struct Publish {
    /// Where and how to connect.
    #[command(flatten)]
    pub common: Common,
    /// The sessions disconnect once they have subscribed.
    #[arg(long)]
    pub absent: bool,
    /// Publishers, beside the clients.
    #[arg(long, value_name = "N", default_value_t = 8)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub publishers: u32,
    /// Messages that each publisher has unacknowledged at most.
    #[arg(long, value_name = "N", default_value_t = 256)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=u16::MAX as i64))]
    pub window: u16,
    /// Messages a second of all publishers together, at most. Default: as fast as they are
    /// acknowledged.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    pub rate: Option<u64>,
    /// Bytes of a message.
    #[arg(long, value_name = "BYTES", default_value_t = 128)]
    #[arg(value_parser = clap::value_parser!(u32).range(8..=1_000_000))]
    pub payload_bytes: u32,
    /// End after so many messages, each of them acknowledged.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    #[arg(required_unless_present = "seconds")]
    pub messages: Option<u64>,
    /// How long to measure; with --messages, at most.
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub seconds: Option<u64>,
    /// How long to publish before measuring.
    #[arg(long, value_name = "W", default_value_t = 0)]
    #[arg(value_parser = clap::value_parser!(u64).range(0..=86_400))]
    pub warmup_s: u64,
}

/// Who gets whose messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shape {
    /// Every publisher publishes to one topic, which every client subscribes to.
    FanOut,
    /// Every publisher has a topic, and every client subscribes to all of them by a wildcard.
    FanIn,
    /// Every publisher has a topic and a client of its own that subscribes to it.
    Pairs,
}

/// `push-load throughput`.
///
/// The clients subscribe; publishers beside them publish to them. A message is on its way until all
/// that it is to cause has come: a delivery to each of its subscribers and, at QoS 1, its PUBACK.
/// By a window, each publisher has so many on their way at any time: that is as fast as the server
/// can deliver without dropping anything. At a rate, messages are due at even distances whatever
/// the server does, and delivery is timed from when a message was due, not from when it was
/// written, so that a server that stalls is charged for all who had to wait.
///
/// All of it is MQTT 3.1.1 with clean sessions. Prints `{"event":"ready",...}` when the clients are
/// there, `begin` and `end` around the time measured.
#[derive(Debug, Args)]
pub struct Throughput {
    /// Where and how to connect.
    #[command(flatten)]
    pub common: Common,
    /// Who gets whose messages. Only pairs can be spread over --threads.
    #[arg(long, value_enum)]
    pub shape: Shape,
    /// Publishers, beside the clients; as many as those in pairs.
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub publishers: u32,
    /// The QoS of messages and subscriptions.
    #[arg(long, value_name = "QOS", default_value_t = 0)]
    #[arg(value_parser = clap::value_parser!(u8).range(0..=1))]
    pub qos: u8,
    /// Messages that each publisher has on their way.
    #[arg(long, value_name = "N", default_value_t = 32, conflicts_with = "rate")]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=u16::MAX as i64))]
    pub window: u16,
    /// Messages a second of all publishers together, instead of a window.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub rate: Option<u64>,
    /// Bytes of a message.
    #[arg(long, value_name = "BYTES", default_value_t = 128)]
    #[arg(value_parser = clap::value_parser!(u32).range(18..=1_000_000))]
    pub payload_bytes: u32,
    /// How long to measure.
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub seconds: u64,
    /// How long to publish before measuring.
    #[arg(long, value_name = "W", default_value_t = 0)]
    #[arg(value_parser = clap::value_parser!(u64).range(0..=86_400))]
    pub warmup_s: u64,
}

/// `push-load connects`.
///
/// Each client connects, waits for CONNACK, says goodbye, waits until the server has closed, and
/// begins again. All of it is MQTT 3.1.1 with clean sessions. Prints `{"event":"ready",...}` at
/// once, `begin` and `end` around the time measured.
#[derive(Clone, Debug, Args)]
pub struct Connects {
    /// Where and how to connect. The rate and the concurrency of connections have no effect: every
    /// client connects as fast as the server lets it.
    #[command(flatten)]
    pub common: Common,
    /// How long to measure.
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub seconds: u64,
    /// How long to connect before measuring.
    #[arg(long, value_name = "W", default_value_t = 0)]
    #[arg(value_parser = clap::value_parser!(u64).range(0..=86_400))]
    pub warmup_s: u64,
    /// User names and passwords, a pair a line with a tab between: each connection takes the next
    /// line, and after the last one the first. Default: clients give neither.
    #[arg(long, value_name = "FILE")]
    pub logins: Option<PathBuf>,
}

/// `push-load tokens`.
///
/// Writes keys.json, a JWK Set with a new key of ES256, and logins, for `push-load connects`: a line
/// for each user with a token that is valid for a day.
#[derive(Debug, Args)]
pub struct Tokens {
    /// Where to write them.
    #[arg(long, value_name = "FOLDER")]
    pub folder: PathBuf,
    /// How many users, user-0 and so on.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub count: u32,
}

/// `push-load certificates`.
///
/// Writes ca.pem, server.pem, server.key, client.pem and client.key, new ones each time. They are for
/// tests: nobody keeps the authority's key, and they do not expire.
#[derive(Debug, Args)]
pub struct Certificates {
    /// Where to write them.
    #[arg(long, value_name = "FOLDER")]
    pub folder: PathBuf,
    /// A host or an address of the server, repeatable. Default: localhost, 127.0.0.1 and ::1.
    #[arg(long, value_name = "NAME")]
    pub name: Vec<String>,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TlsVersion {
    /// TLS 1.2.
    #[value(name = "1.2")]
    Tls12,
    /// TLS 1.3.
    #[value(name = "1.3")]
    Tls13,
}

/// The layers around MQTT. None by default.
#[derive(Clone, Debug, Default, Args)]
pub struct LayerOptions {
    /// Speak TLS, and trust the certificates in this file (PEM).
    #[arg(long, value_name = "CA_FILE")]
    pub tls: Option<PathBuf>,
    /// Speak MQTT over WebSocket, at /mqtt; with --tls inside TLS.
    #[arg(long)]
    pub ws: bool,
    /// The name to find in the server's certificate. Default: the target's address.
    #[arg(long, value_name = "NAME", requires = "tls")]
    pub tls_name: Option<String>,
    /// The only version of TLS to offer.
    #[arg(long, value_name = "VERSION", requires = "tls")]
    pub tls_version: Option<TlsVersion>,
    /// The only cipher suite to offer, such as TLS13_CHACHA20_POLY1305_SHA256.
    #[arg(long, value_name = "SUITE", requires = "tls")]
    pub tls_suite: Option<String>,
    /// The clients' certificate (PEM), one for all.
    #[arg(long, value_name = "FILE", requires = "tls", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// Its private key (PEM).
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Resume sessions of TLS wherever the server lets clients. Without it every handshake is full.
    #[arg(long, requires = "tls")]
    pub tls_resume: bool,
}

/// What every mode that connects needs.
#[derive(Clone, Debug, Args)]
pub struct Common {
    /// The server.
    #[arg(long, value_name = "ADDR:PORT")]
    pub target: SocketAddr,
    /// A local address to connect from, repeatable; one has about 28,000 ports. Default: for a
    /// target in 127.0.0.0/8 as many of 127.0.0.1, 127.0.0.2, ... as are needed; else the
    /// system's choice.
    #[arg(long, value_name = "ADDR")]
    pub source: Vec<IpAddr>,
    /// How many clients.
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=5_000_000))]
    pub clients: u32,
    /// Threads that the clients are spread over.
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=64))]
    pub threads: u16,
    /// The clock's step: pings due between two steps are sent together at the second, which saves
    /// the generator wakes. Due times do not drift.
    #[arg(long, value_name = "MS", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=1_000))]
    pub tick_ms: u64,
    /// Speak MQTT 5 instead of 3.1.1.
    #[arg(long)]
    pub v5: bool,
    /// Keep alive that the clients announce, 0 for none. They ping three times in it, if the mode
    /// does not say otherwise. Default: 60, and 1,200 for `idle`.
    #[arg(long, alias = "keep-alive", value_name = "S")]
    pub keep_alive_secs: Option<u16>,
    /// Client ids are this and a number.
    #[arg(long, value_name = "TEXT", default_value = "load-", value_parser = client_id_prefix)]
    pub client_id_prefix: String,
    /// New connections a second, at most.
    #[arg(long, value_name = "N", default_value_t = 5_000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub connect_rate: u32,
    /// Connections being made at a time, at most.
    #[arg(long, value_name = "N", default_value_t = 256)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub connect_concurrency: u32,
    /// The layers around MQTT.
    #[command(flatten)]
    pub layers: LayerOptions,
}

/// Room for a number behind it within what a two byte length can say.
const CLIENT_ID_PREFIX_BYTES_MAX: usize = 1_000;

fn client_id_prefix(text: &str) -> Result<String, String> {
    if text.len() > CLIENT_ID_PREFIX_BYTES_MAX || text.contains('\0') {
        return Err(format!("at most {CLIENT_ID_PREFIX_BYTES_MAX} bytes, without U+0000"));
    }
    Ok(text.to_owned())
}

impl Mode {
    /// What every mode that connects has.
    pub fn common(&self) -> Option<&Common> {
        match self {
            Self::Ping(ping) => Some(&ping.common),
            Self::Idle(idle) => Some(&idle.common),
            Self::Demo(demo) => Some(&demo.common),
            Self::Publish(publish) => Some(&publish.common),
            Self::Throughput(throughput) => Some(&throughput.common),
            Self::Connects(connects) => Some(&connects.common),
            Self::Certificates(_) | Self::Tokens(_) => None,
        }
    }

    /// Connections at a time.
    pub fn connections(&self) -> u64 {
        let Some(common) = self.common() else { return 0 };
        let clients = u64::from(common.clients);
        match self {
            // Absent sessions are not connected all at once.
            Self::Publish(publish) if publish.absent => {
                u64::from(publish.publishers) + clients.min(common.connect_concurrency.into())
            }
            Self::Publish(publish) => u64::from(publish.publishers) + clients,
            Self::Throughput(throughput) => u64::from(throughput.publishers) + clients,
            _ => clients,
        }
    }
}

#[cfg(test)]
mod tests;

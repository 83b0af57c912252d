//! Messages between the main thread and the threads of clients.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use super::tally::Tally;
use super::transport::Kind;
use super::wire::Version;

/// Settings that are the same for all threads.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) target: SocketAddr,
    pub(super) layers: Kind,
    pub(super) sources: Vec<IpAddr>,
    pub(super) version: Version,
    pub(super) keep_alive_secs: u16,
    pub(super) client_id_prefix: String,
    pub(super) threads: usize,
    pub(super) connect_rate: u32,
    pub(super) connect_concurrency: u32,
    /// Whether clients publish, subscribe, and connect again when they lose the connection.
    pub(super) demo: bool,
    /// Whether pings count from the start, rather than from `Measure` on.
    pub(super) counts_at_once: bool,
    /// Engines wake for pings at multiples of this.
    pub(super) tick_ns: u64,
    /// Zero of all nanoseconds.
    pub(super) epoch: Instant,
}

/// How pings follow each other.
#[derive(Clone, Copy, Debug)]
pub(super) enum Plan {
    /// Each client at this interval.
    Interval { interval_ns: u64 },
    /// That many unanswered, by all threads together.
    Inflight { pings: u64 },
}

/// A command to an engine.
#[derive(Clone, Copy, Debug)]
pub(super) enum Command {
    /// Grow to this many clients, of all threads together; send `Ready` when they are up.
    Connect { clients: usize },
    /// Ping by this plan, count the pings sent in this time, then end.
    Measure { plan: Plan, from_ns: u64, until_ns: u64 },
    /// End now.
    Stop,
}

/// A message to the main thread.
#[derive(Debug)]
pub(super) enum Event {
    /// No client of this thread waits to connect.
    Ready { connected: u64, closed: u64 },
    /// A client could not connect.
    Failed(String),
    /// This many lost their connection, and will try again.
    Lost(u64),
    /// The thread is done.
    Finished(Box<Tally>),
    /// A line from stdin.
    Line(String),
    /// Stdin is closed.
    InputClosed,
    /// SIGINT or SIGTERM.
    Signal,
}

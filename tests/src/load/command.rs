//! What the main thread and the threads of clients say to each other.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use super::tally::Tally;
use super::wire::Version;

/// What is the same for all threads and does not change.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) target: SocketAddr,
    pub(super) sources: Vec<IpAddr>,
    pub(super) version: Version,
    pub(super) keep_alive_secs: u16,
    pub(super) client_id_prefix: String,
    pub(super) threads: usize,
    pub(super) connect_rate: u32,
    pub(super) connect_concurrency: u32,
    /// Whether clients publish, subscribe, and connect again when they lose the connection.
    pub(super) demo: bool,
    /// Whether pings count from the start, and not only once `Measure` is told.
    pub(super) counts_at_once: bool,
    /// Wakes for pings are at multiples of this.
    pub(super) tick_ns: u64,
    /// Where nanoseconds are counted from.
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

/// What an engine is told.
#[derive(Clone, Copy, Debug)]
pub(super) enum Command {
    /// Grow to so many clients, of all threads together; say `Ready` when they are up.
    Connect { clients: usize },
    /// Ping by this plan; what is sent from then until then counts; then end.
    Measure { plan: Plan, from_ns: u64, until_ns: u64 },
    /// End now.
    Stop,
}

/// What the main thread is told.
#[derive(Debug)]
pub(super) enum Event {
    /// Nobody of this thread waits to connect.
    Ready { connected: u64, closed: u64 },
    /// A client could not connect.
    Failed(String),
    /// So many lost their connection, and will try again.
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

//! What every attack has to leave as it was: a bystander's messages, the server's memory, its log.
//!
//! Delays are measured here, and nowhere else in the tests: that a bystander's p99 stays within three
//! times its quiet one is what the server promises under attack. On a busy machine that alone would
//! fail now and then. So there is a floor, and time in which the shards or the bystander waited for a
//! processor (`/proc/PID/task/TID/schedstat`) is no part of a delay: a server that makes others wait
//! for an attacker's work has a processor all the while.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use push_tests::clients::{Client, Connect};
use push_tests::expectations::PATIENCE;
use push_tests::metrics::Metrics;
use push_tests::server::{Server, ServerBuilder};
use push_tests::skip::TestResult;
use push_tests::stand_in;
use push_tests::wire::Version;

/// One attack at a time: another one's load is no part of this one's.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// The bystander's rounds that make a quiet p99, and the fewest under attack.
const ROUNDS: usize = 300;

/// The bystander pings once in so many rounds at most, and so seldom: it keeps to the ping rate.
const PING_EVERY: Duration = Duration::from_millis(1_200);

/// Delays under attack: so many times the quiet p99, and at least the floor.
const TIMES_QUIET: u32 = 3;
const FLOOR: Duration = Duration::from_millis(50);

/// Percent of its memory that a server may have more than before.
const MEMORY_PERCENT_MAX: u64 = 110;

/// Lines of one kind in a second: ten, and one that counts the others.
const LINES_MAX: usize = 11;

/// Clients, and messages of each, that make a server touch the memory that it keeps.
const WARM_UP_CLIENTS: usize = 64;
const WARM_UP_MESSAGES: usize = 80;
const WARM_UP_BYTES: usize = 8 << 10;

/// An attack, and what is to be seen of it.
pub(crate) struct Attack<'a> {
    /// The server under attack.
    pub(crate) server: ServerBuilder,
    /// How the bystander connects.
    pub(crate) bystander: Connect,
    /// Counters, and how far each has moved at least.
    pub(crate) counters: &'a [(&'a str, u64)],
    /// Whether the memory before is that of a server that has been through such an attack once:
    /// tables and the allocator keep what they have needed, and that is no more after the next one.
    pub(crate) is_rehearsed: bool,
}

impl<'a> Attack<'a> {
    pub(crate) fn on(server: ServerBuilder, counters: &'a [(&'a str, u64)]) -> Self {
        let bystander = Connect::new(Version::V5, "bystander");
        Self { server, bystander, counters, is_rehearsed: false }
    }

    /// The same, rehearsed once.
    pub(crate) fn rehearsed(self) -> Self {
        Self { is_rehearsed: true, ..self }
    }

    /// Base, attack, and what is left. What `attack` returns is held until the bystander has had
    /// its rounds; then `end` gives it up, as attackers do when they go.
    pub(crate) fn withstood<T: Send>(
        &self,
        attack: impl Fn(&Server) -> T + Sync,
        end: impl Fn(&Server, T),
    ) -> TestResult {
        stand_in::not_for("has no such limits")?;
        let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let server = self.server.start()?;
        warm_up(&server, &self.bystander);
        let mut bystander = Bystander::new(&server, &self.bystander);
        if self.is_rehearsed {
            end(&server, attack(&server));
            server.wait_metric("push_connections", |connections| connections == 1);
        }
        let quiet = bystander.watch(|rounds| rounds < ROUNDS);
        let memory = memory_kib(&server);
        let before = server.metrics();
        let (held, under_attack) = thread::scope(|scope| {
            let attacker = scope.spawn(|| attack(&server));
            let seen = bystander.watch(|rounds| !attacker.is_finished() || rounds < ROUNDS);
            (attacker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), seen)
        });
        let peak = memory_kib(&server);
        end(&server, held);
        server.wait_metric("push_connections", |connections| connections == 1);
        let after = server.metrics();
        println!(
            "quiet: {quiet}; under attack: {under_attack}; memory {memory} KiB, then {peak} KiB"
        );
        under_attack.assert_served(&quiet);
        for (counter, least) in self.counters {
            let moved = after.value(counter) - before.value(counter);
            println!("{counter}: {moved}");
            assert!(
                moved >= *least,
                "{counter} has moved by {moved}; {}",
                moved_of(&before, &after)
            );
        }
        bystander.round();
        wait_memory(&server, memory);
        assert_log_is_calm(&server.log());
        server.finish();
        Ok(())
    }
}

/// What has moved, for who wonders why a counter has not.
fn moved_of(before: &Metrics, after: &Metrics) -> String {
    let known: BTreeSet<&str> = before.text().lines().collect();
    let moved =
        after.text().lines().filter(|line| line.contains("_total") && !known.contains(line));
    moved.collect::<Vec<_>>().join(", ")
}

/// Delays of a bystander's rounds.
struct Seen {
    rounds: usize,
    p99: Duration,
    max: Duration,
    /// The longest of the times that are no part of them.
    processor_max: Duration,
}

impl Seen {
    #[track_caller]
    fn assert_served(&self, quiet: &Self) {
        let most = (TIMES_QUIET * quiet.p99).max(FLOOR);
        assert!(self.p99 <= most, "the bystander waited: {self}; quiet: {quiet}");
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rounds, p99, max, processor_max } = self;
        write!(
            formatter,
            "p99 {p99:.1?} of {rounds} rounds, at most {max:.1?}, and {processor_max:.1?} for a processor"
        )
    }
}

/// A client that was there before: it publishes to itself, and pings.
struct Bystander {
    client: Client,
    pinged: Instant,
    /// Of the server's threads that serve clients, and of this one.
    schedules: Vec<PathBuf>,
}

impl Bystander {
    fn new(server: &Server, connect: &Connect) -> Self {
        let mut client = Client::connect(server.target(), connect);
        client.subscribe(&[("bystander/own", 1)]);
        Self { client, pinged: Instant::now(), schedules: schedules(server) }
    }

    /// A message there and back, and sometimes a ping.
    fn round(&mut self) {
        let pings = self.pinged.elapsed() >= PING_EVERY;
        if pings {
            self.pinged = Instant::now();
            self.client.ping();
        }
        assert!(self.client.publish("bystander/own", b"still served?", 1) < 0x80);
        self.client.message();
    }

    /// Rounds as long as `goes_on` says of their number.
    fn watch(&mut self, goes_on: impl Fn(usize) -> bool) -> Seen {
        let (mut delays, mut processor_max) = (Vec::new(), Duration::ZERO);
        while goes_on(delays.len()) {
            let waited = self.waited_for_processor();
            let begun = Instant::now();
            self.round();
            let took = begun.elapsed();
            let waited = self.waited_for_processor() - waited;
            delays.push(took.saturating_sub(waited));
            processor_max = processor_max.max(waited);
            thread::sleep(NAP);
        }
        let p99 = p99(&mut delays);
        Seen {
            rounds: delays.len(),
            p99,
            max: delays.last().copied().unwrap_or_default(),
            processor_max,
        }
    }

    /// How long those threads have waited for a processor so far, in all.
    fn waited_for_processor(&self) -> Duration {
        let waited = |path: &PathBuf| -> Option<u64> {
            let text = fs::read_to_string(path).ok()?;
            text.split_whitespace().nth(1)?.parse().ok()
        };
        Duration::from_nanos(self.schedules.iter().filter_map(waited).sum())
    }
}

/// The files that tell of each shard's thread, and of this thread, how long it has waited for a processor.
fn schedules(server: &Server) -> Vec<PathBuf> {
    let tasks = fs::read_dir(format!("/proc/{}/task", server.pid())).expect("the server's threads");
    let tasks = tasks.map(|task| task.expect("a thread").path());
    let is_shard = |task: &PathBuf| {
        fs::read_to_string(task.join("comm")).is_ok_and(|name| name.starts_with("shard"))
    };
    let shards: Vec<_> = tasks.filter(is_shard).map(|task| task.join("schedstat")).collect();
    assert!(!shards.is_empty(), "no thread of the server is called shard");
    shards.into_iter().chain([PathBuf::from("/proc/thread-self/schedstat")]).collect()
}

/// Between two rounds: there is a round every millisecond or so.
const NAP: Duration = Duration::from_millis(1);

/// The 99th percentile. Sorts the delays.
fn p99(delays: &mut [Duration]) -> Duration {
    delays.sort();
    delays[(delays.len() * 99).div_ceil(100) - 1]
}

/// Makes the server touch what it keeps in any case: receive buffers, tables, the allocator's arenas.
fn warm_up(server: &Server, like: &Connect) {
    for round in 0..2 {
        let mut clients: Vec<Client> = (0..WARM_UP_CLIENTS)
            .map(|number| {
                let client_id = format!("warm-{round}-{number}");
                let mut client =
                    Client::connect(server.target(), &Connect { client_id, ..like.clone() });
                client.subscribe(&[(&format!("warm/{number}"), 0)]);
                client
            })
            .collect();
        for (number, client) in clients.iter_mut().enumerate() {
            let (topic, payload) = (format!("warm/{number}"), vec![7; WARM_UP_BYTES]);
            for _ in 0..WARM_UP_MESSAGES {
                client.publish(&topic, &payload, 1);
                client.message();
            }
        }
        clients.into_iter().for_each(Client::disconnect);
        server.wait_metric("push_connections", |connections| connections == 0);
    }
}

/// The server's memory that is its own and no file's, in KiB.
fn memory_kib(server: &Server) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid()));
    let status = status.expect("look at the server's memory");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.expect("RssAnon in /proc/PID/status")
}

/// Waits until the server's memory is about what it was.
#[track_caller]
fn wait_memory(server: &Server, base_kib: u64) {
    let begun = Instant::now();
    loop {
        let now = memory_kib(server);
        if now <= base_kib * MEMORY_PERCENT_MAX / 100 {
            println!("memory after: {now} KiB");
            return;
        }
        assert!(begun.elapsed() < PATIENCE / 3, "{now} KiB are left of {base_kib} KiB before");
        thread::sleep(Duration::from_millis(100));
    }
}

/// No kind of line comes more often than it may, however often its cause does.
#[track_caller]
fn assert_log_is_calm(log: &str) {
    const SECONDS_LEN: usize = "2026-11-30T10:00:00".len();
    let mut counts = BTreeMap::new();
    for line in log.lines() {
        let Some(second) = line.get(..SECONDS_LEN) else { continue };
        let words = line[SECONDS_LEN..].split_whitespace().skip(1);
        let kind: Vec<&str> = words.take_while(|word| !word.contains('=')).collect();
        // Some lines begin with a number of something.
        let kind = kind.join(" ").replace(|c: char| c.is_ascii_digit(), "");
        *counts.entry((kind, second)).or_insert(0) += 1;
    }
    let loud: Vec<_> = counts.iter().filter(|(_, count)| **count > LINES_MAX).collect();
    assert!(loud.is_empty(), "{loud:?}");
}

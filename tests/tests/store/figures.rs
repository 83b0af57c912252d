//! What a start and full load cost. With `PUSH_STORE_FIGURES` at full size, and printed; else a
//! hundredth of it, which only has to come out right.

use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use push_server::broker::SubscriptionOptions;
use push_server::store::embedded::{self, Durability, EmbeddedStore, StoreOptions};
use push_server::store::{Outcome, Sink, Store as _, StoreCounters, Write};

use super::rig::{message, no_retained, put, put_session, remove, subscribe};

const FIGURES_VARIABLE: &str = "PUSH_STORE_FIGURES";

const SESSIONS: u64 = 100_000;
const MESSAGES_PER_SESSION: u64 = 10;
const PAYLOAD_BYTES: usize = 100;
/// Requests under way at a time.
const WINDOW: u64 = 20_000;
/// Messages of the load, to so many sessions.
const LOAD_MESSAGES: u64 = 1_000_000;
const LOAD_SESSIONS: u64 = 1_000;
/// In a token: not the message, but its removal.
const REMOVAL: u64 = 1 << 63;

fn scale() -> u64 {
    if std::env::var_os(FIGURES_VARIABLE).is_some() { 1 } else { 100 }
}

struct Tell(Sender<u64>);

impl Sink<u64> for Tell {
    fn complete(&mut self, token: u64, outcome: Outcome) {
        assert!(matches!(outcome, Outcome::Committed), "{outcome:?}");
        let _ = self.0.send(token);
    }

    fn flush(&mut self) {}
}

/// A store whose callers wait when too much is under way.
struct Paced {
    store: EmbeddedStore<u64>,
    told: Receiver<u64>,
    under_way: u64,
}

impl Paced {
    fn open(dir: &Path, durability: Durability) -> Self {
        let (tell, told) = channel();
        let (store, _) =
            embedded::open(StoreOptions::new(dir, durability), no_retained(), Tell(tell)).unwrap();
        Self { store, told, under_way: 0 }
    }

    /// Returns what has been committed meanwhile.
    fn commit(&mut self, writes: Vec<Write>, token: u64) -> Vec<u64> {
        self.store.commit(writes, token);
        self.under_way += 1;
        let mut done: Vec<_> = self.told.try_iter().collect();
        while self.under_way - done.len() as u64 >= WINDOW {
            done.push(self.told.recv().unwrap());
        }
        self.under_way -= done.len() as u64;
        done
    }

    fn finish(&mut self) -> Vec<u64> {
        let done: Vec<_> = (0..self.under_way).map(|_| self.told.recv().unwrap()).collect();
        self.under_way = 0;
        done
    }

    fn counter(&self, counter: impl Fn(&StoreCounters) -> &std::sync::atomic::AtomicU64) -> u64 {
        counter(self.store.counters()).load(std::sync::atomic::Ordering::Relaxed)
    }
}

/// Memory of this process, in MiB: a line of `/proc/self/status`.
fn memory_mib(line: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let found = status.lines().find(|found| found.starts_with(line)).unwrap();
    found.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1_024
}

/// CPU time of this process.
fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::try_from(time).unwrap()
}

#[test]
fn a_start_reads_everything_but_the_bodies() {
    let sessions = SESSIONS / scale();
    let dir = tempfile::tempdir().unwrap();
    let mut paced = Paced::open(dir.path(), Durability::Os);
    for number in 0..sessions {
        let filter = format!("push/device/{number:08}");
        let client_id = format!("client-{number:08}");
        let subscription = subscribe(number, &filter, SubscriptionOptions::default());
        paced.commit(vec![put_session(number, &client_id), subscription], 0);
    }
    for position in 0..MESSAGES_PER_SESSION {
        for number in 0..sessions {
            let topic = format!("push/device/{number:08}");
            let message = message(&topic, vec![position as u8; PAYLOAD_BYTES]);
            paced.commit(vec![put(number, position, &message)], 0);
        }
    }
    paced.finish();
    drop(paced);

    let (started, cpu_before) = (Instant::now(), cpu());
    let (tell, _told) = channel();
    let (_store, recovered) =
        embedded::open(StoreOptions::new(dir.path(), Durability::Os), no_retained(), Tell(tell))
            .unwrap();
    println!(
        "start with {sessions} sessions, a subscription and {MESSAGES_PER_SESSION} messages each: \
         {:?}, {:?} of CPU; resident {} MiB, at most {} MiB",
        started.elapsed(),
        cpu() - cpu_before,
        memory_mib("VmRSS"),
        memory_mib("VmHWM"),
    );
    assert_eq!(recovered.sessions.len() as u64, sessions);
    for session in &recovered.sessions {
        assert_eq!(u64::from(session.outbox.messages), MESSAGES_PER_SESSION);
        assert_eq!(session.subscriptions.len(), 1);
    }
}

#[test]
fn full_load_is_written_in_groups() {
    for durability in [Durability::Fsync, Durability::Os] {
        // Acknowledged when the commit is reported, or at once.
        for is_acknowledged_at_once in [false, true] {
            load(durability, is_acknowledged_at_once);
        }
    }
}

fn load(durability: Durability, is_acknowledged_at_once: bool) {
    let messages = LOAD_MESSAGES / scale();
    let dir = tempfile::tempdir().unwrap();
    let mut paced = Paced::open(dir.path(), durability);
    for number in 0..LOAD_SESSIONS {
        paced.commit(vec![put_session(number, &number.to_string())], REMOVAL);
    }
    paced.finish();
    let (started, cpu_before) = (Instant::now(), cpu());
    let (groups, fsyncs) = (paced.counter(|c| &c.groups), paced.counter(|c| &c.fsyncs));
    let mut removed = 0;
    for step in 0..messages {
        let (number, position) = (step % LOAD_SESSIONS, step / LOAD_SESSIONS);
        let message = message("load/devices/00000001", vec![0; PAYLOAD_BYTES]);
        let mut done = paced.commit(vec![put(number, position, &message)], step);
        if is_acknowledged_at_once {
            paced.commit(vec![remove(number, position)], step | REMOVAL);
            removed += 1;
            continue;
        }
        while let Some(token) = done.pop() {
            if token & REMOVAL == 0 {
                let (number, position) = (token % LOAD_SESSIONS, token / LOAD_SESSIONS);
                done.extend(paced.commit(vec![remove(number, position)], token | REMOVAL));
                removed += 1;
            }
        }
    }
    paced.finish();
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "{durability:?}, acknowledged {}: {:.0} messages/s, {:.2} us of CPU each, the caller's \
         included; {} groups, {} fsyncs ({:.0}/s), {} records written, {} not",
        if is_acknowledged_at_once { "at once" } else { "after the commit" },
        messages as f64 / seconds,
        (cpu() - cpu_before).as_secs_f64() * 1e6 / messages as f64,
        paced.counter(|c| &c.groups) - groups,
        paced.counter(|c| &c.fsyncs) - fsyncs,
        (paced.counter(|c| &c.fsyncs) - fsyncs) as f64 / seconds,
        paced.counter(|c| &c.records),
        paced.counter(|c| &c.coalesced),
    );
    // Otherwise it depends on the disk how many were reported while messages still came.
    assert!(!is_acknowledged_at_once || removed == messages);
    assert!(paced.counter(|c| &c.groups) - groups < messages);
    assert_eq!(paced.store.backlog_bytes(), 0);
}

//! `kill -9` of a process that writes at full speed: all that was reported as committed is there, and
//! every request is there as a whole or not at all.
//!
//! The process is this test binary. It notes each completion in a ledger, with one write per group,
//! which outlives it. What step `n` wrote follows from `n`, so the ledger holds numbers only.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use push_server::broker::Message;
use push_server::store::embedded::{self, Durability, StoreOptions};
use push_server::store::{Outcome, SessionNumber, Sink, Store as _, Stored, Write};
use rand::RngExt as _;

use super::rig::{Rig, message, no_retained, options, put, put_session, release, remove};

/// Rounds of each durability when nothing else is said.
const ROUNDS: u64 = 4;
const ROUNDS_VARIABLE: &str = "PUSH_STORE_ROUNDS";
/// Tells the process to be killed where to write, how, and its round.
const DIR_VARIABLE: &str = "PUSH_STORE_CRASH_DIR";
const DURABILITY_VARIABLE: &str = "PUSH_STORE_CRASH_DURABILITY";
const ROUND_VARIABLE: &str = "PUSH_STORE_CRASH_ROUND";

/// Sessions of a round: each message goes to one of the first half, which removes it, and to one of
/// the other, which keeps it.
const SESSIONS: u64 = 16;
/// Requests under way at a time.
const WINDOW: u64 = 2_000;
/// In a token: not the message's request, but its removal.
const REMOVAL: u64 = 1 << 63;
/// Longest time from the first commit to the kill.
const LIFE_MS_MAX: u64 = 600;

#[test]
fn what_was_committed_outlives_kill_9_with_os() {
    rounds(Durability::Os, "os");
}

#[test]
fn what_was_committed_outlives_kill_9_with_fsync() {
    rounds(Durability::Fsync, "fsync");
}

/// Not a test by itself: the process to be killed.
#[test]
fn process_to_be_killed() {
    let Some(dir) = std::env::var_os(DIR_VARIABLE).map(PathBuf::from) else { return };
    let variable = |name| std::env::var(name).unwrap();
    let durability = durability(&variable(DURABILITY_VARIABLE));
    write_without_end(&dir, durability, variable(ROUND_VARIABLE).parse().unwrap());
}

fn durability(name: &str) -> Durability {
    if name == "os" { Durability::Os } else { Durability::Fsync }
}

fn rounds(durability: Durability, name: &str) {
    let rounds = std::env::var(ROUNDS_VARIABLE).map_or(ROUNDS, |text| text.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let mut random = rand::rng();
    let (mut committed, mut unreported) = (0, 0);
    for round in 1..=rounds {
        let ledger = ledger(dir.path(), round);
        let mut child = start(dir.path(), name, round);
        // Now and then before it has written anything.
        if random.random_range(0..8) > 0 {
            await_first_commit(&ledger, &mut child);
        }
        std::thread::sleep(Duration::from_millis(random.random_range(0..LIFE_MS_MAX)));
        child.kill().unwrap();
        child.wait().unwrap();
        let (in_ledger, beyond) = verify(dir.path(), durability, round, &read_ledger(&ledger));
        committed += in_ledger;
        unreported += beyond;
    }
    println!(
        "{name}: {rounds} rounds, {committed} requests reported as committed, all there; \
         {unreported} more there"
    );
    assert!(committed > 0);
}

fn ledger(dir: &Path, round: u64) -> PathBuf {
    dir.join(format!("ledger.{round}"))
}

fn start(dir: &Path, durability: &str, round: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::process_to_be_killed", "--nocapture"])
        .env(DIR_VARIABLE, dir)
        .env(DURABILITY_VARIABLE, durability)
        .env(ROUND_VARIABLE, round.to_string())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap()
}

fn await_first_commit(ledger: &Path, child: &mut Child) {
    while ledger.metadata().map_or(0, |found| found.len()) == 0 {
        assert!(child.try_wait().unwrap().is_none(), "the process ended by itself");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn read_ledger(ledger: &Path) -> HashSet<u64> {
    let bytes = std::fs::read(ledger).unwrap_or_default();
    let (tokens, rest) = bytes.as_chunks::<8>();
    assert!(rest.is_empty(), "a write is whole or not there");
    tokens.iter().map(|token| u64::from_le_bytes(*token)).collect()
}

/// Opens what the kill has left, and compares it to the ledger. Returns how many requests it says
/// were committed, and how many messages are there beyond.
fn verify(dir: &Path, durability: Durability, round: u64, ledger: &HashSet<u64>) -> (u64, u64) {
    let options = StoreOptions { durability, ..options(&data_dir(dir)) };
    let mut rig = Rig::try_open(options).unwrap();
    assert_eq!(rig.counter(|c| &c.unreadable), 0);
    let first = round * SESSIONS;
    let of_round = |number: u64| (first..first + SESSIONS).contains(&number);
    let numbers: HashSet<u64> = rig.recovered.sessions.iter().map(|s| s.number.0).collect();
    assert!(numbers.iter().all(|&number| of_round(number)), "removed sessions came back");
    let is_there = !numbers.is_empty();
    assert!(is_there || ledger.is_empty());
    assert!(!is_there || numbers.len() as u64 == SESSIONS, "half of a request is there");
    let mut found: Vec<HashSet<u64>> = Vec::new();
    let mut exactly_once = HashSet::new();
    for number in numbers.iter().copied().collect::<std::collections::BTreeSet<_>>() {
        let summary = rig.session(number).outbox;
        exactly_once.extend(rig.session(number).exactly_once.iter().map(|&id| (number, id)));
        let outbox = rig.outbox(number);
        assert_eq!(summary.messages as usize, outbox.len());
        for (position, stored) in &outbox {
            match stored {
                Stored::Entry(entry) => assert_eq!(entry.message, body(*position)),
                Stored::Released => assert!(is_released_first(*position)),
            }
        }
        let is_released = |&(position, ref stored): &(u64, Stored)| {
            (*stored == Stored::Released).then_some(position | REMOVAL)
        };
        let released = outbox.iter().filter_map(is_released).collect::<Vec<_>>();
        found.push(outbox.iter().map(|&(position, _)| position).chain(released).collect());
    }
    let last = found.iter().flatten().map(|position| position & !REMOVAL).max().unwrap_or(0);
    let mut beyond = 0;
    for step in (1..=last).chain(ledger.iter().copied().filter(|token| token & REMOVAL == 0)) {
        let (leaving, keeping) = sessions_of(step);
        let is_kept = found[keeping as usize].contains(&step);
        let is_left = found[leaving as usize].contains(&step);
        let id = (first + leaving, packet_id(step));
        assert!(is_kept || !ledger.contains(&step), "committed message {step} is gone");
        beyond += u64::from(is_kept && !ledger.contains(&step));
        if ledger.contains(&(step | REMOVAL)) {
            let is_released = found[leaving as usize].contains(&(step | REMOVAL));
            assert!(!is_left || is_released, "removed message {step} came back");
            assert!(is_released_first(step) || !is_left);
            assert!(!exactly_once.contains(&id), "the packet id of message {step} came back");
        } else if !is_removed(step) {
            assert_eq!(is_left, is_kept, "half of request {step} is there");
            assert_eq!(exactly_once.contains(&id), is_kept, "half of request {step} is there");
        } else {
            assert!(!is_left || is_kept, "half of request {step} is there");
            let both = is_left && !found[leaving as usize].contains(&(step | REMOVAL));
            assert_eq!(exactly_once.contains(&id), both, "half of a removal of {step} is there");
        }
    }
    for number in numbers {
        rig.commit(vec![Write::RemoveSession { number: SessionNumber(number) }]);
    }
    (ledger.len() as u64, beyond)
}

fn data_dir(dir: &Path) -> PathBuf {
    dir.join("data")
}

/// Which sessions of a round get message `step`: one that removes it, and one that keeps it.
fn sessions_of(step: u64) -> (u64, u64) {
    (step % (SESSIONS / 2), SESSIONS / 2 + step % (SESSIONS / 2))
}

fn is_removed(step: u64) -> bool {
    !step.is_multiple_of(3)
}

/// Whether the removal of a message is a release.
fn is_released_first(step: u64) -> bool {
    is_removed(step) && step.is_multiple_of(5)
}

/// Below 65,536 steps a session each has its own.
fn packet_id(step: u64) -> u16 {
    (step / (SESSIONS / 2)) as u16
}

fn body(step: u64) -> Arc<Message> {
    let bytes = if step.is_multiple_of(64) { 20_000 } else { 20 + step % 1_000 };
    message("crash", vec![step as u8; bytes as usize])
}

fn writes(round: u64, step: u64) -> Vec<Write> {
    let (leaving, keeping) = sessions_of(step);
    let first = round * SESSIONS;
    let body = body(step);
    let number = SessionNumber(first + leaving);
    vec![
        put(first + leaving, step, &body),
        Write::PutExactlyOnce { number, packet_id: packet_id(step) },
        put(first + keeping, step, &body),
    ]
}

fn removal(round: u64, step: u64) -> Vec<Write> {
    let leaving = round * SESSIONS + sessions_of(step).0;
    let number = SessionNumber(leaving);
    let forget = Write::RemoveExactlyOnce { number, packet_id: packet_id(step) };
    let leave = if is_released_first(step) { release } else { remove };
    vec![leave(leaving, step), forget]
}

/// Notes completions in the ledger, then tells the writer.
struct Ledger {
    file: File,
    tokens: Vec<u64>,
    tell: Sender<u64>,
}

impl Sink<u64> for Ledger {
    fn complete(&mut self, token: u64, outcome: Outcome) {
        assert!(matches!(outcome, Outcome::Committed), "{outcome:?}");
        self.tokens.push(token);
    }

    fn flush(&mut self) {
        // 0 is the sessions' own request.
        let noted = self.tokens.iter().filter(|&&token| token != 0);
        let bytes: Vec<u8> = noted.flat_map(|token| token.to_le_bytes()).collect();
        self.file.write_all(&bytes).unwrap();
        for token in self.tokens.drain(..) {
            let _ = self.tell.send(token);
        }
    }
}

fn write_without_end(dir: &Path, durability: Durability, round: u64) -> ! {
    let file = OpenOptions::new().create(true).append(true).open(ledger(dir, round)).unwrap();
    let (tell, told) = channel();
    let sink = Ledger { file, tokens: Vec::new(), tell };
    let options = StoreOptions { durability, ..options(&data_dir(dir)) };
    let (store, recovered) = embedded::open(options, no_retained(), sink).unwrap();
    assert!(recovered.sessions.is_empty());
    let first = round * SESSIONS;
    store.commit((first..first + SESSIONS).map(|n| put_session(n, &n.to_string())).collect(), 0);
    let (mut next, mut under_way) = (1, 1_u64);
    loop {
        while under_way < WINDOW {
            store.commit(writes(round, next), next);
            next += 1;
            under_way += 1;
        }
        let token = told.recv().unwrap();
        under_way -= 1;
        if token != 0 && token & REMOVAL == 0 && is_removed(token) {
            store.commit(removal(round, token), token | REMOVAL);
            under_way += 1;
        }
    }
}

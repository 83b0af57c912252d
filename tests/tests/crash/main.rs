//! `kill -9` at random moments under load, and again, on one data directory: what was acknowledged
//! arrives exactly as its QoS says.
//!
//! The real server, several publishers and subscribers that behave as the protocol wants it, a
//! thread each, and a [`push_tests::ledger`] that judges what they tell. Seeds decide what clients do and when
//! the server is killed; threads and sockets have a will of their own, so that a seed makes a run
//! alike and not the same.
//!
//! `PUSH_CRASH_ROUNDS` and `PUSH_CRASH_SEED` (`cargo xtask test crash kill_9 --rounds N --seed S`).
//! To see that it fails where it should: `PUSH_CRASH_ANYWAY=1` runs it against a server that keeps
//! nothing, `PUSH_STAND_IN=/usr/sbin/mosquitto` against mosquitto, and `PUSH_CRASH_ORDERLY=1` stops
//! either in order each time. That it fails only there: when all connections are cut at once and the
//! server lives on, nothing may be amiss.

mod link;
mod publisher;
mod rounds;
mod subscriber;
mod world;

use std::sync::{Mutex, PoisonError};

use push_tests::claims;
use push_tests::durable;
use push_tests::skip::TestResult;
use push_tests::stand_in;

use rounds::{Ending, Plan};

/// Rounds of an ordinary test run.
const ROUNDS: u32 = 5;

claims! {
    what_was_acknowledged_outlives_kill_9,
    what_was_acknowledged_outlives_cut_connections,
}

fn what_was_acknowledged_outlives_kill_9() -> TestResult {
    if std::env::var_os("PUSH_CRASH_ANYWAY").is_none() {
        durable::need()?;
    }
    let orderly = std::env::var_os("PUSH_CRASH_ORDERLY").is_some();
    run(if orderly { Ending::Orderly } else { Ending::Crash })
}

fn what_was_acknowledged_outlives_cut_connections() -> TestResult {
    stand_in::not_for("routes QoS 2 messages when PUBREL comes, in another order")?;
    run(Ending::Never)
}

/// One run at a time: each has as many clients as the machine is to bear.
static ALONE: Mutex<()> = Mutex::new(());

fn run(ending: Ending) -> TestResult {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let rounds = number("PUSH_CRASH_ROUNDS").unwrap_or(u64::from(ROUNDS));
    rounds::run(Plan {
        rounds: u32::try_from(rounds).expect("PUSH_CRASH_ROUNDS fits 32 bits"),
        seed: number("PUSH_CRASH_SEED").unwrap_or_else(rand::random),
        is_durable: durable::is_there()?,
        ending,
    })
}

fn number(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{variable} is no number: {value}")))
}

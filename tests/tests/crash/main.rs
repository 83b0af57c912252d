//! `kill -9` at random moments under load, and again, on one data directory: what was acknowledged
//! arrives exactly as its QoS says.
//!
//! The real server, several publishers and subscribers that behave as the protocol wants it, a
//! thread each, and a [`ledger`] that judges what they tell. Seeds decide what clients do and when
//! the server is killed; threads and sockets have a will of their own, so that a seed makes a run
//! alike and not the same.
//!
//! `PUSH_CRASH_ROUNDS` and `PUSH_CRASH_SEED` (`cargo xtask test crash --rounds N --seed S`);
//! To see that it fails where it should, and only there: `PUSH_CRASH_ANYWAY=1` runs it against a
//! server that keeps nothing, `PUSH_STAND_IN=/usr/sbin/mosquitto` against mosquitto, and
//! `PUSH_CRASH_ENDING=orderly` or `never` spares the server its crashes.

mod ledger;
mod link;
mod message;
mod publisher;
mod rounds;
mod subscriber;
mod world;

use push_tests::claims;
use push_tests::durable;
use push_tests::skip::TestResult;

use rounds::{Ending, Plan};

/// Rounds of an ordinary test run.
const ROUNDS: u32 = 5;

claims! {
    what_was_acknowledged_outlives_kill_9,
}

fn what_was_acknowledged_outlives_kill_9() -> TestResult {
    let anyway = std::env::var_os("PUSH_CRASH_ANYWAY").is_some();
    let is_durable = durable::is_there()?;
    if !anyway {
        durable::need()?;
    }
    let rounds = number("PUSH_CRASH_ROUNDS").unwrap_or(u64::from(ROUNDS));
    let plan = Plan {
        rounds: u32::try_from(rounds).expect("PUSH_CRASH_ROUNDS fits 32 bits"),
        seed: number("PUSH_CRASH_SEED").unwrap_or_else(rand::random),
        is_durable,
        ending: match std::env::var("PUSH_CRASH_ENDING").as_deref() {
            Ok("orderly") => Ending::Orderly,
            Ok("never") => Ending::Never,
            Ok(other) => panic!("PUSH_CRASH_ENDING is {other}, not orderly or never"),
            Err(_) => Ending::Crash,
        },
    };
    rounds::run(plan)
}

fn number(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{variable} is no number: {value}")))
}

//! Simulation: shards of the real code on ports in memory, in one thread and in virtual time, with clients
//! that speak MQTT to them. One scheduler, by a seed, decides whose turn it is, how far the clock moves, and
//! what goes wrong: short reads and writes, resets, full mailboxes, a disk that is slow or fails, crashes. A
//! ledger judges what comes of it.
//!
//! `PUSH_SIMULATION_SEED` runs one plan again, a seed or what a failure printed; `PUSH_SIMULATION_HOURS` runs new
//! seeds on all cores for so long (`cargo xtask test simulation --seed S`, `--hours H`).

mod device;
mod link;
mod plan;
mod publisher;
mod run;
mod subscriber;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use plan::Plan;
use run::Report;

/// Steps of a run.
const STEPS: u32 = 1_600;

/// Runs of an ordinary test, of the seeds from 0 on.
const RUNS: u64 = 60;

#[test]
fn what_shards_promise_they_keep_whatever_comes_between() {
    let report = match (seed_asked(), hours_asked()) {
        (Some(plan), _) => tried(&plan),
        (None, Some(hours)) => on_all_cores(Duration::from_secs_f64(hours * 3_600.0)),
        (None, None) => {
            let mut report = Report::default();
            (0..RUNS).for_each(|seed| report.add(&tried(&Plan::new(seed, STEPS))));
            report.prove();
            report
        }
    };
    println!("{report}");
}

#[test]
fn the_same_seed_brings_the_same_bytes_and_another_seed_others() {
    let digests = [1, 1, 2].map(|seed| tried(&Plan::new(seed, STEPS)).digest);
    assert_eq!(digests[0], digests[1]);
    assert_ne!(digests[0], digests[2]);
}

#[test]
fn a_plan_is_read_as_it_is_printed() {
    let plan = Plan { seed: 7, steps: vec![0, 1, 2, 5, 9, 10] };
    assert_eq!(plan.to_string(), "7:0-2,5-5,9-10");
    assert_eq!(plan::parse(&plan.to_string(), STEPS), Some(plan));
    assert_eq!(plan::parse("7", 3), Some(Plan::new(7, 3)));
    assert_eq!(plan::parse("7:x", 3), None);
}

fn seed_asked() -> Option<Plan> {
    let text = std::env::var("PUSH_SIMULATION_SEED").ok()?;
    let plan = plan::parse(&text, STEPS);
    Some(plan.unwrap_or_else(|| panic!("PUSH_SIMULATION_SEED is SEED or SEED:STEPS, not {text}")))
}

fn hours_asked() -> Option<f64> {
    let text = std::env::var("PUSH_SIMULATION_HOURS").ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("PUSH_SIMULATION_HOURS is no number: {text}")))
}

fn on_all_cores(time: Duration) -> Report {
    let end = Instant::now() + time;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut total = Report::default();
    std::thread::scope(|scope| {
        let work = || {
            let mut total = Report::default();
            while Instant::now() < end {
                total.add(&tried(&Plan::new(rand::random(), STEPS)));
            }
            total
        };
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        for thread in threads {
            match thread.join() {
                Ok(report) => total.add(&report),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
    });
    total
}

/// What a run comes to. A panic of the server's is a fault like others.
fn outcome(plan: &Plan) -> Result<Report, String> {
    catch_unwind(AssertUnwindSafe(|| run::run(plan))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
        Err(format!("panic: {}", text.unwrap_or_default()))
    })
}

/// A run that must not fail. A failure is told by the smallest run that shows it.
fn tried(plan: &Plan) -> Report {
    match outcome(plan) {
        Ok(report) => report,
        Err(fault) => {
            let smallest = plan.shrink(|plan| outcome(plan).is_err());
            let shown = outcome(&smallest).err().unwrap_or_default();
            panic!(
                "seed {}: {fault}\nthe smallest run that fails: PUSH_SIMULATION_SEED={smallest}\n{shown}",
                plan.seed
            )
        }
    }
}

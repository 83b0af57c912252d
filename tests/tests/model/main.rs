//! The splice between two TCP endpoints, with applications at both ends and an adversary on every
//! link, under virtual time. Both streams must come out as they went in, every ping be answered once,
//! or the connection end; and each rule that is left out must be noticed.
//!
//! `PUSH_MODEL_HOURS` runs new batches on all cores for so long (`cargo xtask test --model-hours`);
//! `PUSH_MODEL_SEED` runs one batch again.
mod apps;
mod claim;
mod early;
mod hooks;
mod hops;
mod link;
mod reassembly;
mod replay;
mod scenario;
mod segment;
mod streams;
mod tcp;
mod world;

use std::cell::RefCell;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};
use push_common::mutant::{Part, leave_out};

use hooks::Tally;
use scenario::{Scenario, scenarios};
use world::{Report, run, trace};

/// Steps of each application's plan, at most.
const ACTS_MAX: usize = 40;
/// Runs of a batch; a batch is what a seed tells.
const BATCH: u32 = 1_000;
/// Lines of a failed run's trace that are shown.
const TRACE_LINES_MAX: usize = 120;
/// Batches of an ordinary run.
const BATCHES: usize = 3;
/// Runs that may pass before a rule left out is noticed.
const MUTANT_RUNS_MAX: usize = 5_000;

#[test]
fn streams_stay_whole_and_every_ping_is_answered() {
    let report = match (seed_asked(), number("PUSH_MODEL_HOURS")) {
        (Some(seed), _) => batch(seed),
        (None, Some(hours)) => on_all_cores(Duration::from_secs_f64(hours * 3_600.0)),
        (None, None) => batches(|done| done < BATCHES),
    };
    println!("{}", summary(&report));
    // The path taken: all of the splice has been at work.
    let tally = &report.tally;
    let Tally { answered, resent, refilled, absorbed, stale, old, .. } = *tally;
    let Tally { icmp, silent, fragments, early_fragments, next_hops, .. } = *tally;
    let taken = [
        answered,
        resent,
        refilled,
        absorbed,
        stale,
        old,
        icmp,
        silent,
        fragments,
        early_fragments,
        next_hops,
    ];
    assert!(taken.iter().all(|&count| count > 0), "{tally:?}");
}

fn number(name: &str) -> Option<f64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text}")))
}

fn seed_asked() -> Option<u64> {
    let text = std::env::var("PUSH_MODEL_SEED").ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("PUSH_MODEL_SEED is a number, not {text}")))
}

fn on_all_cores(time: Duration) -> Report {
    let end = Instant::now() + time;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut total = Report::default();
    std::thread::scope(|scope| {
        let work = || batches(|_| Instant::now() < end);
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

/// Batches with new seeds, as long as `go_on` says, told how many are done.
fn batches(go_on: impl Fn(usize) -> bool) -> Report {
    let mut total = Report::default();
    let mut done = 0;
    while go_on(done) {
        total.add(&batch(rand::random()));
        done += 1;
    }
    total
}

/// Runs as many scenarios as a batch has; a fault is shrunk and told with the batch's seed.
fn batch(seed: u64) -> Report {
    let total = RefCell::new(Report::default());
    let config = Config { cases: BATCH, failure_persistence: None, ..Config::default() };
    let result =
        TestRunner::new_with_rng(config, rng(seed)).run(&scenarios(ACTS_MAX), |scenario| {
            let report = run(&scenario).map_err(TestCaseError::fail)?;
            total.borrow_mut().add(&report);
            Ok(())
        });
    match result {
        Ok(()) => total.into_inner(),
        Err(TestError::Fail(fault, scenario)) => {
            let trace = trace(&scenario);
            let shown = trace.len().saturating_sub(TRACE_LINES_MAX);
            panic!(
                "PUSH_MODEL_SEED={seed} {fault}; the smallest run that shows it:\n{scenario:?}\n{}",
                trace[shown..].join("\n")
            )
        }
        Err(TestError::Abort(reason)) => panic!("PUSH_MODEL_SEED={seed} {reason}"),
    }
}

fn rng(seed: u64) -> TestRng {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    TestRng::from_seed(RngAlgorithm::ChaCha, &bytes)
}

fn summary(report: &Report) -> String {
    let Report { runs, steps, pings, tally, harm } = report;
    format!(
        "model: {runs} runs, {steps} steps, {pings} pings, {} answered by the splice; {} faults\n\
         {tally:?}\n{harm:?}",
        tally.answered,
        harm.total()
    )
}

/// Each of these leaves one part of the rules out and expects the model to break, in the runs of a
/// seed by which it soon does.
macro_rules! noticed {
    ($($name:ident: $part:ident by $seed:literal,)+) => {
        $(
            #[test]
            fn $name() {
                notices(Part::$part, $seed);
            }
        )+

        #[test]
        fn every_part_that_can_be_left_out_is() {
            // `early` and `claim` leave out others.
            let mut parts = vec![$(Part::$part),+, Part::EarlyFragment];
            parts.extend(claim::parts_left_out());
            for part in Part::ALL {
                assert!(parts.contains(part), "{part:?} is left out by no test");
            }
        }
    };
}

noticed! {
    rule_1_left_out_timestamps_is_noticed: ClientTimestamp by 0,
    rule_3_left_out_in_order_is_noticed: ClientInOrder by 0,
    rule_3_left_out_parsed_is_noticed: ClientParsed by 0,
    rule_4_left_out_acknowledged_is_noticed: ServerAcknowledged by 0,
    rule_4_left_out_whole_frames_is_noticed: ServerWhole by 0,
    rule_4_left_out_shown_to_the_stack_is_noticed: ServerShown by 13,
    rule_5_left_out_next_hop_is_noticed: NextHop by 0,
    rule_6_left_out_is_noticed: Resend by 0,
    rule_7_left_out_is_noticed: Refill by 0,
    rule_8_left_out_is_noticed: StaleBytes by 2,
    rule_12_left_out_silence_is_noticed: StackSilent by 0,
    rule_15_left_out_is_noticed: QuotedNumber by 0,
    rule_16_left_out_is_noticed: FragmentLength by 0,
    rule_23_left_out_is_noticed: Echo by 0,
}

/// The same scenarios each time, so that this is no matter of luck.
fn notices(part: Part, seed: u64) {
    let mut runner = TestRunner::new_with_rng(Config::default(), rng(seed));
    let scenarios = scenarios(ACTS_MAX);
    let mut next = || -> Scenario {
        scenarios.new_tree(&mut runner).expect("a scenario without conditions").current()
    };
    let found = (1..=MUTANT_RUNS_MAX).find_map(|runs| {
        let scenario = next();
        leave_out(Some(part));
        let fault = run(&scenario).err();
        leave_out(None);
        fault.map(|fault| (runs, scenario, fault))
    });
    let Some((runs, scenario, fault)) = found else {
        panic!("{MUTANT_RUNS_MAX} runs without {part:?}, and nobody noticed")
    };
    println!("without {part:?}: noticed in run {runs}: {fault}");
    run(&scenario).expect("with all rules the same run is right");
}

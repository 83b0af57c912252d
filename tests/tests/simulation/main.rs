//! Simulation: shards of the real code on ports in memory, in one thread and in virtual time, with clients
//! that speak MQTT to them. One scheduler, by a seed, decides whose turn it is, how far the clock moves, and
//! what goes wrong: short reads and writes, resets, full mailboxes, a disk that is slow or fails, crashes. A
//! ledger judges what comes of it.
//!
//! `PUSH_SIMULATION_SEED` runs one plan again, a seed or what a failure printed; `PUSH_SIMULATION_HOURS` runs seed after
//! seed on all cores for so long, from that one or a random one on (`cargo xtask test simulation --seed S`, `--hours H`);
//! `PUSH_SIMULATION_TRACE=1` tells what happens.

mod actors;
mod answers;
mod frames;
mod link;
mod plan;
mod report;
mod run;
mod scenarios;
mod trace;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use push_server::config::Config;
use push_server::shard::simulation::World;
use push_tests::wire::{self, Packet, Properties, Value, Version, Will, property};

use plan::Plan;
use push_server::mutant::{Rule, leave_out};
use report::Report;

/// Steps of a run.
const STEPS: u32 = 1_600;

/// Runs of an ordinary test, of the seeds from 0 on.
const RUNS: u64 = 50;

/// Runs that may pass before a rule left out is noticed.
const MUTANT_RUNS_MAX: u64 = 200;

#[test]
fn what_shards_promise_they_keep_whatever_comes_between() {
    let report = match (seed_asked(), hours_asked()) {
        (Some(plan), None) => tried(&plan),
        (first, Some(hours)) => {
            let first = first.map_or_else(rand::random, |plan| plan.seed);
            on_all_cores(first, Duration::from_secs_f64(hours * 3_600.0))
        }
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

/// A timer comes up to a tick after what it is for.
#[test]
fn a_will_whose_delay_has_passed_is_published_though_its_client_is_back_before_the_timer() {
    let config = Config { shards: 1, ..Config::default() };
    let mut world = World::new(&Arc::new(config), 1);
    let connect = |id, will: Option<&Will>| {
        let expiry = Properties(vec![(property::SESSION_EXPIRY_INTERVAL, Value::Number(60))]);
        wire::connect(Version::V5, id, 0, false, will, &expiry)
    };
    let witness = world.connect(0);
    witness.send(&connect("witness", None));
    witness.send(&wire::subscribe(Version::V5, 1, &[("will", 0)]));
    let delay = (property::WILL_DELAY_INTERVAL, Value::Number(2));
    let will =
        Will { topic: "will".into(), properties: Properties(vec![delay]), ..Will::default() };
    let device = world.connect(0);
    device.send(&connect("device", Some(&will)));
    // Between two ticks.
    world.advance(Duration::from_millis(1));
    device.reset();
    world.settle();
    assert!(device.is_closed());
    witness.take();
    world.leap(Duration::from_secs(2));
    let again = world.connect(0);
    again.send(&connect("device", None));
    world.settle();
    let Some((Packet::Connack { session_present: true, .. }, _)) =
        wire::decode(Version::V5, &again.take())
    else {
        panic!("its session is there")
    };
    world.advance(Duration::from_secs(1));
    let published = witness.take();
    assert!(
        matches!(wire::decode(Version::V5, &published), Some((Packet::Publish(_), _))),
        "{published:?}"
    );
}

/// Each of these leaves a rule out, and expects a run or a scenario to go wrong. With the rule it goes
/// right.
macro_rules! noticed {
    (
        runs { $($name:ident: $rule:ident,)+ }
        scenarios { $($scenario_name:ident: $scenario_rule:ident by $goes_wrong:path,)+ }
    ) => {
        $(
            #[test]
            fn $name() {
                notices(Rule::$rule);
            }
        )+
        $(
            #[test]
            fn $scenario_name() {
                goes_wrong_without(Rule::$scenario_rule, $goes_wrong);
            }
        )+

        #[test]
        fn every_rule_that_can_be_left_out_is() {
            assert_eq!([$(Rule::$rule,)+ $(Rule::$scenario_rule),+], Rule::ALL);
        }
    };
}

noticed! {
    runs {
        a_will_on_its_way_that_a_start_forgets_is_noticed: FoundWill,
        a_will_of_a_brief_session_that_is_not_on_disk_is_noticed: WillOfBriefSession,
        a_will_that_does_not_wait_is_noticed: WillDelay,
        a_session_that_outlives_its_time_is_noticed: ExpiredSession,
        a_connection_that_takes_over_from_a_later_one_is_noticed: LaterConnect,
        a_publish_that_is_acknowledged_too_early_is_noticed: PublishWaits,
        a_pubrel_that_comes_too_early_is_noticed: AnswerWaits,
        a_packet_id_that_a_start_forgets_is_noticed: ExactlyOnceFound,
        a_filter_that_stays_on_disk_is_noticed: FilterRemoved,
        a_session_that_stays_on_disk_is_noticed: SessionRemoved,
        a_move_that_loses_what_a_socket_has_not_taken_is_noticed: UnsentMoves,
        a_connect_that_does_not_find_a_session_that_has_moved_is_noticed: OwnerAsked,
        a_session_that_leaves_its_subscriptions_behind_is_noticed: SubscriptionsMove,
        what_a_member_leaves_and_nobody_gets_is_noticed: HandedOn,
        a_door_that_promises_too_early_is_noticed: DoorWaits,
        a_receiver_that_is_said_to_acknowledge_too_early_is_noticed: SlipWaits,
        a_receiver_that_is_away_and_not_followed_is_noticed: SlipOfAbsent,
        a_silent_client_that_stays_is_noticed: SilentExpires,
        a_client_that_goes_though_the_kernel_hears_it_is_noticed: KernelHears,
        more_unacknowledged_publishes_than_a_client_takes_are_noticed: ReceiveMaximum,
        a_packet_that_is_too_large_for_its_client_is_noticed: PacketBytesMax,
        publishes_sent_again_out_of_order_are_noticed: RetryOrder,
        a_publish_sent_again_without_dup_is_noticed: RetryIsDup,
        a_packet_id_forgotten_before_its_pubrel_is_noticed: PacketIdKept,
        a_message_sent_after_its_time_is_noticed: ExpiredUnsent,
    }
    scenarios {
        a_connack_that_comes_too_early_is_noticed:
            ConnackWaits by scenarios::loses_a_will_that_connack_has_promised,
        a_session_whose_time_stands_still_without_a_server_is_noticed:
            TimeWithoutServer by scenarios::is_resumed_after_its_time,
        a_second_answer_to_one_question_that_answers_the_next_is_noticed:
            AnswerToItsQuestion by answers::is_fooled_by_a_second_answer,
    }
}

/// That strangers can tell: the scenario does not ask them.
#[test]
fn a_yes_to_an_earlier_question_is_noticed_in_random_runs_too() {
    notices(Rule::AnswerToItsQuestion);
}

/// The same runs each time, so that this is no matter of luck.
fn notices(rule: Rule) {
    let found = (0..MUTANT_RUNS_MAX).find_map(|seed| {
        let plan = Plan::new(seed, STEPS);
        leave_out(Some(rule));
        let fault = outcome(&plan).err();
        leave_out(None);
        fault.map(|fault| (plan, fault))
    });
    let Some((plan, fault)) = found else {
        panic!("{MUTANT_RUNS_MAX} runs without {rule:?}, and nobody noticed")
    };
    println!("without {rule:?}: noticed in run {}: {fault}", plan.seed);
    outcome(&plan).expect("with all rules the same run is right");
}

/// For what random runs come by too seldom.
fn goes_wrong_without(rule: Rule, goes_wrong: fn() -> bool) {
    assert!(!goes_wrong(), "with all rules it is right");
    leave_out(Some(rule));
    let is_noticed = goes_wrong();
    leave_out(None);
    assert!(is_noticed, "without {rule:?}, and nobody noticed");
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

/// The seeds from `first` on, one after the other.
fn on_all_cores(first: u64, time: Duration) -> Report {
    let next = AtomicU64::new(first);
    let end = Instant::now() + time;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut total = Report::default();
    std::thread::scope(|scope| {
        let work = || {
            let mut total = Report::default();
            while Instant::now() < end {
                total.add(&tried(&Plan::new(next.fetch_add(1, Ordering::Relaxed), STEPS)));
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
        Err(fault) if trace::is_asked() => panic!("PUSH_SIMULATION_SEED={plan}: {fault}"),
        Err(fault) => {
            let kind = kind(&fault);
            let fails = |plan: &Plan| outcome(plan).is_err_and(|other| self::kind(&other) == kind);
            let smallest = plan.shrink(fails);
            let shown = outcome(&smallest).err().unwrap_or_default();
            panic!(
                "seed {}: {fault}\nthe smallest run that fails: PUSH_SIMULATION_SEED={smallest}\n{shown}",
                plan.seed
            )
        }
    }
}

/// What makes two faults alike: the words at their beginning, whoever it happened to.
fn kind(fault: &str) -> String {
    const WORDS: usize = 24;
    let told = fault.split("round ").nth(1).unwrap_or(fault);
    let words = told.splitn(3, ": ").last().unwrap_or(told);
    words.chars().filter(|letter| !letter.is_ascii_digit()).take(WORDS).collect()
}

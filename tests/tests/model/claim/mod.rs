//! Heartbeats inside TLS: every state that one connection can come to, with two CPUs, user space, both
//! TCPs, the client's TLS, and an adversary. The functions are push-common's; each access to shared memory is
//! a step of its own, and anybody may go on between two steps.
//!
//! It must hold in each state that no record number leaves with two contents, that each place of the
//! server's stream has one content for ever, that the client opens what it gets in order, that user space
//! opens what it gets, that no answer leaves while sealed bytes have not, that the claim word never goes
//! back, that no answer is rewritten before its number was used, and that every ping is answered or the
//! connection ends. And each rule that is left out, and each step in the wrong place, must be noticed.
//!
//! `weak` looks at orders of memory, which here are those of one after the other.

mod client;
mod ledger;
mod list;
mod message;
mod program;
mod rules;
mod search;
mod stack;
mod user;
mod walk;
mod weak;
mod word;
mod world;

use std::time::{Duration, Instant};

use push_common::mutant::Part;

use rules::Item::{Close, Data, KeyUpdate, KeyUpdateAsking, Ping};
use rules::{Budget, Rules, Wrong};
use search::{Found, search};
use world::Tally;

const NOBODY: Budget = Budget {
    lose_up: 0,
    lose_down: 0,
    lose_inside: 0,
    repeat: 0,
    hurry: 0,
    halve: 0,
    half_fill: 0,
    forge: 0,
    crash: 0,
};

const fn rules(
    client: &'static [rules::Item],
    server: &'static [rules::Item],
    budget: Budget,
) -> Rules<'static> {
    Rules { client, server, budget, wrong: None, left_out: None, only_outside: false }
}

const SENDS: Rules<'_> = rules(&[Ping, Ping], &[Data], NOBODY);
const SENDS_TWICE: Rules<'_> = rules(&[Ping], &[Data, Data], NOBODY);
const REPEATED: Rules<'_> = rules(&[Ping], &[Data], Budget { repeat: 1, ..NOBODY });
const LOST: Rules<'_> = rules(&[Ping, Ping], &[], Budget { lose_up: 1, lose_down: 1, ..NOBODY });
const HURRIED: Rules<'_> = rules(&[Ping], &[Data], Budget { lose_inside: 1, hurry: 1, ..NOBODY });
const HALVED: Rules<'_> = rules(&[Ping], &[Data], Budget { halve: 1, ..NOBODY });
const UPDATES: Rules<'_> = rules(&[Ping, Ping], &[KeyUpdate], NOBODY);
const UPDATED: Rules<'_> = rules(&[Ping, KeyUpdateAsking, Ping], &[], NOBODY);
const RECEIVES: Rules<'_> = rules(&[Ping, Data, Ping], &[], NOBODY);
const FORGED_LATE: Rules<'_> = rules(&[Ping, Data], &[], Budget { forge: 1, ..NOBODY });
const FORGED: Rules<'_> = rules(&[Ping, Ping], &[], Budget { forge: 1, ..NOBODY });
const HALF_FILLED: Rules<'_> = rules(&[Ping, Ping], &[Data], Budget { half_fill: 1, ..NOBODY });
const CLOSES: Rules<'_> = rules(&[Ping, Ping], &[Close], NOBODY);
const RUNS_DRY: Rules<'_> = rules(&[Ping, Ping, Ping], &[], NOBODY);
const CRASHES: Rules<'_> = rules(&[Ping, Ping], &[Data], Budget { crash: 1, ..NOBODY });

/// Goes through all states, and returns what was found on the way.
fn holds(rules: &Rules<'_>) -> Found {
    let found = holds_as_far_as(rules, usize::MAX);
    assert!(found.is_whole && found.ends > 0, "{found:?}");
    found
}

fn holds_as_far_as(rules: &Rules<'_>, states_max: usize) -> Found {
    let found = search(rules, states_max);
    println!("{}", summary(&found));
    if let Some((fault, acts)) = &found.fault {
        panic!("{rules:?}\n{fault}\nafter {acts:#?}");
    }
    found
}

fn summary(found: &Found) -> String {
    let Found { states, acts, ends, tally, took, .. } = found;
    format!("claim: {states} states, {acts} acts, {ends} ends, {took:.1?}\n{tally:?}")
}

#[test]
fn numbers_are_used_once_while_user_space_sends() {
    let tally = holds(&SENDS).tally;
    assert!(tally.answered > 0 && tally.claimed > 0, "{tally:?}");
    holds(&SENDS_TWICE);
}

#[test]
fn a_segment_that_comes_twice_is_answered_once() {
    holds(&REPEATED);
}

#[test]
fn rules_6_and_7_an_answer_that_was_lost_leaves_again_with_the_same_bytes() {
    let tally = holds(&LOST).tally;
    assert!(tally.resent > 0 && tally.refilled > 0, "{tally:?}");
}

#[test]
fn rule_8_stale_bytes_leave_as_the_answer_that_was_kept() {
    let tally = holds(&HURRIED).tally;
    assert!(tally.stale > 0, "{tally:?}");
}

#[test]
fn half_a_record_keeps_the_claim() {
    let tally = holds(&HALVED).tally;
    assert!(tally.halved > 0 && tally.claimed > 0, "{tally:?}");
}

#[test]
fn a_key_update_of_the_server_begins_an_epoch() {
    holds(&UPDATES);
}

#[test]
fn a_key_update_of_the_client_is_replied_to_under_one_claim() {
    holds(&UPDATED);
}

#[test]
fn received_records_move_the_receive_word() {
    holds(&RECEIVES);
}

#[test]
fn an_old_ping_in_the_place_of_the_next_record_is_not_answered() {
    for rules in [&FORGED, &FORGED_LATE] {
        let tally = holds(rules).tally;
        assert!(tally.forged > 0, "{tally:?}");
    }
}

#[test]
fn nothing_is_answered_after_close_notify() {
    holds(&CLOSES);
}

#[test]
fn what_the_table_does_not_have_is_left_to_user_space() {
    let tally = holds(&RUNS_DRY).tally;
    assert!(tally.answered > 0 && tally.no_answer > 0, "{tally:?}");
    let tally = holds(&HALF_FILLED).tally;
    assert!(tally.half_filled > 0 && tally.no_answer > 0, "{tally:?}");
}

#[test]
fn a_crash_of_user_space_breaks_no_stream() {
    let tally = holds(&CRASHES).tally;
    assert!(tally.crashed > 0, "{tally:?}");
}

/// Searched in a long run alone, each as far as so many states go.
const LARGER: [Rules<'_>; 9] = [
    rules(&[Ping, Ping], &[Data, Data], NOBODY),
    rules(&[Ping, Ping], &[Data, KeyUpdate], NOBODY),
    rules(&[Ping, Ping], &[KeyUpdate, Data], NOBODY),
    rules(&[Ping, Ping], &[Data], Budget { halve: 1, ..NOBODY }),
    rules(&[Ping, Data, Ping], &[Data], NOBODY),
    rules(&[Ping, KeyUpdateAsking, Ping], &[Data], NOBODY),
    rules(&[Ping, Ping], &[Data], Budget { repeat: 1, ..NOBODY }),
    rules(&[Ping, Ping], &[Data], Budget { lose_up: 1, lose_down: 1, ..NOBODY }),
    rules(&[Ping, Ping], &[Data, KeyUpdate], Budget { repeat: 1, ..NOBODY }),
];
const STATES_MAX: usize = 40_000_000;

/// Walks of an ordinary run.
const WALKS: u64 = 30_000;

#[test]
fn numbers_are_used_once_in_worlds_too_large_to_search() {
    let begun = Instant::now();
    let hours = crate::number("PUSH_MODEL_HOURS");
    let time = hours.map(|hours| Duration::from_secs_f64(hours * 3_600.0));
    if time.is_some() {
        for rules in &LARGER {
            holds_as_far_as(rules, STATES_MAX);
        }
    }
    let first = crate::seed_asked().unwrap_or_else(rand::random);
    let (mut walks, mut acts, mut tally) = (0, 0, Tally::default());
    while time.map_or(walks < WALKS, |time| begun.elapsed() < time) {
        let seed = first.wrapping_add(walks);
        match walk::walk(seed, &mut tally) {
            Ok(more) => acts += more,
            Err(fault) => panic!("PUSH_MODEL_SEED={seed} {fault}"),
        }
        walks += 1;
    }
    println!("claim: {walks} walks from seed {first}, {acts} acts\n{tally:?}");
    // Rule 8 is too rare here.
    let Tally { answered, resent, refilled, claimed, no_answer, .. } = tally;
    let Tally { crashed, forged, halved, half_filled, .. } = tally;
    let all =
        [answered, resent, refilled, claimed, no_answer, crashed, forged, halved, half_filled];
    assert!(all.iter().all(|&count| count > 0), "{tally:?}");
}

/// One rule is left out, or one step is in the wrong place.
#[derive(Clone, Copy, Debug)]
enum Mutant {
    Left(Part),
    /// One that nobody sees from outside.
    LeftInside(Part),
    Wrong(Wrong),
}

/// Each of these expects a fault that says so, seen from outside.
macro_rules! noticed {
    ($($name:ident: $mutant:expr, by $rules:ident, as $fault:literal;)+) => {
        $(
            #[test]
            fn $name() {
                notices($mutant, $rules, $fault);
            }
        )+

        /// The parts of push-common that are left out by some test here.
        pub(crate) fn parts_left_out() -> Vec<Part> {
            let part = |mutant: Mutant| match mutant {
                Mutant::Left(part) | Mutant::LeftInside(part) => Some(part),
                Mutant::Wrong(_) => None,
            };
            let mutants = [$($mutant),+].into_iter();
            mutants.filter_map(part).chain(weak::PARTS_LEFT_OUT).collect()
        }
    };
}

fn notices(mutant: Mutant, rules: Rules<'_>, fault: &str) {
    let rules = Rules { only_outside: true, ..rules };
    let rules = match mutant {
        Mutant::Left(part) => Rules { left_out: Some(part), ..rules },
        Mutant::LeftInside(part) => Rules { left_out: Some(part), only_outside: false, ..rules },
        Mutant::Wrong(wrong) => Rules { wrong: Some(wrong), ..rules },
    };
    let found = search(&rules, usize::MAX);
    let Some((found_fault, acts)) = &found.fault else { panic!("nobody noticed: {found:?}") };
    let (states, acts) = (found.states, acts.len());
    println!("{mutant:?}: noticed in state {states} after {acts} acts: {found_fault}");
    assert!(found_fault.contains(fault), "another fault than {fault:?}");
}

noticed! {
    rule_4_left_out_whole_frames_is_noticed:
        Mutant::Left(Part::ServerWhole), by SENDS, as "the client cannot open";
    rule_17_left_out_request_tag_is_noticed:
        Mutant::Left(Part::RequestTag), by FORGED_LATE, as "is_forged: true } is answered";
    rule_17_left_out_answer_tag_is_noticed:
        Mutant::Left(Part::AnswerTag), by HALF_FILLED, as "and left at 0 before";
    rule_17_compared_before_rx_is_noticed:
        Mutant::Wrong(Wrong::ReceiveWordFirst), by FORGED, as "is_forged: true } is answered";
    rule_18_left_out_held_is_noticed:
        Mutant::Left(Part::Held), by SENDS, as "kind: Pong } left before";
    rule_18_left_out_number_is_noticed:
        Mutant::Left(Part::NumberInWord), by SENDS, as "kind: Pong } left before";
    rule_18_left_out_exchange_is_noticed:
        Mutant::Left(Part::Exchange), by SENDS, as "kind: Pong } left before";
    rule_18_left_out_receive_word_is_noticed:
        Mutant::Left(Part::ReceiveWordMoved), by SENDS, as "user space opens";
    rule_18_tx_before_the_word_is_noticed:
        Mutant::Wrong(Wrong::TxFirst), by SENDS, as "the client cannot open";
    rule_18_copied_after_the_exchange_is_noticed:
        Mutant::Wrong(Wrong::CopyLate), by SENDS, as "the client cannot open";
    rule_19_left_out_erasing_is_noticed:
        Mutant::LeftInside(Part::EraseBeforeSealing), by SENDS, as "its answer is in the table";
    rule_19_left_out_handed_to_tcp_is_noticed:
        Mutant::Left(Part::HandedToTcp), by SENDS, as "the client cannot open";
    rule_19_left_out_published_is_noticed:
        Mutant::Left(Part::TxPublished), by SENDS, as "the client cannot open";
    rule_19_sealed_before_the_claim_is_noticed:
        Mutant::Wrong(Wrong::SealFirst), by SENDS, as "kind: Pong } left before";
    rule_19_released_at_half_a_record_is_noticed:
        Mutant::Wrong(Wrong::ReleaseAtHalf), by HALVED, as "the client cannot open";
    rule_19_released_before_a_reply_is_noticed:
        Mutant::Wrong(Wrong::ReleaseBeforeReply), by UPDATED, as "the client cannot open";
    rule_20_rx_before_the_receive_word_is_noticed:
        Mutant::Wrong(Wrong::RxFirst), by FORGED, as "is_forged: true } is answered";
    rule_21_left_out_is_noticed:
        Mutant::Left(Part::KeptAnswer), by HURRIED, as "left before";
    rule_22_left_out_epoch_is_noticed:
        Mutant::Left(Part::Epoch), by UPDATES, as "the client cannot open";
    rule_22_released_after_close_notify_is_noticed:
        Mutant::Wrong(Wrong::ReleaseAfterClose), by CLOSES, as "after close_notify";
}

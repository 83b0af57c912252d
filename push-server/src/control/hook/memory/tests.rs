use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::*;
use crate::access::{Credentials, Identity};

fn question(client_id: &str) -> HookQuestion {
    HookQuestion::of(&Credentials {
        client_id: client_id.into(),
        user_name: None,
        password: None,
        proof: None,
        certificate: None,
        peer: None,
        listener: None,
        protocol: "mqtt",
    })
}

fn at(secs: u64) -> Monotonic {
    Monotonic::default().after(Duration::from_secs(secs))
}

fn allow(expires_in: Option<u64>) -> HookAnswer {
    HookAnswer::Allow(Identity::default(), expires_in.map(Duration::from_secs))
}

#[test]
fn answers_are_given_again_while_they_hold() {
    let counts = Arc::<HookCounts>::default();
    let memory = Memory::new(Arc::clone(&counts));
    for (client, answer) in [("a", allow(None)), ("d", HookAnswer::Deny), ("e", allow(Some(9)))] {
        assert!(memory.answer(&question(client), at(1)).is_none());
        memory.add(&question(client), answer, at(1));
    }
    let is_known = |client, secs| memory.answer(&question(client), at(secs)).is_some();
    assert!(is_known("a", 60) && !is_known("a", 61));
    assert!(is_known("d", 5) && !is_known("d", 6));
    assert!(is_known("e", 9) && !is_known("e", 10));
    assert!(!is_known("b", 1));
    assert_eq!(counts.from_memory.load(Relaxed), 3);
    let again = memory.answer(&question("e"), at(5));
    let Some(HookAnswer::Allow(_, time)) = again else { panic!("{again:?}") };
    assert_eq!(time, Some(Duration::from_secs(5)), "four of nine are over");
    assert_eq!(counts.in_memory.load(Relaxed), 3);
    memory.forget_all();
    assert!(!is_known("a", 2));
    assert_eq!(counts.in_memory.load(Relaxed), 0);
}

#[test]
fn a_hundred_thousand_are_remembered_and_those_who_come_again_stay() {
    let counts = Arc::<HookCounts>::default();
    let memory = Memory::new(Arc::clone(&counts));
    memory.add(&question("known"), allow(None), at(0));
    for number in 0..HOOK_REMEMBERED_MAX + 5_000 {
        memory.add(&question(&number.to_string()), HookAnswer::Deny, at(0));
        if number % 100 == 0 {
            assert!(memory.answer(&question("known"), at(0)).is_some(), "{number}");
        }
    }
    assert!(counts.in_memory.load(Relaxed) <= HOOK_REMEMBERED_MAX);
    assert!(counts.forgotten_early.load(Relaxed) >= 5_000);
}

#[test]
fn a_large_answer_counts_as_many() {
    assert_eq!(weight(&HookAnswer::Deny), 1);
    assert_eq!(weight(&allow(None)), 1);
    let user = "u".repeat(10_240);
    assert_eq!(weight(&HookAnswer::Allow(Identity::of_user(user.into()), None)), 11);
}

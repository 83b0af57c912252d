use super::*;

fn at(millis: u64) -> Monotonic {
    Monotonic::default().after_millis(millis)
}

fn fail(rest: &mut HookRest, millis: u64) -> bool {
    let attempt = rest.ask(at(millis)).expect("it may be asked");
    rest.has_failed(attempt, at(millis))
}

#[test]
fn five_failures_in_a_row_are_a_rest_of_five_seconds_and_then_one_question() {
    let mut rest = HookRest::default();
    for _ in 0..HOOK_FAILURES_MAX - 1 {
        assert!(!fail(&mut rest, 100));
    }
    assert!(!rest.is_resting() && fail(&mut rest, 100) && rest.is_resting());
    assert!(rest.ask(at(100)).is_none() && rest.ask(at(5_099)).is_none());
    let attempt = rest.ask(at(5_100)).expect("one tries it");
    assert!(rest.ask(at(9_000)).is_none(), "nobody else asks before that has an answer");
    assert!(rest.is_resting());
    assert!(rest.has_answered(attempt) && !rest.is_resting());
    let attempts = [1, 2].map(|_| rest.ask(at(9_000)).expect("everybody asks"));
    assert_eq!(attempts.map(|attempt| rest.has_answered(attempt)), [false, false]);
}

#[test]
fn one_failure_of_the_one_that_tries_is_another_rest() {
    let mut rest = HookRest::default();
    (0..HOOK_FAILURES_MAX).for_each(|_| {
        fail(&mut rest, 0);
    });
    for begin in [5_000, 10_000, 15_000] {
        assert!(fail(&mut rest, begin), "it rests again at once");
        assert!(rest.ask(at(begin + 4_999)).is_none());
    }
    let attempt = rest.ask(at(20_000)).expect("one tries it");
    assert!(rest.has_answered(attempt));
    assert!(!fail(&mut rest, 20_000), "from then on, five count again");
}

#[test]
fn failures_that_are_not_in_a_row_are_no_reason_to_rest() {
    let mut rest = HookRest::default();
    for _ in 0..10 {
        (0..HOOK_FAILURES_MAX - 1).for_each(|_| assert!(!fail(&mut rest, 0)));
        let attempt = rest.ask(at(0)).expect("it may be asked");
        assert!(!rest.has_answered(attempt));
    }
}

#[test]
fn those_that_were_asked_before_do_not_lengthen_a_rest_and_may_end_it() {
    let mut rest = HookRest::default();
    let [late, later] = [1, 2].map(|_| rest.ask(at(0)).expect("it may be asked"));
    (0..HOOK_FAILURES_MAX).for_each(|_| {
        fail(&mut rest, 0);
    });
    assert!(!rest.has_failed(late, at(4_000)));
    let tries = rest.ask(at(5_000)).expect("the rest is over");
    assert!(!rest.has_failed(rest_of_before(), at(5_001)) && rest.ask(at(5_001)).is_none());
    assert!(rest.has_answered(later), "it does answer");
    assert!(rest.ask(at(5_002)).is_some());
    assert!(!rest.has_failed(tries, at(5_003)), "one failure since then");
}

fn rest_of_before() -> HookAttempt {
    HookAttempt { tries: false }
}

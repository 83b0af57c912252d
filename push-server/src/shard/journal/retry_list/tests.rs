//! Tests of `retry_list`.

use super::*;

fn giver(number: u64) -> Giver {
    Giver { key: Some(number as u32), number: SessionNumber(number) }
}

/// The sessions that are to hand on again.
fn givers(retrying: &mut Retrying) -> Vec<u64> {
    std::iter::from_fn(|| retrying.next())
        .map(|again| match again {
            Again::HandOn(giver) => giver.number.0,
            other => panic!("not pushed: {other:?}"),
        })
        .collect()
}

#[test]
fn a_session_that_fails_to_hand_on_again_and_again_is_one_entry() {
    let mut list = RetryList::default();
    for _ in 0..3 {
        list.push_giver(giver(1));
        list.push_giver(giver(2));
    }
    assert_eq!(givers(&mut list.begin_retry().expect("two wait")), [1, 2]);
    list.end_retry();
    assert!(list.begin_retry().is_none(), "they were taken");
}

#[test]
fn a_retry_begins_when_the_one_before_has_ended() {
    let mut list = RetryList::default();
    list.push_giver(giver(1));
    let mut first = list.begin_retry().expect("one waits");
    list.push_giver(giver(2));
    assert!(list.begin_retry().is_none(), "the first one goes on");
    assert_eq!(givers(&mut first), [1]);
    list.end_retry();
    assert_eq!(givers(&mut list.begin_retry().expect("one waits")), [2]);
}

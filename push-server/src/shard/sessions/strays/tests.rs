//! Tests of `strays`.

use super::*;
use crate::mqtt::Session;

fn found(number: u64, client_id: &str, user: Option<&str>) -> EndedSession {
    let session = Session::durable(client_id, 0).of_user(user);
    let number = SessionNumber(number);
    EndedSession { session, shares: false, number, will: None, key: None }
}

fn due(strays: &mut Strays, now: u64) -> Vec<u64> {
    let due = std::iter::from_fn(|| strays.take_due(Monotonic(now)));
    let due = numbers(&due.collect::<Vec<_>>());
    assert!(!strays.has_due(Monotonic(now)));
    due
}

fn numbers(found: &[EndedSession]) -> Vec<u64> {
    found.iter().map(|found| found.number.0).collect()
}

#[test]
fn wills_fall_due_in_the_order_of_their_delays() {
    let mut strays = Strays::default();
    for (at, number) in [(30, 1), (10, 2), (20, 3)] {
        strays.add(Monotonic(at), found(number, &format!("device-{number}"), None));
    }
    assert!(due(&mut strays, 9).is_empty());
    assert_eq!(due(&mut strays, 20), [2, 3]);
    assert_eq!(due(&mut strays, 99), [1]);
    assert!(strays.by_client_id.is_empty());
}

#[test]
fn a_client_that_is_back_takes_back_all_it_left_and_nothing_of_another_user() {
    let mut strays = Strays::default();
    strays.add(Monotonic(1), found(1, "device", None));
    strays.add(Monotonic(2), found(2, "device", Some("ada")));
    strays.add(Monotonic(3), found(3, "device", None));
    strays.add(Monotonic(3), found(4, "other", None));
    assert_eq!(numbers(&strays.take_back("device", None)), [1, 3]);
    assert!(numbers(&strays.take_back("device", None)).is_empty());
    assert_eq!(due(&mut strays, 9), [2, 4]);
    assert!(strays.by_client_id.is_empty() && strays.by_due.is_empty());
}

use super::*;
use crate::store::{Position, SessionRecord};

fn save(number: u64) -> Write {
    let record = SessionRecord {
        client_id: "client".into(),
        user: None,
        expiry_secs: 60,
        disconnected_at: None,
        sent_to: Position(0),
        will: None,
    };
    Write::PutSession { number: SessionNumber(number), record: Box::new(record) }
}

fn promise(number: u64) -> Write {
    Write::PutExactlyOnce { number: SessionNumber(number), packet_id: 1 }
}

fn end(number: u64) -> Write {
    Write::RemoveSession { number: SessionNumber(number) }
}

#[test]
fn a_promise_needs_the_last_record_that_was_asked_for() {
    let mut unsaved = Unsaved::default();
    unsaved.fail(&[save(1), promise(2)]);
    assert!(!unsaved.admits(&[promise(2), promise(1)]));
    assert!(unsaved.admits(&[promise(2)]), "its record has not failed");
    assert!(unsaved.admits(&[promise(1), save(1)]), "they are made together");
    assert!(unsaved.admits(&[promise(1)]));
    // The group with that record fails.
    unsaved.extend([SessionNumber(1)]);
    assert!(!unsaved.admits(&[promise(1)]));
}

#[test]
fn what_is_not_admitted_crosses_nothing_out() {
    let mut unsaved = Unsaved::default();
    unsaved.fail(&[save(1), save(2)]);
    let together = [save(1), promise(2)];
    assert!(!unsaved.admits(&together));
    unsaved.fail(&together);
    assert!(!unsaved.admits(&[promise(1)]));
}

#[test]
fn an_ended_session_is_forgotten_even_if_its_removal_fails() {
    let mut unsaved = Unsaved::default();
    unsaved.fail(&[save(1), save(2)]);
    assert!(unsaved.admits(&[end(1)]));
    unsaved.fail(&[end(2)]);
    assert!(unsaved.numbers.is_empty());
}

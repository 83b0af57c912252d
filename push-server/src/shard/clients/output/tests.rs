//! Tests of `output`.

use super::*;

#[test]
fn sends_failures_and_overflows_are_told_apart() {
    let mut output = Output::default();
    output.begin_send();
    output.fail();
    output.end_send();
    assert!(!output.is_sending() && output.has_failed() && !output.is_overflowed());
    output.begin_send();
    assert!(output.mark_overflowed() && !output.mark_overflowed(), "it is in the list once");
    assert!(output.take_overflowed() && !output.take_overflowed());
    assert!(output.is_sending() && output.has_failed());
}

#[test]
fn a_client_is_flushed_once_on_account_of_whoever_asked_last() {
    let mut output = Output::default();
    let (one, other) = (NonZeroU16::MIN, NonZeroU16::MAX);
    assert!(output.mark_dirty(one) && !output.mark_dirty(one));
    assert!(output.mark_dirty(other), "it is not to wait for the first one");
    assert!(output.take_dirty() && !output.take_dirty());
}

#[test]
fn nothing_is_sent_until_all_has_come_to_pass_that_connack_waits_for() {
    let mut output = Output::default();
    output.hold();
    output.hold();
    output.release();
    assert!(output.is_held());
    output.release();
    assert!(!output.is_held());
}

//! Tests of `receipts`.

use super::*;

#[test]
fn what_a_full_outbox_refuses_is_recorded_and_what_the_disk_refuses_is_not() {
    assert!(is_recorded(Reason::Success) && is_recorded(Reason::NoMatchingSubscribers));
    assert!(is_recorded(Reason::QuotaExceeded));
    assert!(!is_recorded(Reason::ImplementationSpecificError));
}

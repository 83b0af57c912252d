//! Tests of `wire`.

use super::*;

#[test]
fn an_exhausted_system_is_told_from_a_cancelled_accept() {
    let fault = |errno: Errno| accept_fault(errno.into());
    assert!(matches!(fault(Errno::MFILE), AcceptFault::Exhausted(_)));
    assert!(matches!(fault(Errno::CANCELED), AcceptFault::Passing));
    assert!(matches!(fault(Errno::PERM), AcceptFault::Failed(_)));
}

#[test]
fn a_peer_that_answers_no_more_is_told_from_a_reset() {
    let received = |errno: Errno| Received::from(ring::Received::Failed(errno.into()));
    assert!(matches!(received(Errno::TIMEDOUT), Received::Unanswered));
    assert!(matches!(received(Errno::CONNRESET), Received::Failed));
}

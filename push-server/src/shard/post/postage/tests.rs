//! Tests of `postage`.

use super::*;
use crate::store::SessionNumber;

#[test]
fn a_session_has_no_more_letters_under_way_than_it_may() {
    let (first, second) =
        (Flow::session(0, SessionNumber(1).into()), Flow::session(0, SessionNumber(2).into()));
    let mut postage = Postage::default();
    let mut stamps: Vec<_> = std::iter::from_fn(|| postage.stamp(first, 100)).collect();
    assert_eq!(stamps.len(), LETTERS_MAX);
    assert!(postage.stamp(second, 100).is_some(), "another one may");
    stamps.pop();
    assert!(postage.stamp(first, 100).is_some());
    postage.tidy();
    assert_eq!(postage.0.len(), 1, "the second one's letter is handled");
    drop(stamps);
    postage.tidy();
    assert!(postage.0.is_empty());
}

#[test]
fn large_letters_are_fewer_and_one_always_goes() {
    let flow = Flow::session(0, SessionNumber(1).into());
    let mut postage = Postage::default();
    let _large = postage.stamp(flow, 16 << 20).expect("the first one");
    assert!(postage.stamp(flow, 16 << 20).is_none());
    assert!(postage.stamp(flow, 1 << 20).is_some());
}

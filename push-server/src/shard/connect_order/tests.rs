//! Tests of `connect_order`.

use super::*;

const UNREAD: ConnectNumber = ConnectNumber(0);

#[test]
fn the_connection_whose_connect_was_read_later_overtakes() {
    let order = ConnectOrder::default();
    let (first, second) = (order.number(UNREAD), order.number(UNREAD));
    assert!(first.is_overtaken_by(second) && !second.is_overtaken_by(first));
    assert!(!first.is_overtaken_by(first));
}

#[test]
fn a_connection_keeps_its_place_while_it_is_authenticated() {
    let order = ConnectOrder::default();
    let first = order.number(UNREAD);
    let second = order.number(UNREAD);
    assert_eq!(order.number(first), first, "its CONNECT was read before the second's");
    assert!(order.number(first).is_overtaken_by(second));
}

use std::time::Duration;

use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

#[test]
fn nobody_gives_way_while_there_is_room() {
    let now = Instant::now();
    let mut places = Places::new(2);
    let (first, victim) = places.take(ip("10.0.0.1"), now);
    assert_eq!(victim, None);
    assert_eq!(places.take(ip("10.0.0.1"), now).1, None);
    places.leave(first);
    assert_eq!(places.take(ip("10.0.0.1"), now).1, None);
    assert_eq!(places.len(), 2);
}

#[test]
fn who_has_asked_for_nothing_the_longest_gives_way() {
    let start = Instant::now();
    let after = |secs| start + Duration::from_secs(secs);
    let mut places = Places::new(3);
    let (first, _) = places.take(ip("10.0.0.1"), after(0));
    let (second, _) = places.take(ip("10.0.0.1"), after(1));
    let (third, _) = places.take(ip("10.0.0.1"), after(2));
    places.asked(first, after(3));
    assert_eq!(places.take(ip("10.0.0.1"), after(4)).1, Some(second));
    assert_eq!(places.take(ip("10.0.0.1"), after(5)).1, Some(third));
    assert_eq!(places.len(), 3);
}

#[test]
fn a_network_with_many_connections_pushes_out_its_own() {
    let now = Instant::now();
    let mut places = Places::new(3);
    let (probe, _) = places.take(ip("10.0.0.1"), now);
    let mut own = Vec::new();
    for host in 0..20 {
        let (id, victim) = places.take(ip(&format!("2001:db8::{host:x}")), now);
        own.push(id);
        assert_ne!(victim, Some(probe));
        assert_eq!(victim, own.len().checked_sub(3).map(|at| own[at]));
    }
}

#[test]
fn an_ipv4_address_is_the_same_however_it_is_written() {
    assert_eq!(network(ip("::ffff:10.0.0.1")), network(ip("10.0.0.1")));
    assert_ne!(network(ip("2001:db8:0:1::1")), network(ip("2001:db8:0:2::1")));
}

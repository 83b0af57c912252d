use std::net::{Ipv4Addr, Ipv6Addr};

use super::*;

const NOW: Monotonic = Monotonic(1_000_000_000_000);

fn addresses(limits: Admission) -> Arc<Addresses> {
    Addresses::new(limits, 7)
}

fn v4(number: u32) -> AddressKey {
    IpAddr::from(Ipv4Addr::from_bits(number)).into()
}

fn failures(a_minute: u32) -> Arc<Addresses> {
    addresses(Admission { auth_failures: a_minute, ..Admission::default() })
}

#[test]
fn an_ipv6_address_counts_with_its_link_and_a_mapped_one_as_ipv4() {
    let key = |text: &str| AddressKey::from(text.parse::<IpAddr>().expect("an address"));
    assert_eq!(key("2001:db8:1:2::3"), key("2001:db8:1:2:ffff::4"));
    assert_ne!(key("2001:db8:1:2::3"), key("2001:db8:1:3::3"));
    assert_eq!(key("::ffff:192.0.2.7"), key("192.0.2.7"));
    assert_ne!(key("192.0.2.7"), key("192.0.2.8"));
    assert_ne!(key("::1"), key("127.0.0.1"));
    assert_eq!(AddressKey::from(IpAddr::from(Ipv6Addr::LOCALHOST)), AddressKey::V6(0));
}

#[test]
fn as_many_sockets_of_an_address_wait_as_may_and_a_place_comes_back() {
    let addresses = addresses(Admission { address_waiting_max: 2, ..Admission::default() });
    let first = addresses.wait(v4(1)).expect("a place").expect("a limit");
    let _second = addresses.wait(v4(1)).expect("a place");
    assert_eq!(addresses.wait(v4(1)).map(|_| ()), Err(NoPlaceLeft));
    assert!(addresses.wait(v4(2)).is_ok(), "another address");
    drop(first);
    assert!(addresses.wait(v4(1)).is_ok());
}

#[test]
fn without_a_limit_nothing_is_kept() {
    let limits = Admission { address_waiting_max: 0, auth_failures: 0, ..Admission::default() };
    let addresses = addresses(limits);
    assert!(matches!(addresses.wait(v4(1)), Ok(None)));
    assert!(matches!(addresses.connect(v4(1), false), Ok(None)));
    assert!(matches!(addresses.connect_user("ada", 0, false), Ok(None)));
    assert_eq!(addresses.attempt(v4(1), Some("ada")), None);
    assert_eq!(addresses.len(), 0);
}

#[test]
fn a_client_that_takes_over_does_not_need_a_further_place() {
    let addresses = addresses(Admission { address_connections_max: 1, ..Admission::default() });
    let first = addresses.connect(v4(1), false).expect("a place");
    assert_eq!(addresses.connect(v4(1), false).map(|_| ()), Err(NoPlaceLeft));
    let second = addresses.connect(v4(1), true).expect("the other one's place");
    drop(first);
    assert_eq!(addresses.connect(v4(1), false).map(|_| ()), Err(NoPlaceLeft));
    drop(second);
    assert!(addresses.connect(v4(1), false).is_ok());
}

#[test]
fn connections_of_a_user_count_wherever_they_come_from() {
    let addresses = addresses(Admission::default());
    let first = addresses.connect_user("ada", 2, false).expect("a place");
    let second = addresses.connect_user("ada", 2, false).expect("a place");
    assert_eq!(addresses.connect_user("ada", 2, false).map(|_| ()), Err(NoPlaceLeft));
    assert!(addresses.connect_user("bob", 2, false).is_ok());
    drop((first, second));
    assert_eq!(addresses.len(), 0, "a user without connections is forgotten");
}

#[test]
fn a_name_at_an_address_fails_so_often_and_is_then_refused_for_a_minute() {
    let addresses = failures(10);
    let attempt = addresses.attempt(v4(1), Some("ada")).expect("a limit");
    for _ in 0..10 {
        assert!(!addresses.is_banned(attempt, NOW));
        addresses.note_failure(attempt, NOW);
    }
    assert!(addresses.is_banned(attempt, NOW));
    assert!(addresses.is_banned(attempt, NOW.after_millis(59_999)));
    assert!(!addresses.is_banned(attempt, NOW.after_millis(60_000)));
    for (address, name) in [(v4(1), "bob"), (v4(2), "ada")] {
        let other = addresses.attempt(address, Some(name)).expect("a limit");
        assert!(!addresses.is_banned(other, NOW), "{address:?} {name}");
    }
}

#[test]
fn failures_that_come_slowly_enough_ban_nobody() {
    let addresses = failures(10);
    let attempt = addresses.attempt(v4(1), Some("ada")).expect("a limit");
    for failure in 0..1_000 {
        let now = NOW.after_millis(failure * 6_000);
        assert!(!addresses.is_banned(attempt, now), "after {failure}");
        addresses.note_failure(attempt, now);
    }
}

#[test]
fn an_address_that_fails_with_many_names_is_refused_with_every_name() {
    let addresses = failures(10);
    for name in 0..100 {
        let attempt = addresses.attempt(v4(1), Some(&format!("user-{name}"))).expect("a limit");
        assert!(!addresses.is_banned(attempt, NOW), "after {name}");
        addresses.note_failure(attempt, NOW);
    }
    for name in [Some("ada"), None] {
        let attempt = addresses.attempt(v4(1), name).expect("a limit");
        assert!(addresses.is_banned(attempt, NOW), "{name:?}");
    }
    let elsewhere = addresses.attempt(v4(2), Some("ada")).expect("a limit");
    assert!(!addresses.is_banned(elsewhere, NOW));
}

#[test]
fn the_tables_do_not_grow_with_what_a_sender_invents() {
    let limits = Admission { address_waiting_max: 2, ..Admission::default() };
    let addresses = addresses(limits);
    let first = addresses.wait(v4(0)).expect("a place");
    for number in 1..=2 * ADDRESSES_MAX as u32 {
        drop(addresses.wait(v4(number)).expect("a place"));
        let attempt = addresses.attempt(v4(number), Some("ada")).expect("a limit");
        addresses.note_failure(attempt, NOW);
    }
    assert_eq!(addresses.len(), 2 * ADDRESSES_MAX);
    // The first was forgotten, and begins anew; its place is not given back to the new entry.
    let again = [addresses.wait(v4(0)).expect("a place"), addresses.wait(v4(0)).expect("a place")];
    drop(first);
    assert_eq!(addresses.wait(v4(0)).map(|_| ()), Err(NoPlaceLeft));
    drop(again);
}

#[test]
fn who_was_seen_last_is_not_forgotten_first() {
    let addresses = failures(1);
    let attempt = addresses.attempt(v4(0), None).expect("a limit");
    (0..10).for_each(|_| addresses.note_failure(attempt, NOW));
    for number in 1..=2 * ADDRESSES_MAX as u32 {
        let other = addresses.attempt(v4(number), None).expect("a limit");
        addresses.note_failure(other, NOW);
        if number % 1_000 == 0 {
            assert!(addresses.is_banned(attempt, NOW), "after {number}");
        }
    }
}

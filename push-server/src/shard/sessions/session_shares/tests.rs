//! Tests of `session_shares`.

use super::*;
use crate::broker::Holders;

const PLACES: u32 = 20_000;
const SHARE: u32 = 2_000;

fn shares() -> SessionShares {
    SessionShares::new(PLACES, 10)
}

fn at(address: &str, user: Option<&str>) -> Holder {
    let holders = Holders::new(7);
    holders.holder(holders.network(address.parse().expect("an address")), user)
}

fn take_many(shares: &SessionShares, address: &str, user: Option<&str>) -> u32 {
    let holder = at(address, user);
    (0..).take_while(|_| shares.take(holder).is_ok()).count() as u32
}

#[test]
fn a_network_may_have_half_of_all_places_alone_and_then_no_more_than_its_share() {
    let shares = shares();
    assert_eq!(take_many(&shares, "192.0.2.1", None), PLACES / 2);
    assert_eq!(shares.take(at("192.0.2.7", None)), Err(NoPlace::Share));
    assert_eq!(take_many(&shares, "198.51.100.1", None), SHARE);
    let links = ["2001:db8:0:1::1", "2001:db8:0:2::1", "2001:db8:0:3::1"];
    let taken: u32 = links.iter().map(|link| take_many(&shares, link, None)).sum();
    assert_eq!(taken, SHARE);
    // One that goes leaves its place to others, not to its own network, which has too many.
    shares.give_back(at("192.0.2.1", None));
    assert_eq!(shares.take(at("192.0.2.1", None)), Err(NoPlace::Share));
    assert_eq!(shares.take(at("203.0.113.1", None)), Ok(()));
}

#[test]
fn a_user_has_a_share_whatever_network_he_comes_from() {
    let shares = shares();
    take_many(&shares, "192.0.2.1", None);
    let mut taken = 0;
    for net in 0..8 {
        let holder = at(&format!("10.0.{net}.1"), Some("u"));
        taken += (0..500).filter(|_| shares.take(holder).is_ok()).count() as u32;
    }
    assert_eq!(taken, SHARE);
    assert_eq!(shares.take(at("10.0.0.1", Some("v"))), Ok(()));
}

#[test]
fn a_link_has_half_of_its_networks_share_whatever_addresses_it_uses() {
    const PLACES: u32 = 60_000;
    const SHARE: u32 = 6_000;
    let shares = SessionShares::new(PLACES, 10);
    take_many(&shares, "192.0.2.1", None);
    let from = |link: u32, host: u32| at(&format!("2001:db8:0:{link:x}::{host:x}"), None);
    let taken = (0..).take_while(|&host| shares.take(from(1, host)).is_ok()).count();
    assert_eq!(taken as u32, SHARE / 2);
    let taken = (0..).take_while(|&host| shares.take(from(2, host)).is_ok()).count();
    assert_eq!(taken as u32, SHARE / 2, "the other half is its neighbours'");
    assert_eq!(shares.take(from(3, 1)), Err(NoPlace::Share), "the network has its share");
}

#[test]
fn who_gives_way_gives_back_what_is_full() {
    const PLACES: u32 = 60_000;
    let shares = SessionShares::new(PLACES, 10);
    take_many(&shares, "192.0.2.1", None);
    take_many(&shares, "2001:db8:0:1::1", None);
    let newcomer = at("2001:db8:0:1::2", Some("u"));
    let own = at("2001:db8:0:1::3", None);
    let neighbour = at("2001:db8:0:2::1", None);
    assert!(shares.makes_room(newcomer, own));
    assert!(!shares.makes_room(newcomer, neighbour), "its link has room");
    let neighbour_of_his = at("2001:db8:0:2::1", Some("u"));
    assert!(!shares.makes_room(newcomer, neighbour_of_his), "nor does the user lack any");
    take_many(&shares, "2001:db8:0:2::1", None);
    assert!(shares.makes_room(neighbour, neighbour));
    let third = at("2001:db8:0:3::1", None);
    assert!(shares.makes_room(third, own), "the whole network is full");
    let apart = at("198.51.100.1", None);
    assert!(!shares.makes_room(apart, apart), "nothing is full");
}

#[test]
fn full_is_full_and_what_is_given_back_is_there_again() {
    let shares = SessionShares::new(2, 10);
    let (one, user) = (at("192.0.2.1", None), at("192.0.2.1", Some("u")));
    assert!(shares.take(one).is_ok() && !shares.is_nearly_full());
    assert!(shares.take(one).is_ok() && shares.is_nearly_full());
    assert_eq!(shares.take(one), Err(NoPlace::Full));
    shares.take_unasked(user);
    shares.give_back(user);
    shares.give_back(one);
    assert_eq!(shares.take(one), Ok(()));
}

#[test]
fn a_session_counts_where_its_client_was_last() {
    let shares = shares();
    let (home, away) = (at("192.0.2.1", None), at("198.51.100.1", None));
    assert_eq!(take_many(&shares, "192.0.2.1", None), PLACES / 2);
    for _ in 0..PLACES / 2 - SHARE + 1 {
        shares.hand_over(home, away);
    }
    assert_eq!(shares.take(home), Ok(()));
    assert_eq!(shares.take(away), Err(NoPlace::Share));
}

#[test]
fn what_a_restart_has_found_is_of_no_network() {
    let shares = shares();
    for _ in 0..PLACES / 2 {
        shares.take_unasked(Holder::default());
    }
    assert_eq!(take_many(&shares, "192.0.2.1", None), SHARE);
    assert_eq!(shares.take(Holder::default()), Ok(()), "nor is one whose socket has failed");
}

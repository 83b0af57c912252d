use std::collections::HashSet;

use super::*;

#[test]
fn a_datagram_may_be_incomplete_for_two_minutes() {
    let seen = 7_000_000_000;
    let at = |secs: u64| Monotonic(seen).after_millis(secs * 1_000);
    assert!(!may_be_incomplete(0, Monotonic(1)), "none came");
    assert!(may_be_incomplete(seen, Monotonic(seen - 1)), "it came while the clock was read");
    assert!(may_be_incomplete(seen, at(0)) && may_be_incomplete(seen, at(120)));
    assert!(!may_be_incomplete(seen, at(121)));
}

/// Clients of four addresses, 256 ports each.
fn keys() -> impl Iterator<Item = FlowKey> {
    (0..1_024_u16).map(|number| {
        let [high, low] = number.to_be_bytes();
        let mut key = FlowKey { peer_port: [0x9C, low], ..FlowKey::default() };
        key.peer[15] = high;
        key
    })
}

fn places_taken(keys: impl Iterator<Item = FlowKey>, seed: u64) -> HashSet<u32> {
    let places = keys.map(|key| place(&key, seed));
    places.inspect(|place| assert!(*place < PLACES)).collect()
}

#[test]
fn clients_are_spread_over_the_places() {
    for seed in [0, 1, u64::MAX, 0x0123_4567_89AB_CDEF] {
        // As many as by chance, about: 1,016.
        let taken = places_taken(keys(), seed).len();
        assert!(taken > 1_000, "{taken} with {seed:x}");
    }
}

#[test]
fn who_shares_a_place_by_one_seed_is_spread_by_another() {
    let seeds = [1, 2, 3 << 40];
    for one in seeds {
        let shared: Vec<_> = every_key().filter(|key| place(key, one) == 0).collect();
        assert!(shared.len() > 4, "{} with {one:x}", shared.len());
        for other in seeds.into_iter().filter(|other| *other != one) {
            let taken = places_taken(shared.iter().copied(), other).len();
            assert!(taken > shared.len() - 3, "{taken} with {other:x}, one with {one:x}");
        }
    }
}

#[test]
fn who_has_a_place_each_by_one_seed_has_not_by_another() {
    let mut chosen = std::collections::HashMap::new();
    for key in every_key() {
        chosen.entry(place(&key, 1)).or_insert(key);
    }
    assert!(chosen.len() as u32 > PLACES / 10 * 9, "{}", chosen.len());
    let taken = places_taken(chosen.values().copied(), 2).len();
    let by_chance = chosen.len() / 100 * 66;
    assert!(taken < by_chance, "{taken} of {}", chosen.len());
}

/// Clients of 16 addresses, every port.
fn every_key() -> impl Iterator<Item = FlowKey> {
    (0..16_u32 << 16).map(|number| {
        let [_, address, high, low] = number.to_be_bytes();
        let mut key = FlowKey { peer_port: [high, low], ..FlowKey::default() };
        key.peer[15] = address;
        key
    })
}

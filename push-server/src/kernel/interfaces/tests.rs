use super::*;

#[test]
fn loopback_addresses_are_owned_by_lo() {
    let addresses = ["127.0.0.1:1883".parse().unwrap(), "127.9.9.9:1883".parse().unwrap()];
    assert_eq!(interfaces_for(&addresses).unwrap(), ["lo"]);
    assert!(list().unwrap()["lo"].ethernet);
}

#[test]
fn unspecified_address_means_every_usable_interface() {
    let found = interfaces_for(&["[::]:1883".parse().unwrap()]).unwrap();
    assert!(found.contains(&"lo".to_owned()), "{found:?}");
    let all = list().unwrap();
    assert!(found.iter().all(|name| all[name].up && all[name].ethernet), "{found:?}");
}

#[test]
fn foreign_address_is_owned_by_none() {
    assert!(interfaces_for(&["192.0.2.77:1883".parse().unwrap()]).unwrap().is_empty());
}

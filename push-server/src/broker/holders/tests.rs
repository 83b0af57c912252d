use super::*;

#[test]
fn a_network_is_a_24_or_a_48() {
    let holders = Holders::new(7);
    let network = |address: &str| holders.network(address.parse().expect("an address"));
    let one = network("192.0.2.1");
    assert_eq!(network("192.0.2.255"), one);
    assert_eq!(network("::ffff:192.0.2.9"), one, "the same by the other family");
    assert_ne!(network("192.0.3.1"), one);
    let one = network("2001:db8:1:2::3");
    assert_eq!(network("2001:db8:1:2:ffff::4"), one, "the same link");
    let neighbour = network("2001:db8:1:3::3");
    assert_eq!(neighbour.prefix, one.prefix);
    assert_ne!(neighbour.link, one.link);
    assert_ne!(network("2001:db8:2:2::3").prefix, one.prefix);
    assert_ne!(one, PeerNetwork::default());
}

#[test]
fn what_is_handed_over_counts_for_who_has_it() {
    let holders = Holders::new(7);
    let at = |address: &str, user| {
        holders.holder(holders.network(address.parse().expect("an address")), user)
    };
    let tally = Tally::new(ShareMax::new(100, 10, 0));
    let (home, away) = (at("192.0.2.1", Some("u")), at("198.51.100.1", Some("u")));
    tally.add(home, 10);
    assert!(tally.exceeds_share(home, 1) && !tally.exceeds_share(home, 0));
    assert!(tally.exceeds_share(away, 1), "the user has his share wherever he is");
    tally.hand_over(home, away, 10);
    assert!(!tally.exceeds_share(at("192.0.2.1", None), 10));
    assert!(tally.exceeds_share(at("198.51.100.1", None), 1));
    tally.subtract(away, 10);
    assert!(!tally.exceeds_share(away, 10));
    tally.add(Holder::default(), 1_000);
    assert!(!tally.exceeds_share(Holder::default(), 1), "nobody has no share");
}

#[test]
fn a_share_is_a_part_of_the_total_and_never_less_than_the_least() {
    let share = |total, percent, least| {
        let ShareMax { all, of_link } = ShareMax::new(total, percent, least);
        (all, of_link)
    };
    assert_eq!(share(20_050, 10, 0), (2_005, 1_002));
    assert_eq!(share(20_000, 10, 1_500), (2_000, 1_500));
    assert_eq!(share(20_000, 10, 3_000), (3_000, 3_000));
    assert_eq!(share(u64::MAX, 100, 0).0, u64::MAX);
}

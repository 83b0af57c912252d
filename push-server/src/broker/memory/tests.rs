use super::super::holders::Holders;
use super::*;

const NOBODY: Holder = Holder::NOBODY;

fn user(name: &str) -> Holder {
    Holders::new(7).holder(Holder::NOBODY.network(), Some(name))
}

#[test]
fn what_is_more_than_half_used_is_given_by_shares() {
    let budget = MemoryBudget::with_shares(100, ShareMax::new(100, 10, 0));
    let (greedy, modest) = (user("greedy"), user("modest"));
    assert_eq!(budget.take_for(greedy, 50), Ok(()));
    assert_eq!(budget.take_for(greedy, 1), Err(NoMemory::Share));
    assert_eq!(budget.take_for(modest, 11), Err(NoMemory::Share));
    assert_eq!(budget.take_for(modest, 10), Ok(()));
    assert_eq!(budget.check_room_for(greedy), Err(NoMemory::Share));
    assert_eq!(budget.take_for(NOBODY, 41), Err(NoMemory::Total), "nobody has no share");
    assert_eq!(budget.take_for(NOBODY, 40), Ok(()));
    assert_eq!(budget.check_room_for(user("late")), Err(NoMemory::Total));
    budget.give_back_for(greedy, 45);
    assert_eq!(budget.used_bytes(), 55);
    assert_eq!(budget.take_for(greedy, 5), Ok(()));
    assert_eq!(budget.take_for(greedy, 1), Err(NoMemory::Share));
    // What nobody uses any more is not the user's that had it, though it is not free yet.
    budget.discount(greedy, 10);
    assert_eq!((budget.take_for(greedy, 10), budget.used_bytes()), (Ok(()), 70));
}

#[test]
fn a_share_of_all_is_none() {
    let budget = MemoryBudget::with_shares(100, ShareMax::new(100, 100, 0));
    let holders = Holders::new(7);
    let link = holders.holder(holders.network("2001:db8::1".parse().expect("valid")), None);
    assert!(!budget.is_nearly_full());
    assert_eq!(budget.take_for(link, 100), Ok(()), "by one link");
    assert_eq!(budget.take_for(link, 1), Err(NoMemory::Total));
    assert!(budget.is_nearly_full());
}

#[test]
fn a_charge_counts_for_its_holder_whatever_becomes_of_it() {
    let budget = MemoryBudget::with_shares(100, ShareMax::new(100, 10, 0));
    let (one, other) = (user("one"), user("other"));
    budget.add(60);
    let mut charge = budget.charge(one, 4).expect("within the share");
    charge.resize(10);
    assert_eq!(budget.check_room_for(one), Err(NoMemory::Share));
    charge.hand_over(other);
    assert_eq!(budget.check_room_for(one), Ok(()));
    assert_eq!(budget.check_room_for(other), Err(NoMemory::Share));
    charge.resize(3);
    assert!(budget.charge(other, 8).is_err() && budget.charge(other, 7).is_ok());
    drop(charge);
    assert!(budget.charge(other, 10).is_ok());
    assert_eq!(budget.used_bytes(), 60);
}

#[test]
fn what_does_not_fit_takes_nothing() {
    let budget = MemoryBudget::new(10);
    assert!(budget.take(6) && !budget.take(5) && budget.take(4));
    assert_eq!((budget.used_bytes(), budget.is_full()), (10, true));
    budget.give_back(6);
    assert!(budget.charge(NOBODY, 7).is_err() && !budget.is_full());
    assert_eq!(budget.used_bytes(), 4);
    assert!(!budget.take(u64::MAX - 2), "no sum wraps into what is allowed");
}

#[test]
fn what_was_there_before_counts_beyond_the_limit_and_keeps_others_out() {
    let budget = MemoryBudget::new(10);
    let mut found = budget.charge_anyway(NOBODY, 25);
    assert!(budget.is_full() && budget.charge(NOBODY, 1).is_err());
    found.resize(8);
    let other = budget.charge(NOBODY, 2);
    assert!(other.is_ok());
    drop(found);
    assert_eq!(budget.used_bytes(), 2);
    drop(other);
    assert_eq!(budget.used_bytes(), 0);
}

#[test]
fn shards_never_take_more_than_there_is() {
    let budget = MemoryBudget::new(1_000);
    let taken: usize = std::thread::scope(|scope| {
        let takers: Vec<_> =
            (0..4).map(|_| scope.spawn(|| (0..1_000).filter(|_| budget.take(1)).count())).collect();
        takers.into_iter().map(|taker| taker.join().expect("no panic")).sum()
    });
    assert!(taken <= 1_000 && budget.used_bytes() == taken as u64);
}

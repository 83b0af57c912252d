use super::*;

fn id(number: u32) -> Option<SubscriptionId> {
    SubscriptionId::new(number)
}

#[test]
fn identifiers_are_collected_repeated_ones_included() {
    let mut via = Via::default();
    let numbers = |via: &Via| via.ids().iter().map(|id| id.value()).collect::<Vec<_>>();
    for (next, expected) in [
        (None, vec![]),
        (id(7), vec![7]),
        (None, vec![7]),
        (id(8), vec![7, 8]),
        (id(7), vec![7, 8, 7]),
    ] {
        via.add(next);
        assert_eq!(numbers(&via), expected);
    }
}

#[test]
fn a_list_of_identifiers_weighs_at_least_what_it_takes() {
    let mut via = Via::default();
    assert_eq!(via.weight_bytes(), 0);
    for count in 1..1_000 {
        via.add(id(count));
        let taken = match &via {
            Via::Several(ids) => size_of::<SubscriptionIds>() + 4 * ids.list.capacity(),
            _ => 0,
        };
        assert!(via.weight_bytes() >= taken, "{count}: {taken}");
    }
}

#[test]
fn equal_lists_are_shared_and_others_are_not() {
    let several = |last| [id(1), id(last)].into_iter().flatten().collect::<Via>();
    let (first, mut same, mut other) = (several(2), several(2), several(3));
    let is_shared = |via: &Via| match (via, &first) {
        (Via::Several(ids), Via::Several(firsts)) => Arc::ptr_eq(ids, firsts),
        _ => false,
    };
    assert!(!is_shared(&same));
    same.share_ids(&first);
    other.share_ids(&first);
    assert!(is_shared(&same) && !is_shared(&other));
    let mut single = Via::Own(id(1));
    single.share_ids(&first);
    assert_eq!(single, Via::Own(id(1)));
}

#[test]
fn via_takes_two_words() {
    assert_eq!(size_of::<Via>(), 16);
}

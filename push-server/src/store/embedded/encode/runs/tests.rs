use super::*;

#[test]
fn identifiers_come_back_as_they_were() {
    for ids in [
        &[][..],
        &[7],
        &[7, 7],
        &[7, 7, 7, 8, 7],
        &[1, SUBSCRIPTION_ID_MAX, SUBSCRIPTION_ID_MAX, SUBSCRIPTION_ID_MAX],
    ] {
        let runs = of(ids);
        assert_eq!(*super::ids(&runs).unwrap(), *ids);
        assert_eq!(len(&runs).unwrap(), ids.len());
        assert!(runs.len() <= ids.len());
    }
}

#[test]
fn one_that_repeats_is_stored_once() {
    assert_eq!(of(&[9; 1_000]).len(), 2);
    assert_eq!(super::ids(&of(&[9; 1_000])).unwrap().len(), 1_000);
}

#[test]
fn what_a_damaged_record_says_allocates_nothing() {
    assert!(super::ids(&[7, u32::MAX]).is_err());
    assert!(len(&[7, u32::MAX, 7, u32::MAX]).is_err());
    assert!(super::ids(&[AGAIN + 9]).unwrap().is_empty(), "of nothing");
}

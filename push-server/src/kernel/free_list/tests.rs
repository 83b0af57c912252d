//! Tests of `free_list`.

use super::*;

#[test]
fn a_place_of_another_range_is_taken_by_whoever_runs_out() {
    let returned = Returned::default();
    let mut first = FreeList::new(0..2, returned.clone());
    let mut second = FreeList::new(2..3, returned);
    assert_eq!([first.take(), first.take(), first.take()], [Some(0), Some(1), None]);
    second.give_back(0);
    assert_eq!((first.take(), first.take()), (Some(0), None));
    first.give_back(1);
    assert_eq!([first.take(), second.take(), second.take()], [Some(1), Some(2), None]);
}

#[test]
fn an_empty_range_has_no_place() {
    assert_eq!(FreeList::new(0..0, Returned::default()).take(), None);
}

use super::*;

#[test]
fn the_last_piece_may_cost_more_than_is_left() {
    let mut budget = Budget::new(2);
    budget.charge(1);
    assert!(!budget.is_spent());
    budget.charge(5);
    assert!(budget.is_spent());
    assert_eq!(budget.left(), -4);
}

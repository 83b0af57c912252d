//! Tests of `discarded`.

use push_common::clock::Monotonic;

use super::super::input_budget::{InputBudget, Unfinished};
use super::*;
use crate::shard::ports::Token;

#[test]
fn memory_goes_in_pieces_and_counts_until_it_is_gone() {
    const BYTES: usize = 5 * PIECE_BYTES;
    let budget = InputBudget::new(BYTES as u64);
    let holder = |index| (0, Token { index, generation: 0 });
    let input = Unfinished { bytes: BYTES, behind: 0, is_kept_waiting: false };
    let mut charge = None;
    assert!(budget.charge(&mut charge, holder(1), input, Monotonic(1)).is_empty());
    let mut discarded = Discarded::default();
    discarded.push(Vec::with_capacity(BYTES), charge);
    discarded.push(Vec::with_capacity(PIECE_BYTES), None);
    let mut pieces = 1;
    while discarded.free_piece() {
        let left_bytes = discarded.0[0].0.capacity();
        assert!(left_bytes >= BYTES - pieces * PIECE_BYTES, "{left_bytes} after {pieces}");
        assert!(discarded.0[0].1.is_some());
        pieces += 1;
    }
    assert_eq!(pieces, 4, "the last one takes what is left along");
    assert!(discarded.is_empty() && !discarded.free_piece());
    let condemned = budget.charge(&mut None, holder(2), input, Monotonic(2));
    assert!(condemned.is_empty(), "its room is free");
}

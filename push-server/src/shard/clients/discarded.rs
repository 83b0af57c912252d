//! Input of connections that have ended, which nobody will parse any more. A packet that was under way may
//! have been large, the system takes 0.1 ms or so to take a MiB back, and many connections may end at once:
//! so their memory goes in pieces, a few in each turn. It counts against the budget of input until all of it is
//! gone, or another client needs the room.

use super::input_budget::InputCharge;

/// So much is given back at a time. Memory no larger than this is freed at once.
const PIECE_BYTES: usize = 1 << 20;

/// Memory that is about to go.
#[derive(Debug, Default)]
pub(crate) struct Discarded(Vec<(Vec<u8>, Option<Box<InputCharge>>)>);

impl Discarded {
    /// The memory of a connection's input, and what it counts.
    pub(crate) fn push(&mut self, memory: Vec<u8>, charge: Option<Box<InputCharge>>) {
        if memory.capacity() > PIECE_BYTES {
            self.0.push((memory, charge));
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Frees a piece. Returns whether there is more.
    pub(crate) fn free_piece(&mut self) -> bool {
        if let Some((memory, _)) = self.0.last_mut() {
            let left_bytes = memory.capacity().saturating_sub(PIECE_BYTES);
            // Shrinks where it is: the allocator gives the end back.
            memory.shrink_to(left_bytes);
            if left_bytes <= PIECE_BYTES {
                self.0.pop();
            }
        }
        !self.is_empty()
    }
}

#[cfg(test)]
mod tests {
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
}

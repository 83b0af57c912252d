//! Input of ended connections, to be freed. An unfinished packet may have been large, the system takes 0.1 ms or so
//! to take a MiB back, and many connections may end at once: so their memory goes in pieces, a few in each turn. It
//! counts against the budget of input until all of it is gone, or another client needs the room.

use super::input_budget::InputCharge;

/// So much is given back at a time. Memory no larger than this is freed at once.
const PIECE_BYTES: usize = 1 << 20;

/// Memory that is about to go.
#[derive(Debug, Default)]
pub(crate) struct Discarded(Vec<(Vec<u8>, Option<Box<InputCharge>>)>);

impl Discarded {
    /// Adds the memory of a connection's input, with its charge.
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
mod tests;

//! Which answer tables run low. The programs note it, and user space looks from time to time: nothing waits
//! for it, since a ping that was not sealed ahead is left to user space.
//!
//! One bit a slot, and one row of words a shard, in an mmapped array map (`LOW_TABLES`): a shard reads its
//! own row alone. The program sets a bit by an atomic or, and the shard takes a word by exchanging it for 0.

/// Bits of a word.
const WORD_BITS: u32 = u64::BITS;

/// Words of a row, for so many slots.
#[must_use]
pub const fn row_words(slots: u32) -> u32 {
    slots.div_ceil(WORD_BITS)
}

/// Where the bit of a slot is: the word in the map, and the bit in it.
#[inline(always)]
#[must_use]
pub const fn place(row_words: u32, shard: u16, slot: u32) -> (u32, u64) {
    let word = (shard as u32).wrapping_mul(row_words).wrapping_add(slot / WORD_BITS);
    (word, 1 << (slot % WORD_BITS))
}

/// The slots whose bits are set in the word `word` of a row, lowest first.
pub fn slots(word: u32, bits: u64) -> impl Iterator<Item = u32> {
    let set = (0..WORD_BITS).filter(move |bit| bits >> bit & 1 == 1);
    set.map(move |bit| word * WORD_BITS + bit)
}

#[cfg(test)]
mod tests;

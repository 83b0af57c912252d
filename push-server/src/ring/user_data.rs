//! The user data of an operation, which the kernel returns with every completion, in 64 bits: kind
//! (8) | generation (24) | index (32). For operations with a token, generation and index are the
//! shard's; for sends, those of the slab of [`super::send`].

/// Bits of a generation that fit into the user data.
pub(super) const GENERATION_MASK: u32 = 0x00ff_ffff;

const KIND_SHIFT: u32 = 56;
const GENERATION_SHIFT: u32 = 32;

/// Index and generation by which the shard finds an operation's owner; every completion returns
/// them. The ring adds the kind of operation. Generations have 24 bits; higher ones are cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Token {
    pub index: u32,
    pub generation: u32,
}

/// The kind of an operation. Zero is none, so that a forgotten `user_data` shows as unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    Accept = 1,
    Receive = 2,
    Send = 3,
    Watch = 4,
    /// Posted into this ring by another ring's `wake`.
    Woken = 5,
    /// This ring's `wake` of another; a completion comes only when it failed.
    Wake = 6,
    /// A cancel; a completion comes only when there was nothing to cancel.
    Cancel = 7,
}

impl Kind {
    fn from_bits(bits: u8) -> Option<Self> {
        [
            Self::Accept,
            Self::Receive,
            Self::Send,
            Self::Watch,
            Self::Woken,
            Self::Wake,
            Self::Cancel,
        ]
        .into_iter()
        .find(|kind| *kind as u8 == bits)
    }
}

/// Packs kind and token, without generation bits above the 24th.
pub(super) fn encode(kind: Kind, token: Token) -> u64 {
    let generation = u64::from(token.generation & GENERATION_MASK);
    (u64::from(kind as u8) << KIND_SHIFT)
        | (generation << GENERATION_SHIFT)
        | u64::from(token.index)
}

/// The user data of an operation that needs no token.
pub(super) fn encode_kind(kind: Kind) -> u64 {
    encode(kind, Token { index: 0, generation: 0 })
}

/// Unpacks; `None` for a kind that this ring never uses.
pub(super) fn decode(user_data: u64) -> Option<(Kind, Token)> {
    let [kind, g2, g1, g0, index @ ..] = user_data.to_be_bytes();
    let generation = u32::from_be_bytes([0, g2, g1, g0]);
    Some((Kind::from_bits(kind)?, Token { index: u32::from_be_bytes(index), generation }))
}

#[cfg(test)]
mod tests;

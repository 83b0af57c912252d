//! Addresses of the link layer: how the splice tells one neighbour on the link from another.

/// An Ethernet address, as it lies in a frame; of a device without addresses (lo) all zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Mac(
    /// Words of two bytes, because they are aligned wherever they are kept.
    [u16; 3],
);

impl Mac {
    /// All zero.
    pub const NONE: Self = Self([0; 3]);

    /// The address of these bytes of a frame.
    #[inline(always)]
    #[must_use]
    pub const fn new(bytes: [u8; 6]) -> Self {
        let [a, b, c, d, e, f] = bytes;
        let word = u16::from_ne_bytes;
        Self([word([a, b]), word([c, d]), word([e, f])])
    }

    /// Whether both are the same; word by word, where `==` may become a call of `bcmp`, which the
    /// programs do not have.
    #[inline(always)]
    #[must_use]
    pub const fn is(self, other: Self) -> bool {
        self.0[0] == other.0[0] && self.0[1] == other.0[1] && self.0[2] == other.0[2]
    }
}

#[cfg(test)]
mod tests;

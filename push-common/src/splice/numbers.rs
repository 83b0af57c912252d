//! Sequence numbers and timestamps of TCP lie on a circle of 2^32. This file tells which of two
//! comes first.

/// Whether `a` comes before `b` on the number circle (RFC 9293, section 3.4).
#[inline(always)]
pub(super) const fn is_before(a: u32, b: u32) -> bool {
    a.wrapping_sub(b) > i32::MAX as u32
}

//! Sequence numbers and timestamps of TCP lie on a circle of 2^32. This file tells which of two
//! comes first.

/// Bytes of the largest window (RFC 7323, section 2.3): TCP discards segments that begin further
/// ahead.
pub(super) const WINDOW_BYTES_MAX: u32 = 1 << 30;

/// Whether `a` comes before `b` on the number circle (RFC 9293, section 3.4).
#[inline(always)]
pub(super) const fn is_before(a: u32, b: u32) -> bool {
    a.wrapping_sub(b) > i32::MAX as u32
}

/// Whether `a` and `b` are less than a window apart, either way.
#[inline(always)]
pub(super) const fn is_near(a: u32, b: u32) -> bool {
    a.wrapping_sub(b).wrapping_add(WINDOW_BYTES_MAX) <= 2 * WINDOW_BYTES_MAX
}

//! TCP timestamps (RFC 7323): which ones an answer and a segment of the stack carry, and whether a segment of the
//! client is older than others that were taken before it (PAWS), so that TCP would drop it.
//!
//! The stack itself says which timestamp it has taken last: every segment that it sends echoes that
//! (TSecr). The programs know what the stack was never shown, pings answered and ACKs absorbed. So
//! a sender can raise the client's timestamp here only if it could have raised TCP's own: a segment
//! that just passes, a forged one say, raises nothing until the stack has taken it.

use crate::clock::Monotonic;
use crate::flow::{Flow, bits};
use crate::mutant::{Part, is_left_out};
use crate::segment::Segment;

use super::numbers::is_before;

/// Seconds for which the newest timestamp of either side is comparable: with microseconds, the
/// finest unit in use, half of the number circle goes by in this time. Later the stack does not
/// compare either (Linux: `TCP_PAWS_WRAP`; RFC 7323, section 5.5).
const COMPARABLE_SECS_MAX: u32 = i32::MAX as u32 / 1_000_000;

const NS_PER_SEC: u64 = 1_000_000_000;

/// Whether TCP would drop the segment as an old duplicate. Without a timestamp it would not (Linux,
/// although RFC 7323, section 3.2, asks for it).
#[inline(always)]
pub(super) fn is_old(flow: &Flow, segment: &Segment, now: Monotonic) -> bool {
    segment.timestamped
        && is_comparable(flow, now)
        && is_before(segment.ts_val, flow.client_ts)
        && !is_left_out(Part::ClientTimestamp)
}

/// Whether it has no timestamp, while other segments of the client have.
#[inline(always)]
pub(super) fn is_missing(flow: &Flow, segment: &Segment) -> bool {
    !segment.timestamped && flow.has(bits::CLIENT_TS_KNOWN)
}

/// A segment of the client was taken in the stack's place; it was not old.
#[inline(always)]
pub(super) fn note_taken(flow: &mut Flow, segment: &Segment, now: Monotonic) {
    if segment.timestamped {
        set_client_ts(flow, segment.ts_val, now);
    }
}

/// Notes what a segment of the stack tells: that the stack is not silent, its own time, and which
/// of the client's timestamps it has taken last.
#[inline(always)]
pub(super) fn note_stack(flow: &mut Flow, segment: &Segment, now: Monotonic) {
    let silence_secs = silence_secs(flow, now);
    flow.stack_secs = secs(now);
    if !segment.timestamped {
        return;
    }
    // The stack's clock only goes forward; a segment that overtakes on another CPU may be older.
    // After a long silence the two are not comparable, and nothing is overtaken by that much.
    if !flow.has(bits::STACK_TS_KNOWN)
        || silence_secs > COMPARABLE_SECS_MAX
        || is_before(flow.stack_ts, segment.ts_val)
    {
        flow.stack_ts = segment.ts_val;
        flow.set(bits::STACK_TS_KNOWN);
    }
    // An unchanged echo is no news: it may be older than half of the circle, if pings have been
    // answered ever since. Zero means none (Linux accepts anything after it).
    if segment.ts_ecr == 0 || segment.ts_ecr == flow.stack_ecr {
        return;
    }
    flow.stack_ecr = segment.ts_ecr;
    if !is_comparable(flow, now) || is_before(flow.client_ts, segment.ts_ecr) {
        set_client_ts(flow, segment.ts_ecr, now);
    }
}

/// Rule 23: the client's timestamp that a segment of the stack echoes, once pings were answered in its place. Linux
/// takes the time since an echo for a round trip when what is acknowledged had to be sent again.
#[inline(always)]
pub(super) fn echo(flow: &Flow, segment: &Segment, now: Monotonic) -> u32 {
    let is_newer = segment.ts_ecr != 0
        && is_comparable(flow, now)
        && is_before(segment.ts_ecr, flow.client_ts)
        && !is_left_out(Part::Echo);
    if is_newer { flow.client_ts } else { segment.ts_ecr }
}

/// How long the stack has been silent; the clock may be behind the stamp here, too.
#[inline(always)]
pub(super) fn silence_secs(flow: &Flow, now: Monotonic) -> u32 {
    let secs = secs(now).wrapping_sub(flow.stack_secs);
    if secs > i32::MAX as u32 { 0 } else { secs }
}

#[inline(always)]
fn set_client_ts(flow: &mut Flow, ts_val: u32, now: Monotonic) {
    flow.client_ts = ts_val;
    flow.client_ts_secs = secs(now);
    flow.set(bits::CLIENT_TS_KNOWN);
}

/// The clock was read before taking the lock, so it may be behind the stamp.
#[inline(always)]
fn is_comparable(flow: &Flow, now: Monotonic) -> bool {
    flow.has(bits::CLIENT_TS_KNOWN)
        && secs(now).saturating_sub(flow.client_ts_secs) <= COMPARABLE_SECS_MAX
}

#[inline(always)]
const fn secs(time: Monotonic) -> u32 {
    (time.0 / NS_PER_SEC) as u32
}

//! TCP timestamps (RFC 7323): which one an answer bears, and whether a segment of the client is older
//! than what was taken before it (PAWS), which TCP would throw away.
//!
//! The stack says itself what it has taken last: every segment that it sends echoes that timestamp
//! (TSecr). What it was never shown, pings answered and ACKs absorbed, is known here. So nobody
//! raises the client's timestamp who could not have raised TCP's own: what is merely passed on, a
//! forged segment say, raises nothing until the stack has taken it.

use crate::clock::Monotonic;
use crate::flow::{Flow, bits};
use crate::mutant::{Part, is_left_out};
use crate::segment::Segment;

use super::numbers::is_before;

/// So long the newest timestamp of either side can be compared with: in the finest unit in use,
/// microseconds, half of the number circle goes by meanwhile. Afterwards the stack compares no more
/// either (Linux: `TCP_PAWS_WRAP`; RFC 7323, section 5.5).
const COMPARABLE_SECS_MAX: u32 = i32::MAX as u32 / 1_000_000;

const NS_PER_SEC: u64 = 1_000_000_000;

/// Whether TCP would throw the segment away as a duplicate of old. Without a timestamp it would not
/// (Linux, though RFC 7323, section 3.2, wants it to).
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

/// A segment of the client was taken in the stack's place. It was not old.
#[inline(always)]
pub(super) fn note_taken(flow: &mut Flow, segment: &Segment, now: Monotonic) {
    if segment.timestamped {
        set_client_ts(flow, segment.ts_val, now);
    }
}

/// What a segment of the stack says: that it is there, its own time, and which of the client's it has
/// taken last.
#[inline(always)]
pub(super) fn note_stack(flow: &mut Flow, segment: &Segment, now: Monotonic) {
    let silence_secs = silence_secs(flow, now);
    flow.stack_secs = secs(now);
    if !segment.timestamped {
        return;
    }
    // The stack's clock only goes forward; what overtakes on another CPU may be older. After a long
    // silence the two cannot be compared, and nothing is overtaken by that much.
    if !flow.has(bits::STACK_TS_KNOWN)
        || silence_secs > COMPARABLE_SECS_MAX
        || is_before(flow.stack_ts, segment.ts_val)
    {
        flow.stack_ts = segment.ts_val;
        flow.set(bits::STACK_TS_KNOWN);
    }
    // An echo that has not changed is no news: it may be older than half of the circle, where pings
    // have been answered ever since. Zero is none (Linux takes anything behind it).
    if segment.ts_ecr == 0 || segment.ts_ecr == flow.stack_ecr {
        return;
    }
    flow.stack_ecr = segment.ts_ecr;
    if !is_comparable(flow, now) || is_before(flow.client_ts, segment.ts_ecr) {
        set_client_ts(flow, segment.ts_ecr, now);
    }
}

/// How long the stack has sent nothing; the clock may be behind the stamp here, too.
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

/// The clock was read before the lock was taken, so it may be behind the stamp.
#[inline(always)]
fn is_comparable(flow: &Flow, now: Monotonic) -> bool {
    flow.has(bits::CLIENT_TS_KNOWN)
        && secs(now).saturating_sub(flow.client_ts_secs) <= COMPARABLE_SECS_MAX
}

#[inline(always)]
const fn secs(time: Monotonic) -> u32 {
    (time.0 / NS_PER_SEC) as u32
}

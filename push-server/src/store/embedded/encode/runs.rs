//! The subscription identifiers of a delivery as they are stored: one that repeats is said once, with a
//! number above all identifiers that says how often it follows.
//!
//! A client may give a thousand overlapping filters the same identifier, and every message then carries it
//! a thousand times [MQTT5 3.3.4]. A version that knew no repetitions leaves them out.

use super::error::DecodeError;
use crate::broker::SUBSCRIPTION_ID_MAX;

/// From here on a number says how often the identifier before it follows.
const AGAIN: u32 = SUBSCRIPTION_ID_MAX + 1;

/// Identifiers of one delivery that are stored; more do not fit a packet of the default size, and what
/// is read from disk allocates no more.
const IDS_MAX: usize = 1 << 22;

/// The identifiers, which keep their order.
pub(super) fn of(ids: &[u32]) -> Vec<u32> {
    let ids = &ids[..ids.len().min(IDS_MAX)];
    let mut runs = Vec::new();
    for run in ids.chunk_by(|one, other| one == other) {
        runs.push(run[0]);
        match run.len() - 1 {
            0 => {}
            1 => runs.push(run[0]),
            // Less than `IDS_MAX`.
            more => runs.push(AGAIN + more as u32),
        }
    }
    runs
}

/// How many identifiers there are.
pub(super) fn len(runs: &[u32]) -> Result<usize, DecodeError> {
    let len = runs.iter().map(|&number| number.checked_sub(AGAIN).map_or(1, |more| more as usize));
    let len = len.fold(0_usize, usize::saturating_add);
    if len > IDS_MAX { Err(DecodeError::SubscriptionIds(len)) } else { Ok(len) }
}

/// The identifiers again.
pub(super) fn ids(runs: &[u32]) -> Result<Box<[u32]>, DecodeError> {
    let mut ids = Vec::with_capacity(len(runs)?);
    for &number in runs {
        match (number.checked_sub(AGAIN), ids.last()) {
            (None, _) => ids.push(number),
            (Some(more), Some(&last)) => ids.extend(std::iter::repeat_n(last, more as usize)),
            (Some(_), None) => {}
        }
    }
    Ok(ids.into())
}

#[cfg(test)]
mod tests;

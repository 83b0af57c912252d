//! The stored form of a delivery's subscription identifiers: a repeated one is stored once,
//! followed by its number of repetitions, which is added to a value above all identifiers.
//!
//! A client may give a thousand overlapping filters the same identifier, and every message then
//! carries it a thousand times [MQTT5 3.3.4]. A version that knows no repetitions skips these
//! numbers.

use super::error::DecodeError;
use crate::broker::SUBSCRIPTION_ID_MAX;

/// Numbers from here on say how often the identifier before them repeats.
const AGAIN: u32 = SUBSCRIPTION_ID_MAX + 1;

/// Most identifiers of one delivery that are stored. More do not fit a packet of the default size,
/// and decoding allocates no more.
const IDS_MAX: usize = 1 << 22;

/// Encodes identifiers, in order.
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

/// How many identifiers are encoded.
pub(super) fn len(runs: &[u32]) -> Result<usize, DecodeError> {
    let len = runs.iter().map(|&number| number.checked_sub(AGAIN).map_or(1, |more| more as usize));
    let len = len.fold(0_usize, usize::saturating_add);
    if len > IDS_MAX { Err(DecodeError::SubscriptionIds(len)) } else { Ok(len) }
}

/// Decodes the identifiers.
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

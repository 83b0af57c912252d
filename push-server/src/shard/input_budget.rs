//! The memory that all shards together give to packets that have not come whole: each connection's is
//! bounded by `--max-packet-bytes`, all of them by `--input-bytes-max`.
//!
//! Idle connections and small packets cost nothing here: a connection has a charge only while it has
//! `CHARGED_BYTES_MIN` or more waiting.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Input of a connection that is not worth counting: a receive buffer's worth.
const CHARGED_BYTES_MIN: usize = 4 << 10;

/// The budget, one for all shards.
#[derive(Debug)]
pub(super) struct InputBudget {
    charged_bytes: AtomicU64,
    bytes_max: u64,
}

/// One connection's part of it, given back when dropped.
#[derive(Debug)]
pub(super) struct InputCharge {
    budget: Arc<InputBudget>,
    bytes: u64,
}

impl InputBudget {
    pub(super) fn new(bytes_max: u64) -> Arc<Self> {
        Arc::new(Self { charged_bytes: AtomicU64::new(0), bytes_max })
    }

    /// A connection has `input_bytes` waiting now. Returns whether that is within the budget: it is
    /// when they are no more than before.
    pub(super) fn charge(
        self: &Arc<Self>,
        charge: &mut Option<Box<InputCharge>>,
        input_bytes: usize,
    ) -> bool {
        if input_bytes < CHARGED_BYTES_MIN {
            *charge = None;
            return true;
        }
        let none = || Box::new(InputCharge { budget: Arc::clone(self), bytes: 0 });
        charge.get_or_insert_with(none).set(input_bytes as u64)
    }
}

impl InputCharge {
    fn set(&mut self, bytes: u64) -> bool {
        let before = std::mem::replace(&mut self.bytes, bytes);
        let Some(more) = bytes.checked_sub(before) else {
            self.budget.charged_bytes.fetch_sub(before - bytes, Ordering::Relaxed);
            return true;
        };
        if more == 0 {
            return true;
        }
        let others = self.budget.charged_bytes.fetch_add(more, Ordering::Relaxed);
        others + more <= self.budget.bytes_max
    }
}

impl Drop for InputCharge {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_grows_past_the_budget_is_told_and_what_is_given_back_is_there_for_others() {
        let budget = InputBudget::new(20_000);
        let (mut one, mut other) = (None, None);
        assert!(budget.charge(&mut one, 12_000));
        assert!(budget.charge(&mut other, 8_000));
        assert!(!budget.charge(&mut other, 8_001));
        assert!(budget.charge(&mut one, 12_000), "it has not grown");
        other = None;
        assert!(budget.charge(&mut one, 20_000));
        assert!(budget.charge(&mut one, 5_000));
        assert!(budget.charge(&mut other, 15_000));
        drop((one, other));
        assert_eq!(budget.charged_bytes.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn little_input_is_not_counted() {
        let budget = InputBudget::new(1);
        let mut charge = None;
        assert!(budget.charge(&mut charge, CHARGED_BYTES_MIN - 1) && charge.is_none());
        assert!(!budget.charge(&mut charge, CHARGED_BYTES_MIN));
        assert!(budget.charge(&mut charge, 0) && charge.is_none());
        assert_eq!(budget.charged_bytes.load(Ordering::Relaxed), 0);
    }
}

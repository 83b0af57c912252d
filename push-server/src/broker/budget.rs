//! How much work one step may do, so that one publish cannot block a shard.

/// Units left for this step. Visiting a node of a tree or reading an entry of a table costs one,
/// some tens of nanoseconds. Units are counted, not timed, so that the same input always takes the
/// same steps.
#[derive(Debug)]
pub struct Budget(i64);

impl Budget {
    /// The budget of a step.
    pub fn new(units: u32) -> Self {
        Self(units.into())
    }

    /// Counts work done. The last piece of a step may cost more than is left; then `left` is
    /// negative.
    pub fn charge(&mut self, units: u32) {
        self.0 -= i64::from(units);
    }

    /// Whether the step is over.
    pub fn is_spent(&self) -> bool {
        self.0 <= 0
    }

    /// Units left; negative if the last piece cost more.
    pub fn left(&self) -> i64 {
        self.0
    }
}

#[cfg(test)]
mod tests;

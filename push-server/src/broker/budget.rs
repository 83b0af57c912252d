//! How much work one step may do, so that one publish cannot hold up a shard.

/// What is left for this step, in units: a node of a tree visited, an entry of a table read. A unit
/// is some tens of nanoseconds; it is counted, not timed, so that the same input always takes the
/// same steps.
#[derive(Debug)]
pub struct Budget(i64);

impl Budget {
    /// A step of so many units.
    pub fn new(units: u32) -> Self {
        Self(units.into())
    }

    /// Counts work done. The last piece of a step may cost more than was left: then `left` is
    /// negative.
    pub fn charge(&mut self, units: u32) {
        self.0 -= i64::from(units);
    }

    /// Whether the step is over.
    pub fn is_spent(&self) -> bool {
        self.0 <= 0
    }

    /// Units left; below 0 where the last piece cost more.
    pub fn left(&self) -> i64 {
        self.0
    }
}

#[cfg(test)]
mod tests;

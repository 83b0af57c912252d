//! What happens in one run: a seed, and which of its steps are taken. Each step has randomness of its own, so
//! that the others stay what they are when some are left out: so a failing run is shrunk.

use std::fmt;

use rand::SeedableRng as _;
use rand::rngs::SmallRng;

/// Runs that shrinking may take.
const SHRINK_RUNS_MAX: u32 = 400;

/// A run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    /// The steps that are taken, in order.
    pub(crate) steps: Vec<u32>,
}

impl Plan {
    /// All of so many steps.
    pub(crate) fn new(seed: u64, steps: u32) -> Self {
        Self { seed, steps: (0..steps).collect() }
    }

    /// The randomness of the run as a whole.
    pub(crate) fn rng(&self) -> SmallRng {
        SmallRng::seed_from_u64(self.seed)
    }

    /// The randomness of one step.
    pub(crate) fn rng_of(&self, step: u32) -> SmallRng {
        let odd = (u64::from(step) << 1 | 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        SmallRng::seed_from_u64(self.seed ^ odd)
    }

    /// The smallest plan found that still `fails`: pieces are left out, from halves down to single steps.
    pub(crate) fn shrink(&self, fails: impl Fn(&Self) -> bool) -> Self {
        let mut plan = self.clone();
        let mut runs = 0;
        let mut piece = plan.steps.len().div_ceil(2);
        while piece > 0 && runs < SHRINK_RUNS_MAX {
            let mut at = 0;
            while at < plan.steps.len() && runs < SHRINK_RUNS_MAX {
                let mut without = plan.clone();
                let end = (at + piece).min(without.steps.len());
                without.steps.drain(at..end);
                runs += 1;
                if fails(&without) {
                    plan = without;
                } else {
                    at += piece;
                }
            }
            piece /= 2;
        }
        plan
    }
}

/// `SEED` or `SEED:STEPS`, the steps as ranges: what `parse` reads.
impl fmt::Display for Plan {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:", self.seed)?;
        let mut rest = self.steps.as_slice();
        while let Some(&first) = rest.first() {
            let run = (first..).zip(rest).take_while(|(expected, step)| expected == *step).count();
            let comma = if rest.len() == run { "" } else { "," };
            write!(formatter, "{first}-{}{comma}", rest[run - 1])?;
            rest = &rest[run..];
        }
        Ok(())
    }
}

/// Reads a plan: a seed alone means so many steps.
pub(crate) fn parse(text: &str, steps: u32) -> Option<Plan> {
    let Some((seed, ranges)) = text.split_once(':') else {
        return Some(Plan::new(text.parse().ok()?, steps));
    };
    let mut plan = Plan { seed: seed.parse().ok()?, steps: Vec::new() };
    for range in ranges.split(',').filter(|range| !range.is_empty()) {
        let (first, last) = range.split_once('-')?;
        plan.steps.extend(first.parse::<u32>().ok()?..=last.parse().ok()?);
    }
    Some(plan)
}

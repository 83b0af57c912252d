//! The routers on the server's link: the client's segments come from one, and the stack sends to one.
//! In some runs they are not the same, and both change.

use push_common::mac::Mac;
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::link::hit;

const ROUTERS: u8 = 3;
/// Chances in a thousand, for each segment.
const CHANGES: u32 = 10;

/// Who sends to the server, and to whom it sends.
#[derive(Debug)]
pub(crate) struct Hops {
    rng: SmallRng,
    /// Chances in a thousand; 0 where one router does all.
    changes: u32,
    inward: u8,
    outward: u8,
    /// Where the stack's last segment went.
    last: u8,
}

impl Hops {
    /// By the seed of the run.
    pub(crate) fn new(seed: u64) -> Self {
        let changes = if seed.is_multiple_of(5) { CHANGES } else { 0 };
        let rng = SmallRng::seed_from_u64(!seed);
        Self { rng, changes, inward: 0, outward: 0, last: 0 }
    }

    /// From whom a segment of the client comes.
    pub(crate) fn inward(&mut self) -> Mac {
        if hit(&mut self.rng, self.changes) {
            self.inward = self.rng.random_range(0..ROUTERS);
        }
        mac(self.inward)
    }

    /// To whom a segment of the stack goes.
    pub(crate) fn outward(&mut self) -> Mac {
        if hit(&mut self.rng, self.changes) {
            self.outward = self.rng.random_range(0..ROUTERS);
        }
        self.last = self.outward;
        mac(self.last)
    }

    /// An answer goes where the stack has sent last.
    pub(crate) fn check(&self, next_hop: Mac) -> Result<(), String> {
        let last = mac(self.last);
        if next_hop == last {
            return Ok(());
        }
        Err(format!("an answer went to {next_hop:?}, and the stack sends to {last:?}"))
    }
}

fn mac(router: u8) -> Mac {
    Mac::new([2, 0, 0, 0, 0, router])
}

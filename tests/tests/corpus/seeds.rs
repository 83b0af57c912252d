//! What fuzzing begins with: an input of each kind, and what becomes of it.

mod files;
mod layers;
mod packets;

use push_server::fuzzing::outcome::Outcome;

/// An input.
pub(crate) struct Seed {
    pub(crate) target: &'static str,
    /// Its file's name, behind `seed-`.
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
    pub(crate) outcome: Outcome,
    /// Whether it is another one each time that it is made: then the first one stays.
    pub(crate) is_random: bool,
}

impl Seed {
    fn new(
        target: &'static str,
        name: impl Into<String>,
        outcome: Outcome,
        bytes: Vec<u8>,
    ) -> Self {
        Self { target, name: name.into(), bytes, outcome, is_random: false }
    }
}

/// All of them.
pub(crate) fn seeds() -> Vec<Seed> {
    let mut seeds = packets::seeds();
    seeds.extend(layers::seeds());
    seeds.extend(files::seeds());
    seeds
}

//! Goes through every state that a world can reach, once.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hash as _, Hasher};
use std::time::{Duration, Instant};

use push_common::mutant::leave_out;

use super::rules::Rules;
use super::world::{Act, Tally, World};

/// What a search has found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) states: usize,
    pub(super) acts: u64,
    /// States in which both scripts are carried out, and all ended well.
    pub(super) ends: u64,
    pub(super) tally: Tally,
    pub(super) took: Duration,
    /// What broke, and all that had happened before.
    pub(super) fault: Option<(String, Vec<Act>)>,
    /// All states were looked at.
    pub(super) is_whole: bool,
}

struct Frame {
    world: World,
    acts: Vec<Act>,
    /// The one that has been tried last.
    tried: Option<Act>,
}

/// Depth first, to the first fault, or until `states_max` states have been seen.
pub(super) fn search(rules: &Rules<'_>, states_max: usize) -> Found {
    leave_out(rules.left_out);
    let begun = Instant::now();
    let mut found = Found::default();
    let mut seen = Seen::default();
    let mut path: Vec<Frame> = Vec::new();
    let fault = enter(World::new(rules), rules, &mut seen, &mut path, &mut found).err();
    found.fault = fault.map(|fault| (fault, Vec::new()));
    while found.fault.is_none() && seen.len() < states_max {
        let Some(frame) = path.last_mut() else {
            found.is_whole = true;
            break;
        };
        let Some(act) = frame.acts.pop() else {
            path.pop();
            continue;
        };
        frame.tried = Some(act);
        let mut world = frame.world.clone();
        found.acts += 1;
        let result = world.act(rules, act, &mut found.tally);
        let result = result.and_then(|()| enter(world, rules, &mut seen, &mut path, &mut found));
        if let Err(fault) = result {
            found.fault = Some((fault, path.iter().filter_map(|frame| frame.tried).collect()));
        }
    }
    leave_out(None);
    found.states = seen.len();
    found.took = begun.elapsed();
    found
}

fn enter(
    world: World,
    rules: &Rules<'_>,
    seen: &mut Seen,
    path: &mut Vec<Frame>,
    found: &mut Found,
) -> Result<(), String> {
    if !seen.insert(&world) {
        return Ok(());
    }
    world.check_progress(rules)?;
    found.ends += u64::from(world.is_over(rules));
    let mut acts = Vec::new();
    world.acts(rules, &mut acts);
    path.push(Frame { world, acts, tried: None });
    Ok(())
}

/// States by a hash of 128 bits. Among a billion states two of one hash have a chance of 2^-69.
#[derive(Default)]
struct Seen(HashSet<u128, BuildHasherDefault<Taken>>);

impl Seen {
    fn insert(&mut self, world: &World) -> bool {
        let mut hasher = Wide::default();
        world.hash(&mut hasher);
        self.0.insert(hasher.whole())
    }

    fn len(&self) -> usize {
        self.0.len()
    }
}

/// A part of a hash is a hash.
#[derive(Default)]
struct Taken(u64);

impl Hasher for Taken {
    fn write(&mut self, _: &[u8]) {
        unreachable!("only hashes are hashed");
    }

    fn write_u128(&mut self, hash: u128) {
        self.0 = hash as u64;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Two lanes of multiplying and folding, as wyhash does it.
struct Wide([u64; 2]);

impl Default for Wide {
    fn default() -> Self {
        Self([0x2D35_8DCC_AA6C_78A5, 0x8BB8_4B93_962E_ACC9])
    }
}

impl Wide {
    fn whole(&self) -> u128 {
        u128::from(self.0[0]) << 64 | u128::from(self.0[1])
    }

    fn mix(&mut self, value: u64) {
        let fold = |a: u64, b: u64| {
            let product = u128::from(a) * u128::from(b);
            product as u64 ^ (product >> 64) as u64
        };
        let [a, b] = self.0;
        self.0 = [
            fold(a ^ value, 0x4B33_A62E_D433_D4A3).wrapping_add(b),
            fold(b ^ value.rotate_left(32), 0x4D5A_2DA5_1DE1_AA47).wrapping_add(a),
        ];
    }
}

impl Hasher for Wide {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.mix(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, value: u8) {
        self.mix(value.into());
    }

    fn write_u16(&mut self, value: u16) {
        self.mix(value.into());
    }

    fn write_u32(&mut self, value: u32) {
        self.mix(value.into());
    }

    fn write_u64(&mut self, value: u64) {
        self.mix(value);
    }

    fn write_usize(&mut self, value: usize) {
        self.mix(value as u64);
    }

    fn finish(&self) -> u64 {
        self.0[0]
    }
}

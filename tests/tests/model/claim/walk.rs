//! Walks at random through worlds that are too large to be searched as a whole: longer scripts, and an
//! adversary that may do more.

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};

use super::rules::Item::{Close, Data, KeyUpdate, KeyUpdateAsking, Ping};
use super::rules::{Budget, Item, Rules};
use super::world::{Tally, World};

const CLIENT_ITEMS_MAX: usize = 5;
const SERVER_ITEMS_MAX: usize = 4;
/// What the adversary may do, in all.
const HARM_MAX: usize = 6;
/// Far more than the longest script needs.
const ACTS_MAX: usize = 5_000;
/// Acts that are looked at after a crash, an alert or close_notify.
const ACTS_LEFT_MAX: u32 = 50;

/// Adds what happened to the tally, and returns how much that was; or what broke, and how.
pub(super) fn walk(seed: u64, tally: &mut Tally) -> Result<u64, String> {
    let mut rng = SmallRng::seed_from_u64(seed);
    let (client, server, budget) = world(&mut rng);
    let rules = Rules {
        client: &client,
        server: &server,
        budget,
        wrong: None,
        left_out: None,
        only_outside: false,
    };
    let mut world = World::new(&rules);
    let (mut acts, mut path) = (Vec::new(), Vec::new());
    let told = |fault: String, path: &[_]| format!("{rules:?}\n{fault}\nafter {path:#?}");
    // When user space is gone, the client may go on for ever.
    let mut left = ACTS_LEFT_MAX;
    while path.len() < ACTS_MAX {
        left -= u32::from(world.is_deserted());
        if left == 0 {
            return Ok(path.len() as u64);
        }
        world.check_progress(&rules).map_err(|fault| told(fault, &path))?;
        acts.clear();
        world.acts(&rules, &mut acts);
        // Both ends rest now and then, because only then programs answer.
        if rng.random_ratio(7, 8) && acts.iter().any(|act| !act.begins()) {
            acts.retain(|act| !act.begins());
        }
        let Some(act) = acts.choose(&mut rng) else { return Ok(path.len() as u64) };
        path.push(*act);
        world.act(&rules, *act, tally).map_err(|fault| told(fault, &path))?;
    }
    Err(told("no end".into(), &path))
}

fn world(rng: &mut SmallRng) -> (Vec<Item>, Vec<Item>, Budget) {
    let (client, server) =
        ([Ping, Ping, Ping, Data, KeyUpdate, KeyUpdateAsking], [Data, Data, KeyUpdate]);
    let client = script(rng, &client, 1, CLIENT_ITEMS_MAX);
    let mut server = script(rng, &server, 0, SERVER_ITEMS_MAX - 1);
    if rng.random_ratio(1, 8) {
        server.push(Close);
    }
    let mut budget = Budget::default();
    for _ in 0..rng.random_range(0..=HARM_MAX) {
        let Budget {
            lose_up,
            lose_down,
            lose_inside,
            repeat,
            hurry,
            halve,
            half_fill,
            forge,
            crash,
        } = &mut budget;
        // Forging and crashing end a run soon.
        let harm = match rng.random_range(0..32) {
            0 => forge,
            1 => crash,
            2..8 => lose_up,
            8..14 => lose_down,
            14..18 => lose_inside,
            18..23 => repeat,
            23..28 => hurry,
            28..30 => half_fill,
            _ => halve,
        };
        *harm += 1;
    }
    (client, server, budget)
}

fn script(rng: &mut SmallRng, items: &[Item], least: usize, most: usize) -> Vec<Item> {
    let length = rng.random_range(least..=most);
    (0..length).filter_map(|_| items.choose(rng).copied()).collect()
}

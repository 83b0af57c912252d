//! What is published: who, which connection of his, the how many-th, random bytes, and a hash of it
//! all. A reader needs no list of what was sent.

use std::hash::{DefaultHasher, Hasher as _};

use rand::RngExt;

/// Device, connection and number, of four bytes each.
const HEAD_BYTES: usize = 12;
const HASH_BYTES: usize = 8;

/// Mostly small, now and then of many segments.
pub(crate) fn make(rng: &mut impl RngExt, device: u32, incarnation: u32, number: u32) -> Vec<u8> {
    let mut payload: Vec<u8> =
        [device, incarnation, number].iter().flat_map(|word| word.to_be_bytes()).collect();
    let most = [3, 200, 200, 1_400, 12_000][rng.random_range(0..5)];
    payload.extend((0..rng.random_range(0..most)).map(|_| rng.random::<u8>()));
    let hash = hash(&payload);
    payload.extend(hash);
    payload
}

/// Device, connection and number.
///
/// # Panics
/// When a byte of it has changed.
#[track_caller]
pub(crate) fn read(payload: &[u8]) -> (u32, u32, u32) {
    assert!(payload.len() >= HEAD_BYTES + HASH_BYTES, "a message of {} bytes", payload.len());
    let (told, sent) = payload.split_at(payload.len() - HASH_BYTES);
    assert_eq!(hash(told), *sent, "a message of {} bytes arrived changed", payload.len());
    let word = |at: usize| {
        let bytes = told[at..at + 4].try_into();
        u32::from_be_bytes(bytes.expect("four bytes"))
    };
    (word(0), word(4), word(8))
}

fn hash(bytes: &[u8]) -> [u8; HASH_BYTES] {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish().to_be_bytes()
}

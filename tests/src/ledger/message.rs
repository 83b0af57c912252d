//! The payloads that publishers send: publisher, number, random bytes, and a hash of everything, so
//! that a reader needs no list of sent messages.

use std::hash::{DefaultHasher, Hasher as _};

use rand::RngExt;

/// Publisher and number, of four bytes each.
const HEAD_BYTES: usize = 8;
const HASH_BYTES: usize = 8;

/// Names a message: the `number`-th of a publisher, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId {
    /// Who published it, by number.
    pub publisher: u32,
    /// Counts the publisher's messages.
    pub number: u32,
}

/// Makes a payload: mostly small; now and then so large that a store may treat it differently.
pub fn make(rng: &mut impl RngExt, id: MessageId) -> Vec<u8> {
    let mut payload: Vec<u8> =
        [id.publisher, id.number].iter().flat_map(|word| word.to_be_bytes()).collect();
    let most = [3, 100, 100, 200, 200, 1_400, 1_400, 30_000][rng.random_range(0..8)];
    payload.extend((0..rng.random_range(0..most)).map(|_| rng.random::<u8>()));
    let hash = hash(&payload);
    payload.extend(hash);
    payload
}

/// Reads which message it is; an error if a byte of it has changed.
pub fn read(payload: &[u8]) -> Result<MessageId, String> {
    let (told, sent) = payload
        .split_last_chunk::<HASH_BYTES>()
        .filter(|(told, _)| told.len() >= HEAD_BYTES)
        .ok_or_else(|| format!("a message of {} bytes is none of ours", payload.len()))?;
    if hash(told) != *sent {
        return Err(format!("a message of {} bytes arrived changed", payload.len()));
    }
    let word =
        |at: usize| told[at..at + 4].iter().fold(0, |word, byte| word << 8 | u32::from(*byte));
    Ok(MessageId { publisher: word(0), number: word(4) })
}

fn hash(bytes: &[u8]) -> [u8; HASH_BYTES] {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish().to_be_bytes()
}

#[cfg(test)]
mod tests;

//! Remembers what was right not long ago, passwords and tokens, so that a client that connects again costs no hash and
//! no signature.
//!
//! A key names user, password and line together, or a token and the keys that it is checked by, by a secret of the
//! process: whoever reads this memory learns no password, and a line that has changed is another key.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::time::Duration;

use push_common::clock::Monotonic;

use super::mac::Key;

/// How long a password or a token that was right is remembered.
pub const VERIFIED_FOR: Duration = Duration::from_secs(10 * 60);

/// Most passwords remembered, and most tokens. With one more, the one that was verified the longest ago is forgotten.
pub const VERIFIED_MAX: usize = 100_000;

/// Bytes that a remembered password takes, some.
pub const PASSWORD_BYTES: usize = 100;

/// Most bytes of memory that remembered tokens take. Passwords cannot take as much.
pub const VERIFIED_BYTES_MAX: usize = 64 << 20;

/// How many that have expired each call forgets at most. More than one, so that they never add up.
const FORGOTTEN_AT_ONCE_MAX: usize = 2;

/// Names what was verified, and tells nothing of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CheckKey(Key);

impl CheckKey {
    pub(super) fn new(key: Key) -> Self {
        Self(key)
    }
}

impl fmt::Debug for CheckKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("CheckKey")
    }
}

/// What was right not long ago, with what is known of it.
#[derive(Debug)]
pub struct Verified<V> {
    entries: HashMap<CheckKey, Entry<V>>,
    /// In the order of their ends. A key that was added again is here twice.
    order: VecDeque<(Monotonic, CheckKey)>,
    bytes: usize,
}

#[derive(Debug)]
struct Entry<V> {
    until: Monotonic,
    bytes: usize,
    value: V,
}

impl<V> Default for Verified<V> {
    fn default() -> Self {
        Self { entries: HashMap::new(), order: VecDeque::new(), bytes: 0 }
    }
}

impl<V> Verified<V> {
    /// What is known of the key, if it was added not long before `now`.
    pub fn get(&mut self, key: CheckKey, now: Monotonic) -> Option<&V> {
        self.forget_expired(now);
        self.entries.get(&key).filter(|entry| entry.until > now).map(|entry| &entry.value)
    }

    /// Remembers a key. Returns how many others were forgotten for it before their time.
    pub fn add(&mut self, key: CheckKey, value: V, bytes: usize, now: Monotonic) -> u64 {
        self.forget_expired(now);
        let mut forgotten = 0;
        while !self.order.is_empty()
            && (self.order.len() >= VERIFIED_MAX || self.bytes + bytes > VERIFIED_BYTES_MAX)
        {
            forgotten += 1;
            self.forget_oldest();
        }
        let until = now.after(VERIFIED_FOR);
        self.bytes += bytes;
        if let Some(before) = self.entries.insert(key, Entry { until, bytes, value }) {
            self.bytes -= before.bytes;
        }
        self.order.push_back((until, key));
        forgotten
    }

    /// How many are remembered.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none is remembered.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn forget_expired(&mut self, now: Monotonic) {
        for _ in 0..FORGOTTEN_AT_ONCE_MAX {
            if self.order.front().is_none_or(|(until, _)| *until > now) {
                return;
            }
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((until, key)) = self.order.pop_front()
            && self.entries.get(&key).is_some_and(|entry| entry.until == until)
            && let Some(entry) = self.entries.remove(&key)
        {
            self.bytes -= entry.bytes;
        }
    }
}

#[cfg(test)]
mod tests;

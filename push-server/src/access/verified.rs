//! Remembers which passwords were right not long ago, so that a client that connects again costs no hash.
//!
//! What is remembered is a key that names user, password and line together, by a secret of the process: whoever reads
//! this memory learns no password, and a line that has changed is another key.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use push_common::clock::Monotonic;

use super::users::CheckKey;

/// How long a password that was right is remembered.
pub const VERIFIED_FOR: Duration = Duration::from_secs(10 * 60);

/// Most passwords remembered, each some 100 bytes. With one more, the one that was verified the longest ago is
/// forgotten.
pub const VERIFIED_MAX: usize = 100_000;

/// How many that have expired each call forgets at most. More than one, so that they never add up.
const FORGOTTEN_AT_ONCE_MAX: usize = 2;

/// The passwords that were right not long ago.
#[derive(Debug, Default)]
pub struct VerifiedPasswords {
    until: HashMap<CheckKey, Monotonic>,
    /// In the order of `until`. A key that was added again is here twice.
    order: VecDeque<(Monotonic, CheckKey)>,
}

impl VerifiedPasswords {
    /// Whether the key was added not long before `now`.
    pub fn contains(&mut self, key: CheckKey, now: Monotonic) -> bool {
        self.forget_expired(now);
        self.until.get(&key).is_some_and(|until| *until > now)
    }

    /// Remembers a key. Returns whether another one was forgotten for it before its time.
    pub fn add(&mut self, key: CheckKey, now: Monotonic) -> bool {
        self.forget_expired(now);
        let is_full = self.order.len() >= VERIFIED_MAX;
        if is_full {
            self.forget_oldest();
        }
        let until = now.after(VERIFIED_FOR);
        self.until.insert(key, until);
        self.order.push_back((until, key));
        is_full
    }

    /// How many are remembered.
    pub fn len(&self) -> usize {
        self.until.len()
    }

    /// Whether none is remembered.
    pub fn is_empty(&self) -> bool {
        self.until.is_empty()
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
            && self.until.get(&key) == Some(&until)
        {
            self.until.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests;

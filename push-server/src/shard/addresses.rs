//! What is counted for each address that clients come from, over all shards: sockets that wait for their CONNACK,
//! connections, and failures to authenticate. An IPv6 address counts with its /64, which is one link of a site.
//!
//! A sender can invent addresses, so each table has a fixed number of entries: the one that was seen the longest ago
//! is forgotten first, with what it counts. The clock is an argument.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::quality::FixedState;
use lru::LruCache;
use push_common::clock::Monotonic;
use push_common::rate::Rate;

use crate::config::Admission;

/// Entries of each table.
pub(crate) const ADDRESSES_MAX: usize = 65_536;

/// How long who has failed too often is refused.
const BAN_MILLIS: u64 = 60_000;

/// An address may fail so many times as often as one name at it.
const NAMES_PER_ADDRESS: u32 = 10;

/// The parts of a minute: failures are counted by a rate of parts a second, and each costs them all.
const PARTS: u32 = 60;

/// An address, as limits count it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum AddressKey {
    V4(u32),
    /// The /64.
    V6(u64),
}

impl From<IpAddr> for AddressKey {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address.to_bits()),
            IpAddr::V6(address) => Self::V6((address.to_bits() >> 64) as u64),
        }
    }
}

/// Who tries to authenticate: a name at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Attempt {
    address: AddressKey,
    /// Its hash; `None`: the name is not known.
    name: Option<u64>,
}

/// The tables, one for all shards.
#[derive(Debug)]
pub(crate) struct Addresses {
    limits: Admission,
    hasher: FixedState,
    tables: Mutex<Tables>,
    /// How many connections each user has who has any: no more than there are connections.
    users: Mutex<HashMap<Box<str>, u32, FixedState>>,
}

#[derive(Debug)]
struct Tables {
    by_address: LruCache<AddressKey, Entry, FixedState>,
    by_name: LruCache<(AddressKey, u64), Failures, FixedState>,
    /// The number of the entry that is made next.
    next_number: u64,
}

/// What is counted for an address.
#[derive(Debug, Default)]
struct Entry {
    /// Tells it from an earlier one of the same address, which was forgotten.
    number: u64,
    waiting: u32,
    connections: u32,
    failures: Failures,
}

/// How often somebody has failed.
#[derive(Clone, Copy, Debug, Default)]
struct Failures {
    due: Monotonic,
    banned_until: Monotonic,
}

/// What a place is one of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Counted {
    /// Sockets before CONNACK.
    Waiting,
    /// Connections.
    Connected,
}

/// One of an address's places; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct AddressPlace {
    addresses: Arc<Addresses>,
    key: AddressKey,
    entry: u64,
    counted: Counted,
}

/// One of a user's places; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct UserPlace {
    addresses: Arc<Addresses>,
    user: Box<str>,
}

/// There is no further place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoPlaceLeft;

impl Addresses {
    /// Nothing is counted yet; `seed` is random.
    pub(crate) fn new(limits: Admission, seed: u64) -> Arc<Self> {
        let hasher = || FixedState::with_seed(seed);
        let tables = Tables {
            by_address: LruCache::unbounded_with_hasher(hasher()),
            by_name: LruCache::unbounded_with_hasher(hasher()),
            next_number: 0,
        };
        let users = Mutex::new(HashMap::with_hasher(hasher()));
        Arc::new(Self { limits, hasher: hasher(), tables: Mutex::new(tables), users })
    }

    /// A socket of an address waits for its CONNACK. `None`: there is no limit.
    ///
    /// # Errors
    /// As many wait as may.
    pub(crate) fn wait(
        self: &Arc<Self>,
        key: AddressKey,
    ) -> Result<Option<AddressPlace>, NoPlaceLeft> {
        self.take(key, Counted::Waiting, self.limits.address_waiting_max, false)
    }

    /// A client at an address is served. It may be one more than the limit if it `replaces` another. `None`: there is
    /// no limit.
    ///
    /// # Errors
    /// As many are served as may be.
    pub(crate) fn connect(
        self: &Arc<Self>,
        key: AddressKey,
        replaces: bool,
    ) -> Result<Option<AddressPlace>, NoPlaceLeft> {
        self.take(key, Counted::Connected, self.limits.address_connections_max, replaces)
    }

    /// A client of a user is served, who may have `connections_max` of them (0: no limit), or one more if it
    /// `replaces` another.
    ///
    /// # Errors
    /// As many are served as may be.
    pub(crate) fn connect_user(
        self: &Arc<Self>,
        user: &str,
        connections_max: u32,
        replaces: bool,
    ) -> Result<Option<UserPlace>, NoPlaceLeft> {
        if connections_max == 0 {
            return Ok(None);
        }
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        let count = users.get(user).copied().unwrap_or(0);
        if count >= connections_max && !replaces {
            return Err(NoPlaceLeft);
        }
        users.insert(user.into(), count + 1);
        Ok(Some(UserPlace { addresses: Arc::clone(self), user: user.into() }))
    }

    /// Who tries to authenticate. `None`: failures are not counted.
    pub(crate) fn attempt(&self, address: AddressKey, name: Option<&str>) -> Option<Attempt> {
        let name = name.map(|name| self.hasher.hash_one(name));
        (self.limits.auth_failures > 0).then_some(Attempt { address, name })
    }

    /// Whether who tries is refused, for earlier failures.
    pub(crate) fn is_banned(&self, attempt: Attempt, now: Monotonic) -> bool {
        let mut tables = self.tables();
        let is_banned = |failures: &Failures| failures.banned_until > now;
        let by_address = tables.by_address.get(&attempt.address);
        by_address.is_some_and(|entry| is_banned(&entry.failures))
            || attempt.name.is_some_and(|name| {
                tables.by_name.get(&(attempt.address, name)).is_some_and(is_banned)
            })
    }

    /// Who has tried has failed.
    pub(crate) fn note_failure(&self, attempt: Attempt, now: Monotonic) {
        let failures_max = self.limits.auth_failures;
        let mut tables = self.tables();
        let (entry, _) = tables.entry(attempt.address);
        entry.failures.note(failures_max.saturating_mul(NAMES_PER_ADDRESS), now);
        if let Some(name) = attempt.name {
            let key = (attempt.address, name);
            tables.by_name.get_or_insert_mut(key, Failures::default).note(failures_max, now);
            forget_oldest(&mut tables.by_name);
        }
    }

    fn take(
        self: &Arc<Self>,
        key: AddressKey,
        counted: Counted,
        places_max: u32,
        replaces: bool,
    ) -> Result<Option<AddressPlace>, NoPlaceLeft> {
        if places_max == 0 {
            return Ok(None);
        }
        let mut tables = self.tables();
        let (entry, number) = tables.entry(key);
        let count = entry.count(counted);
        if *count >= places_max && !replaces {
            return Err(NoPlaceLeft);
        }
        *count += 1;
        Ok(Some(AddressPlace { addresses: Arc::clone(self), key, entry: number, counted }))
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        // A panic leaves counts that are whole.
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many entries both tables have, and users.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        let tables = self.tables();
        let users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        tables.by_address.len() + tables.by_name.len() + users.len()
    }
}

impl Tables {
    /// The entry of an address, which has just been seen, and its number.
    fn entry(&mut self, key: AddressKey) -> (&mut Entry, u64) {
        if !self.by_address.contains(&key) {
            let entry = Entry { number: self.next_number, ..Entry::default() };
            self.next_number += 1;
            self.by_address.put(key, entry);
            forget_oldest(&mut self.by_address);
        }
        let entry = self.by_address.get_or_insert_mut(key, Entry::default);
        let number = entry.number;
        (entry, number)
    }
}

/// Keeps a table to its size.
fn forget_oldest<K: Hash + Eq, V>(table: &mut LruCache<K, V, FixedState>) {
    while table.len() > ADDRESSES_MAX {
        table.pop_lru();
    }
}

impl Entry {
    fn count(&mut self, counted: Counted) -> &mut u32 {
        match counted {
            Counted::Waiting => &mut self.waiting,
            Counted::Connected => &mut self.connections,
        }
    }
}

impl Failures {
    /// One more, of whom may fail so many times a minute: once these are used up, it is banned.
    fn note(&mut self, a_minute: u32, now: Monotonic) {
        let rate = Rate { per_sec: a_minute, burst: a_minute.saturating_mul(PARTS) };
        self.due = rate.spent(self.due, PARTS.into(), now);
        // The next one would not be within the rate, with all its parts.
        let next = rate.spent(self.due, u64::from(PARTS) - 1, now);
        if rate.opens_at(next) > now {
            self.banned_until = now.after_millis(BAN_MILLIS);
        }
    }
}

impl AddressPlace {
    /// The address that it is one of.
    pub(crate) fn key(&self) -> AddressKey {
        self.key
    }
}

impl Drop for AddressPlace {
    fn drop(&mut self) {
        let mut tables = self.addresses.tables();
        // Not a look that would make it the latest that was seen.
        if let Some(entry) = tables.by_address.peek_mut(&self.key)
            && entry.number == self.entry
        {
            *entry.count(self.counted) -= 1;
        }
    }
}

impl UserPlace {
    /// The user that it is one of.
    pub(crate) fn user(&self) -> &str {
        &self.user
    }
}

impl Drop for UserPlace {
    fn drop(&mut self) {
        let mut users = self.addresses.users.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = users.get_mut(&self.user) {
            *count -= 1;
            if *count == 0 {
                users.remove(&self.user);
            }
        }
    }
}

#[cfg(test)]
mod tests;

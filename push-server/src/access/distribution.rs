//! How often each kind of line occurs among the users, so that names that do not exist look and cost like those that
//! do.

use std::collections::BTreeMap;

use super::mac::Key;

/// Each kind, with the number of users up to it.
#[derive(Debug)]
pub(super) struct Distribution<T>(Vec<(T, u64)>);

impl<T: Copy + Ord> Distribution<T> {
    pub(super) fn of(kinds: impl Iterator<Item = T>) -> Self {
        let mut counts = BTreeMap::<T, u64>::new();
        for kind in kinds {
            *counts.entry(kind).or_default() += 1;
        }
        let mut users = 0;
        let up_to = |(kind, these)| {
            users += these;
            (kind, users)
        };
        Self(counts.into_iter().map(up_to).collect())
    }

    /// Picks a kind by a random key, each as often as it occurs. `None`: there is none.
    pub(super) fn choose(&self, key: &Key) -> Option<T> {
        let users = self.0.last().map_or(0, |&(_, users)| users);
        let random = u64::from_be_bytes(std::array::from_fn(|index| key[index]));
        // Less than `users`, since it is a fraction of it.
        let user = ((u128::from(random) * u128::from(users)) >> 64) as u64;
        let at = self.0.partition_point(|&(_, up_to)| up_to <= user);
        self.0.get(at).map(|&(kind, _)| kind)
    }
}

//! Who may begin a session: `--max-sessions`, and within it a share for each user and each network.
//!
//! One script makes thousands of sessions a second. It must not take the places of all others. But a
//! network may well be a carrier's, with thousands of phones behind one address. So shares bind only
//! while more than half of all places are taken, and a share is never less than `SHARE_MIN`.
//!
//! A network is an IPv4 /24 or an IPv6 /48, the prefix that a site is given. Networks and users are
//! counted in a fixed number of buckets by a hash whose seed is random: a session remembers its bucket in
//! two bytes, nothing grows with the networks there are, and nobody can choose with whom to share a
//! bucket. Two that do share one are counted as one, which a share is large enough for. What network a
//! session was made from is not stored: after a restart it counts again when its client is back.

use std::hash::{BuildHasher, Hash};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicU32, Ordering};

use foldhash::fast::FixedState;

/// The least share of a network or user, so that small servers have none.
const SHARE_MIN: u32 = 1_024;

/// Buckets that networks, and users, are counted in. The first is of those that are not known.
const BUCKETS: usize = 1 << 16;

/// The network that a session's client has connected from last, as far as it is told from others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Origin(u16);

/// Why a session may not begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoPlace {
    /// All places are taken.
    Full,
    /// Half of them are, and the network or the user has its share.
    Share,
    /// The memory of all sessions is.
    Memory,
}

/// The places of all shards, and who has them.
#[derive(Debug)]
pub(super) struct SessionShares {
    places: u32,
    share: u32,
    taken: AtomicU32,
    by_origin: Box<[AtomicU32]>,
    by_user: Box<[AtomicU32]>,
    hasher: FixedState,
}

impl SessionShares {
    /// `percent`: of `places`, how many a network or user may have. `seed` is random.
    pub(super) fn new(places: u32, percent: u8, seed: u64) -> Self {
        let part = u64::from(places) * u64::from(percent) / 100;
        let buckets = || (0..BUCKETS).map(|_| AtomicU32::new(0)).collect();
        Self {
            places,
            // A part of a u32 is one.
            share: (part as u32).max(SHARE_MIN),
            taken: AtomicU32::new(0),
            by_origin: buckets(),
            by_user: buckets(),
            hasher: FixedState::with_seed(seed),
        }
    }

    /// The network of an address.
    pub(super) fn origin(&self, address: IpAddr) -> Origin {
        Origin(match address.to_canonical() {
            IpAddr::V4(address) => {
                let [a, b, c, _] = address.octets();
                self.bucket(Ipv4Addr::from([a, b, c, 0]))
            }
            IpAddr::V6(address) => {
                let [a, b, c, ..] = address.segments();
                self.bucket([a, b, c])
            }
        })
    }

    /// Takes a place for a new session.
    pub(super) fn take(&self, origin: Origin, user: Option<&str>) -> Result<(), NoPlace> {
        let taken = self.taken.fetch_add(1, Ordering::Relaxed);
        let refused = if taken >= self.places {
            Some(NoPlace::Full)
        } else if taken >= self.places / 2 && self.has_share(origin, user) {
            Some(NoPlace::Share)
        } else {
            None
        };
        if let Some(refused) = refused {
            self.taken.fetch_sub(1, Ordering::Relaxed);
            return Err(refused);
        }
        self.count(origin, user);
        Ok(())
    }

    /// Takes a place whatever the limits: for a session that a restart has found, or that comes in the
    /// place of one that has just ended.
    pub(super) fn take_unasked(&self, origin: Origin, user: Option<&str>) {
        self.taken.fetch_add(1, Ordering::Relaxed);
        self.count(origin, user);
    }

    /// A session has ended.
    pub(super) fn give_back(&self, origin: Origin, user: Option<&str>) {
        self.taken.fetch_sub(1, Ordering::Relaxed);
        self.by_origin[usize::from(origin.0)].fetch_sub(1, Ordering::Relaxed);
        self.by_user[self.user_bucket(user)].fetch_sub(1, Ordering::Relaxed);
    }

    /// A session's client is back, from another network perhaps.
    pub(super) fn move_origin(&self, from: Origin, to: Origin) {
        self.by_origin[usize::from(from.0)].fetch_sub(1, Ordering::Relaxed);
        self.by_origin[usize::from(to.0)].fetch_add(1, Ordering::Relaxed);
    }

    /// Whether so few places are left that sessions which nobody uses are to give way.
    pub(super) fn is_nearly_full(&self) -> bool {
        self.taken.load(Ordering::Relaxed) >= self.places - self.places / 16
    }

    /// Whether two sessions count together, by network or by user.
    pub(super) fn is_same(
        &self,
        origin: Origin,
        user: Option<&str>,
        other_origin: Origin,
        other_user: Option<&str>,
    ) -> bool {
        (origin == other_origin && origin != Origin::default())
            || (user.is_some() && user == other_user)
    }

    fn has_share(&self, origin: Origin, user: Option<&str>) -> bool {
        let count = |bucket: &AtomicU32| bucket.load(Ordering::Relaxed);
        let is_user_over =
            user.is_some() && count(&self.by_user[self.user_bucket(user)]) >= self.share;
        is_user_over
            || (origin != Origin::default()
                && count(&self.by_origin[usize::from(origin.0)]) >= self.share)
    }

    fn count(&self, origin: Origin, user: Option<&str>) {
        self.by_origin[usize::from(origin.0)].fetch_add(1, Ordering::Relaxed);
        self.by_user[self.user_bucket(user)].fetch_add(1, Ordering::Relaxed);
    }

    fn user_bucket(&self, user: Option<&str>) -> usize {
        user.map_or(0, |user| usize::from(self.bucket(user)))
    }

    /// Not the first.
    fn bucket(&self, key: impl Hash) -> u16 {
        // The remainder is less than the buckets there are.
        (self.hasher.hash_one(key) % (BUCKETS as u64 - 1)) as u16 + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACES: u32 = 20_000;
    const SHARE: u32 = 2_000;

    fn shares() -> SessionShares {
        SessionShares::new(PLACES, 10, 7)
    }

    fn origin(shares: &SessionShares, address: &str) -> Origin {
        shares.origin(address.parse().expect("an address"))
    }

    fn take_many(shares: &SessionShares, address: &str, user: Option<&str>) -> u32 {
        let origin = origin(shares, address);
        (0..).take_while(|_| shares.take(origin, user).is_ok()).count() as u32
    }

    #[test]
    fn a_network_is_a_24_or_a_48() {
        let shares = shares();
        let one = origin(&shares, "192.0.2.1");
        assert_eq!(origin(&shares, "192.0.2.255"), one);
        assert_eq!(origin(&shares, "::ffff:192.0.2.9"), one, "the same by the other family");
        assert_ne!(origin(&shares, "192.0.3.1"), one);
        let one = origin(&shares, "2001:db8:1:2::3");
        assert_eq!(origin(&shares, "2001:db8:1:3::4"), one);
        assert_ne!(origin(&shares, "2001:db8:2:2::3"), one);
        assert_ne!(one, Origin::default());
    }

    #[test]
    fn a_network_may_have_half_of_all_places_alone_and_then_no_more_than_its_share() {
        let shares = shares();
        assert_eq!(take_many(&shares, "192.0.2.1", None), PLACES / 2);
        assert_eq!(shares.take(origin(&shares, "192.0.2.7"), None), Err(NoPlace::Share));
        assert_eq!(take_many(&shares, "198.51.100.1", None), SHARE);
        assert_eq!(take_many(&shares, "2001:db8::1", None), SHARE);
        // One that goes leaves its place to others, not to its own network, which has too many.
        shares.give_back(origin(&shares, "192.0.2.1"), None);
        assert_eq!(shares.take(origin(&shares, "192.0.2.1"), None), Err(NoPlace::Share));
        assert_eq!(shares.take(origin(&shares, "203.0.113.1"), None), Ok(()));
    }

    #[test]
    fn a_user_has_a_share_whatever_network_he_comes_from() {
        let shares = shares();
        take_many(&shares, "192.0.2.1", None);
        let mut taken = 0;
        for net in 0..8 {
            let origin = origin(&shares, &format!("10.0.{net}.1"));
            taken += (0..500).filter(|_| shares.take(origin, Some("u")).is_ok()).count() as u32;
        }
        assert_eq!(taken, SHARE);
        assert_eq!(shares.take(origin(&shares, "10.0.0.1"), Some("v")), Ok(()));
    }

    #[test]
    fn full_is_full_and_what_is_given_back_is_there_again() {
        let shares = SessionShares::new(2, 10, 7);
        let one = origin(&shares, "192.0.2.1");
        assert!(shares.take(one, None).is_ok() && !shares.is_nearly_full());
        assert!(shares.take(one, None).is_ok() && shares.is_nearly_full());
        assert_eq!(shares.take(one, None), Err(NoPlace::Full));
        shares.take_unasked(one, Some("u"));
        shares.give_back(one, Some("u"));
        shares.give_back(one, None);
        assert_eq!(shares.take(one, None), Ok(()));
    }

    #[test]
    fn a_session_counts_where_its_client_was_last() {
        let shares = shares();
        let (home, away) = (origin(&shares, "192.0.2.1"), origin(&shares, "198.51.100.1"));
        assert_eq!(take_many(&shares, "192.0.2.1", None), PLACES / 2);
        for _ in 0..PLACES / 2 - SHARE + 1 {
            shares.move_origin(home, away);
        }
        assert_eq!(shares.take(home, None), Ok(()));
        assert_eq!(shares.take(away, None), Err(NoPlace::Share));
    }

    #[test]
    fn what_a_restart_has_found_is_of_no_network() {
        let shares = shares();
        for _ in 0..PLACES / 2 {
            shares.take_unasked(Origin::default(), None);
        }
        assert_eq!(take_many(&shares, "192.0.2.1", None), SHARE);
        assert_eq!(
            shares.take(Origin::default(), None),
            Ok(()),
            "nor is one whose socket has failed"
        );
    }
}

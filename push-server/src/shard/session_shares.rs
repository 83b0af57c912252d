//! Who may begin a session: `--max-sessions`, and within it a share for each user and each network.
//!
//! One script makes thousands of sessions a second. It must not take the places of all others. But a
//! network may well be a carrier's, with thousands of phones behind one address. So shares bind only
//! while more than half of all places are taken, and a share is never less than `SHARE_MIN`.
//!
//! A network is an IPv4 /24 or an IPv6 /48, the prefix that a site is given. Of an IPv6 network's share
//! a /64, which is one link of the site or one customer of a provider, has half at most: it has more
//! addresses than anybody can count, so addresses are never counted one by one. Networks, links and
//! users are counted in a fixed number of buckets by a hash whose seed is random: a session remembers
//! two buckets in four bytes, nothing grows with the networks there are, and nobody can choose with
//! whom to share a bucket. Two that do share one are counted as one, which a share is large enough for.
//! What network a session was made from is not stored: after a restart it counts again when its client
//! is back.

use std::hash::{BuildHasher, Hash};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicU32, Ordering};

use foldhash::fast::FixedState;

/// The least share of a network or user, so that small servers have none.
const SHARE_MIN: u32 = 1_024;

/// Buckets that networks, links, and users are counted in.
const BUCKETS: usize = 1 << 16;

/// The bucket of those that are not known.
const UNKNOWN: u16 = 0;

/// The network that a session's client has connected from last, as far as it is told from others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Origin {
    network: u16,
    /// Of IPv6 only.
    link: u16,
}

/// Why a session may not begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoPlace {
    /// All places are taken.
    Full,
    /// Half of them are, and the network, the link or the user has its share.
    Share,
    /// The memory of all sessions is.
    Memory,
}

/// Which shares are used up.
#[derive(Clone, Copy, Debug)]
struct Full {
    network: bool,
    link: bool,
    user: bool,
}

impl Full {
    fn any(self) -> bool {
        self.network || self.link || self.user
    }
}

/// The places of all shards, and who has them.
#[derive(Debug)]
pub(super) struct SessionShares {
    places: u32,
    share: u32,
    taken: AtomicU32,
    by_network: Box<[AtomicU32]>,
    by_link: Box<[AtomicU32]>,
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
            by_network: buckets(),
            by_link: buckets(),
            by_user: buckets(),
            hasher: FixedState::with_seed(seed),
        }
    }

    /// The network of an address.
    pub(super) fn origin(&self, address: IpAddr) -> Origin {
        match address.to_canonical() {
            IpAddr::V4(address) => {
                let [a, b, c, _] = address.octets();
                Origin { network: self.bucket(Ipv4Addr::from([a, b, c, 0])), link: UNKNOWN }
            }
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Origin { network: self.bucket([a, b, c]), link: self.bucket([a, b, c, d]) }
            }
        }
    }

    /// Takes a place for a new session.
    pub(super) fn take(&self, origin: Origin, user: Option<&str>) -> Result<(), NoPlace> {
        let taken = self.taken.fetch_add(1, Ordering::Relaxed);
        let refused = if taken >= self.places {
            Some(NoPlace::Full)
        } else if taken >= self.places / 2 && self.full(origin, user).any() {
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
        self.by_network[usize::from(origin.network)].fetch_sub(1, Ordering::Relaxed);
        self.by_link[usize::from(origin.link)].fetch_sub(1, Ordering::Relaxed);
        self.by_user[usize::from(self.user_bucket(user))].fetch_sub(1, Ordering::Relaxed);
    }

    /// A session's client is back, from another network perhaps.
    pub(super) fn move_origin(&self, from: Origin, to: Origin) {
        self.by_network[usize::from(from.network)].fetch_sub(1, Ordering::Relaxed);
        self.by_network[usize::from(to.network)].fetch_add(1, Ordering::Relaxed);
        self.by_link[usize::from(from.link)].fetch_sub(1, Ordering::Relaxed);
        self.by_link[usize::from(to.link)].fetch_add(1, Ordering::Relaxed);
    }

    /// Whether so few places are left that sessions which nobody uses are to give way.
    pub(super) fn is_nearly_full(&self) -> bool {
        self.taken.load(Ordering::Relaxed) >= self.places - self.places / 16
    }

    /// Whether the end of another session gives a newcomer back every share that it lacks. It must not
    /// take the place of somebody who shares nothing full with it.
    pub(super) fn makes_room(
        &self,
        (origin, user): (Origin, Option<&str>),
        (other, other_user): (Origin, Option<&str>),
    ) -> bool {
        let full = self.full(origin, user);
        full.any()
            && (!full.network || origin.network == other.network)
            && (!full.link || origin.link == other.link)
            && (!full.user || user == other_user)
    }

    /// Which shares of a newcomer are used up. What is not known has none.
    fn full(&self, origin: Origin, user: Option<&str>) -> Full {
        let count = |buckets: &[AtomicU32], bucket: u16| match bucket {
            UNKNOWN => 0,
            bucket => buckets[usize::from(bucket)].load(Ordering::Relaxed),
        };
        Full {
            network: count(&self.by_network, origin.network) >= self.share,
            link: count(&self.by_link, origin.link) >= (self.share / 2).max(SHARE_MIN),
            user: count(&self.by_user, self.user_bucket(user)) >= self.share,
        }
    }

    fn count(&self, origin: Origin, user: Option<&str>) {
        self.by_network[usize::from(origin.network)].fetch_add(1, Ordering::Relaxed);
        self.by_link[usize::from(origin.link)].fetch_add(1, Ordering::Relaxed);
        self.by_user[usize::from(self.user_bucket(user))].fetch_add(1, Ordering::Relaxed);
    }

    fn user_bucket(&self, user: Option<&str>) -> u16 {
        user.map_or(UNKNOWN, |user| self.bucket(user))
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
        assert_eq!(origin(&shares, "2001:db8:1:2:ffff::4"), one, "the same link");
        let neighbour = origin(&shares, "2001:db8:1:3::3");
        assert_eq!(neighbour.network, one.network);
        assert_ne!(neighbour.link, one.link);
        assert_ne!(origin(&shares, "2001:db8:2:2::3").network, one.network);
        assert_ne!(one, Origin::default());
    }

    #[test]
    fn a_network_may_have_half_of_all_places_alone_and_then_no_more_than_its_share() {
        let shares = shares();
        assert_eq!(take_many(&shares, "192.0.2.1", None), PLACES / 2);
        assert_eq!(shares.take(origin(&shares, "192.0.2.7"), None), Err(NoPlace::Share));
        assert_eq!(take_many(&shares, "198.51.100.1", None), SHARE);
        let links = ["2001:db8:0:1::1", "2001:db8:0:2::1", "2001:db8:0:3::1"];
        let taken: u32 = links.iter().map(|link| take_many(&shares, link, None)).sum();
        assert_eq!(taken, SHARE);
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
    fn a_link_has_half_of_its_networks_share_whatever_addresses_it_uses() {
        const PLACES: u32 = 60_000;
        const SHARE: u32 = 6_000;
        let shares = SessionShares::new(PLACES, 10, 7);
        take_many(&shares, "192.0.2.1", None);
        let from =
            |link: u32, host: u32| origin(&shares, &format!("2001:db8:0:{link:x}::{host:x}"));
        let taken = (0..).take_while(|&host| shares.take(from(1, host), None).is_ok()).count();
        assert_eq!(taken as u32, SHARE / 2);
        let taken = (0..).take_while(|&host| shares.take(from(2, host), None).is_ok()).count();
        assert_eq!(taken as u32, SHARE / 2, "the other half is its neighbours'");
        assert_eq!(shares.take(from(3, 1), None), Err(NoPlace::Share), "the network has its share");
    }

    #[test]
    fn who_gives_way_gives_back_what_is_full() {
        const PLACES: u32 = 60_000;
        let shares = SessionShares::new(PLACES, 10, 7);
        take_many(&shares, "192.0.2.1", None);
        take_many(&shares, "2001:db8:0:1::1", None);
        let newcomer = (origin(&shares, "2001:db8:0:1::2"), Some("u"));
        let own = origin(&shares, "2001:db8:0:1::3");
        let neighbour = origin(&shares, "2001:db8:0:2::1");
        assert!(shares.makes_room(newcomer, (own, None)));
        assert!(!shares.makes_room(newcomer, (neighbour, None)), "its link has room");
        assert!(!shares.makes_room(newcomer, (neighbour, Some("u"))), "nor does the user lack any");
        take_many(&shares, "2001:db8:0:2::1", None);
        assert!(shares.makes_room((neighbour, None), (neighbour, None)));
        let third = origin(&shares, "2001:db8:0:3::1");
        assert!(shares.makes_room((third, None), (own, None)), "the whole network is full");
        let apart = origin(&shares, "198.51.100.1");
        assert!(!shares.makes_room((apart, None), (apart, None)), "nothing is full");
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

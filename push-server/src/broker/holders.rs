//! Counts what each network, link and user holds of a resource that all clients share.
//!
//! A network is an IPv4 /24 or an IPv6 /48, the prefix that a site is given. Of an IPv6 network's share
//! a /64, which is one link of the site or one customer of a provider, has half at most: it has more
//! addresses than anybody can count, so addresses are never counted one by one. Networks, links and
//! users are counted in a fixed number of buckets by a hash whose seed is random: a session remembers
//! two buckets in four bytes, nothing grows with the networks there are, and nobody can choose with
//! whom to share a bucket. Two that do share one are counted as one, which a share is large enough for.

use std::hash::{BuildHasher, Hash};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicU64, Ordering};

use foldhash::fast::FixedState;

/// Buckets that networks, links, and users are counted in.
const BUCKETS: usize = 1 << 16;

/// The bucket of those that are not known.
const UNKNOWN: u16 = 0;

/// The network that a session's client has connected from last, as far as it is told from others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerNetwork {
    prefix: u16,
    /// Of IPv6 only.
    link: u16,
}

/// A network, a link and a user, as far as they are told from others. The default is known to be
/// nobody's, and has no share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holder {
    network: PeerNetwork,
    user: u16,
}

/// Tells networks, links and users from others of their kind.
#[derive(Debug)]
pub struct Holders {
    hasher: FixedState,
}

impl Holders {
    /// `seed` is random.
    pub fn new(seed: u64) -> Self {
        Self { hasher: FixedState::with_seed(seed) }
    }

    /// The network of an address.
    pub fn network(&self, address: IpAddr) -> PeerNetwork {
        match address.to_canonical() {
            IpAddr::V4(address) => {
                let [a, b, c, _] = address.octets();
                PeerNetwork { prefix: self.bucket(Ipv4Addr::from([a, b, c, 0])), link: UNKNOWN }
            }
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                PeerNetwork { prefix: self.bucket([a, b, c]), link: self.bucket([a, b, c, d]) }
            }
        }
    }

    /// Names the holder by its network and its user; `None`: the client is not authenticated.
    pub fn holder(&self, network: PeerNetwork, user: Option<&str>) -> Holder {
        Holder { network, user: user.map_or(UNKNOWN, |user| self.bucket(user)) }
    }

    /// Not the first.
    fn bucket(&self, key: impl Hash) -> u16 {
        // The remainder is less than the buckets there are.
        (self.hasher.hash_one(key) % (BUCKETS as u64 - 1)) as u16 + 1
    }
}

impl Holder {
    /// The holder of what belongs to nobody known.
    pub const NOBODY: Self =
        Self { network: PeerNetwork { prefix: UNKNOWN, link: UNKNOWN }, user: UNKNOWN };

    /// Where it has connected from.
    pub fn network(self) -> PeerNetwork {
        self.network
    }

    /// The same user at another network.
    #[must_use]
    pub fn at(self, network: PeerNetwork) -> Self {
        Self { network, ..self }
    }
}

/// How much a network or user may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShareMax {
    all: u64,
    of_link: u64,
}

impl ShareMax {
    /// So many percent of a total, and never less than `least`, so that small servers have none. 100 is no
    /// share: whoever there is may have everything, be it from one link.
    pub fn new(total: u64, percent: u8, least: u64) -> Self {
        if percent >= 100 {
            return Self { all: u64::MAX, of_link: u64::MAX };
        }
        let all = (total / 100 * u64::from(percent)).saturating_add(
            // What the division has cut off.
            total % 100 * u64::from(percent) / 100,
        );
        Self { all: all.max(least), of_link: (all / 2).max(least) }
    }
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

/// How much each network, link and user has. What is not known has no share.
#[derive(Debug)]
pub struct Tally {
    share: ShareMax,
    by_network: Box<[AtomicU64]>,
    by_link: Box<[AtomicU64]>,
    by_user: Box<[AtomicU64]>,
}

impl Tally {
    /// Nobody has anything.
    pub fn new(share: ShareMax) -> Self {
        let buckets = || (0..BUCKETS).map(|_| AtomicU64::new(0)).collect();
        Self { share, by_network: buckets(), by_link: buckets(), by_user: buckets() }
    }

    /// `holder` has so much more.
    pub fn add(&self, holder: Holder, amount: u64) {
        for count in self.counts(holder) {
            count.fetch_add(amount, Ordering::Relaxed);
        }
    }

    /// `holder` has so much less.
    pub fn subtract(&self, holder: Holder, amount: u64) {
        for count in self.counts(holder) {
            count.fetch_sub(amount, Ordering::Relaxed);
        }
    }

    /// So much moves from one holder to another.
    pub fn hand_over(&self, from: Holder, to: Holder, amount: u64) {
        if from != to && amount > 0 {
            self.add(to, amount);
            self.subtract(from, amount);
        }
    }

    /// Whether so much more is beyond a share.
    pub fn exceeds_share(&self, holder: Holder, more: u64) -> bool {
        self.full(holder, more).any()
    }

    /// Whether it would fit if `other` gave back as much. That helps only if the two count together in
    /// what is full.
    pub fn makes_room(&self, newcomer: Holder, other: Holder, amount: u64) -> bool {
        let full = self.full(newcomer, amount);
        full.any()
            && (!full.network || newcomer.network.prefix == other.network.prefix)
            && (!full.link || newcomer.network.link == other.network.link)
            && (!full.user || newcomer.user == other.user)
    }

    fn full(&self, holder: Holder, more: u64) -> Full {
        let ShareMax { all, of_link } = self.share;
        let exceeds = |buckets: &[AtomicU64], bucket: u16, share: u64| {
            bucket != UNKNOWN
                && buckets[usize::from(bucket)].load(Ordering::Relaxed).saturating_add(more) > share
        };
        Full {
            network: exceeds(&self.by_network, holder.network.prefix, all),
            link: exceeds(&self.by_link, holder.network.link, of_link),
            user: exceeds(&self.by_user, holder.user, all),
        }
    }

    fn counts(&self, holder: Holder) -> [&AtomicU64; 3] {
        [
            &self.by_network[usize::from(holder.network.prefix)],
            &self.by_link[usize::from(holder.network.link)],
            &self.by_user[usize::from(holder.user)],
        ]
    }
}

#[cfg(test)]
mod tests;

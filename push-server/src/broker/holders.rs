//! Counts how much of a shared resource each network, link and user holds.
//!
//! A network is an IPv4 /24 or an IPv6 /48, the prefix that a site gets. Within an IPv6 network a
//! /64, which is one link of the site or one customer of a provider, gets at most half of the
//! network's share. A /64 has too many addresses to count them one by one, so addresses are not
//! counted. Networks, links and users fall into a fixed number of buckets, by a hash with a random
//! seed: a session remembers two buckets in four bytes, nothing grows with the number of networks,
//! and nobody can choose whom to share a bucket with. Two in the same bucket count as one; a share
//! is large enough for that.

use std::hash::{BuildHasher, Hash};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicU64, Ordering};

use foldhash::fast::FixedState;

/// Buckets of networks, of links, and of users. 65,536, so that a bucket's number has two bytes.
const BUCKETS: usize = 1 << 16;

/// The bucket of the unknown.
const UNKNOWN: u16 = 0;

/// The bucket of the network that a session's client connected from last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerNetwork {
    prefix: u16,
    /// Only for IPv6.
    link: u16,
}

/// Buckets of a network, a link and a user: whose something is. The default is nobody's, and has no
/// share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holder {
    network: PeerNetwork,
    user: u16,
}

/// Sorts networks, links and users into buckets.
#[derive(Debug)]
pub struct Holders {
    hasher: FixedState,
}

impl Holders {
    /// `seed` is random.
    pub fn new(seed: u64) -> Self {
        Self { hasher: FixedState::with_seed(seed) }
    }

    /// The buckets of an address's network and link.
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

    /// The holder with this network and user; `None`: the client has not authenticated.
    pub fn holder(&self, network: PeerNetwork, user: Option<&str>) -> Holder {
        Holder { network, user: user.map_or(UNKNOWN, |user| self.bucket(user)) }
    }

    /// A bucket other than `UNKNOWN`.
    fn bucket(&self, key: impl Hash) -> u16 {
        // Less than `BUCKETS`.
        (self.hasher.hash_one(key) % (BUCKETS as u64 - 1)) as u16 + 1
    }
}

impl Holder {
    /// The holder of what belongs to nobody known.
    pub const NOBODY: Self =
        Self { network: PeerNetwork { prefix: UNKNOWN, link: UNKNOWN }, user: UNKNOWN };

    /// The network that it connected from.
    pub fn network(self) -> PeerNetwork {
        self.network
    }

    /// The same user at another network.
    #[must_use]
    pub fn at(self, network: PeerNetwork) -> Self {
        Self { network, ..self }
    }
}

/// The largest share of a network or user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShareMax {
    all: u64,
    of_link: u64,
}

impl ShareMax {
    /// `percent` of `total`, but at least `least`, so that small servers do not limit shares. 100
    /// means no limit: one link may take everything.
    pub fn new(total: u64, percent: u8, least: u64) -> Self {
        if percent >= 100 {
            return Self { all: u64::MAX, of_link: u64::MAX };
        }
        let all = (total / 100 * u64::from(percent)).saturating_add(
            // The remainder of the division.
            total % 100 * u64::from(percent) / 100,
        );
        Self { all: all.max(least), of_link: (all / 2).max(least) }
    }
}

/// The shares that are used up.
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

/// How much each network, link and user holds. The unknown have no limit.
#[derive(Debug)]
pub struct Tally {
    share: ShareMax,
    by_network: Box<[AtomicU64]>,
    by_link: Box<[AtomicU64]>,
    by_user: Box<[AtomicU64]>,
}

impl Tally {
    /// A tally in which nobody holds anything.
    pub fn new(share: ShareMax) -> Self {
        let buckets = || (0..BUCKETS).map(|_| AtomicU64::new(0)).collect();
        Self { share, by_network: buckets(), by_link: buckets(), by_user: buckets() }
    }

    /// `holder` takes `amount` more.
    pub fn add(&self, holder: Holder, amount: u64) {
        for count in self.counts(holder) {
            count.fetch_add(amount, Ordering::Relaxed);
        }
    }

    /// `holder` gives `amount` back.
    pub fn subtract(&self, holder: Holder, amount: u64) {
        for count in self.counts(holder) {
            count.fetch_sub(amount, Ordering::Relaxed);
        }
    }

    /// `amount` moves from one holder to another.
    pub fn hand_over(&self, from: Holder, to: Holder, amount: u64) {
        if from != to && amount > 0 {
            self.add(to, amount);
            self.subtract(from, amount);
        }
    }

    /// Whether `more` would exceed a share of `holder`.
    pub fn exceeds_share(&self, holder: Holder, more: u64) -> bool {
        self.full(holder, more).any()
    }

    /// Whether `newcomer` would fit if `other` gave back as much. That only helps if both count in
    /// the share that is full.
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

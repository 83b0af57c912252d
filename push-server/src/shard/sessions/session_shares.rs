//! Who may begin a session: `--max-sessions`, and within it a share for each user and each network.
//!
//! One script makes thousands of sessions a second. It must not take the places of all others. But a
//! network may well be a carrier's, with thousands of phones behind one address. So shares bind only
//! while more than half of all places are taken, and a share is never less than `SHARE_MIN`.
//!
//! What a network is, and how networks are counted, says `broker::holders`. What network a session was
//! made from is not stored: after a restart it counts again when its client is back.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::broker::{Holder, ShareMax, Tally};

/// The least share of a network or user, so that small servers have none.
const SHARE_MIN: u64 = 1_024;

/// Why a session may not begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoPlace {
    /// All places are taken.
    Full,
    /// Half of them are, and the network, the link or the user has its share.
    Share,
    /// The memory of all sessions is.
    Memory,
}

/// The places of all shards, and who has them.
#[derive(Debug)]
pub(crate) struct SessionShares {
    places: u32,
    taken: AtomicU32,
    tally: Tally,
}

impl SessionShares {
    /// `percent`: of `places`, how many a network or user may have.
    pub(crate) fn new(places: u32, percent: u8) -> Self {
        let tally = Tally::new(ShareMax::new(places.into(), percent, SHARE_MIN));
        Self { places, taken: AtomicU32::new(0), tally }
    }

    /// Takes a place for a new session.
    pub(crate) fn take(&self, holder: Holder) -> Result<(), NoPlace> {
        let taken = self.taken.fetch_add(1, Ordering::Relaxed);
        let refused = if taken >= self.places {
            Some(NoPlace::Full)
        } else if taken >= self.places / 2 && self.tally.exceeds_share(holder, 1) {
            Some(NoPlace::Share)
        } else {
            None
        };
        if let Some(refused) = refused {
            self.taken.fetch_sub(1, Ordering::Relaxed);
            return Err(refused);
        }
        self.tally.add(holder, 1);
        Ok(())
    }

    /// Takes a place whatever the limits: for a session that a restart has found, or that comes in the
    /// place of one that has just ended.
    pub(crate) fn take_unasked(&self, holder: Holder) {
        self.taken.fetch_add(1, Ordering::Relaxed);
        self.tally.add(holder, 1);
    }

    /// A session has ended.
    pub(crate) fn give_back(&self, holder: Holder) {
        self.taken.fetch_sub(1, Ordering::Relaxed);
        self.tally.subtract(holder, 1);
    }

    /// A session's client is back, from another network perhaps.
    pub(crate) fn hand_over(&self, from: Holder, to: Holder) {
        self.tally.hand_over(from, to, 1);
    }

    /// Whether so few places are left that sessions which nobody uses are to give way.
    pub(crate) fn is_nearly_full(&self) -> bool {
        self.taken.load(Ordering::Relaxed) >= self.places - self.places / 16
    }

    /// Whether the end of another session gives a newcomer back every share that it lacks. It must not
    /// take the place of somebody who shares nothing full with it.
    pub(crate) fn makes_room(&self, newcomer: Holder, other: Holder) -> bool {
        self.tally.makes_room(newcomer, other, 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::Holders;

    const PLACES: u32 = 20_000;
    const SHARE: u32 = 2_000;

    fn shares() -> SessionShares {
        SessionShares::new(PLACES, 10)
    }

    fn at(address: &str, user: Option<&str>) -> Holder {
        let holders = Holders::new(7);
        holders.holder(holders.origin(address.parse().expect("an address")), user)
    }

    fn take_many(shares: &SessionShares, address: &str, user: Option<&str>) -> u32 {
        let holder = at(address, user);
        (0..).take_while(|_| shares.take(holder).is_ok()).count() as u32
    }

    #[test]
    fn a_network_may_have_half_of_all_places_alone_and_then_no_more_than_its_share() {
        let shares = shares();
        assert_eq!(take_many(&shares, "192.0.2.1", None), PLACES / 2);
        assert_eq!(shares.take(at("192.0.2.7", None)), Err(NoPlace::Share));
        assert_eq!(take_many(&shares, "198.51.100.1", None), SHARE);
        let links = ["2001:db8:0:1::1", "2001:db8:0:2::1", "2001:db8:0:3::1"];
        let taken: u32 = links.iter().map(|link| take_many(&shares, link, None)).sum();
        assert_eq!(taken, SHARE);
        // One that goes leaves its place to others, not to its own network, which has too many.
        shares.give_back(at("192.0.2.1", None));
        assert_eq!(shares.take(at("192.0.2.1", None)), Err(NoPlace::Share));
        assert_eq!(shares.take(at("203.0.113.1", None)), Ok(()));
    }

    #[test]
    fn a_user_has_a_share_whatever_network_he_comes_from() {
        let shares = shares();
        take_many(&shares, "192.0.2.1", None);
        let mut taken = 0;
        for net in 0..8 {
            let holder = at(&format!("10.0.{net}.1"), Some("u"));
            taken += (0..500).filter(|_| shares.take(holder).is_ok()).count() as u32;
        }
        assert_eq!(taken, SHARE);
        assert_eq!(shares.take(at("10.0.0.1", Some("v"))), Ok(()));
    }

    #[test]
    fn a_link_has_half_of_its_networks_share_whatever_addresses_it_uses() {
        const PLACES: u32 = 60_000;
        const SHARE: u32 = 6_000;
        let shares = SessionShares::new(PLACES, 10);
        take_many(&shares, "192.0.2.1", None);
        let from = |link: u32, host: u32| at(&format!("2001:db8:0:{link:x}::{host:x}"), None);
        let taken = (0..).take_while(|&host| shares.take(from(1, host)).is_ok()).count();
        assert_eq!(taken as u32, SHARE / 2);
        let taken = (0..).take_while(|&host| shares.take(from(2, host)).is_ok()).count();
        assert_eq!(taken as u32, SHARE / 2, "the other half is its neighbours'");
        assert_eq!(shares.take(from(3, 1)), Err(NoPlace::Share), "the network has its share");
    }

    #[test]
    fn who_gives_way_gives_back_what_is_full() {
        const PLACES: u32 = 60_000;
        let shares = SessionShares::new(PLACES, 10);
        take_many(&shares, "192.0.2.1", None);
        take_many(&shares, "2001:db8:0:1::1", None);
        let newcomer = at("2001:db8:0:1::2", Some("u"));
        let own = at("2001:db8:0:1::3", None);
        let neighbour = at("2001:db8:0:2::1", None);
        assert!(shares.makes_room(newcomer, own));
        assert!(!shares.makes_room(newcomer, neighbour), "its link has room");
        let neighbour_of_his = at("2001:db8:0:2::1", Some("u"));
        assert!(!shares.makes_room(newcomer, neighbour_of_his), "nor does the user lack any");
        take_many(&shares, "2001:db8:0:2::1", None);
        assert!(shares.makes_room(neighbour, neighbour));
        let third = at("2001:db8:0:3::1", None);
        assert!(shares.makes_room(third, own), "the whole network is full");
        let apart = at("198.51.100.1", None);
        assert!(!shares.makes_room(apart, apart), "nothing is full");
    }

    #[test]
    fn full_is_full_and_what_is_given_back_is_there_again() {
        let shares = SessionShares::new(2, 10);
        let (one, user) = (at("192.0.2.1", None), at("192.0.2.1", Some("u")));
        assert!(shares.take(one).is_ok() && !shares.is_nearly_full());
        assert!(shares.take(one).is_ok() && shares.is_nearly_full());
        assert_eq!(shares.take(one), Err(NoPlace::Full));
        shares.take_unasked(user);
        shares.give_back(user);
        shares.give_back(one);
        assert_eq!(shares.take(one), Ok(()));
    }

    #[test]
    fn a_session_counts_where_its_client_was_last() {
        let shares = shares();
        let (home, away) = (at("192.0.2.1", None), at("198.51.100.1", None));
        assert_eq!(take_many(&shares, "192.0.2.1", None), PLACES / 2);
        for _ in 0..PLACES / 2 - SHARE + 1 {
            shares.hand_over(home, away);
        }
        assert_eq!(shares.take(home), Ok(()));
        assert_eq!(shares.take(away), Err(NoPlace::Share));
    }

    #[test]
    fn what_a_restart_has_found_is_of_no_network() {
        let shares = shares();
        for _ in 0..PLACES / 2 {
            shares.take_unasked(Holder::default());
        }
        assert_eq!(take_many(&shares, "192.0.2.1", None), SHARE);
        assert_eq!(shares.take(Holder::default()), Ok(()), "nor is one whose socket has failed");
    }
}

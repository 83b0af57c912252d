//! Sessions that nobody has used: without connection, without a subscription, and never owed a message.
//! They give way when places are short, the one that was left first before the others.
//!
//! Only their keys are here. Whether one is still what it was is looked up when its turn comes.

use std::collections::{HashSet, VecDeque};

use foldhash::fast::FixedState;

use super::session_shares::NoPlace;
use super::sessions::Sessions;
use super::worker::Worker;
use crate::broker::Holder;
use crate::store::SessionNumber;

/// A session's key, and its number, because keys are given again.
pub(super) type Unused = (u32, SessionNumber);

/// How many are looked at for one that fits.
const LOOKED_AT_MAX: usize = 1_024;

/// Entries before the first look at which of them still are what they were.
const SWEEP_FROM: usize = 1_024;

/// The unused sessions of a shard, in the order they were left in.
#[derive(Debug, Default)]
pub(super) struct UnusedSessions {
    queue: VecDeque<Unused>,
    sweep_at: usize,
}

impl UnusedSessions {
    /// A session's client has left it unused. `is_unused` tells of any whether it still is.
    pub(super) fn push(&mut self, session: Unused, mut is_unused: impl FnMut(&Unused) -> bool) {
        if self.queue.len() >= self.sweep_at.max(SWEEP_FROM) {
            let mut seen = HashSet::with_hasher(FixedState::default());
            self.queue.retain(|session| is_unused(session) && seen.insert(*session));
            self.sweep_at = 2 * self.queue.len();
        }
        self.queue.push_back(session);
    }

    /// Takes the first of those that `fits`, which is also asked whether they still are unused.
    pub(super) fn take(&mut self, mut fits: impl FnMut(&Unused) -> Fit) -> Option<Unused> {
        let mut others = Vec::new();
        let mut found = None;
        for _ in 0..LOOKED_AT_MAX {
            let Some(session) = self.queue.pop_front() else { break };
            match fits(&session) {
                Fit::Yes => {
                    found = Some(session);
                    break;
                }
                Fit::NotThis => others.push(session),
                Fit::InUse => {}
            }
        }
        for session in others.into_iter().rev() {
            self.queue.push_front(session);
        }
        found
    }
}

/// Whether a session is the one to give way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// It is.
    Yes,
    /// It is unused, and not the one.
    NotThis,
    /// It is not unused any more, or gone.
    InUse,
}

impl Worker {
    /// A session has no connection: it may have to give way if it was never used.
    pub(super) fn note_unused(&mut self, key: u32) {
        let sessions = &mut self.sessions;
        let Some(number) = sessions.entry_mut(key).map(|entry| entry.number) else { return };
        if is_unused(sessions, &(key, number)) {
            self.unused.push((key, number), |session| is_unused(sessions, session));
        }
    }

    /// Takes a place for a new session. Those that nobody uses give way to it.
    pub(super) fn take_session_place(&mut self, holder: Holder) -> Result<(), NoPlace> {
        if self.shared.session_shares.is_nearly_full() {
            self.end_unused(None);
        }
        match self.shared.session_shares.take(holder) {
            // Of the network, link or user that is full: others' places do not make theirs fewer.
            Err(NoPlace::Share) if self.end_unused(Some(holder)) => {
                self.shared.session_shares.take_unasked(holder);
                Ok(())
            }
            taken => taken,
        }
    }

    pub(super) fn count_no_place(&self, no_place: NoPlace) {
        match no_place {
            NoPlace::Full => self.counters.limit_sessions.add(1),
            NoPlace::Share => self.counters.limit_sessions_share.add(1),
            NoPlace::Memory => self.counters.limit_session_bytes_total.add(1),
        }
    }

    /// Ends the session that was left unused before the others; with a newcomer, of those that make room
    /// in its shares. Returns whether there was one.
    fn end_unused(&mut self, newcomer: Option<Holder>) -> bool {
        let (sessions, shared) = (&mut self.sessions, &self.shared);
        let found = self.unused.take(|unused| {
            if !is_unused(sessions, unused) {
                return Fit::InUse;
            }
            let Some(session) = sessions.session(unused.0) else { return Fit::InUse };
            let other = shared.holders.holder(sessions.origin(unused.0), session.user());
            let fits =
                newcomer.is_none_or(|newcomer| shared.session_shares.makes_room(newcomer, other));
            if fits { Fit::Yes } else { Fit::NotThis }
        });
        let Some((key, _)) = found else { return false };
        self.counters.limit_sessions_unused.add(1);
        self.end_session(key);
        true
    }
}

fn is_unused(sessions: &mut Sessions, &(key, number): &Unused) -> bool {
    sessions.entry_mut(key).is_some_and(|entry| {
        entry.number == number && entry.presence.client().is_none() && entry.session.is_unused()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn session(key: u32) -> Unused {
        (key, SessionNumber(key as u64))
    }

    #[test]
    fn the_first_that_was_left_and_fits_gives_way() {
        let mut sessions = UnusedSessions::default();
        for key in 0..6 {
            sessions.push(session(key), |_| true);
        }
        let odd = |(key, _): &Unused| match key {
            0 | 1 => Fit::InUse,
            key if key % 2 == 1 => Fit::Yes,
            _ => Fit::NotThis,
        };
        assert_eq!(sessions.take(odd), Some(session(3)));
        assert_eq!(sessions.take(|_| Fit::Yes), Some(session(2)), "it kept its place");
        assert_eq!(sessions.take(odd), Some(session(5)));
        assert_eq!(sessions.take(odd), None);
        assert_eq!(sessions.take(|_| Fit::Yes), Some(session(4)));
        assert_eq!(sessions.take(|_| Fit::Yes), None);
    }

    #[test]
    fn sessions_that_come_and_go_take_no_more_room_than_there_are() {
        let mut sessions = UnusedSessions::default();
        for round in 0..100_000 {
            sessions.push(session(round % 10), |_| true);
        }
        assert!(sessions.queue.len() <= SWEEP_FROM, "{}", sessions.queue.len());
        for round in 0..100_000 {
            sessions.push(session(round), |(key, _)| key % 1_000 == 0);
        }
        assert!(sessions.queue.len() <= 2 * SWEEP_FROM, "{}", sessions.queue.len());
    }
}

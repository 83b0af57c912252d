//! What a start takes up of what it finds. Memory has totals, and sessions a number. A session that
//! does not fit into what is left of them when its turn comes, by itself, its will or its
//! subscriptions, is left where it is; smaller ones behind it may fit. So is a will that was being
//! published: what sessions have comes first.
//!
//! Of two sessions with one client identifier only the younger is taken up: the removal of the older
//! one failed, and whoever asked for it was told so.

use hashbrown::HashMap;

use crate::broker::{
    Message, SessionMemory, TopicFilter, session_weight_bytes, subscription_weight_bytes,
    will_weight_bytes,
};
use crate::store::{LeftOut, Opening, RecoveredSession, SessionNumber, SessionRecord};

/// The room that is left.
#[derive(Debug)]
pub(in crate::store) struct Room<'a> {
    memory: &'a SessionMemory,
    /// That further sessions may take.
    places: u32,
    left_out: LeftOut,
    wills_left_out: u64,
}

impl<'a> Room<'a> {
    pub(in crate::store) fn new(opening: &'a Opening) -> Self {
        Self {
            memory: &opening.memory,
            places: opening.sessions_max,
            left_out: LeftOut::default(),
            wills_left_out: 0,
        }
    }

    /// The sessions and the number of wills that there was no room for.
    pub(in crate::store) fn into_left_out(self) -> (LeftOut, u64) {
        (self.left_out, self.wills_left_out)
    }

    /// Whether what is kept of the session with this number stays as it is.
    pub(in crate::store) fn leaves_out(&self, number: SessionNumber) -> bool {
        self.left_out.has_number(number)
    }

    /// A session's own record cannot be read: it stays as it is.
    pub(in crate::store) fn leave_out_unreadable(&mut self, number: SessionNumber) {
        self.left_out.add_number(number);
    }

    /// Takes a session's place and the memory of its own record, or leaves it out. Returns whether it
    /// is taken up.
    pub(in crate::store) fn take_session(
        &mut self,
        number: SessionNumber,
        record: &SessionRecord,
    ) -> bool {
        let place = place_taken(record);
        let (session_bytes, will_bytes) = record_bytes(record);
        if self.places < place || !self.memory.sessions.take(session_bytes) {
            self.leave_out(number, record);
            return false;
        }
        let fits = self.memory.wills.take(will_bytes);
        if fits {
            self.places -= place;
        } else {
            self.memory.sessions.give_back(session_bytes);
            self.leave_out(number, record);
        }
        fits
    }

    /// Takes the older of two sessions with one client identifier from `sessions`. Returns their
    /// numbers, in order.
    pub(in crate::store) fn take_older_twins(
        &mut self,
        sessions: &mut Vec<RecoveredSession>,
    ) -> Vec<SessionNumber> {
        let older = older_twins(sessions);
        sessions.retain(|session| {
            let is_older = older.binary_search(&session.number).is_ok();
            if is_older {
                self.give_back_record(&session.record);
            }
            !is_older
        });
        older
    }

    /// Takes the memory of a session's subscription, or leaves the session out. Returns whether it is
    /// taken up.
    pub(in crate::store) fn take_subscription(
        &mut self,
        session: &RecoveredSession,
        filter: &TopicFilter,
    ) -> bool {
        let RecoveredSession { number, record, .. } = session;
        let fits = self.memory.subscriptions.take(subscription_bytes(record, filter));
        if !fits {
            self.left_out.add(*number, &record.client_id);
        }
        fits
    }

    /// Takes sessions from `sessions` that are left out by their subscriptions, and those whose client id
    /// is that of one that was left out: they are an older and a younger one, and which of them goes is
    /// for a start to say that takes up both.
    pub(in crate::store) fn leave_out_namesakes(&mut self, sessions: &mut Vec<RecoveredSession>) {
        sessions.retain(|session| {
            let RecoveredSession { number, record, subscriptions, .. } = session;
            let is_left = self.left_out.has_number(*number);
            let stays = !is_left
                && (record.expiry_secs == 0 || !self.left_out.has_client(&record.client_id));
            if !stays {
                self.leave_out(*number, record);
                self.give_back_record(record);
                let filters = subscriptions.iter().map(|kept| &kept.filter);
                let bytes = filters.map(|filter| subscription_bytes(record, filter)).sum();
                self.memory.subscriptions.give_back(bytes);
            }
            stays
        });
    }

    /// Takes the memory of a will that was being published, or leaves it out. Returns whether it is
    /// taken up.
    pub(in crate::store) fn take_will(&mut self, message: &Message) -> bool {
        let fits = self.memory.wills.take(will_weight_bytes(message));
        self.wills_left_out += u64::from(!fits);
        fits
    }

    fn give_back_record(&mut self, record: &SessionRecord) {
        self.places += place_taken(record);
        let (session_bytes, will_bytes) = record_bytes(record);
        self.memory.sessions.give_back(session_bytes);
        self.memory.wills.give_back(will_bytes);
    }

    fn leave_out(&mut self, number: SessionNumber, record: &SessionRecord) {
        if record.expiry_secs == 0 {
            self.left_out.add_number(number);
        } else {
            self.left_out.add(number, &record.client_id);
        }
    }
}

/// The place among sessions that this one takes: one that has ended takes none.
fn place_taken(record: &SessionRecord) -> u32 {
    u32::from(record.expiry_secs != 0)
}

/// What a session itself takes of memory, and its will. One that has ended is kept for its will and
/// what it gives away only.
fn record_bytes(record: &SessionRecord) -> (u64, u64) {
    let session_bytes = match record.expiry_secs {
        0 => 0,
        _ => session_weight_bytes(&record.client_id, record.user.as_deref()),
    };
    let will_bytes = record.will.as_ref().map_or(0, |will| will_weight_bytes(&will.message));
    (session_bytes, will_bytes)
}

/// What a subscription takes. A session that has ended is not subscribed to anything any more.
fn subscription_bytes(record: &SessionRecord, filter: &TopicFilter) -> u64 {
    match record.expiry_secs {
        0 => 0,
        _ => subscription_weight_bytes(filter) as u64,
    }
}

/// The numbers of sessions whose client identifier a younger one has, in order. Those that have ended
/// (expiry 0) are no sessions any more, but still have something to give away.
fn older_twins(sessions: &[RecoveredSession]) -> Vec<SessionNumber> {
    let mut youngest = HashMap::<&str, &RecoveredSession, foldhash::fast::RandomState>::default();
    let mut older: Vec<_> = sessions
        .iter()
        .filter_map(|session| youngest.insert(&session.record.client_id, session))
        .filter(|older| older.record.expiry_secs != 0)
        .map(|older| older.number)
        .collect();
    older.sort_unstable();
    older
}

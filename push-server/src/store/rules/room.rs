//! Which sessions and wills a start returns. Memory has totals, and the number of sessions a limit.
//! A session stays where it is if itself, its will or its subscriptions do not fit into the room
//! that is left; smaller ones after it may fit. Wills that were being published come after all
//! sessions.
//!
//! Of two sessions with one client identifier a start returns only the younger: the removal of the
//! older one failed, and its caller was told so.

use hashbrown::HashMap;

use crate::broker::{
    Message, SessionMemory, TopicFilter, session_weight_bytes, subscription_weight_bytes,
    will_weight_bytes,
};
use crate::store::{LeftOut, Opening, RecoveredSession, SessionNumber, SessionRecord};

/// The room that is left for a start.
#[derive(Debug)]
pub(in crate::store) struct Room<'a> {
    memory: &'a SessionMemory,
    /// How many more sessions may be returned.
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

    /// The sessions left out, and how many wills were.
    pub(in crate::store) fn into_left_out(self) -> (LeftOut, u64) {
        (self.left_out, self.wills_left_out)
    }

    /// Whether the records of the session with this number stay as they are.
    pub(in crate::store) fn leaves_out(&self, number: SessionNumber) -> bool {
        self.left_out.has_number(number)
    }

    /// Leaves out a session whose own record cannot be read.
    pub(in crate::store) fn leave_out_unreadable(&mut self, number: SessionNumber) {
        self.left_out.add_number(number);
    }

    /// Takes a place and the memory of a session's own record, or leaves the session out. Returns
    /// whether it has room.
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

    /// Takes the older of two sessions with one client identifier out of `sessions`. Returns their
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

    /// Takes the memory of a session's subscription, or leaves the session out. Returns whether it
    /// has room.
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

    /// Takes out of `sessions` those that their subscriptions have left out, and those that share a
    /// client id with one left out: of an older and a younger one, only a start that returns both
    /// may remove one.
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

    /// Takes the memory of a will that was being published, or leaves the will out. Returns whether
    /// it has room.
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

/// Places that a session takes: none if it has ended.
fn place_taken(record: &SessionRecord) -> u32 {
    u32::from(record.expiry_secs != 0)
}

/// Bytes of a session itself, and of its will. One that has ended counts only its will.
fn record_bytes(record: &SessionRecord) -> (u64, u64) {
    let session_bytes = match record.expiry_secs {
        0 => 0,
        _ => session_weight_bytes(&record.client_id, record.user.as_deref()),
    };
    let will_bytes = record.will.as_ref().map_or(0, |will| will_weight_bytes(&will.message));
    (session_bytes, will_bytes)
}

/// Bytes of a subscription; none if the session has ended, since it is subscribed to nothing.
fn subscription_bytes(record: &SessionRecord, filter: &TopicFilter) -> u64 {
    match record.expiry_secs {
        0 => 0,
        _ => subscription_weight_bytes(filter) as u64,
    }
}

/// The numbers of sessions with a younger namesake, in order. Ended ones (expiry 0) do not count:
/// they are kept for the messages that they hand on.
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

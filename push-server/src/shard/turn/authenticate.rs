//! Who a client is: the question that its handshake, or its connection, asks, and the answer, which may come in
//! another turn.

use std::fmt;

use super::Shard;
use crate::access::{Credentials, Denial, Verdict};
use crate::broker::Budget;
use crate::mqtt::codec::{Auth, Reason};
use crate::mqtt::{HandshakeProgress, Refusal};
use crate::mutant::{Rule, is_left_out};
use crate::shard::agenda::QUANTUM_UNITS;
use crate::shard::answers::Questioner;
use crate::shard::clients::Phase;
use crate::shard::counters::Counter;
use crate::shard::notices::Kind;
use crate::shard::ports::{Ports, Randomness, Socket, Token};

/// Why a client is refused, for the log: more than it is told.
pub(super) struct RefusalText {
    pub(super) reason: Reason,
    pub(super) denial: Option<Denial>,
}

impl From<&Refusal> for RefusalText {
    fn from(refusal: &Refusal) -> Self {
        Self { reason: refusal.reason, denial: refusal.denial }
    }
}

impl fmt::Display for RefusalText {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.denial {
            None => self.reason.fmt(formatter),
            Some(denial) => write!(formatter, "{}: {denial}", self.reason),
        }
    }
}

impl<P: Ports> Shard<P> {
    /// Has what a client offers judged, as long as that is known at once. Returns how far its handshake has come
    /// by that.
    pub(super) fn ask(&mut self, index: u32) -> HandshakeProgress {
        loop {
            let Phase::Handshake(pending) = &mut self.clients[index].phase else {
                return HandshakeProgress::More;
            };
            let Some(credentials) = pending.handshake.question() else {
                return HandshakeProgress::More;
            };
            let number = pending.handshake.question_number();
            let Some(verdict) = self.judge(index, number, credentials) else {
                return HandshakeProgress::More;
            };
            match self.tell_handshake(index, verdict) {
                HandshakeProgress::Asks => {}
                progress => return progress,
            }
        }
    }

    /// `None`: the verdict comes later.
    fn judge(&self, index: u32, number: u32, credentials: Credentials) -> Option<Verdict> {
        let client = &self.clients[index];
        let questions = &self.here.shared().questions;
        let credentials = match questions.ask_for_addresses() {
            true => Credentials {
                peer: client.socket.peer_address().ok(),
                listener: client.socket.local_address().ok(),
                ..credentials
            },
            false => credentials,
        };
        let who = Questioner { shard: self.here.index(), client: client.token(index), number };
        questions.judge(credentials, who)
    }

    fn tell_handshake(&mut self, index: u32, verdict: Verdict) -> HandshakeProgress {
        let limits = &self.here.shared().config.limits;
        match &mut self.clients[index].phase {
            Phase::Handshake(pending) => pending.handshake.answer(limits, verdict),
            _ => HandshakeProgress::More,
        }
    }

    /// An answer has come. Its client may be gone, or may have gone on: then nobody waits for it.
    pub(super) fn on_answer(&mut self, client: Token, number: u32, verdict: Verdict) {
        let Some(index) = self.resolve(client) else { return };
        let asked = match &self.clients[index].phase {
            Phase::Handshake(pending) => pending.handshake.question_number(),
            Phase::Serving { connection, .. } => connection.question_number(),
            Phase::Flushing { .. } | Phase::Lingering { .. } => return,
        };
        if asked != number && !is_left_out(Rule::AnswerToItsQuestion) {
            return;
        }
        if let Phase::Serving { .. } = self.clients[index].phase {
            self.on_judged(index, verdict);
        } else {
            let progress = self.tell_handshake(index, verdict);
            self.on_handshake(index, progress);
        }
        self.keep_input(index);
        self.after_layers(index);
        self.after_receive(index);
    }

    /// The time to connect is over, and nobody has said who the client is.
    pub(super) fn on_unanswered(&mut self, index: u32) {
        let verdict = Verdict::Refused(Denial::Unanswered);
        let progress = self.tell_handshake(index, verdict);
        self.on_handshake(index, progress);
        self.after_layers(index);
    }

    /// A client re-authenticates, or asks to.
    pub(super) fn on_authenticate(&mut self, index: u32, key: u32, auth: Auth) {
        let nonce = self.here.randomness().array();
        let Phase::Serving { connection, .. } = &mut self.clients[index].phase else { return };
        let Some(session) = self.sessions.session(key) else { return };
        match connection.authenticate(auth, nonce, session) {
            Ok(None) => {}
            Ok(Some(credentials)) => {
                let number = connection.question_number();
                if let Some(verdict) = self.judge(index, number, credentials) {
                    self.on_judged(index, verdict);
                }
            }
            Err(event) => {
                // It is no publish, the only one that could be left unfinished.
                let left = self.on_event(index, key, event, &mut Budget::new(QUANTUM_UNITS));
                debug_assert!(left.is_none());
            }
        }
    }

    fn on_judged(&mut self, index: u32, verdict: Verdict) {
        let Phase::Serving { connection, .. } = &mut self.clients[index].phase else { return };
        match connection.judged(verdict) {
            Ok(done) => {
                self.here.counters().authentications_accepted.add(u64::from(done));
                self.mark_dirty(index);
            }
            Err(denial) => {
                let reason = Reason::from(denial);
                connection.close(reason);
                self.count_denial(denial);
                let refused = RefusalText { reason, denial: Some(denial) };
                self.tell(index, Kind::Fault, &refused);
                self.close_client(index, None);
            }
        }
    }

    /// Counts why a client is refused.
    pub(super) fn count_denial(&self, denial: Denial) {
        let counters = self.here.counters();
        let counter: &Counter = match denial {
            Denial::NoProof => &counters.denied_no_proof,
            Denial::UnknownMethod => &counters.denied_unknown_method,
            Denial::InvalidProof => &counters.denied_invalid_proof,
            Denial::UnknownUser => &counters.denied_unknown_user,
            Denial::WrongPassword => &counters.denied_wrong_password,
            Denial::OtherUser => &counters.denied_other_user,
            Denial::Unanswered => &counters.denied_unanswered,
            Denial::Busy => &counters.denied_busy,
            // It is who it says.
            Denial::Will => return counters.unauthorized_will.add(1),
        };
        counter.add(1);
        counters.authentications_refused.add(1);
        if denial == Denial::Busy {
            counters.limit_auth_queue.add(1);
        }
    }
}

//! Finds out who a client is. A handshake asks, or a connection that authenticates again, and the answer may come in
//! another turn.

use std::fmt;
use std::sync::Arc;

use super::Shard;
use crate::access::{Credentials, Denial, TokenFault, Verdict};
use crate::broker::Budget;
use crate::mqtt::codec::{Auth, Reason};
use crate::mqtt::{ConnectRefusal, HandshakeProgress, Session};
use crate::mutant::{Rule, is_left_out};
use crate::shard::agenda::QUANTUM_UNITS;
use crate::shard::answers::Questioner;
use crate::shard::clients::{PendingClient, Phase};
use crate::shard::counters::Counter;
use crate::shard::notices::NoticeKind;
use crate::shard::ports::{Ports, Randomness, Token};
use crate::transport::Kind;

/// Why a client is refused, for the log. The client is told less.
pub(super) struct RefusalText {
    pub(super) reason: Reason,
    pub(super) denial: Option<Denial>,
}

impl From<&ConnectRefusal> for RefusalText {
    fn from(refusal: &ConnectRefusal) -> Self {
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

/// What a listener's clients speak, as addresses call it.
fn scheme(kind: Kind) -> &'static str {
    match kind {
        Kind::Plain => "mqtt",
        Kind::Tls => "mqtts",
        Kind::WebSocket => "ws",
        Kind::TlsWebSocket => "wss",
    }
}

impl<P: Ports> Shard<P> {
    /// Asks for verdicts on a client's credentials, as long as they come at once. Returns how far its handshake has
    /// come.
    pub(super) fn ask(&mut self, index: u32) -> HandshakeProgress {
        loop {
            let Some(pending) = self.clients[index].pending_mut() else {
                return HandshakeProgress::More;
            };
            let Some(credentials) = pending.handshake.question() else {
                return HandshakeProgress::More;
            };
            let number = pending.handshake.question_number();
            let addresses = self.here.shared().entrance.addresses();
            let attempt = pending.address_key().filter(|_| credentials.are_shown());
            let attempt = attempt.and_then(|key| addresses.attempt(key, credentials.name()));
            pending.set_attempt(attempt);
            let judged = match attempt {
                // Its password is not even hashed.
                Some(attempt) if addresses.is_banned(attempt, self.agenda.now()) => {
                    Some(Verdict::Refused(Denial::Banned))
                }
                _ => self.judge(index, number, credentials),
            };
            let Some(verdict) = judged else { return HandshakeProgress::More };
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
        let listener = &self.here.shared().entrance.listeners()[client.intake.listener()];
        let pending = client.pending();
        let credentials = Credentials {
            certificate: pending.and_then(|pending| pending.certificate().cloned()),
            peer: questions.ask_for_address().then(|| client.address()).flatten(),
            listener: Some(Arc::clone(listener.name())),
            protocol: scheme(listener.kind()),
            ..credentials
        };
        let who = Questioner { shard: self.here.index(), client: client.token(index), number };
        questions.judge(credentials, who)
    }

    fn tell_handshake(&mut self, index: u32, verdict: Verdict) -> HandshakeProgress {
        let verdict = self.heed_failures(index, verdict);
        let limits = &self.here.shared().config.limits;
        let verdict = match self.clients[index].pending_mut() {
            Some(pending) => pending.handshake.named(limits, verdict),
            None => verdict,
        };
        let verdict = self.authorize(index, verdict);
        let limits = &self.here.shared().config.limits;
        match self.clients[index].pending_mut() {
            Some(pending) => pending.handshake.answer(limits, verdict),
            None => HandshakeProgress::More,
        }
    }

    /// Counts a verdict that says that a client may have guessed. If others have failed too often while it waited, it
    /// does not learn the verdict: so nobody learns more than `--auth-failures` allows, however many try at once.
    fn heed_failures(&self, index: u32, verdict: Verdict) -> Verdict {
        let attempt = self.clients[index].pending().and_then(PendingClient::attempt);
        let Some(attempt) = attempt else { return verdict };
        let (addresses, now) = (self.here.shared().entrance.addresses(), self.agenda.now());
        match verdict {
            _ if addresses.is_banned(attempt, now) => Verdict::Refused(Denial::Banned),
            Verdict::Refused(denial) if denial.is_failure() => {
                addresses.note_failure(attempt, now);
                verdict
            }
            _ => verdict,
        }
    }

    /// A client that is served has failed to authenticate again.
    fn note_failure_of_served(&self, index: u32) {
        let client = &self.clients[index];
        let told = client.transport.client().map(|address| address.ip().into());
        let key = told.or_else(|| self.address_key(&client.socket, client.intake.listener()));
        let user = match client.phase() {
            Phase::Serving { session, .. } => {
                self.sessions.session(*session).and_then(Session::user)
            }
            _ => None,
        };
        let addresses = self.here.shared().entrance.addresses();
        if let Some(attempt) = key.and_then(|key| addresses.attempt(key, user)) {
            addresses.note_failure(attempt, self.agenda.now());
        }
    }

    /// Adds to a verdict what its client may do.
    fn authorize(&self, index: u32, verdict: Verdict) -> Verdict {
        let client = &self.clients[index];
        let client_id = client.pending().and_then(|pending| pending.handshake.client_id());
        let Some(client_id) = client_id.filter(|_| matches!(verdict, Verdict::Allowed(..))) else {
            return verdict;
        };
        let access = self.here.shared().questions.access();
        access.authorize(verdict, client_id, || self.origin_of(client))
    }

    /// An answer has come. It is dropped if its client is gone, or waits for another answer by now.
    pub(super) fn on_answer(&mut self, client: Token, number: u32, verdict: Verdict) {
        let Some(index) = self.resolve(client) else { return };
        let asked = match self.clients[index].phase() {
            Phase::Handshake(pending) => pending.handshake.question_number(),
            Phase::Serving { connection, .. } => connection.question_number(),
            Phase::Flushing { .. } | Phase::Lingering { .. } => return,
        };
        if asked != number && !is_left_out(Rule::AnswerToItsQuestion) {
            return;
        }
        if self.clients[index].is_served() {
            self.on_judged(index, verdict);
        } else {
            let progress = self.tell_handshake(index, verdict);
            self.on_handshake(index, progress);
        }
        self.keep_input(index);
        self.after_layers(index);
        self.after_receive(index);
    }

    /// The time to connect is over, and no answer has come.
    pub(super) fn on_unanswered(&mut self, index: u32) {
        let verdict = Verdict::Refused(Denial::Unanswered);
        let progress = self.tell_handshake(index, verdict);
        self.on_handshake(index, progress);
        self.after_layers(index);
    }

    /// A client re-authenticates, or asks to.
    pub(super) fn on_authenticate(&mut self, index: u32, key: u32, auth: Auth) {
        let nonce = self.here.randomness().array();
        let Some(connection) = self.clients[index].connection_mut() else { return };
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
                // Only a publish could be left unfinished, and this is none.
                let left = self.on_event(index, key, event, &mut Budget::new(QUANTUM_UNITS));
                debug_assert!(left.is_none());
            }
        }
    }

    fn on_judged(&mut self, index: u32, verdict: Verdict) {
        let warrant = match &verdict {
            Verdict::Allowed(identity, _) => Some(identity.warrant()),
            Verdict::Continue(..) | Verdict::Refused(_) => None,
        };
        let Some(connection) = self.clients[index].connection_mut() else { return };
        match connection.judged(verdict) {
            Ok(done) => {
                if let Some(warrant) = warrant.filter(|_| done) {
                    self.clients[index].set_warrant(warrant);
                }
                self.here.counters().authentications_accepted.add(u64::from(done));
                self.mark_dirty(index);
            }
            Err(denial) => {
                let reason = Reason::from(denial);
                connection.close(reason);
                self.count_denial(denial);
                if denial.is_failure() {
                    self.note_failure_of_served(index);
                }
                let refused = RefusalText { reason, denial: Some(denial) };
                self.tell(index, NoticeKind::Fault, &refused);
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
            Denial::Certificate(_) => &counters.denied_certificate,
            Denial::Token(TokenFault::Expired) => &counters.denied_expired_token,
            Denial::Token(_) => &counters.denied_token,
            Denial::NoUser => &counters.denied_no_user,
            Denial::OtherName => &counters.denied_other_name,
            Denial::Unanswered => &counters.denied_unanswered,
            Denial::Busy => &counters.denied_busy,
            Denial::HookDenied => &counters.denied_by_hook,
            Denial::HookFailed => &counters.denied_hook_failed,
            Denial::HookBusy => &counters.denied_hook_busy,
            Denial::Banned => &counters.denied_banned,
            Denial::TokensBusy => &counters.denied_tokens_busy,
            // It has shown who it is.
            Denial::Will => return counters.unauthorized_will.add(1),
        };
        counter.add(1);
        counters.authentications_refused.add(1);
        match denial {
            Denial::Busy => counters.limit_auth_queue.add(1),
            Denial::HookBusy => counters.limit_auth_hook.add(1),
            Denial::Banned => counters.limit_auth_failures.add(1),
            Denial::TokensBusy => counters.limit_auth_tokens.add(1),
            _ => {}
        }
    }
}

//! How a client has authenticated, and how far it has come with doing so again [MQTT5 4.12.1].

use crate::access::scram::{Exchange, Nonce};
use crate::access::{Denial, Proof, Verdict};
use crate::mqtt::Connect;
use crate::mqtt::codec::{Auth, AuthReason, Reason};

/// The authentication of one connection.
#[derive(Debug)]
pub(super) struct Reauthentication {
    method: Box<str>,
    user: Option<Box<str>>,
    stage: Stage,
    /// Questions asked so far, those of the handshake included: the number of the latest.
    questions: u32,
}

/// The state of the exchange, by whom it waits for.
#[derive(Debug, Default)]
enum Stage {
    /// The client may begin a new exchange.
    #[default]
    Rests,
    /// The client goes on with the exchange.
    Awaits(Exchange),
    /// The caller, with a verdict.
    Asks,
}

/// What to do after a verdict.
#[derive(Debug)]
pub(super) enum Judged {
    /// Nothing: no question was open.
    Unasked,
    /// Send the client AUTH: the exchange goes on, or has succeeded.
    Told(AuthReason, Option<bytes::Bytes>),
    /// Close: the client did not prove to be the user that it was.
    Denied(Denial),
}

impl Reauthentication {
    /// For a client that has connected by an exchange; `None` for others.
    pub(super) fn of(connect: &Connect) -> Option<Self> {
        let authenticated = connect.authenticated.as_ref()?;
        let (method, user) = (authenticated.method.clone(), connect.user().map(Into::into));
        let questions = authenticated.questions;
        Some(Self { method, user, stage: Stage::Rests, questions })
    }

    pub(super) fn method(&self) -> &str {
        &self.method
    }

    pub(super) fn is_asking(&self) -> bool {
        matches!(self.stage, Stage::Asks)
    }

    pub(super) fn question_number(&self) -> u32 {
        self.questions
    }

    /// Takes the client's AUTH and returns the proof in it. `nonce` is random.
    pub(super) fn take(&mut self, auth: Auth, nonce: Nonce) -> Result<Proof, Reason> {
        let exchange = match (auth.reason, std::mem::take(&mut self.stage)) {
            (AuthReason::Reauthenticate, Stage::Rests) => Exchange::default(),
            (AuthReason::Continue, Stage::Awaits(exchange)) => exchange,
            _ => return Err(Reason::ProtocolError),
        };
        // [MQTT-4.12.1-1]
        if auth.method != self.method {
            return Err(Reason::ProtocolError);
        }
        self.stage = Stage::Asks;
        self.questions = self.questions.wrapping_add(1);
        Ok(Proof { method: auth.method, exchange, nonce, message: auth.data })
    }

    /// Takes the verdict on the latest question.
    pub(super) fn judge(&mut self, verdict: Verdict) -> Judged {
        if !matches!(self.stage, Stage::Asks) {
            return Judged::Unasked;
        }
        self.stage = Stage::Rests;
        match verdict {
            Verdict::Continue(exchange, data) => {
                self.stage = Stage::Awaits(exchange);
                Judged::Told(AuthReason::Continue, data)
            }
            Verdict::Allowed(identity, data) if identity.user() == self.user.as_deref() => {
                Judged::Told(AuthReason::Success, data)
            }
            // The client proved to be another user than before.
            Verdict::Allowed(..) => Judged::Denied(Denial::OtherUser),
            Verdict::Refused(denial) => Judged::Denied(denial),
        }
    }
}

//! Re-authentication, on a connection that began with it [MQTT5 4.12.1]. Everything else goes
//! on meanwhile, also while the verdict is awaited.

use super::reauthentication::{Judged, Reauthentication};
use super::{Connection, Event, State};
use crate::access::scram::Nonce;
use crate::access::{Credentials, Denial, Verdict};
use crate::mqtt::codec::{self, Auth, AuthReason, Reason};
use crate::mqtt::session::Session;

impl Connection {
    /// Takes the client's AUTH and returns the credentials in it; `judged` takes the verdict on them.
    /// The caller adds the client's address and the listener. `nonce` is random; use it once.
    ///
    /// # Errors
    /// AUTH is not due, or not one of this exchange: the connection has failed, as by `poll_event`.
    pub fn authenticate(
        &mut self,
        auth: Auth,
        nonce: Nonce,
        session: &Session,
    ) -> Result<Option<Credentials>, Event> {
        if self.state != State::Open {
            return Ok(None);
        }
        let proof = match self.reauthentication_mut() {
            Some(reauthentication) => reauthentication.take(auth, nonce),
            None => Err(Reason::ProtocolError),
        };
        let proof = proof.map_err(|reason| self.fail(reason))?;
        Ok(Some(Credentials {
            client_id: session.client_id().into(),
            user_name: None,
            password: None,
            proof: Some(proof),
            certificate: None,
            peer: None,
            listener: None,
            protocol: "mqtt",
        }))
    }

    /// Whether a verdict is awaited.
    pub fn is_asking(&self) -> bool {
        self.reauthentication().is_some_and(Reauthentication::is_asking)
    }

    /// The number of the question that was asked last; 0: none yet.
    pub fn question_number(&self) -> u32 {
        self.reauthentication().map_or(0, Reauthentication::question_number)
    }

    /// Takes the verdict on the latest question. Returns whether the client has proved again to be the
    /// user that it was.
    ///
    /// # Errors
    /// It has not: `close` the connection.
    pub fn judged(&mut self, verdict: Verdict) -> Result<bool, Denial> {
        if self.state != State::Open {
            return Ok(false);
        }
        let Some(reauthentication) = self.reauthentication_mut() else { return Ok(false) };
        let (reason, data) = match reauthentication.judge(verdict) {
            Judged::Unasked => return Ok(false),
            Judged::Denied(denial) => return Err(denial),
            Judged::Told(reason, data) => (reason, data),
        };
        let method: Box<str> = reauthentication.method().into();
        self.answer(|out| codec::put_auth(out, reason, &method, data.as_deref()));
        Ok(reason == AuthReason::Success)
    }

    fn reauthentication(&self) -> Option<&Reauthentication> {
        self.extras.as_deref()?.reauthentication.as_deref()
    }

    pub(super) fn reauthentication_mut(&mut self) -> Option<&mut Reauthentication> {
        self.extras.as_deref_mut()?.reauthentication.as_deref_mut()
    }
}

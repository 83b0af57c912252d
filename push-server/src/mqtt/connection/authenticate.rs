//! Re-authentication, on a connection that began with authentication [MQTT5 4.12.1]. Everything else
//! goes on meanwhile.

use super::extras::Identity;
use super::{Connection, Event, State};
use crate::mqtt::Access;
use crate::mqtt::codec::{self, Auth, AuthReason, Reason};
use crate::mqtt::scram::{Exchange, METHOD, Nonce, Step};

impl Connection {
    /// Answers an AUTH. `nonce` is random, and spent. Returns whether the client has proved its
    /// user once more.
    ///
    /// # Errors It has not, or broke the protocol: the connection has failed, as by `poll_event`.
    pub fn authenticate(
        &mut self,
        auth: &Auth,
        access: &Access,
        nonce: &Nonce,
    ) -> Result<bool, Event> {
        if self.state != State::Open {
            return Ok(false);
        }
        self.step(auth, access, nonce).map_err(|reason| self.fail(reason))
    }

    fn step(&mut self, auth: &Auth, access: &Access, nonce: &Nonce) -> Result<bool, Reason> {
        let identity = self.identity_mut().ok_or(Reason::ProtocolError)?;
        let exchange = match (auth.reason, identity.exchange.take()) {
            (AuthReason::Reauthenticate, None) => Exchange::Begun,
            (AuthReason::Continue, Some(exchange)) => exchange,
            _ => return Err(Reason::ProtocolError),
        };
        // [MQTT-4.12.1-1]
        if &*auth.method != METHOD {
            return Err(Reason::ProtocolError);
        }
        let begins = auth.reason == AuthReason::Reauthenticate;
        if begins && auth.data.is_none() {
            identity.exchange = Some(exchange);
            self.say(AuthReason::Continue, None);
            return Ok(false);
        }
        let users = access.users.as_ref().ok_or(Reason::NotAuthorized)?;
        let step = exchange.step(users, nonce, auth.data.as_deref());
        match step.map_err(|_| Reason::NotAuthorized)? {
            Step::Continue(exchange, data) => {
                identity.exchange = Some(exchange);
                self.say(AuthReason::Continue, Some(&data));
                Ok(false)
            }
            Step::Done(user, data) if user == identity.user => {
                self.say(AuthReason::Success, Some(&data));
                Ok(true)
            }
            // Another user, who may connect under their own name.
            Step::Done(..) => Err(Reason::NotAuthorized),
        }
    }

    fn say(&mut self, reason: AuthReason, data: Option<&[u8]>) {
        self.answer(|out| codec::put_auth(out, reason, METHOD, data));
    }

    pub(super) fn identity_mut(&mut self) -> Option<&mut Identity> {
        self.extras.as_deref_mut()?.identity.as_deref_mut()
    }
}

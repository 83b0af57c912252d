//! Authentication and authorization of clients. Pure: credentials in, a verdict out. It never reads
//! a clock, a socket or a file, and knows no packet: `control` reads the files, `mqtt` turns a
//! verdict into reason codes, and `shard` carries questions and answers between a handshake and the
//! answerer.
//!
//! A handshake yields [`Credentials`]. The answer is a [`Verdict`]: the client's [`Identity`],
//! another step of the exchange, or a [`Denial`]. [`Access`] answers at once from memory; a slower
//! answer may come later (`shard/answers.rs`). Then the client gets its [`Rights`], from the rules of
//! the [`Acl`] that are about it and from its token. The [`Policy`] asks them at four points: when
//! a client publishes, when it subscribes, when it leaves a will, and when the server is about to
//! send it a message.

pub mod acl;
mod credentials;
mod denial;
mod identity;
mod policy;
pub mod scram;
mod verdict;

pub use acl::{Acl, Decision, Grant, Origin, Rights};
pub use credentials::{Credentials, Password, Proof};
pub use denial::Denial;
pub use identity::{Identity, Subject};
pub use policy::{Denied, Policy};
pub use verdict::Verdict;

use std::sync::Arc;

use scram::{METHOD, Step, Users};

/// The rules for connecting that are in memory, so they judge a client at once.
#[derive(Debug, Default)]
pub struct Access {
    /// Users that may authenticate by SCRAM-SHA-256; `None`: SCRAM is off.
    pub users: Option<Users>,
    /// Whether to refuse clients that do not authenticate by SCRAM.
    pub scram_required: bool,
    /// What clients may do; `None`: all but read the server's own topics.
    pub acl: Option<Arc<Acl>>,
}

impl Access {
    /// Adds to a verdict what its client may do, if it may connect.
    pub fn authorize<'a>(
        &self,
        verdict: Verdict,
        client_id: &str,
        origin: impl FnOnce() -> Origin<'a>,
    ) -> Verdict {
        let Verdict::Allowed(identity, data) = verdict else { return verdict };
        let rules = self.acl.as_deref();
        let origin = match rules {
            Some(rules) if rules.asks_for_addresses() => origin(),
            _ => Origin::default(),
        };
        let rights = acl::rights_under(rules, &identity, client_id, Some(origin));
        Verdict::Allowed(identity.with_rights(rights), data)
    }

    /// Judges a client's credentials.
    pub fn judge(&self, credentials: &Credentials) -> Verdict {
        let Some(Proof { method, exchange, nonce, message }) = &credentials.proof else {
            return match self.scram_required {
                true => Verdict::Refused(Denial::NoProof),
                false => Verdict::Allowed(Identity::default(), None),
            };
        };
        let Some(users) = self.users.as_ref().filter(|_| **method == *METHOD) else {
            return Verdict::Refused(Denial::UnknownMethod);
        };
        match exchange.step(users, nonce, message.as_deref()) {
            Ok(Step::Continue(exchange, data)) => Verdict::Continue(exchange, data),
            Ok(Step::Done(user, data)) => Verdict::Allowed(Identity::of_user(user), Some(data)),
            Err(denial) => Verdict::Refused(denial),
        }
    }
}

#[cfg(test)]
mod tests;

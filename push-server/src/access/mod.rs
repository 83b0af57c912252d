//! Authentication and authorization of clients. Pure: credentials in, a verdict out. It never reads a clock, a socket or a
//! file, and knows no packet: files are read by `control`, `mqtt` turns a verdict into the protocol's reason codes,
//! and `shard` carries questions and answers between a handshake and whoever answers it.
//!
//! A handshake offers [`Credentials`]. An answer to them is a [`Verdict`]: the client's [`Identity`], another step of
//! the exchange, or a [`Denial`]. [`Access`] answers at once by what it has in memory; an answer that takes longer
//! may come later (`shard/answers.rs`). What an identity may do is asked of the [`Policy`], at four points: when it
//! publishes, when it subscribes, when it leaves a will, and when a message is about to be sent to it.

mod credentials;
mod denial;
mod identity;
mod policy;
pub mod scram;
mod verdict;

pub use credentials::{Credentials, Password, Proof};
pub use denial::Denial;
pub use identity::{Identity, Subject};
pub use policy::{Action, Denied, Policy, Rule, Whom};
pub use verdict::Verdict;

use scram::{METHOD, Step, Users};

/// The rules for connecting that are in memory: they judge a client at once.
#[derive(Debug, Default)]
pub struct Access {
    /// Users that clients can authenticate as by SCRAM-SHA-256; `None`: clients cannot.
    pub users: Option<Users>,
    /// Whether clients that do not authenticate are refused.
    pub scram_required: bool,
}

impl Access {
    /// Judges what a client has offered.
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

//! Authentication and authorization of clients. Pure: credentials in, a verdict out. It never reads
//! a clock, a socket or a file, and knows no packet: `control` reads the files, `mqtt` turns a
//! verdict into reason codes, and `shard` carries questions and answers between a handshake and the
//! answerer.
//!
//! A handshake yields [`Credentials`]. The answer is a [`Verdict`]: the client's [`Identity`],
//! another step of the exchange, or a [`Denial`]. [`Access`] answers from memory, at once but for
//! passwords: whoever asks has them hashed elsewhere, and the answer comes later (`shard/answers.rs`).
//! Then the client gets its [`Rights`], from the rules of the [`Acl`] that are about it and from its
//! token. The [`Policy`] asks them at four points: when a client publishes, when it subscribes, when it
//! leaves a will, and when the server is about to send it a message.

pub mod acl;
mod credentials;
mod denial;
mod distribution;
mod identity;
mod mac;
mod password_hash;
mod policy;
pub mod scram;
pub mod users;
mod verdict;
mod verified;
mod warrant;

pub use acl::{Acl, Decision, Grant, Origin, Rights};
pub use credentials::{Credentials, Password, Proof};
pub use denial::Denial;
pub use identity::{Identity, Subject};
pub use mac::Key;
pub use password_hash::{ARGON2_MEMORY_KIB_MAX, ARGON2_PASSES_MAX, Cost, Hasher};
pub use policy::{Denied, Policy};
pub use users::{PasswordCheck, Users, UsersError};
pub use verdict::Verdict;
pub use verified::{VERIFIED_FOR, VERIFIED_MAX, VerifiedPasswords};
pub use warrant::{Warrant, Withdrawal};

use std::sync::Arc;

use scram::{METHOD, Step};

/// The rules for connecting that are in memory.
#[derive(Debug)]
pub struct Access {
    /// The users of a file; `None`: there is none.
    pub users: Option<Users>,
    /// Whether to refuse clients that do not authenticate by SCRAM.
    pub scram_required: bool,
    /// Whether a client that no source of users knows by a name may connect, as nobody.
    pub anonymous: bool,
    /// What clients may do; `None`: all but read the server's own topics.
    pub acl: Option<Arc<Acl>>,
}

/// Everybody may connect, as nobody.
impl Default for Access {
    fn default() -> Self {
        Self { users: None, scram_required: false, anonymous: true, acl: None }
    }
}

/// What [`Access`] says to credentials.
#[derive(Debug)]
pub enum Judgement {
    /// The verdict.
    Now(Verdict),
    /// A password is to be hashed for it, which takes too long for a shard.
    Check(PasswordCheck),
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

    /// What a connected client may do by these rules, that may have been others when it got its rights. `None`: it has
    /// them already.
    pub fn renew<'a>(
        &self,
        subject: Subject<'_>,
        origin: impl FnOnce() -> Origin<'a>,
    ) -> Option<Rights> {
        let Subject { user, client_id, rights } = subject;
        let is_same = match &self.acl {
            Some(acl) => acl.gave(rights),
            None => !rights.has_rules(),
        };
        if is_same {
            return None;
        }
        let origin = match &self.acl {
            Some(acl) if acl.asks_for_addresses() => origin(),
            _ => Origin::default(),
        };
        let identity = user.map(|user| Identity::of_user(user.into())).unwrap_or_default();
        let (groups, grant) = rights.of_token();
        let identity = identity.with_groups(groups);
        let identity = grant.into_iter().map(Arc::new).fold(identity, Identity::with_grant);
        Some(acl::rights_under(self.acl.as_deref(), &identity, client_id, Some(origin)))
    }

    /// Judges a client's credentials. The first source that knows the client's name decides: a wrong password falls
    /// through to nothing. Of a client that gives a name, nobody is the user only if there are no users at all.
    pub fn judge(&self, credentials: &Credentials) -> Judgement {
        let Credentials { user_name, password, proof, .. } = credentials;
        if let Some(proof) = proof {
            return Judgement::Now(self.judge_exchange(proof));
        }
        let named = user_name.as_deref().zip(self.users.as_ref());
        Judgement::Now(match (named, password) {
            _ if self.scram_required => Verdict::Refused(Denial::NoProof),
            (Some((name, users)), Some(password)) => {
                return Judgement::Check(users.check(name, password.clone()));
            }
            (None, _) if self.anonymous => Verdict::Allowed(Identity::default(), None),
            _ => Verdict::Refused(Denial::NoProof),
        })
    }

    /// The verdict on a client's credentials, if whoever asks can wait until a password is hashed.
    pub fn verdict(&self, credentials: &Credentials) -> Verdict {
        match self.judge(credentials) {
            Judgement::Now(verdict) => verdict,
            Judgement::Check(check) => check.run(&mut Hasher::default()),
        }
    }

    /// Why a client that was let in before may not stay by these rules. `None`: it may.
    pub fn withdrawal(&self, user: Option<&str>, warrant: Warrant) -> Option<Withdrawal> {
        match (warrant, user, &self.users) {
            (Warrant::ELSEWHERE, ..) => None,
            (Warrant::NOBODY, ..) => {
                (self.scram_required || !self.anonymous).then_some(Withdrawal::Anonymous)
            }
            (_, Some(user), Some(users)) => users.withdrawal(user, warrant, self.scram_required),
            (_, Some(_), None) | (_, None, _) => Some(Withdrawal::User),
        }
    }

    fn judge_exchange(&self, proof: &Proof) -> Verdict {
        let Proof { method, exchange, nonce, message } = proof;
        let verifiers = self.users.as_ref().and_then(Users::verifiers);
        let Some(verifiers) = verifiers.filter(|_| **method == *METHOD) else {
            return Verdict::Refused(Denial::UnknownMethod);
        };
        match exchange.step(verifiers, nonce, message.as_deref()) {
            Ok(Step::Continue(exchange, data)) => Verdict::Continue(exchange, data),
            Ok(Step::Done(user, data)) => {
                let warrant = self.users.as_ref().and_then(|users| users.scram_warrant(&user));
                let identity = Identity::of_user(user).by(warrant.unwrap_or(Warrant::NOBODY));
                Verdict::Allowed(identity, Some(data))
            }
            Err(denial) => Verdict::Refused(denial),
        }
    }
}

#[cfg(test)]
mod tests;

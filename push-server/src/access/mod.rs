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
mod certificate;
mod client_limits;
mod credentials;
mod denial;
mod distribution;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod hook;
mod identity;
mod mac;
mod order;
mod password_hash;
mod policy;
pub mod scram;
mod token;
pub mod users;
mod verdict;
mod verified;
mod warrant;

pub use acl::{Acl, Decision, Grant, Origin, Rights};
pub use certificate::{CertificateFault, CertificateField, user_of};
pub use client_limits::{ClientLimits, GroupLimits};
pub use credentials::{Credentials, Password, Proof};
pub use denial::Denial;
pub use hook::{
    HOOK_ALLOWED_FOR, HOOK_ANSWER_BYTES_MAX, HOOK_DENIED_FOR, HOOK_FAILURES_MAX, HOOK_GROUPS_MAX,
    HOOK_REST, HookAnswer, HookAnswerError, HookAttempt, HookKey, HookQuestion, HookRest,
};
pub use identity::{Identity, Subject};
pub use mac::Key;
pub use order::Source;
pub use password_hash::{ARGON2_MEMORY_KIB_MAX, ARGON2_PASSES_MAX, Cost, Hasher};
pub use policy::{Denied, Policy};
pub use token::{
    KeyPlace, TOKEN_GROUPS_MAX, TOKEN_KEYS_MAX, TOKEN_LEEWAY_SECS, TokenCheck, TokenFault,
    TokenKeys, TokenKeysError, Tokens, VerifiedToken,
};
pub use users::{PasswordCheck, Users, UsersError};
pub use verdict::Verdict;
pub use verified::{
    CheckKey, PASSWORD_BYTES, VERIFIED_BYTES_MAX, VERIFIED_FOR, VERIFIED_MAX, Verified,
};
pub use warrant::{Warrant, Withdrawal};

use std::collections::HashSet;
use std::sync::Arc;

use order::{Case, Choice, Named, Shown};
use scram::{METHOD, Step};

/// The rules for connecting that are in memory.
#[derive(Debug)]
pub struct Access {
    /// The users of a file; `None`: there is none.
    pub users: Option<Users>,
    /// Which tokens count as passwords; `None`: none.
    pub tokens: Option<Arc<Tokens>>,
    /// Whether to refuse clients that do not authenticate by SCRAM.
    pub scram_required: bool,
    /// Whether certificates of clients name users (`--certificate-user`).
    pub has_certificates: bool,
    /// Whether whoever is not known by an earlier source is asked about by HTTP (`--auth-http`).
    pub asks_hook: bool,
    /// Where a client that no source of users knows by a name may connect, as nobody.
    pub anonymous: Anonymous,
    /// What clients may do; `None`: all but read the server's own topics.
    pub acl: Option<Arc<Acl>>,
}

/// Everybody may connect, as nobody.
impl Default for Access {
    fn default() -> Self {
        Self {
            users: None,
            tokens: None,
            scram_required: false,
            has_certificates: false,
            asks_hook: false,
            anonymous: Anonymous::Everywhere,
            acl: None,
        }
    }
}

/// At which listeners a client may connect as nobody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Anonymous {
    /// At each.
    Everywhere,
    /// At those with these names.
    At(HashSet<Arc<str>>),
}

impl Anonymous {
    /// At none.
    pub fn nowhere() -> Self {
        Self::At(HashSet::new())
    }

    /// Whether a client that came by this listener may.
    pub fn is_allowed_at(&self, listener: Option<&str>) -> bool {
        match self {
            Self::Everywhere => true,
            Self::At(names) => listener.is_some_and(|name| names.contains(name)),
        }
    }
}

/// What [`Access`] says to credentials.
#[derive(Debug)]
pub enum Judgement {
    /// The verdict, and the source that it is of; `None`: none decides.
    Now(Option<Source>, Verdict),
    /// A password is to be hashed for it, which takes too long for a shard.
    Check(PasswordCheck),
    /// The signature of a token is to be checked for it, which takes too long for a shard as well.
    Token(TokenCheck),
    /// The hook is to be asked.
    Hook,
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
        let limits = rules.map(|rules| rules.limits(&identity)).unwrap_or_default();
        Verdict::Allowed(identity.with_rights(rights).with_limits(limits), data)
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
        let identity = Identity::with_what_was_brought(user, rights);
        Some(acl::rights_under(self.acl.as_deref(), &identity, client_id, Some(origin)))
    }

    /// Judges a client's credentials. The first source that knows the client decides: a wrong password falls
    /// through to nothing. `order` has the order.
    pub fn judge(&self, credentials: &Credentials) -> Judgement {
        self.judge_if(credentials, self.asks_hook)
    }

    /// The same, after the hook has said that it does not know the client.
    pub fn judge_without_hook(&self, credentials: &Credentials) -> Judgement {
        self.judge_if(credentials, false)
    }

    fn judge_if(&self, credentials: &Credentials, has_hook: bool) -> Judgement {
        let Credentials { user_name, password, proof, certificate, .. } = credentials;
        let refused = |denial| Judgement::Now(None, Verdict::Refused(denial));
        let source = match (self.case(credentials, has_hook).choose(), certificate) {
            (Choice::By(source), _) => source,
            (Choice::CertificateUnnamed, Some(Err(fault))) => {
                return refused(Denial::Certificate(*fault));
            }
            (Choice::NoToken, _) => return refused(TokenFault::NoToken.into()),
            (Choice::NoProof | Choice::CertificateUnnamed, _) => {
                return refused(Denial::NoProof);
            }
        };
        let now = |verdict| Judgement::Now(Some(source), verdict);
        let named = certificate.as_ref().and_then(|named| named.as_deref().ok());
        match (source, &self.users, proof) {
            (Source::Certificate, ..) => now(of_user(named, user_name.as_deref())),
            (Source::Scram, _, Some(proof)) => now(match self.judge_exchange(proof) {
                Verdict::Allowed(identity, _)
                    if named.is_some_and(|named| identity.user() != Some(named)) =>
                {
                    Verdict::Refused(Denial::OtherName)
                }
                verdict => verdict,
            }),
            (Source::Users, Some(users), _) => match (user_name, password) {
                (Some(name), Some(password)) => {
                    Judgement::Check(users.check(name, password.clone()))
                }
                _ => refused(Denial::NoProof),
            },
            (Source::Token, ..) => match (password, &self.tokens) {
                (Some(token), Some(tokens)) => {
                    let (token, tokens) = (token.clone(), Arc::clone(tokens));
                    Judgement::Token(TokenCheck::new(token, user_name.clone(), tokens))
                }
                _ => refused(Denial::NoProof),
            },
            (Source::Hook, ..) => Judgement::Hook,
            (Source::Anonymous, ..) => now(Verdict::Allowed(Identity::default(), None)),
            _ => refused(Denial::NoProof),
        }
    }

    /// What the order depends on.
    fn case(&self, credentials: &Credentials, has_hook: bool) -> Case {
        let Credentials { user_name, password, proof, certificate, listener, .. } = credentials;
        let named = match (user_name, &self.users) {
            (None, _) => Named::Not,
            (Some(name), Some(users)) if users.knows(name) => Named::Known,
            (Some(_), _) => Named::Unknown,
        };
        Case {
            shown: match certificate {
                None => Shown::Nothing,
                Some(Ok(_)) => Shown::User,
                Some(Err(_)) => Shown::NoUser,
            },
            asks_exchange: proof.is_some(),
            named,
            has_password: password.is_some(),
            is_token: self.tokens.is_some() && password.as_ref().is_some_and(token::is_token),
            scram_required: self.scram_required,
            has_keys: self.tokens.is_some(),
            has_users: self.users.is_some(),
            has_hook,
            has_source: self.users.is_some()
                || self.tokens.is_some()
                || self.asks_hook
                || self.has_certificates,
            anonymous: self.anonymous.is_allowed_at(listener.as_deref()),
        }
    }

    /// The verdict on a client's credentials, if whoever asks can wait until a password is hashed. Nobody answers for
    /// tokens, which need a clock, and for the hook.
    pub fn verdict(&self, credentials: &Credentials) -> Verdict {
        match self.judge(credentials) {
            Judgement::Now(_, verdict) => verdict,
            Judgement::Check(check) => check.run(&mut Hasher::default()),
            Judgement::Token(_) | Judgement::Hook => Verdict::Refused(Denial::Unanswered),
        }
    }

    /// Why a client that was let in before, and came by this listener, may not stay by these rules. `None`: it may.
    pub fn withdrawal(
        &self,
        user: Option<&str>,
        warrant: Warrant,
        listener: &str,
    ) -> Option<Withdrawal> {
        match (warrant, user, &self.users) {
            (Warrant::ELSEWHERE, ..) => None,
            (Warrant::NOBODY, ..) => {
                let is_allowed = self.anonymous.is_allowed_at(Some(listener));
                (self.scram_required || !is_allowed).then_some(Withdrawal::Anonymous)
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

/// The verdict on a client that has proved to be `user`. A client may leave its user name out; another one shows that
/// it takes itself for somebody else.
fn of_user(user: Option<&str>, given: Option<&str>) -> Verdict {
    match (user, given) {
        (None, _) => Verdict::Refused(Denial::NoProof),
        (Some(user), Some(given)) if !given.is_empty() && given != user => {
            Verdict::Refused(Denial::OtherName)
        }
        (Some(user), _) => Verdict::Allowed(Identity::of_user(user.into()), None),
    }
}

#[cfg(test)]
mod tests;

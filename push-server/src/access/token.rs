//! Tokens as passwords: JSON Web Tokens (RFC 7519), signed by a key of the file of `--jwt-keys`.
//!
//! A token says who its client is and until when, and perhaps in which groups and with which rights. The key says by
//! which algorithms, never the token: one that names another is refused, `none` as well.
//!
//! To check a signature takes up to 1 ms, so no shard does it. What was checked is remembered, as passwords are.

mod claims;
mod fault;
mod keys;
mod ring;

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Validation, decode, decode_header};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::acl::Grant;
use super::credentials::Password;
use super::denial::Denial;
use super::identity::{Identity, is_user_name};
use super::mac::{Key, mac};
use super::verdict::Verdict;
use super::verified::CheckKey;
use claims::Claims;
pub use fault::{TOKEN_GROUPS_MAX, TokenFault};
pub use keys::{KeyPlace, TOKEN_KEYS_MAX, TokenKeys, TokenKeysError};

/// How far the clocks of whoever made a token and of the server may be apart, in seconds, when a client connects.
pub const TOKEN_LEEWAY_SECS: u64 = 30;

/// The longest header of a token that is looked at, in bytes as it is sent.
const HEADER_BYTES_MAX: usize = 4 << 10;

/// What a remembered token takes besides what it says, and how much of it what it says takes: filters become a tree.
const OWN_BYTES: usize = 400;
const BYTES_PER_BYTE: usize = 8;

/// Which tokens count.
#[derive(Debug)]
pub struct Tokens {
    /// The keys that their signatures are checked by.
    pub keys: TokenKeys,
    /// The issuers that are accepted (`iss`). Empty: any, if its key is in `keys`.
    pub issuers: Vec<String>,
    /// The audiences that are accepted (`aud`). Empty: only tokens without an `aud`.
    pub audiences: Vec<String>,
}

/// Whether a password has the form of a token: three parts, the first of which says by which algorithm the last is
/// made.
pub(super) fn is_token(password: &Password) -> bool {
    #[derive(Deserialize)]
    struct Header {
        #[serde(rename = "alg")]
        _algorithm: IgnoredAny,
    }
    let mut parts = password.bytes().split(|byte| *byte == b'.');
    let (header, others) = (parts.next().unwrap_or_default(), parts.by_ref().take(3).count());
    if others != 2 || header.is_empty() || header.len() > HEADER_BYTES_MAX {
        return false;
    }
    let header = URL_SAFE_NO_PAD.decode(header).ok();
    header.is_some_and(|header| serde_json::from_slice::<Header>(&header).is_ok())
}

/// A token to be checked, and the user name that came with it.
pub struct TokenCheck {
    token: Password,
    user_name: Option<Box<str>>,
    tokens: Arc<Tokens>,
}

/// A token whose signature is right.
#[derive(Clone, Debug)]
pub struct VerifiedToken {
    user: Box<str>,
    groups: Arc<[Box<str>]>,
    grant: Option<Arc<Grant>>,
    /// Seconds since 1970.
    not_before: u64,
    /// Seconds since 1970.
    expires_at: u64,
}

impl TokenCheck {
    pub(super) fn new(token: Password, user_name: Option<Box<str>>, tokens: Arc<Tokens>) -> Self {
        Self { token, user_name, tokens }
    }

    /// The token's name, by a secret of the process. Others keys, issuers or audiences make it another one.
    pub fn key(&self, secret: &Key) -> CheckKey {
        let rules = self.tokens.fingerprint(secret);
        CheckKey::new(mac(secret, &[b"token", &rules, self.token.bytes()]))
    }

    /// Bytes that the verified token takes in memory, at most.
    pub fn weight_bytes(&self) -> usize {
        OWN_BYTES + BYTES_PER_BYTE * self.token.bytes().len()
    }

    /// Checks the signature, and reads what the token says. Whether it counts now, `passed` says.
    ///
    /// # Errors
    /// It will never count.
    pub fn run(&self) -> Result<VerifiedToken, Denial> {
        self.tokens.verify(self.token.bytes()).map_err(Denial::from)
    }

    /// The verdict on the client, if this is what its token says. `now_secs`: since 1970.
    pub fn passed(&self, verified: &VerifiedToken, now_secs: u64) -> Verdict {
        let given = self.user_name.as_deref().filter(|name| !name.is_empty());
        if given.is_some_and(|name| *name != *verified.user) {
            return Verdict::Refused(Denial::OtherName);
        }
        match verified.end(now_secs) {
            Ok(end) => Verdict::Allowed(verified.identity().until(end), None),
            Err(fault) => Verdict::Refused(fault.into()),
        }
    }
}

impl fmt::Debug for TokenCheck {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("TokenCheck")
    }
}

impl VerifiedToken {
    fn identity(&self) -> Identity {
        let identity = Identity::of_user(self.user.clone()).with_groups(Arc::clone(&self.groups));
        match &self.grant {
            Some(grant) => identity.with_grant(Arc::clone(grant)),
            None => identity,
        }
    }

    /// Until when a client may stay that connects now, in seconds since 1970. Whoever connects while the token is valid
    /// only by the leeway may stay as long as that.
    fn end(&self, now_secs: u64) -> Result<u64, TokenFault> {
        let late_end = self.expires_at.saturating_add(TOKEN_LEEWAY_SECS);
        if now_secs.saturating_add(TOKEN_LEEWAY_SECS) < self.not_before {
            Err(TokenFault::NotYet)
        } else if now_secs >= late_end {
            Err(TokenFault::Expired)
        } else if now_secs >= self.expires_at {
            Ok(late_end)
        } else {
            Ok(self.expires_at)
        }
    }
}

impl Tokens {
    /// Names the keys, issuers and audiences.
    fn fingerprint(&self, secret: &Key) -> Key {
        let texts = |texts: &[String]| {
            let lens = texts.iter().map(|text| (text.len() as u64).to_be_bytes().to_vec());
            let parts = lens.zip(texts).map(|(len, text)| [&len, text.as_bytes()].concat());
            parts.collect::<Vec<_>>().concat()
        };
        let (issuers, audiences) = (texts(&self.issuers), texts(&self.audiences));
        let len = (issuers.len() as u64).to_be_bytes();
        mac(secret, &[b"rules", self.keys.fingerprint(), &len, &issuers, &audiences])
    }

    fn verify(&self, token: &[u8]) -> Result<VerifiedToken, TokenFault> {
        let header = decode_header(token).map_err(|error| match error.kind() {
            // `none`, or one that is not known: there is no key for it.
            ErrorKind::InvalidAlgorithm | ErrorKind::InvalidAlgorithmName => TokenFault::NoKey,
            ErrorKind::Json(_) => TokenFault::NoKey,
            _ => TokenFault::Unreadable,
        })?;
        let mut fault = TokenFault::NoKey;
        for key in self.keys.for_token(header.kid.as_deref(), header.alg) {
            let validation = self.validation(header.alg);
            match decode::<Claims>(token, key, &validation) {
                Ok(found) => return verified(found.claims),
                // Another key may be the one.
                Err(error) if *error.kind() == ErrorKind::InvalidSignature => {
                    fault = TokenFault::Signature;
                }
                Err(error) => return Err(fault_of(error.kind())),
            }
        }
        Err(fault)
    }

    /// What is asked of a token besides its times, which `passed` looks at: it has no clock.
    fn validation(&self, algorithm: jsonwebtoken::Algorithm) -> Validation {
        let mut validation = Validation::new(algorithm);
        (validation.validate_exp, validation.validate_nbf) = (false, false);
        let mut required = vec!["exp", "sub"];
        if !self.issuers.is_empty() {
            validation.set_issuer(&self.issuers);
            required.push("iss");
        }
        if !self.audiences.is_empty() {
            validation.set_audience(&self.audiences);
            required.push("aud");
        }
        validation.set_required_spec_claims(&required);
        validation
    }
}

fn fault_of(kind: &ErrorKind) -> TokenFault {
    match kind {
        ErrorKind::InvalidIssuer => TokenFault::Issuer,
        ErrorKind::InvalidAudience => TokenFault::Audience,
        ErrorKind::MissingRequiredClaim(claim) if claim == "iss" => TokenFault::Issuer,
        ErrorKind::MissingRequiredClaim(claim) if claim == "aud" => TokenFault::Audience,
        ErrorKind::MissingRequiredClaim(_)
        | ErrorKind::InvalidClaimFormat(_)
        | ErrorKind::Json(_) => TokenFault::Claims,
        _ => TokenFault::Unreadable,
    }
}

fn verified(claims: Claims) -> Result<VerifiedToken, TokenFault> {
    let Claims { sub, exp, nbf, groups, acl } = claims;
    if !is_user_name(&sub) {
        return Err(TokenFault::Subject);
    }
    let groups = groups.unwrap_or_default();
    if groups.len() > TOKEN_GROUPS_MAX {
        return Err(TokenFault::Groups);
    }
    let grant = acl.map(|acl| {
        // Another key is a mistake: it may have been meant to allow something.
        if acl.keys().any(|key| key != "publish" && key != "subscribe") {
            return Err(TokenFault::Claims);
        }
        let filters = |key| acl.get(key).into_iter().flatten().map(String::as_str);
        let grant = Grant::parse(filters("publish"), filters("subscribe"));
        grant.map(Arc::new).map_err(|_| TokenFault::Rights)
    });
    Ok(VerifiedToken {
        user: sub.into(),
        groups: groups.into(),
        grant: grant.transpose()?,
        // A time in the middle of a second: none of these is earlier than it.
        not_before: nbf.map_or(0, |at| at.rounded_up()),
        expires_at: exp.rounded_down(),
    })
}

#[cfg(test)]
mod tests;

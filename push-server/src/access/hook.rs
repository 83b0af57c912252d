//! What a hook is asked about a client, and what its answer means: JSON both ways. `control` carries the question to
//! an HTTP server, and the answer back; it also remembers answers, for as long as this module says.
//!
//! A hook that fails rests for a while (`rest`), so that clients learn at once that nobody says who they are.

mod rest;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use push_common::clock::Monotonic;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::acl::{Grant, GrantError};
use super::credentials::{Credentials, Password};
use super::identity::{Identity, USER_NAME_BYTES_MAX, is_user_name};
use super::mac::{Key, mac};
use super::warrant::Warrant;

pub use rest::{HOOK_FAILURES_MAX, HOOK_REST, HookAttempt, HookRest};

/// Most bytes of an answer's body: groups and 1,024 filters fit.
pub const HOOK_ANSWER_BYTES_MAX: usize = 64 << 10;

/// How long an answer that allows is remembered.
pub const HOOK_ALLOWED_FOR: Duration = Duration::from_secs(60);

/// How long any other answer is remembered.
pub const HOOK_DENIED_FOR: Duration = Duration::from_secs(5);

/// Most groups that an answer may name.
pub const HOOK_GROUPS_MAX: usize = 64;

/// Most bytes that JSON makes of one.
const ESCAPED_BYTES_MAX: usize = 6;

/// Bytes of a question beside its texts: keys, quotes, an address.
const QUESTION_BYTES: usize = 512;

/// What a hook is asked about a client. `Debug` shows no password.
#[derive(Debug)]
pub struct HookQuestion {
    user: Option<Box<str>>,
    password: Option<Password>,
    client_id: Box<str>,
    address: Option<IpAddr>,
    listener: Option<Arc<str>>,
    protocol: &'static str,
}

/// Names a question, and tells nothing of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct HookKey(Key);

/// What a hook answered.
#[derive(Clone, Debug)]
pub enum HookAnswer {
    /// The client may connect as this identity, for so long; `None`: for as long as it likes.
    Allow(Identity, Option<Duration>),
    /// It may not.
    Deny,
    /// The hook does not know it: the next source decides.
    Ignore,
}

/// Why an answer is not valid.
#[derive(Debug, thiserror::Error)]
pub enum HookAnswerError {
    /// It is not the JSON that is expected. What it is instead is not said: it might be a password.
    #[error(
        "line {line}, column {column}: expected JSON with the keys result (allow, deny or ignore), user, groups, acl \
         (publish, subscribe) and expires_in (whole seconds), none of them twice, and no other"
    )]
    Json {
        /// The line, counted from 1.
        line: usize,
        /// The column, counted from 1.
        column: usize,
    },
    /// The name of the user.
    #[error("user has to be 1 to {USER_NAME_BYTES_MAX} bytes without control characters")]
    User,
    /// The groups.
    #[error("groups have to be at most {HOOK_GROUPS_MAX} names, none of them empty")]
    Groups,
    /// The rights.
    #[error("acl: {0}")]
    Grant(#[from] GrantError),
    /// The time.
    #[error("expires_in has to be at least one second")]
    ExpiresIn,
}

/// A question as JSON.
#[derive(Serialize)]
struct Question<'a> {
    user: Option<&'a str>,
    password: Option<&'a str>,
    /// In the place of a password that is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    password_base64: Option<&'a str>,
    client_id: &'a str,
    address: Option<IpAddr>,
    listener: Option<&'a str>,
    protocol: &'a str,
}

/// An answer as JSON. A key that nobody knows makes it invalid: it might be a right that is spelt wrong.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    result: Outcome,
    #[serde(default)]
    user: Option<Box<str>>,
    #[serde(default)]
    groups: Option<Vec<Box<str>>>,
    #[serde(default)]
    acl: Option<Filters>,
    #[serde(default)]
    expires_in: Option<u32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Outcome {
    Allow,
    Deny,
    Ignore,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Filters {
    #[serde(default)]
    publish: Vec<Box<str>>,
    #[serde(default)]
    subscribe: Vec<Box<str>>,
}

impl HookQuestion {
    /// What is asked about a client with these credentials.
    pub fn of(credentials: &Credentials) -> Self {
        Self {
            user: credentials.user_name.clone(),
            password: credentials.password.clone(),
            client_id: credentials.client_id.clone(),
            // The port changes with each connection, and answers are remembered beyond one.
            address: credentials.peer.map(|peer| peer.ip().to_canonical()),
            listener: credentials.listener.clone(),
            protocol: credentials.protocol,
        }
    }

    /// The question's name, by a secret of the process. All that the hook is told goes into it.
    pub fn key(&self, secret: &Key) -> HookKey {
        let address = self.address.map(|address| address.to_string());
        let texts = [
            self.user.as_deref().map(str::as_bytes),
            self.password.as_ref().map(Password::bytes),
            Some(self.client_id.as_bytes()),
            address.as_deref().map(str::as_bytes),
            self.listener.as_deref().map(str::as_bytes),
            Some(self.protocol.as_bytes()),
        ];
        // No text is as long as the mark of one that is not there.
        let len = |text: Option<&[u8]>| text.map_or(u64::MAX, |text| text.len() as u64);
        let lens = texts.map(|text| len(text).to_be_bytes());
        let parts = lens.iter().zip(texts);
        let parts = parts.flat_map(|(len, text)| [&len[..], text.unwrap_or_default()]);
        HookKey(mac(secret, &parts.collect::<Vec<_>>()))
    }

    /// The question as JSON. Wiped when it is dropped.
    pub fn body(&self) -> Zeroizing<Vec<u8>> {
        let password = self.password.as_ref().map(Password::bytes).unwrap_or_default();
        let text = std::str::from_utf8(password);
        let encoded = Zeroizing::new(match text {
            Ok(_) => String::new(),
            Err(_) => STANDARD.encode(password),
        });
        let listener = self.listener.as_deref();
        let texts = [self.user.as_deref(), Some(&self.client_id), listener];
        let texts: usize = texts.into_iter().flatten().map(str::len).sum();
        let texts = texts + password.len() + encoded.len();
        // A buffer that grew would leave copies behind.
        let mut body =
            Zeroizing::new(Vec::with_capacity(QUESTION_BYTES + ESCAPED_BYTES_MAX * texts));
        let question = Question {
            user: self.user.as_deref(),
            password: text.ok().filter(|_| self.password.is_some()),
            password_base64: Some(encoded.as_str()).filter(|_| text.is_err()),
            client_id: &self.client_id,
            address: self.address,
            listener,
            protocol: self.protocol,
        };
        // Texts and numbers into memory: nothing of it can fail.
        let written = serde_json::to_writer(&mut *body, &question);
        debug_assert!(written.is_ok());
        body
    }

    /// What an answer's body means for the client that was asked about.
    ///
    /// # Errors
    /// It is not a whole, valid answer.
    pub fn answer(&self, body: &[u8]) -> Result<HookAnswer, HookAnswerError> {
        let Answer { result, user, groups, acl, expires_in } = serde_json::from_slice(body)
            .map_err(|error| HookAnswerError::Json {
                line: error.line(),
                column: error.column(),
            })?;
        match result {
            Outcome::Deny => return Ok(HookAnswer::Deny),
            Outcome::Ignore => return Ok(HookAnswer::Ignore),
            Outcome::Allow => {}
        }
        if user.as_deref().is_some_and(|user| !is_user_name(user)) {
            return Err(HookAnswerError::User);
        }
        let groups = groups.unwrap_or_default();
        if groups.len() > HOOK_GROUPS_MAX || !groups.iter().all(|group| is_user_name(group)) {
            return Err(HookAnswerError::Groups);
        }
        if expires_in == Some(0) {
            return Err(HookAnswerError::ExpiresIn);
        }
        let user = user.or_else(|| self.user.clone());
        let mut identity = user.map(Identity::of_user).unwrap_or_default().by(Warrant::ELSEWHERE);
        if !groups.is_empty() {
            identity = identity.with_groups(groups.into());
        }
        if let Some(Filters { publish, subscribe }) = acl {
            let filters = [&publish, &subscribe].map(|filters| filters.iter().map(|one| &**one));
            let [publish, subscribe] = filters;
            identity = identity.with_grant(Arc::new(Grant::parse(publish, subscribe)?));
        }
        let expires_in = expires_in.map(|secs| Duration::from_secs(secs.into()));
        Ok(HookAnswer::Allow(identity, expires_in))
    }
}

impl HookAnswer {
    /// The same answer, given so much later.
    #[must_use]
    pub fn after(self, age: Duration) -> Self {
        match self {
            Self::Allow(identity, expires_in) => {
                Self::Allow(identity, expires_in.map(|time| time.saturating_sub(age)))
            }
            Self::Deny | Self::Ignore => self,
        }
    }

    /// The memory that it takes beside a fixed part, in bytes; roughly.
    pub fn bytes(&self) -> usize {
        let Self::Allow(identity, _) = self else { return 0 };
        let names = identity.groups().iter().map(|group| &**group).chain(identity.user());
        let names: usize = names.map(str::len).sum();
        names + identity.grant().map_or(0, Grant::bytes)
    }

    /// Until when an answer that came `now` may be given again.
    pub fn is_remembered_until(&self, now: Monotonic) -> Monotonic {
        now.after(match self {
            Self::Allow(_, expires_in) => {
                expires_in.map_or(HOOK_ALLOWED_FOR, |time| time.min(HOOK_ALLOWED_FOR))
            }
            Self::Deny | Self::Ignore => HOOK_DENIED_FOR,
        })
    }
}

impl fmt::Debug for HookKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("HookKey")
    }
}

#[cfg(test)]
mod tests;

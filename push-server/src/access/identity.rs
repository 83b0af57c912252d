//! The identity that a client has proved, and the subject that a policy judges.

use std::sync::Arc;
use std::time::Duration;

use super::acl::{Grant, Rights};
use super::client_limits::GroupLimits;
use super::warrant::Warrant;

/// The longest name of a user, in bytes: that of the longest text of MQTT.
pub(super) const USER_NAME_BYTES_MAX: usize = 65_535;

/// Whether a certificate, a token or a hook may name a user so: MQTT has no text with NUL, and a log no line with control
/// characters.
pub(super) fn is_user_name(name: &str) -> bool {
    (1..=USER_NAME_BYTES_MAX).contains(&name.len()) && !name.contains(char::is_control)
}

/// The identity that a client has proved: a user, or none.
#[derive(Clone, Debug)]
pub struct Identity {
    user: Option<Box<str>>,
    warrant: Warrant,
    groups: Arc<[Box<str>]>,
    grant: Option<Arc<Grant>>,
    rights: Rights,
    limits: GroupLimits,
    ends_at: Option<u64>,
}

/// Nobody knows the client.
impl Default for Identity {
    fn default() -> Self {
        Self {
            user: None,
            warrant: Warrant::NOBODY,
            groups: Arc::default(),
            grant: None,
            rights: Rights::default(),
            limits: GroupLimits::default(),
            ends_at: None,
        }
    }
}

impl Identity {
    /// The identity of a client that has proved to be this user, by something else than a file.
    pub fn of_user(user: Box<str>) -> Self {
        Self { user: Some(user), warrant: Warrant::ELSEWHERE, ..Self::default() }
    }

    /// The identity of the client with this name that has these rights, as far as they depend on it.
    pub(super) fn with_what_was_brought(user: Option<&str>, rights: &Rights) -> Self {
        let identity = user.map(|user| Self::of_user(user.into())).unwrap_or_default();
        let Some((groups, grant)) = rights.brought() else { return identity };
        grant.into_iter().fold(identity.with_groups(groups), Self::with_grant)
    }

    /// The same client, let in by this.
    #[must_use]
    pub fn by(self, warrant: Warrant) -> Self {
        Self { warrant, ..self }
    }

    /// By what the client was let in.
    pub fn warrant(&self) -> Warrant {
        self.warrant
    }

    /// The same client, in these groups beside those that the file of rules names.
    #[must_use]
    pub fn with_groups(self, groups: Arc<[Box<str>]>) -> Self {
        Self { groups, ..self }
    }

    /// The same client, with the rights that its token brings.
    #[must_use]
    pub fn with_grant(self, grant: Arc<Grant>) -> Self {
        Self { grant: Some(grant), ..self }
    }

    /// The same client, with what it may do.
    #[must_use]
    pub fn with_rights(self, rights: Rights) -> Self {
        Self { rights, ..self }
    }

    /// The same client, which may stay until then: in seconds since 1970, by the wall clock.
    #[must_use]
    pub fn until(self, secs: u64) -> Self {
        Self { ends_at: Some(secs), ..self }
    }

    /// The same client, which may stay for so long from `now` on, the time since 1970, if it is said how long; rather a
    /// second too long than a moment too short.
    #[must_use]
    pub fn lasting(self, now: Duration, time: Option<Duration>) -> Self {
        let Some(time) = time else { return self };
        let end = now.saturating_add(time);
        self.until(end.as_secs().saturating_add(u64::from(end.subsec_nanos() > 0)))
    }

    /// Until when the client may stay, in seconds since 1970; `None`: what proved the identity does not say.
    pub fn ends_at(&self) -> Option<u64> {
        self.ends_at
    }

    /// The same client, with what its groups say of limits.
    #[must_use]
    pub fn with_limits(self, limits: GroupLimits) -> Self {
        Self { limits, ..self }
    }

    /// What its groups say of limits.
    pub fn limits(&self) -> &GroupLimits {
        &self.limits
    }

    /// The user; `None`: the client has not authenticated.
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// The groups that what proved the identity names.
    pub fn groups(&self) -> &[Box<str>] {
        &self.groups
    }

    /// What its token brings: groups, and rights if there are any.
    pub(super) fn brings(&self) -> (&Arc<[Box<str>]>, Option<&Grant>) {
        (&self.groups, self.grant())
    }

    /// The rights that its token brings.
    pub fn grant(&self) -> Option<&Grant> {
        self.grant.as_deref()
    }

    /// What it may do.
    pub fn rights(&self) -> &Rights {
        &self.rights
    }
}

/// The client that a policy judges.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The user; `None`: the client has not authenticated.
    pub user: Option<&'a str>,
    /// The client id.
    pub client_id: &'a str,
    /// What it may do.
    pub rights: &'a Rights,
}

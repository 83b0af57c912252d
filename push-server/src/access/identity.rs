//! The identity that a client has proved, and the subject that a policy judges.

use std::sync::Arc;

use super::acl::{Grant, Rights};
use super::client_limits::GroupLimits;

/// The identity that a client has proved: a user, or none.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    user: Option<Box<str>>,
    groups: Arc<[Box<str>]>,
    grant: Option<Arc<Grant>>,
    rights: Rights,
    limits: GroupLimits,
}

impl Identity {
    /// The identity of a client that has proved to be this user.
    pub fn of_user(user: Box<str>) -> Self {
        Self { user: Some(user), ..Self::default() }
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

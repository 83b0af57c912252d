//! The identity that a client has proved, and the subject that a policy judges.

/// The identity that a client has proved: a user, or none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    user: Option<Box<str>>,
}

impl Identity {
    /// A client that has shown to be this user.
    pub fn of_user(user: Box<str>) -> Self {
        Self { user: Some(user) }
    }

    /// The user; `None`: the client has not shown to be one.
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }
}

/// Whom a policy is asked about: an identity, and the client id that it came with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subject<'a> {
    /// The user; `None`: nobody has authenticated.
    pub user: Option<&'a str>,
    /// The client id.
    pub client_id: &'a str,
}

impl Subject<'_> {
    /// A publisher of which nothing is known: no user, no client id.
    pub const NOBODY: Self = Self { user: None, client_id: "" };
}

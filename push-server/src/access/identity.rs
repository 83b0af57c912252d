//! The identity that a client has proved, and the subject that a policy judges.

/// The identity that a client has proved: a user, or none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    user: Option<Box<str>>,
}

impl Identity {
    /// The identity of a client that has proved to be this user.
    pub fn of_user(user: Box<str>) -> Self {
        Self { user: Some(user) }
    }

    /// The user; `None`: the client has not authenticated.
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }
}

/// The client that a policy judges: its identity and its client id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subject<'a> {
    /// The user; `None`: the client has not authenticated.
    pub user: Option<&'a str>,
    /// The client id.
    pub client_id: &'a str,
}

impl Subject<'_> {
    /// A publisher without user and client id.
    pub const NOBODY: Self = Self { user: None, client_id: "" };
}

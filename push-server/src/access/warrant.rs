//! By what a client was let in, and whether that still holds by what the files say now.

use std::fmt;

use super::mac::{Key, mac};

/// By what a client was let in, in 4 bytes: a connection has it as long as it lives, and an idle one is to stay small.
/// One change of a password in four thousand million goes unnoticed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Warrant(u32);

/// What a line of a file of users is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LineUse {
    /// It checks passwords.
    Password,
    /// It checks what clients say by SCRAM.
    Scram,
}

/// Why a connected client may not be here any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Withdrawal {
    /// Clients that nobody knows may not connect any more.
    Anonymous,
    /// There is no such user any more.
    User,
    /// The user has another password, or cannot have proved it this way.
    Password,
    /// The client's certificate has been revoked, or its signer is not trusted any more.
    Certificate,
    /// The client has a subscription that is not allowed any more.
    Subscription,
}

impl fmt::Display for Withdrawal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Anonymous => "a reload: clients that nobody knows may not connect any more",
            Self::User => "a reload: there is no such user any more",
            Self::Password => "a reload: the user has another password",
            Self::Certificate => "a reload: its certificate is not accepted any more",
            Self::Subscription => "a reload: it has a subscription that is not allowed any more",
        })
    }
}

impl Warrant {
    /// Nobody knows the client.
    pub const NOBODY: Self = Self(0);
    /// Something else than a file knows the client: a token, or a hook. No file withdraws it.
    pub const ELSEWHERE: Self = Self(1);

    /// A line of a file of users, by its fingerprint: keyed, so that it tells nothing of the line.
    pub(super) fn of_line(secret: &Key, user: &str, of: LineUse, fingerprint: &[u8]) -> Self {
        let what: &[u8] = match of {
            LineUse::Password => b"warrant: password",
            LineUse::Scram => b"warrant: scram",
        };
        let len = (user.len() as u64).to_be_bytes();
        let mac = mac(secret, &[what, &len, user.as_bytes(), fingerprint]);
        let mut first = [0; 4];
        first.copy_from_slice(&mac[..4]);
        // The two others stay apart.
        Self(u32::from_ne_bytes(first).max(2))
    }
}

impl fmt::Debug for Warrant {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match *self {
            Self::NOBODY => "Nobody",
            Self::ELSEWHERE => "Elsewhere",
            Self(_) => "Line",
        })
    }
}

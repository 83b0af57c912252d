//! Which source decides about a client: the first of a table whose row is about it.

/// What knows clients by a name, in the order in which they are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The certificate that the client has shown in its handshake of TLS (`--certificate-user`).
    Certificate,
    /// An exchange by SCRAM.
    Scram,
    /// A token as password (`--jwt-keys`).
    Token,
    /// The file of users (`--users`).
    Users,
    /// The HTTP hook (`--auth-http`).
    Hook,
    /// Nobody knows it, and it may connect all the same.
    Anonymous,
}

/// The source that decides, or why none does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// This source, whatever it says.
    By(Source),
    /// Nobody: it does not say who it is, in a way that is asked for here.
    NoProof,
    /// Nobody: its certificate names no user.
    CertificateUnnamed,
    /// Nobody: tokens would be taken, and its password is none.
    NoToken,
}

/// What a client's certificate says of who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// It shows none, or nobody looks at what names are in it.
    Nothing,
    /// It names a user.
    User,
    /// It names none, or several.
    NoUser,
}

/// The user name that a client gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Named {
    /// None.
    Not,
    /// One of the file of users.
    Known,
    /// One that is not in that file, or there is none.
    Unknown,
}

/// A client, and what there is to ask about it: all that the order depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Case {
    /// Its certificate.
    pub(super) shown: Shown,
    /// It asks for an exchange.
    pub(super) asks_exchange: bool,
    /// Its user name.
    pub(super) named: Named,
    /// It gives a password.
    pub(super) has_password: bool,
    /// Its password has the form of a token.
    pub(super) is_token: bool,
    /// All must authenticate by an exchange (`--scram-required`).
    pub(super) scram_required: bool,
    /// There are keys for tokens.
    pub(super) has_keys: bool,
    /// There is a file of users.
    pub(super) has_users: bool,
    /// There is a hook, and it has not said that it does not know the client.
    pub(super) has_hook: bool,
    /// A client that gives a name must prove it, because there is a source of users.
    pub(super) has_source: bool,
    /// Clients that nobody knows may connect.
    pub(super) anonymous: bool,
}

/// When a row is about a client, and what it says.
type Row = (fn(&Case) -> bool, Choice);

/// The first row that is about a client decides.
const ORDER: [Row; 12] = [
    // The user that it proves has to be its certificate's, if that names one.
    (|case| case.asks_exchange, Choice::By(Source::Scram)),
    (|case| case.scram_required, Choice::NoProof),
    (|case| case.shown == Shown::User, Choice::By(Source::Certificate)),
    (|case| case.has_keys && case.is_token, Choice::By(Source::Token)),
    (|case| case.named == Named::Known && case.has_password, Choice::By(Source::Users)),
    // The users know it, so nobody else is asked.
    (|case| case.named == Named::Known, Choice::NoProof),
    (|case| case.has_hook, Choice::By(Source::Hook)),
    // It is refused, after as long as one that they know.
    (
        |case| case.has_users && case.named == Named::Unknown && case.has_password,
        Choice::By(Source::Users),
    ),
    (|case| case.shown == Shown::NoUser, Choice::CertificateUnnamed),
    (|case| case.has_keys && case.named != Named::Not && case.has_password, Choice::NoToken),
    // A name that nobody has proved: it means to be somebody.
    (|case| case.has_source && case.named != Named::Not, Choice::NoProof),
    (|case| case.anonymous, Choice::By(Source::Anonymous)),
];

impl Case {
    /// The source that decides about this client, or why none does.
    pub(super) fn choose(&self) -> Choice {
        let row = ORDER.iter().find(|(is_about, _)| is_about(self));
        row.map_or(Choice::NoProof, |(_, choice)| *choice)
    }
}

#[cfg(test)]
mod tests;

//! What may be wrong with a token, for the log.

/// Most groups that a token names: each is looked up in the rules when its client connects.
pub const TOKEN_GROUPS_MAX: usize = 256;

/// Why a token does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenFault {
    /// The password is none.
    #[error("its password is no token (--jwt-keys)")]
    NoToken,
    /// It cannot be read.
    #[error("its token cannot be read")]
    Unreadable,
    /// The keys are for other algorithms, or have other names.
    #[error("no key of --jwt-keys is for its token's kid and algorithm")]
    NoKey,
    /// The signature is not one of the key's.
    #[error("the signature of its token is wrong")]
    Signature,
    /// A claim that is needed is missing, or a claim has another form.
    #[error("its token lacks exp or sub, or a claim has another form (iat, groups, acl)")]
    Claims,
    /// The subject is no name of a user.
    #[error("the sub of its token is none that a user can have")]
    Subject,
    /// Too many groups.
    #[error("its token names more than {TOKEN_GROUPS_MAX} groups")]
    Groups,
    /// Rights that are none.
    #[error("a filter in the acl of its token is none, or there are too many")]
    Rights,
    /// Another one has made it.
    #[error("its token is of another issuer (--jwt-issuer)")]
    Issuer,
    /// It is for others.
    #[error("its token is for others (--jwt-audience)")]
    Audience,
    /// Not valid yet.
    #[error("its token is not valid yet (nbf)")]
    NotYet,
    /// Not valid any more.
    #[error("its token has expired (exp)")]
    Expired,
}

//! Why a client is refused.

/// Why a client is refused. A client is told a reason code, which says less: the log and the counters are for
/// operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    /// It has to authenticate, and did not ask to.
    #[error("it does not authenticate, which is required")]
    NoProof,
    /// Nobody here knows the Authentication Method that it asked for.
    #[error("its authentication method is not available")]
    UnknownMethod,
    /// What it sent is no message of the method, or asks for what the server does not have.
    #[error("its authentication data is not valid")]
    InvalidProof,
    /// There is no such user.
    #[error("there is no such user")]
    UnknownUser,
    /// The user exists, and this is not the user's password.
    #[error("the password is wrong")]
    WrongPassword,
    /// It authenticated again as another user than the one who connected.
    #[error("it authenticated again as another user")]
    OtherUser,
    /// The policy does not let it publish its will.
    #[error("it may not publish its will")]
    Will,
    /// Too many questions wait for an answer already.
    #[error("too many clients wait to be authenticated")]
    Busy,
    /// The answerer gave no answer in time, or could not find one.
    #[error("nobody answered who it is")]
    Unanswered,
}

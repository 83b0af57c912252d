//! Why a client is refused.

/// Why a client is refused. The log and the counters show this; the client gets a reason code,
/// which says less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    /// It must authenticate by an exchange, and did not ask to.
    #[error("it does not authenticate, which is required")]
    NoProof,
    /// The server does not know its Authentication Method.
    #[error("its authentication method is not available")]
    UnknownMethod,
    /// Its message is not one of the method, or asks for something that the server lacks.
    #[error("its authentication data is not valid")]
    InvalidProof,
    /// The user does not exist.
    #[error("there is no such user")]
    UnknownUser,
    /// The user exists, but the password is wrong.
    #[error("the password is wrong")]
    WrongPassword,
    /// It authenticated again as another user.
    #[error("it authenticated again as another user")]
    OtherUser,
    /// The policy forbids its will.
    #[error("it may not publish its will")]
    Will,
    /// Too many questions wait for an answer.
    #[error("too many clients wait to be authenticated")]
    Busy,
    /// It, or its address, has failed too often.
    #[error("too many failures to authenticate")]
    Banned,
    /// The answerer did not answer in time, or could not.
    #[error("nobody answered who it is")]
    Unanswered,
}

impl Denial {
    /// Whether the client may have guessed: then it counts as a failure to authenticate.
    pub fn is_failure(self) -> bool {
        match self {
            Self::InvalidProof | Self::UnknownUser | Self::WrongPassword => true,
            Self::NoProof
            | Self::UnknownMethod
            | Self::OtherUser
            | Self::Will
            | Self::Busy
            | Self::Banned
            | Self::Unanswered => false,
        }
    }
}

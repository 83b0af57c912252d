//! Why a client is refused.

use super::certificate::CertificateFault;
use super::token::TokenFault;

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
    /// It has a valid certificate, which names no user.
    #[error("{0} (--certificate-user)")]
    Certificate(CertificateFault),
    /// Its password is a token that does not count, or is none where only tokens do.
    #[error("{0}")]
    Token(TokenFault),
    /// The user name of its CONNECT is not the one that it has proved.
    #[error("it gives another user name than the one that it proves")]
    OtherName,
    /// Its id is to be its user's name, and it has no user.
    #[error("it is no user, whose name would be its client id (--client-id-from-user)")]
    NoUser,
    /// It authenticated again as another user.
    #[error("it authenticated again as another user")]
    OtherUser,
    /// The hook says that it may not connect.
    #[error("the hook denies it")]
    HookDenied,
    /// The hook gave no valid answer in time, or rests.
    #[error("the hook has not said who it is")]
    HookFailed,
    /// Too many clients wait for the hook.
    #[error("too many clients wait for the hook")]
    HookBusy,
    /// Too many tokens wait to be checked.
    #[error("too many tokens wait to be checked")]
    TokensBusy,
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
            Self::InvalidProof | Self::UnknownUser | Self::WrongPassword | Self::HookDenied => true,
            // A token that is too old, say, was somebody's.
            Self::Token(fault) => {
                matches!(fault, TokenFault::Unreadable | TokenFault::NoKey | TokenFault::Signature)
            }
            Self::NoProof
            | Self::UnknownMethod
            | Self::Certificate(_)
            | Self::OtherName
            | Self::NoUser
            | Self::OtherUser
            | Self::HookFailed
            | Self::HookBusy
            | Self::TokensBusy
            | Self::Will
            | Self::Busy
            | Self::Banned
            | Self::Unanswered => false,
        }
    }
}

impl From<TokenFault> for Denial {
    fn from(fault: TokenFault) -> Self {
        Self::Token(fault)
    }
}

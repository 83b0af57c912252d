//! Reason codes, MQTT 5 numbering; `encode` translates them for 3.1.1.

use crate::access::Denial;

/// Reason codes that the server sends, MQTT 5 numbering [MQTT5 2.4]. As an error: why the server
/// did not accept a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[repr(u8)]
#[expect(missing_docs, reason = "names are the specification's")]
pub enum Reason {
    #[error("success")]
    Success = 0x00,
    #[error("no matching subscribers")]
    NoMatchingSubscribers = 0x10,
    #[error("no subscription existed")]
    NoSubscriptionExisted = 0x11,
    #[error("unspecified error")]
    UnspecifiedError = 0x80,
    #[error("malformed packet")]
    MalformedPacket = 0x81,
    #[error("protocol error")]
    ProtocolError = 0x82,
    #[error("implementation specific error")]
    ImplementationSpecificError = 0x83,
    #[error("unsupported protocol version")]
    UnsupportedProtocolVersion = 0x84,
    #[error("client identifier not valid")]
    ClientIdentifierNotValid = 0x85,
    #[error("bad user name or password")]
    BadUserNameOrPassword = 0x86,
    #[error("not authorized")]
    NotAuthorized = 0x87,
    #[error("server unavailable")]
    ServerUnavailable = 0x88,
    #[error("server busy")]
    ServerBusy = 0x89,
    #[error("banned")]
    Banned = 0x8A,
    #[error("server shutting down")]
    ServerShuttingDown = 0x8B,
    #[error("bad authentication method")]
    BadAuthenticationMethod = 0x8C,
    #[error("keep alive timeout")]
    KeepAliveTimeout = 0x8D,
    #[error("session taken over")]
    SessionTakenOver = 0x8E,
    #[error("topic filter invalid")]
    TopicFilterInvalid = 0x8F,
    #[error("topic name invalid")]
    TopicNameInvalid = 0x90,
    #[error("packet identifier not found")]
    PacketIdentifierNotFound = 0x92,
    #[error("receive maximum exceeded")]
    ReceiveMaximumExceeded = 0x93,
    #[error("topic alias invalid")]
    TopicAliasInvalid = 0x94,
    #[error("packet too large")]
    PacketTooLarge = 0x95,
    #[error("message rate too high")]
    MessageRateTooHigh = 0x96,
    #[error("quota exceeded")]
    QuotaExceeded = 0x97,
    #[error("retain not supported")]
    RetainNotSupported = 0x9A,
    #[error("use another server")]
    UseAnotherServer = 0x9C,
    #[error("shared subscriptions not supported")]
    SharedSubscriptionsNotSupported = 0x9E,
    #[error("wildcard subscriptions not supported")]
    WildcardSubscriptionsNotSupported = 0xA2,
}

impl Reason {
    /// Whether the code reports an error [MQTT5 2.4].
    pub fn is_error(self) -> bool {
        self as u8 >= 0x80
    }
}

impl From<Denial> for Reason {
    fn from(denial: Denial) -> Self {
        match denial {
            Denial::UnknownMethod => Self::BadAuthenticationMethod,
            // One code for all, so that clients cannot find out which user names exist.
            Denial::NoProof
            | Denial::InvalidProof
            | Denial::UnknownUser
            | Denial::WrongPassword
            | Denial::OtherUser
            | Denial::NoUser
            | Denial::Certificate(_)
            | Denial::Token(_)
            | Denial::HookDenied
            | Denial::Will => Self::NotAuthorized,
            // It has proved who it is, so this tells it nothing about others.
            Denial::OtherName => Self::BadUserNameOrPassword,
            Denial::Banned => Self::Banned,
            Denial::Busy | Denial::HookBusy | Denial::TokensBusy => Self::ServerBusy,
            Denial::Unanswered | Denial::HookFailed => Self::ServerUnavailable,
        }
    }
}

//! Why a record cannot be decoded.

use crate::broker::{TopicError, UserPropertyTooLong};

/// Why bytes are not a valid record.
#[derive(Debug, thiserror::Error)]
pub(in crate::store::embedded) enum DecodeError {
    #[error("malformed record: {0}")]
    Malformed(#[from] postcard::Error),
    #[error("record with {0} bytes too many")]
    TooLong(usize),
    #[error("key of {0} bytes")]
    KeyLength(usize),
    #[error("quality of service {0}")]
    QoS(u8),
    #[error("{0} subscription identifiers")]
    SubscriptionIds(usize),
    #[error(transparent)]
    Text(#[from] std::str::Utf8Error),
    #[error(transparent)]
    Topic(#[from] TopicError),
    #[error(transparent)]
    UserProperty(#[from] UserPropertyTooLong),
}

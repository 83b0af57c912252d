//! What is wrong with a PROXY header.

use std::fmt;

/// What is wrong with a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProxyFault {
    /// The first bytes are another protocol's.
    Missing,
    Malformed,
    /// It is longer than [`super::PROXY_HEADER_BYTES_MAX`].
    TooLong,
}

impl fmt::Display for ProxyFault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Missing => {
                "no PROXY header: its listener is for proxies that send one (send-proxy of HAProxy)"
            }
            Self::Malformed => "a malformed PROXY header",
            Self::TooLong => "its PROXY header is too long",
        })
    }
}

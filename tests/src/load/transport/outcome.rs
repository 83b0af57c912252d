//! What layers tell of themselves: how a handshake went, how far a goodbye has come, what went wrong.

use std::fmt;

/// How a handshake of TLS went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handshake {
    /// By a ticket, without a certificate.
    pub is_resumed: bool,
    /// Else it is TLS 1.2.
    pub is_tls_1_3: bool,
}

/// What makes a connection useless.
#[derive(Debug)]
pub enum Fault {
    /// Of TLS.
    Tls(rustls::Error),
    /// The answer to the request of WebSocket does not upgrade.
    Upgrade(String),
    /// A frame that a server must not send.
    Frame(&'static str),
    /// There is nothing to send by yet, or any more.
    NotOpen,
}

/// How far a layer's goodbye to the server has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goodbye {
    /// Nobody has asked for it.
    Unsaid,
    /// It follows what is wrapped next.
    Wanted,
    /// It is wrapped.
    Said,
}

impl From<rustls::Error> for Fault {
    fn from(error: rustls::Error) -> Self {
        Self::Tls(error)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tls(error) => write!(f, "TLS: {error}"),
            Self::Upgrade(why) => write!(f, "the server does not speak WebSocket: {why}"),
            Self::Frame(why) => write!(f, "a bad WebSocket frame: {why}"),
            Self::NotOpen => write!(f, "the layers are not open"),
        }
    }
}

impl std::error::Error for Fault {}

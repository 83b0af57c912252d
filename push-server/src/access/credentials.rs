//! What a client offers to show who it is.

use std::fmt;
use std::net::SocketAddr;

use bytes::Bytes;

use super::scram::{Exchange, Nonce};

/// What a client offers, at CONNECT or in a later step of an exchange.
#[derive(Debug)]
pub struct Credentials {
    /// The client id that it asks for, or that the server has given it.
    pub client_id: Box<str>,
    /// The user name of CONNECT.
    pub user_name: Option<Box<str>>,
    /// The password of CONNECT.
    pub password: Option<Password>,
    /// The step of an exchange (MQTT 5's enhanced authentication); `None`: the client asked for none.
    pub proof: Option<Proof>,
    /// Where the client is; `None`: its socket cannot be asked any more, or nobody looks at it.
    pub peer: Option<SocketAddr>,
    /// The address of ours that it has come to.
    pub listener: Option<SocketAddr>,
}

/// One step of an exchange.
#[derive(Debug)]
pub struct Proof {
    /// The Authentication Method that the client named.
    pub method: Box<str>,
    /// Where the exchange stands.
    pub exchange: Exchange,
    /// Random, and the same for all steps of one exchange.
    pub nonce: Nonce,
    /// The client's message; `None`: it has sent none.
    pub message: Option<Bytes>,
}

/// A password as a client sent it. `Debug` does not show it.
#[derive(Clone)]
pub struct Password(Bytes);

impl Password {
    /// The password that these bytes are.
    pub fn new(bytes: Bytes) -> Self {
        Self(bytes)
    }

    /// Its bytes, for whoever hashes them.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Password")
    }
}

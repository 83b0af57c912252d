//! What a client sends to prove who it is.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use zeroize::Zeroizing;

use super::certificate::CertificateFault;
use super::scram::{Exchange, Nonce};

/// A client's proof of who it is, from CONNECT or from a later step of an exchange.
#[derive(Debug)]
pub struct Credentials {
    /// The client id from CONNECT, or the one that the server assigned.
    pub client_id: Box<str>,
    /// The user name of CONNECT.
    pub user_name: Option<Box<str>>,
    /// The password of CONNECT.
    pub password: Option<Password>,
    /// The step of an exchange (MQTT 5's enhanced authentication); `None`: the client asked for none.
    pub proof: Option<Proof>,
    /// The user that the client's certificate names, or why it names none. `None`: it has shown no certificate, or
    /// nobody asks for names in them.
    pub certificate: Option<Result<Box<str>, CertificateFault>>,
    /// The client's address; `None` if its socket can no longer tell, or no rule asks for it.
    pub peer: Option<SocketAddr>,
    /// The listener that the client came by: the name that its table gives it, or its address as
    /// written, so that rules can name it. `None` only until a shard has said it.
    pub listener: Option<Arc<str>>,
    /// What the client speaks, as addresses call it: `mqtt`, `mqtts`, `ws` or `wss`. `mqtt` until a shard has
    /// said it.
    pub protocol: &'static str,
}

impl Credentials {
    /// Whether there are any: a name, a password or a step of an exchange.
    pub fn are_shown(&self) -> bool {
        self.user_name.is_some() || self.password.is_some() || self.proof.is_some()
    }

    /// The name that the client gives, as far as it is known: within an exchange the one that it was challenged for.
    pub fn name(&self) -> Option<&str> {
        let exchange = self.proof.as_ref().map(|proof| &proof.exchange);
        exchange.and_then(Exchange::user_name).or(self.user_name.as_deref())
    }
}

/// One step of an exchange.
#[derive(Debug)]
pub struct Proof {
    /// The Authentication Method that the client named.
    pub method: Box<str>,
    /// How far the exchange has come.
    pub exchange: Exchange,
    /// Random; the same for all steps of one exchange.
    pub nonce: Nonce,
    /// The client's message; `None`: it has sent none.
    pub message: Option<Bytes>,
}

/// A password as a client sent it. `Debug` does not show it, and it is wiped when it is dropped.
#[derive(Clone)]
pub struct Password(Zeroizing<Vec<u8>>);

impl Password {
    /// Takes a copy of the bytes as a password.
    pub fn new(bytes: &[u8]) -> Self {
        Self(Zeroizing::new(bytes.to_vec()))
    }

    /// The bytes, for the code that hashes them.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Password")
    }
}

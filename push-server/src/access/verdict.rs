//! The answer to a client's credentials.

use bytes::Bytes;

use super::denial::Denial;
use super::identity::Identity;
use super::scram::Exchange;

/// An answer to credentials.
#[derive(Debug)]
pub enum Verdict {
    /// The client may connect as this identity. The data, if any, proves to it that the server
    /// knows it.
    Allowed(Identity, Option<Bytes>),
    /// The exchange goes on: send the data, if any; the client's next message continues it.
    Continue(Exchange, Option<Bytes>),
    /// The client may not connect.
    Refused(Denial),
}

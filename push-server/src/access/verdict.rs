//! What an answer to credentials says.

use bytes::Bytes;

use super::denial::Denial;
use super::identity::Identity;
use super::scram::Exchange;

/// An answer to credentials.
#[derive(Debug)]
pub enum Verdict {
    /// The client may connect as this identity. The data, if any, is what tells it that the server knows it, too.
    Allowed(Identity, Option<Bytes>),
    /// The exchange goes on: the data, if any, is for the client, whose next message continues it.
    Continue(Exchange, Option<Bytes>),
    /// The client may not connect.
    Refused(Denial),
}

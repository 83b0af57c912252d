//! The layers, fed with a peer's bytes: what they hand on does not depend on how those were cut, and
//! what they keep stays within its limit.

pub(crate) mod proxy;
pub(crate) mod tls;
pub(crate) mod websocket;

use bytes::Bytes;
use push_common::clock::Monotonic;

use super::{Goodbye, Transport};

const START: Monotonic = Monotonic(1_000_000_000_000);

/// Closes the layers. Returns all that they still say, and makes sure that this is all.
fn farewell(transport: &mut Transport) -> Vec<u8> {
    transport.close(Goodbye::Done);
    let said = said(transport);
    assert!(!transport.owes(), "more is owed than was said");
    assert_eq!(transport.ended(), None, "it was closed");
    said
}

/// What the layers have to say by themselves.
fn said(transport: &mut Transport) -> Vec<u8> {
    let mut chunks: Vec<Bytes> = Vec::new();
    transport.wrap(&mut chunks, usize::MAX);
    chunks.concat()
}

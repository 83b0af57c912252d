//! The wire format, and the only user of mqttbytes.
//!
//! Outbound, mqttbytes writes every packet except AUTH, which it lacks, and PUBLISH, whose large
//! payloads are shared rather than copied. Inbound, this room parses every packet, once and
//! strictly, since mqttbytes 0.6
//!
//! - has no AUTH, no DISCONNECT with a remaining length of 0 or 1, and takes passwords for text;
//! - reads properties past the end of their section, miscounts subscription identifiers, and
//!   accepts repeated properties, reserved flags and options, empty lists and trailing bytes;
//! - prints the packet id of every MQTT 5 UNSUBSCRIBE to stderr;
//! - never looks for U+0000, and copies every topic and filter before checking it.
//!
//! A strict pass in front of it would be a second parser that has to agree with the first on every
//! byte. Instead the tests hold the two against each other: each must read what the other writes,
//! to the same values.

#[cfg(test)]
mod agreement;
mod auth;
mod connect;
mod decode;
mod encode;
mod frame;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
#[cfg(test)]
mod hostile;
mod properties;
mod publish;
mod read;
mod reason;
mod redirect;

use push_common::clock::Monotonic;

use crate::mqtt::{Features, Version};

pub use auth::Auth;
pub use reason::Reason;

pub(super) use auth::{AuthReason, put_auth};
pub(super) use connect::{ConnectError, connect};
pub(super) use decode::{Ack, Disconnect, Packet, check_header, packet};
pub(super) use encode::{
    ANSWER_BYTES, AckKind, Audience, ack, answer_bytes, connack, connack_refusal, disconnect,
    pingresp, suback, unsuback,
};
pub(super) use frame::{Header, Input, SHARE_BYTES_MIN};
pub(super) use publish::{OutgoingPublish, Publish};
pub(super) use redirect::{connack_to, disconnect_to};

use frame::packet_type;

/// The first byte of a CONNECT, its reserved flags included.
pub(super) const CONNECT_FIRST: u8 = packet_type::CONNECT << 4;

/// The first byte of an AUTH.
pub(super) const AUTH_FIRST: u8 = packet_type::AUTH << 4;

/// The first byte of a DISCONNECT.
pub(super) const DISCONNECT_FIRST: u8 = packet_type::DISCONNECT << 4;

/// Parses the body of an AUTH.
pub(super) fn auth(body: &[u8]) -> Result<Auth, Reason> {
    auth::auth(read::Reader::new(body))
}

/// What parsing depends on, beside the bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Context {
    pub version: Version,
    pub packet_bytes_max: u32,
    pub topic_levels_max: u16,
    pub features: Features,
    pub now: Monotonic,
}

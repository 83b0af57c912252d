//! The types of single settings: they parse text and TOML, and their errors say what is allowed.
//! clap and serde both use these, so flag and key never disagree.

use std::fmt;
use std::marker::PhantomData;
use std::net::{Ipv6Addr, SocketAddr};
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::str::FromStr;

use serde::de::value::{SeqAccessDeserializer, StrDeserializer};
use serde::de::{Deserialize, Deserializer, Error as _, SeqAccess, Visitor};

use crate::broker::{TopicFilter, TopicName};
use crate::transport::normal_origin;

/// Bytes of the longest name of a network interface (`IFNAMSIZ` less its terminating zero).
pub(super) const INTERFACE_NAME_BYTES_MAX: usize = 15;

/// Bytes of the longest prefix of response topics: the client's own id must follow.
pub(super) const TOPIC_PREFIX_BYTES_MAX: usize = 1_000;

/// Most levels of such a prefix.
pub(super) const TOPIC_PREFIX_LEVELS_MAX: u16 = 16;

/// Bytes of the longest host name (RFC 1035, section 2.3.4).
pub(super) const HOST_BYTES_MAX: usize = 253;

/// Bytes of the longest name of a listener.
pub(super) const LISTENER_NAME_BYTES_MAX: usize = 64;

/// Bytes of the longest name of an issuer or audience of tokens.
pub(super) const TOKEN_PARTY_BYTES_MAX: usize = 1_000;

/// Why a value was refused: the values that would be allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {0}")]
pub struct Expected(pub String);

/// Gives a type that has `FromStr<Err = Expected>` the matching TOML form: a string.
macro_rules! deserialize_from_str {
    ($type:ty) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
            }
        }
    };
}

/// Reads a setting that may be given several times: a list, or a text, which counts as a list of
/// one.
///
/// # Errors
/// An item is not valid, or the value is neither a list nor a text.
pub(super) fn one_or_more<'de, T, D>(deserializer: D) -> Result<Option<Vec<T>>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    deserializer.deserialize_any(OneOrMore(PhantomData)).map(Some)
}

struct OneOrMore<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for OneOrMore<T> {
    type Value = Vec<T>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a text, or a list of texts")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Vec<T>, E> {
        T::deserialize(StrDeserializer::new(text)).map(|item| vec![item])
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Vec<T>, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(items))
    }
}

/// An address and a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address(pub SocketAddr);

impl FromStr for Address {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        text.parse()
            .map(Self)
            .map_err(|_| Expected("ADDR:PORT, as 127.0.0.1:1883 or [::1]:1883".into()))
    }
}

pub(super) use deserialize_from_str;

deserialize_from_str!(Address);

/// An address and a port, or `off`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OptionalAddress(pub Option<SocketAddr>);

impl FromStr for OptionalAddress {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        if text == "off" {
            return Ok(Self(None));
        }
        let address = text.parse().map(|Address(address)| Self(Some(address)));
        address.map_err(|Expected(address)| Expected(format!("off or {address}")))
    }
}

deserialize_from_str!(OptionalAddress);

/// The name of a network interface; the start checks whether it exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceName(pub String);

impl FromStr for InterfaceName {
    type Err = Expected;

    /// The kernel's own rule (`dev_valid_name`).
    fn from_str(text: &str) -> Result<Self, Expected> {
        let forbidden = |byte: u8| byte == b'/' || byte == b':' || byte.is_ascii_whitespace();
        let valid = (1..=INTERFACE_NAME_BYTES_MAX).contains(&text.len())
            && text != "."
            && text != ".."
            && !text.bytes().any(forbidden);
        valid.then(|| Self(text.to_owned())).ok_or_else(|| {
            Expected(format!(
                "the name of a network interface, as eth0: 1 to {INTERFACE_NAME_BYTES_MAX} bytes \
                 without blanks, `/` and `:`"
            ))
        })
    }
}

deserialize_from_str!(InterfaceName);

/// What rules and the log call a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerName(pub String);

impl FromStr for ListenerName {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let valid = (1..=LISTENER_NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(plain);
        valid.then(|| Self(text.to_owned())).ok_or_else(|| {
            Expected(format!(
                "a name of 1 to {LISTENER_NAME_BYTES_MAX} letters, digits, `-`, `_` and `.`, as \
                 devices"
            ))
        })
    }
}

deserialize_from_str!(ListenerName);

/// The origin of web pages that may connect, in the form in which it is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebOrigin(pub String);

impl FromStr for WebOrigin {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        normal_origin(text).map(Self).ok_or_else(|| {
            Expected(
                "the origin of a page, as https://app.example.org or http://127.0.0.1:8080: \
                 nothing stands behind the host but a port"
                    .into(),
            )
        })
    }
}

deserialize_from_str!(WebOrigin);

/// The issuer of a token, or its audience.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenParty(pub String);

impl FromStr for TokenParty {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        let valid = (1..=TOKEN_PARTY_BYTES_MAX).contains(&text.len());
        valid.then(|| Self(text.to_owned())).ok_or_else(|| {
            Expected(format!(
                "the name of an issuer or an audience as tokens have it, of 1 to \
                 {TOKEN_PARTY_BYTES_MAX} bytes, as https://login.example.org"
            ))
        })
    }
}

deserialize_from_str!(TokenParty);

/// A directory that is not the empty path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory(pub PathBuf);

impl FromStr for Directory {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        let valid = !text.is_empty() && !text.contains('\0');
        valid
            .then(|| Self(text.into()))
            .ok_or_else(|| Expected("the path of a directory, as /var/lib/push-server".into()))
    }
}

deserialize_from_str!(Directory);

/// The path of a file; the start checks whether it exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilePath(pub PathBuf);

impl FromStr for FilePath {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        let valid = !text.is_empty() && !text.contains('\0') && !text.ends_with('/');
        valid
            .then(|| Self(text.into()))
            .ok_or_else(|| Expected("the path of a file, as /etc/push-server/users".into()))
    }
}

deserialize_from_str!(FilePath);

/// The prefix of clients' response topics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicPrefix(pub String);

impl FromStr for TopicPrefix {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        let levels_max = TOPIC_PREFIX_LEVELS_MAX;
        let valid = text.len() <= TOPIC_PREFIX_BYTES_MAX
            && !text.ends_with('/')
            && TopicName::parse(text, levels_max).is_ok();
        valid.then(|| Self(text.to_owned())).ok_or_else(|| {
            Expected(format!(
                "a topic of at most {TOPIC_PREFIX_BYTES_MAX} bytes and {levels_max} levels, without \
                 wildcards and without / at its end, as response"
            ))
        })
    }
}

deserialize_from_str!(TopicPrefix);

/// A filter that is not itself shared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlainFilter(pub TopicFilter);

impl FromStr for PlainFilter {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        let parsed = TopicFilter::parse(text, u16::MAX).ok().filter(|filter| !filter.is_shared());
        parsed.map(Self).ok_or_else(|| Expected("a topic filter without $share/, as a/+/#".into()))
    }
}

deserialize_from_str!(PlainFilter);

/// The server that clients are sent to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerReference(pub String);

impl FromStr for ServerReference {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        let is_name = |host: &str| {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
            !host.is_empty() && host.len() <= HOST_BYTES_MAX && host.bytes().all(plain)
        };
        let is_v6 = |host: &str| {
            let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
            inner.is_some_and(|host| host.parse::<Ipv6Addr>().is_ok())
        };
        let valid = text.rsplit_once(':').is_some_and(|(host, port)| {
            (is_name(host) || is_v6(host)) && port.parse::<NonZeroU16>().is_ok()
        });
        valid
            .then(|| Self(text.to_owned()))
            .ok_or_else(|| Expected("HOST:PORT, as mqtt.example.org:1883 or [::1]:1883".into()))
    }
}

deserialize_from_str!(ServerReference);

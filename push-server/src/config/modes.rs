//! Settings that take one of a few words: the variants' names in kebab-case. clap derives them, and
//! the file and the display use the same.

use std::fmt;

use clap::ValueEnum;
use serde::de::{Deserialize, Deserializer, Error as _};

use super::values::Expected;
use crate::access::CertificateField;
use crate::mqtt::OutboxFull;

/// Gives types that take one of a few words their TOML form and their text.
macro_rules! one_of_words {
    ($($type:ty),*) => {$(
        impl std::str::FromStr for $type {
            type Err = Expected;

            fn from_str(text: &str) -> Result<Self, Expected> {
                <Self as ValueEnum>::from_str(text, false).map_err(|_| expected::<Self>())
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                // Whatever else the file has (`true`, say), the error names the words.
                let text = String::deserialize(deserializer)
                    .map_err(|_| D::Error::custom(expected::<Self>()))?;
                text.parse().map_err(D::Error::custom)
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                let value = self.to_possible_value();
                formatter.write_str(value.as_ref().map_or("", |value| value.get_name()))
            }
        }
    )*};
}

one_of_words!(
    AnonymousMode,
    CertificateUserMode,
    ClientAuthMode,
    DurabilityMode,
    KernelPathMode,
    OutboxFullMode,
    ProtocolMode,
    PublishDeniedMode,
    Switch,
    TlsVersionMode
);

/// The words of `T` as a file has them: texts in quotes.
fn expected<T: ValueEnum>() -> Expected {
    let words = T::value_variants().iter().filter_map(ValueEnum::to_possible_value);
    let words: Vec<_> = words.map(|value| format!("{:?}", value.get_name())).collect();
    let (last, others) = words.split_last().map_or(("", &[][..]), |(last, others)| (last, others));
    Expected(format!("{} or {last}", others.join(", ")))
}

/// Whether the kernel answers heartbeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum KernelPathMode {
    /// If it can; otherwise user space does, and a log line at the start says why.
    Auto,
    /// The server exits with 1 if it cannot.
    Require,
    /// Never.
    Off,
}

/// What the server promises by acknowledging a message for a durable session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DurabilityMode {
    /// It is on the disk: survives a loss of power.
    Fsync,
    /// The operating system has it: survives a crash of the server.
    Os,
    /// It is in memory.
    Off,
}

/// What happens to a message for an absent client whose outbox is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OutboxFullMode {
    /// The outbox takes it, and drops its oldest messages.
    DropOldest,
    /// It is dropped.
    DropNewest,
    /// It is dropped, and an MQTT 5 publisher is told.
    Refuse,
}

impl From<OutboxFullMode> for OutboxFull {
    fn from(mode: OutboxFullMode) -> Self {
        match mode {
            OutboxFullMode::DropOldest => Self::DropOldest,
            OutboxFullMode::DropNewest => Self::DropNewest,
            OutboxFullMode::Refuse => Self::Refuse,
        }
    }
}

impl From<OutboxFull> for OutboxFullMode {
    fn from(policy: OutboxFull) -> Self {
        match policy {
            OutboxFull::DropOldest => Self::DropOldest,
            OutboxFull::DropNewest => Self::DropNewest,
            OutboxFull::Refuse => Self::Refuse,
        }
    }
}

/// Whether clients may connect that nobody knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AnonymousMode {
    /// While nothing says who clients are, and only where no other machine reaches the server.
    Auto,
    /// Yes.
    Always,
    /// No.
    Never,
}

/// What happens to a client that publishes where it may not, if its version or QoS 0 has no answer for
/// that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PublishDeniedMode {
    /// The publish is acknowledged and dropped.
    Drop,
    /// The connection is closed.
    Close,
}

/// What clients of a listener speak, inside of TLS or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ProtocolMode {
    /// MQTT alone.
    Mqtt,
    /// MQTT over WebSocket.
    Ws,
}

/// Which name of a client's certificate is its user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CertificateUserMode {
    /// The common name.
    Cn,
    /// The DNS name among the alternative names.
    SanDns,
    /// The URI among the alternative names.
    SanUri,
    /// None: certificates say nothing of users.
    None,
}

impl CertificateUserMode {
    /// Where the name stands; `None`: names mean nothing.
    pub(crate) fn field(self) -> Option<CertificateField> {
        match self {
            Self::Cn => Some(CertificateField::CommonName),
            Self::SanDns => Some(CertificateField::DnsName),
            Self::SanUri => Some(CertificateField::Uri),
            Self::None => None,
        }
    }
}

/// Whether clients over TLS show a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ClientAuthMode {
    /// They are not asked for one.
    None,
    /// They are asked; one that is shown must be valid.
    Optional,
    /// A client without one is refused.
    Required,
}

/// The lowest version of TLS that clients may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TlsVersionMode {
    /// TLS 1.2 (RFC 5246).
    #[value(name = "1.2")]
    Tls12,
    /// TLS 1.3 (RFC 8446).
    #[value(name = "1.3")]
    Tls13,
}

/// Whether a feature is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    /// Clients may use the feature.
    On,
    /// The server refuses the feature.
    Off,
}

impl From<bool> for Switch {
    fn from(is_on: bool) -> Self {
        if is_on { Self::On } else { Self::Off }
    }
}

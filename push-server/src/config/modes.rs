//! Settings that are one of a few words.

use std::fmt;

use clap::ValueEnum;
use serde::Deserialize;

use crate::mqtt::OutboxFull;

/// Whether heartbeats are answered in the kernel.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum KernelPathMode {
    /// Where it can be; else the user path, said once at start-up.
    Auto,
    /// Exit 1 where it cannot.
    Require,
    /// Never.
    Off,
}

impl fmt::Display for KernelPathMode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Auto => "auto",
            Self::Require => "require",
            Self::Off => "off",
        })
    }
}

/// What an acknowledgement of a message for a durable session means.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum DurabilityMode {
    /// It is on the disk: survives a loss of power.
    Fsync,
    /// The operating system has it: survives a crash of the server.
    Os,
    /// It is in memory.
    Off,
}

impl fmt::Display for DurabilityMode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Fsync => "fsync",
            Self::Os => "os",
            Self::Off => "off",
        })
    }
}

/// What becomes of a message for a client that is away and whose outbox is full.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum OutboxFullMode {
    /// The oldest messages are dropped for it.
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

impl fmt::Display for OutboxFullMode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::DropOldest => "drop-oldest",
            Self::DropNewest => "drop-newest",
            Self::Refuse => "refuse",
        })
    }
}

/// Whether there is something.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, ValueEnum)]
#[serde(rename_all = "kebab-case")]
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

impl fmt::Display for Switch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::On => "on",
            Self::Off => "off",
        })
    }
}

//! The arguments of `cargo xtask bench durable`, and its rows and columns by name.

use std::fmt;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::Serialize;

#[derive(Args, Clone, Debug)]
pub(crate) struct DurableArguments {
    /// Sessions
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=15_000))]
    pub(super) sessions: u32,
    /// Bytes of a message
    #[arg(long, value_name = "BYTES", default_value_t = 128)]
    #[arg(value_parser = clap::value_parser!(u32).range(8..=1_000_000))]
    pub(super) payload_bytes: u32,
    /// Publishers
    #[arg(long, value_name = "N", default_value_t = 8)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(super) publishers: u32,
    /// Messages that each publisher has unacknowledged
    #[arg(long, value_name = "N", default_value_t = 256)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=u16::MAX as i64))]
    pub(super) window: u16,
    /// Messages a second of the paced rows
    #[arg(long, value_name = "N", default_value_t = 5_000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub(super) rate: u32,
    /// How long each row is measured
    #[arg(long, value_name = "S", default_value_t = 8)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=3_600))]
    pub(super) seconds: u32,
    /// How long each row is loaded before that
    #[arg(long, value_name = "S", default_value_t = 2)]
    #[arg(value_parser = clap::value_parser!(u32).range(0..=600))]
    pub(super) warm_up_s: u32,
    /// Rounds; in each, all servers have their turn
    #[arg(long, value_name = "N", default_value_t = 3)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(super) rounds: u32,
    /// Measure these rows only; repeatable
    #[arg(long, value_name = "ROW")]
    pub(super) row: Vec<Scenario>,
    /// Measure these only; repeatable
    #[arg(long, value_name = "MODE")]
    pub(super) only: Vec<Mode>,
    /// Also measure this earlier build of push-server, in the same rounds
    #[arg(long, value_name = "PATH")]
    pub(super) before: Option<PathBuf>,
    /// Shards of our server; mosquitto has one thread
    #[arg(long, value_name = "N", default_value_t = 2)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(super) shards: u16,
    /// Make data directories in this one; default: target/bench
    #[arg(long, value_name = "DIR")]
    pub(super) data_below: Option<PathBuf>,
    /// Instead measure how soon a server with many sessions and messages serves again
    #[arg(long)]
    pub(super) recovery: bool,
    /// Sessions of --recovery
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=5_000_000))]
    pub(super) recovery_sessions: u32,
    /// Messages that they are owed, all together
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub(super) recovery_messages: u64,
    /// Also print the table for the README
    #[arg(long)]
    pub(super) markdown: bool,
    /// Measure target/release/push-server and push-load as they are, without building first
    #[arg(long)]
    pub(super) no_build: bool,
}

/// What the sessions do during a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(super) enum Scenario {
    /// They are connected and acknowledge.
    Connected,
    /// They are not connected.
    Absent,
    /// They are connected, and messages come at a fixed rate.
    Paced,
}

impl Scenario {
    const ALL: [Self; 3] = [Self::Connected, Self::Absent, Self::Paced];

    /// The rows to measure; none given: all.
    pub(super) fn chosen(only: &[Self]) -> Vec<Self> {
        let is_wanted = |scenario: &Self| only.is_empty() || only.contains(scenario);
        Self::ALL.into_iter().filter(is_wanted).collect()
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Connected => "connected",
            Self::Absent => "absent",
            Self::Paced => "paced",
        })
    }
}

/// What an acknowledgement promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(super) enum Mode {
    /// Ours: on the disk.
    Fsync,
    /// Ours: with the kernel, which outlives the process.
    Os,
    /// Ours: in memory.
    Off,
    /// In memory; written to disk every second.
    Mosquitto,
    /// The build of `--before`: on the disk.
    BeforeFsync,
    /// The build of `--before`: in memory.
    BeforeOff,
}

impl Mode {
    /// In the order of the report's columns.
    pub(super) const ALL: [Self; 6] =
        [Self::Fsync, Self::Os, Self::Off, Self::Mosquitto, Self::BeforeFsync, Self::BeforeOff];

    /// The `--durability` of our server; `None`: another server.
    pub(super) const fn durability(self) -> Option<&'static str> {
        match self {
            Self::Fsync | Self::BeforeFsync => Some("fsync"),
            Self::Os => Some("os"),
            Self::Off | Self::BeforeOff => Some("off"),
            Self::Mosquitto => None,
        }
    }

    /// Whether it is the build of `--before`.
    pub(super) const fn is_before(self) -> bool {
        matches!(self, Self::BeforeFsync | Self::BeforeOff)
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Fsync => "fsync",
            Self::Os => "os",
            Self::Off => "off",
            Self::Mosquitto => "mosquitto",
            Self::BeforeFsync => "fsync before",
            Self::BeforeOff => "off before",
        })
    }
}

//! The scenarios: which clients publish to which, at which QoS, and how fast.

use std::fmt;

use clap::ValueEnum;
use serde::Serialize;

/// A group of rows of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(super) enum Scenario {
    /// One publisher to many subscribers, by a window.
    #[value(name = "fan-out-qos0")]
    FanOutQos0,
    #[value(name = "fan-out-qos1")]
    FanOutQos1,
    /// Many publishers to one subscriber, by a window.
    #[value(name = "fan-in-qos0")]
    FanInQos0,
    /// Publishers with a subscriber each, by a window.
    #[value(name = "pairs-qos0")]
    PairsQos0,
    #[value(name = "pairs-qos1")]
    PairsQos1,
    /// The same pairs at a fixed rate.
    #[value(name = "paced-qos0")]
    PacedQos0,
    #[value(name = "paced-qos1")]
    PacedQos1,
    /// Clients that connect, say goodbye, and connect again; over TLS each by a full handshake.
    Connects,
    /// The same, each by a session that it resumes. Only over TLS.
    ConnectsResumed,
}

/// The kinds of load behind the scenarios.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Load {
    /// As many messages as the window allows.
    Window,
    /// Messages at a fixed rate.
    Rate,
    /// No messages, only connections.
    Connects,
}

impl Scenario {
    /// The scenarios to measure; none given: all that there are with or without TLS.
    pub(super) fn chosen(only: &[Self], has_tls: bool) -> Vec<Self> {
        let is_wanted = |scenario: &Self| {
            let is_possible = has_tls || *scenario != Self::ConnectsResumed;
            if only.is_empty() { is_possible } else { only.contains(scenario) }
        };
        Self::value_variants().iter().copied().filter(is_wanted).collect()
    }

    pub(super) fn load(self) -> Load {
        match self {
            Self::FanOutQos0
            | Self::FanOutQos1
            | Self::FanInQos0
            | Self::PairsQos0
            | Self::PairsQos1 => Load::Window,
            Self::PacedQos0 | Self::PacedQos1 => Load::Rate,
            Self::Connects | Self::ConnectsResumed => Load::Connects,
        }
    }

    pub(super) fn qos(self) -> u32 {
        match self {
            Self::FanOutQos1 | Self::PairsQos1 | Self::PacedQos1 => 1,
            _ => 0,
        }
    }

    /// The unit that it counts, in the singular.
    pub(super) fn unit(self) -> &'static str {
        if self.load() == Load::Connects { "connect" } else { "delivery" }
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value();
        formatter.write_str(value.as_ref().map_or("", |value| value.get_name()))
    }
}

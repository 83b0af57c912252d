//! What is measured: who publishes to whom, at which QoS, and how fast.

use std::fmt;

use clap::ValueEnum;
use serde::Serialize;

use super::ThroughputArguments;

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
    /// Clients that connect, say goodbye, and connect again.
    Connects,
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
    /// Those wanted; none: all.
    pub(super) fn chosen(only: &[Self]) -> Vec<Self> {
        let is_wanted = |scenario: &Self| only.is_empty() || only.contains(scenario);
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
            Self::Connects => Load::Connects,
        }
    }

    fn qos(self) -> u32 {
        match self {
            Self::FanOutQos1 | Self::PairsQos1 | Self::PacedQos1 => 1,
            _ => 0,
        }
    }

    /// Clients that subscribe, or connect, and publishers beside them.
    pub(super) fn clients(self, arguments: &ThroughputArguments) -> (u32, u32) {
        match self {
            Self::FanOutQos0 | Self::FanOutQos1 => (arguments.fan_out, 1),
            Self::FanInQos0 => (1, arguments.fan_in),
            Self::PairsQos0 | Self::PairsQos1 | Self::PacedQos0 | Self::PacedQos1 => {
                (arguments.pairs, arguments.pairs)
            }
            Self::Connects => (arguments.connecting, 0),
        }
    }

    /// The mode of the generator and what it is told.
    pub(super) fn words(self, arguments: &ThroughputArguments) -> (&'static str, Vec<String>) {
        let (clients, publishers) = self.clients(arguments);
        let mut words = Vec::new();
        let mut say = |flag: &str, value: u32| words.extend([flag.to_owned(), value.to_string()]);
        say("--clients", clients);
        say("--seconds", arguments.seconds);
        say("--warmup-s", arguments.warm_up_s);
        let shape = match self {
            Self::Connects => {
                say("--threads", arguments.generator_threads.into());
                return ("connects", words);
            }
            Self::FanOutQos0 | Self::FanOutQos1 => "fan-out",
            Self::FanInQos0 => "fan-in",
            _ => {
                say("--threads", arguments.generator_threads.into());
                "pairs"
            }
        };
        say("--publishers", publishers);
        say("--qos", self.qos());
        say("--payload-bytes", arguments.payload_bytes);
        match self.load() {
            Load::Rate => say("--rate", arguments.rate),
            Load::Window | Load::Connects => say("--window", arguments.window.into()),
        }
        words.extend(["--shape".to_owned(), shape.to_owned()]);
        ("throughput", words)
    }

    /// As the table has it.
    pub(super) fn label(self, arguments: &ThroughputArguments) -> String {
        let ThroughputArguments { fan_out, fan_in, pairs, rate, connecting, .. } = arguments;
        let qos = self.qos();
        match self {
            Self::FanOutQos0 | Self::FanOutQos1 => format!("fan-out 1 to {fan_out}, QoS {qos}"),
            Self::FanInQos0 => format!("fan-in {fan_in} to 1, QoS {qos}"),
            Self::PairsQos0 | Self::PairsQos1 => format!("{pairs} pairs, QoS {qos}"),
            Self::PacedQos0 | Self::PacedQos1 => {
                format!("{pairs} pairs at {rate}/s, QoS {qos}")
            }
            Self::Connects => format!("connects, {connecting} at a time"),
        }
    }

    /// What is counted, in the singular.
    pub(super) fn unit(self) -> &'static str {
        if self == Self::Connects { "connect" } else { "delivery" }
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value();
        formatter.write_str(value.as_ref().map_or("", |value| value.get_name()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::arguments;
    use super::*;

    #[test]
    fn only_pairs_and_connects_are_spread_over_threads() {
        let arguments = arguments("--generator-threads 2");
        for scenario in Scenario::chosen(&[]) {
            let (_, words) = scenario.words(&arguments);
            let is_spread = words.contains(&"--threads".to_owned());
            let is_fan = scenario.to_string().starts_with("fan");
            assert_eq!(is_spread, !is_fan, "{scenario}");
        }
    }

    #[test]
    fn a_scenario_is_by_a_window_or_at_a_rate() {
        let arguments = arguments("");
        for scenario in Scenario::chosen(&[]) {
            let (mode, words) = scenario.words(&arguments);
            let says = |flag: &str| words.contains(&flag.to_owned());
            let expected = match scenario.load() {
                Load::Window => ("throughput", true, false),
                Load::Rate => ("throughput", false, true),
                Load::Connects => ("connects", false, false),
            };
            assert_eq!((mode, says("--window"), says("--rate")), expected, "{scenario}");
        }
    }

    #[test]
    fn rows_are_chosen_by_name() {
        assert_eq!(Scenario::chosen(&[]).len(), 8);
        let arguments = arguments("--row connects --row fan-out-qos1");
        let chosen = Scenario::chosen(&arguments.row);
        assert_eq!(chosen, [Scenario::FanOutQos1, Scenario::Connects]);
        assert_eq!(Scenario::FanOutQos1.label(&arguments), "fan-out 1 to 50, QoS 1");
    }
}

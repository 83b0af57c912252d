//! The arguments of `cargo xtask bench throughput`, and the load of each scenario.

use std::path::PathBuf;

use clap::Args;

use super::super::rig::CommonArguments;
use super::contenders::Peer;
use super::scenario::{Load, Scenario};

#[derive(Args, Clone, Debug)]
pub(crate) struct ThroughputArguments {
    /// Subscribers of the one publisher in a fan-out
    #[arg(long, value_name = "N", default_value_t = 50)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(super) fan_out: u32,
    /// Publishers to the one subscriber in a fan-in
    #[arg(long, value_name = "N", default_value_t = 20)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(super) fan_in: u32,
    /// Publishers with a subscriber each
    #[arg(long, value_name = "N", default_value_t = 20)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(super) pairs: u32,
    /// Clients that connect again and again, each one connection at a time
    #[arg(long, value_name = "N", default_value_t = 64)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(super) connecting: u32,
    /// Messages that each publisher has on their way
    #[arg(long, value_name = "N", default_value_t = 32)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub(super) window: u16,
    /// Messages a second of the paced rows
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub(super) rate: u32,
    /// Bytes of a message
    #[arg(long, value_name = "BYTES", default_value_t = 128)]
    #[arg(value_parser = clap::value_parser!(u32).range(18..=1_000_000))]
    pub(super) payload_bytes: u32,
    /// How long each row is measured
    #[arg(long, value_name = "S", default_value_t = 5)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=3_600))]
    pub(super) seconds: u32,
    /// How long each row is loaded before that
    #[arg(long, value_name = "S", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u32).range(0..=600))]
    pub(super) warm_up_s: u32,
    /// Rounds; in each, all servers have their turn
    #[arg(long, value_name = "N", default_value_t = 3)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(super) rounds: u32,
    /// Threads of the generator; a fan has one
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(super) generator_threads: u16,
    /// Measure these rows only; repeatable
    #[arg(long, value_name = "ROW")]
    pub(super) row: Vec<Scenario>,
    /// Also measure this earlier build of push-server, in the same rounds
    #[arg(long, value_name = "PATH")]
    pub(super) before: Option<PathBuf>,
    /// Also measure our user path and mosquitto with 1,000 rules about what clients may do, in the
    /// same rounds
    #[arg(long)]
    pub(super) acl: bool,
    /// Also measure this broker; repeatable. COMMAND is split at blanks, without a shell; {port} in
    /// it becomes the port to listen at on 127.0.0.1, {data} an empty directory, and {cert} and {key}
    /// the files of a certificate. It must stay in the foreground
    #[arg(long, value_name = "NAME=COMMAND")]
    pub(super) peer: Vec<Peer>,
    #[command(flatten)]
    pub(super) common: CommonArguments,
}

impl ThroughputArguments {
    /// The scenarios to measure.
    pub(super) fn scenarios(&self) -> Vec<Scenario> {
        Scenario::chosen(&self.row, self.common.layers.tls)
    }

    /// The clients of a scenario that subscribe or connect, and the publishers beside them.
    pub(super) fn clients(&self, scenario: Scenario) -> (u32, u32) {
        match scenario {
            Scenario::FanOutQos0 | Scenario::FanOutQos1 => (self.fan_out, 1),
            Scenario::FanInQos0 => (1, self.fan_in),
            Scenario::PairsQos0
            | Scenario::PairsQos1
            | Scenario::PacedQos0
            | Scenario::PacedQos1 => (self.pairs, self.pairs),
            Scenario::Connects | Scenario::ConnectsResumed => (self.connecting, 0),
        }
    }

    /// The mode of the generator in a scenario, and its arguments.
    pub(super) fn words(&self, scenario: Scenario) -> (&'static str, Vec<String>) {
        let (clients, publishers) = self.clients(scenario);
        let mut words = Vec::new();
        let mut say = |flag: &str, value: u32| words.extend([flag.to_owned(), value.to_string()]);
        say("--clients", clients);
        say("--seconds", self.seconds);
        say("--warmup-s", self.warm_up_s);
        let shape = match scenario {
            Scenario::Connects | Scenario::ConnectsResumed => {
                say("--threads", self.generator_threads.into());
                if scenario == Scenario::ConnectsResumed {
                    words.push("--tls-resume".to_owned());
                }
                return ("connects", words);
            }
            Scenario::FanOutQos0 | Scenario::FanOutQos1 => "fan-out",
            Scenario::FanInQos0 => "fan-in",
            _ => {
                say("--threads", self.generator_threads.into());
                "pairs"
            }
        };
        say("--publishers", publishers);
        say("--qos", scenario.qos());
        say("--payload-bytes", self.payload_bytes);
        match scenario.load() {
            Load::Rate => say("--rate", self.rate),
            Load::Window | Load::Connects => say("--window", self.window.into()),
        }
        words.extend(["--shape".to_owned(), shape.to_owned()]);
        ("throughput", words)
    }

    /// The name of a scenario in the table.
    pub(super) fn label(&self, scenario: Scenario) -> String {
        let ThroughputArguments { fan_out, fan_in, pairs, rate, connecting, .. } = self;
        let qos = scenario.qos();
        match scenario {
            Scenario::FanOutQos0 | Scenario::FanOutQos1 => {
                format!("fan-out 1 to {fan_out}, QoS {qos}")
            }
            Scenario::FanInQos0 => format!("fan-in {fan_in} to 1, QoS {qos}"),
            Scenario::PairsQos0 | Scenario::PairsQos1 => format!("{pairs} pairs, QoS {qos}"),
            Scenario::PacedQos0 | Scenario::PacedQos1 => {
                format!("{pairs} pairs at {rate}/s, QoS {qos}")
            }
            Scenario::Connects if self.common.layers.tls => {
                format!("connects by full handshakes, {connecting} at a time")
            }
            Scenario::Connects => format!("connects, {connecting} at a time"),
            Scenario::ConnectsResumed => {
                format!("connects by resumed sessions, {connecting} at a time")
            }
        }
    }
}

#[cfg(test)]
mod tests;

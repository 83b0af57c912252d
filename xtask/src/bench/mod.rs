//! `cargo xtask bench`: measures our kernel path, our user path and mosquitto in one run, prints a
//! table and writes JSON below `target/bench/`.
//!
//! What could make the figures wrong, and what is done about it:
//! - *Drift* (temperature, neighbours on the host): the three take turns in every round, each round
//!   begins with another one, ratios are taken within a round. Median and both ends are shown.
//! - *One server loads another*: only one runs at a time, and each of its turns is a new process. Our
//!   programs on `lo` would see the packets of the others, too.
//! - *Who pays*: on loopback the receiver's work is done on the sender's time, so that the kernel path
//!   moves work from the server to whoever sends. The machine's time, client included, is the honest
//!   figure; the server's and the client's own stand beside it. The client is the same program with
//!   the same flags for all, and its cost is in every machine figure: it draws the ratios towards 1.
//! - *Start-up*: clients connect and ping for a while before anything counts. Of the time measured
//!   the middle is sampled, so that neither its beginning nor its end can be hit or missed.
//! - *Pings in step*: at a fixed rate the phases of all clients are spread evenly; in the closed loop
//!   the number unanswered is constant. Latencies are taken from the fixed rate, costs from the
//!   closed loop, where the machine is busy enough for its 10 ms ticks (see `procfs`).
//! - *The wrong path*: `push_pings_total` before and after tells who answered. A figure is refused
//!   when less than 95 % went the way that its column says, or pings went missing.
//! - *Other work on the machine* counts as ours: the machine is looked at first, and a warning given.
//! - *Settings*: mosquitto has Debian's defaults, our server has as many shards as mosquitto has
//!   threads, one, unless `--shards` says otherwise. No process is bound to a processor.

mod brokers;
mod children;
mod data_directory;
mod durable;
mod heartbeat;
mod idle;
mod load;
mod procfs;
mod report;
mod rig;
mod throughput;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::workspace::Workspace;

#[derive(Args, Debug)]
pub(crate) struct BenchArguments {
    #[command(subcommand)]
    benchmark: Benchmark,
}

/// The benchmarks there are.
#[derive(Debug, Subcommand)]
enum Benchmark {
    /// Cost of a ping and its round trip
    Heartbeat(heartbeat::HeartbeatArguments),
    /// Memory of an idle connection, in the server process and in the kernel
    Idle(idle::IdleArguments),
    /// Durable QoS 1 messages to many sessions, and how soon a server is back
    Durable(durable::DurableArguments),
    /// Messages and connects a second, their cost, and how long a message takes at a fixed rate
    Throughput(throughput::ThroughputArguments),
}

pub(crate) fn run(workspace: &Workspace, arguments: &BenchArguments) -> Result<ExitCode> {
    match &arguments.benchmark {
        Benchmark::Heartbeat(arguments) => heartbeat::run(workspace, arguments),
        Benchmark::Idle(arguments) => idle::run(workspace, arguments),
        Benchmark::Durable(arguments) => durable::run(workspace, arguments),
        Benchmark::Throughput(arguments) => throughput::run(workspace, arguments),
    }
}

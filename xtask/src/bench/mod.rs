//! `cargo xtask bench`: measures our kernel path, our user path and mosquitto in one run, prints a
//! table and writes JSON to `target/bench/`.
//!
//! What could make the figures wrong, and what is done about it:
//! - *Drift* (temperature, neighbours on the host): the three take turns in every round, each round
//!   begins with another one, and ratios are taken within a round. The table shows median and extremes.
//! - *One server loads another*: only one runs at a time, and each of its turns is a new process.
//!   Our
//!   programs on `lo` would see the packets of the others, too.
//! - *Who pays*: on loopback the kernel does the receiver's work in the sender's time, so the
//!   kernel
//!   path moves work from the server to the sender. The machine's time, client included, is the honest
//!   figure; the server's and the client's own are beside it. The client is the same program with the
//!   same flags for all, and its cost is in every machine figure: it draws the ratios towards 1.
//! - *Start-up*: clients connect and ping for a while before anything counts. Only the middle of
//!   the
//!   measured time is sampled, so its beginning and its end cannot matter.
//! - *Pings in step*: at a fixed rate the phases of all clients are spread evenly; in the closed
//!   loop
//!   the number unanswered is constant. Latencies come from the fixed rate, costs from the closed
//!   loop, where the machine is busy enough for its 10 ms ticks (see `procfs`).
//! - *The wrong path*: `push_pings_total` before and after tells which path answered. A figure is
//!   refused if less than 95 % took the path of its column, or pings were lost.
//! - *Other work on the machine* would count as ours: the bench looks for it first, and warns.
//! - *Layers* (`--tls`, `--ws`): all servers have the same certificate, and the generator's own work for
//!   them is in every machine figure, as a client's always is.
//! - *Settings*: mosquitto has Debian's defaults. Our server has one shard, because mosquitto has
//!   one
//!   thread, unless `--shards` says otherwise. No process is bound to a processor.

mod brokers;
mod children;
mod connects;
mod data_directory;
mod durable;
mod handshakes;
mod heartbeat;
mod idle;
mod layers;
mod load;
mod procfs;
mod report;
mod rig;
mod rules;
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

/// The benchmarks.
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
    /// Connects a second of clients that prove who they are, the first time and again
    Connects(connects::ConnectsArguments),
    /// How long pings of connected clients take while thousands of others shake hands by TLS
    Handshakes(handshakes::HandshakesArguments),
}

pub(crate) fn run(workspace: &Workspace, arguments: &BenchArguments) -> Result<ExitCode> {
    match &arguments.benchmark {
        Benchmark::Heartbeat(arguments) => heartbeat::run(workspace, arguments),
        Benchmark::Idle(arguments) => idle::run(workspace, arguments),
        Benchmark::Durable(arguments) => durable::run(workspace, arguments),
        Benchmark::Throughput(arguments) => throughput::run(workspace, arguments),
        Benchmark::Connects(arguments) => connects::run(workspace, arguments),
        Benchmark::Handshakes(arguments) => handshakes::run(workspace, arguments),
    }
}

//! `cargo xtask bench idle`: what an idle connection occupies, as the slope of a line through
//! several numbers of connections. So it does not contain what is there without any connection.
//!
//! Kernel memory is the machine's. Both ends of each connection are on it, so the slope of the slab
//! contains the client's socket, which is the same for every server; a difference between two
//! servers is theirs alone. The kernel states the memory of BPF maps (`procfs::bpf_map_bytes`). A
//! hash that allocates on demand takes its elements from the slab or the per-cpu area, where they
//! appear a second time: so its figure tells which part of those is the maps', and must not be
//! added. Memory allocated at creation (arrays, `VmallocUsed`) has no slope; the JSON has its
//! readings, and the kernel's memory before the server started. The reclaimable part of the slab
//! changes with every file that any process touches: on a machine that is not quite idle trust the
//! unreclaimable part.
//!
//! Inside TLS a connection that the kernel answers has an answer table, which is in no slope either: the text
//! below the table names its bytes.
//!
//! Sockets in TIME_WAIT that one server leaves behind would vanish from the slab during the next
//! one's turn, so each turn waits for them first.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use push_common::answer_table::KernelTable;
use serde::Serialize;

use super::brokers::{Broker, Variant};
use super::layers::LayerArguments;
use super::load::Load;
use super::procfs::{KernelMemory, ProcessMemory, TcpSockets, bpf_map_bytes};
use super::report::{Line, Machine, Shown, Spread, Table, finish};
use super::rig::{Bench, CommonArguments, leave_out_idle_kernel, prepare, take_turns};
use crate::workspace::{Workspace, say};

/// Fewest readings for a line.
const STEPS_MIN: usize = 4;

/// Longest time for clients to connect, in each step.
const CONNECT_WITHIN: Duration = Duration::from_secs(120);

/// How long sockets stay in TIME_WAIT: 60 s in Linux, and a margin.
const TIME_WAIT_WITHIN: Duration = Duration::from_secs(75);

/// So few sockets in TIME_WAIT do not disturb a figure.
const TIME_WAIT_MAX: u64 = 50;

/// Time between two counts of them.
const TIME_WAIT_TICK: Duration = Duration::from_millis(500);

/// Least share of the connections whose heartbeats the kernel must answer, on the kernel path.
const ARMED_SHARE_MIN: f64 = 0.95;

#[derive(Args, Clone, Debug)]
pub(crate) struct IdleArguments {
    /// Connections at the first reading
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    from: u32,
    /// Connections at the last reading
    #[arg(long, value_name = "N", default_value_t = 15_000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    to: u32,
    /// Connections added for each reading in between
    #[arg(long, value_name = "N", default_value_t = 2_000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    step: u32,
    /// How long connections rest before each reading
    #[arg(long, value_name = "S", default_value_t = 3)]
    #[arg(value_parser = clap::value_parser!(u32).range(0..=600))]
    settle_s: u32,
    /// Rounds; in each, all servers have their turn
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000))]
    rounds: u32,
    #[command(flatten)]
    common: CommonArguments,
}

/// What is written to `idle.json`.
#[derive(Debug, Serialize)]
struct Report<'a> {
    benchmark: &'static str,
    machine: &'a Machine,
    background_share: f64,
    settle_s: u32,
    rounds: u32,
    shards: u16,
    layers: &'a LayerArguments,
    /// The commands of the first round.
    commands: &'a [String],
    visits: &'a [Visit],
    refused: &'a [String],
    summary: &'a [Row],
}

/// One server in one round.
#[derive(Debug, Serialize)]
struct Visit {
    round: u32,
    variant: Variant,
    /// Before the server was started; shows what earlier turns have left behind.
    kernel_before: KernelMemory,
    readings: Vec<Reading>,
    slopes: Vec<Slope>,
}

/// Bytes of memory at one number of connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
struct Reading {
    connections: u32,
    anonymous: u64,
    private_dirty: u64,
    resident: u64,
    slab: u64,
    slab_unreclaimable: u64,
    per_cpu: u64,
    vmalloc: u64,
    tcp_queues: u64,
    bpf_maps: u64,
    available: u64,
}

/// The slope of a quantity over the connections.
#[derive(Clone, Copy, Debug, Serialize)]
struct Slope {
    label: &'static str,
    bytes: Line,
}

/// A line of the table.
struct Quantity {
    label: &'static str,
    value: fn(&Reading) -> f64,
}

const QUANTITIES: [Quantity; 10] = [
    Quantity { label: "server process, anonymous", value: |at| at.anonymous as f64 },
    Quantity { label: "server process, private dirty", value: |at| at.private_dirty as f64 },
    Quantity { label: "server process, resident", value: |at| at.resident as f64 },
    Quantity { label: "kernel slab, both ends", value: |at| at.slab as f64 },
    Quantity {
        label: "kernel slab, both ends, unreclaimable",
        value: |at| at.slab_unreclaimable as f64,
    },
    Quantity { label: "kernel per-cpu memory", value: |at| at.per_cpu as f64 },
    Quantity { label: "kernel vmalloc", value: |at| at.vmalloc as f64 },
    Quantity { label: "TCP queues, both ends", value: |at| at.tcp_queues as f64 },
    Quantity { label: "BPF maps (partly in the slab, too)", value: |at| at.bpf_maps as f64 },
    Quantity { label: "all of the machine, client included", value: |at| -(at.available as f64) },
];

pub(super) fn run(workspace: &Workspace, arguments: &IdleArguments) -> Result<ExitCode> {
    let steps = steps(arguments)?;
    let mut bench = prepare(workspace, &arguments.common, arguments.to)?;
    leave_out_idle_kernel(&mut bench)?;
    let mut commands = Vec::new();
    let (visits, refused) = take_turns(&bench, arguments.rounds, |round, variant| {
        visit(&bench, arguments, &steps, round, variant, &mut commands)
    })?;
    let rows = summary(&visits);
    let layers = &arguments.common.layers;
    let path = bench.results.join(format!("idle{}.json", layers.suffix()));
    let report = Report {
        benchmark: "idle",
        machine: &bench.machine,
        background_share: bench.background_share,
        settle_s: arguments.settle_s,
        rounds: arguments.rounds,
        shards: arguments.common.shards,
        layers,
        commands: &commands,
        visits: &visits,
        refused: &refused,
        summary: &rows,
    };
    let shown = Shown {
        table: table(&rows),
        about: about(&bench, arguments, steps.len()) + &table_text(layers),
        markdown: arguments.common.markdown,
        refused: &refused,
    };
    finish(&path, &report, &shown)
}

fn about(bench: &Bench, arguments: &IdleArguments, readings: usize) -> String {
    format!(
        "Bytes per idle connection{}: slope of a line through {readings} readings from {} to {} \
         connections, ± its standard error; rounds: {}, shards: {}. The kernel's figures hold \
         both ends of each connection. {}.",
        arguments.common.layers.text(),
        arguments.from,
        arguments.to,
        arguments.rounds,
        arguments.common.shards,
        bench.machine.text()
    )
}

/// What a connection takes of the memory that has no slope, where the kernel answers by records that are
/// sealed ahead; begins with a blank.
fn table_text(layers: &LayerArguments) -> String {
    if !layers.are_answered_sealed() {
        return String::new();
    }
    format!(
        " The kernel path's answer tables are allocated at the start and in no slope: {} bytes for each \
         connection that it may serve inside TLS.",
        size_of::<KernelTable<u64>>()
    )
}

/// The numbers of connections to read, ascending; the last is `to`.
fn steps(arguments: &IdleArguments) -> Result<Vec<u32>> {
    let IdleArguments { from, to, step, .. } = *arguments;
    let mut steps: Vec<u32> = (from..to).step_by(step as usize).collect();
    steps.push(to);
    if from >= to || steps.len() < STEPS_MIN {
        bail!(
            "--from {from} --to {to} --step {step}: a line wants {STEPS_MIN} different numbers of \
             connections"
        );
    }
    Ok(steps)
}

fn visit(
    bench: &Bench,
    arguments: &IdleArguments,
    steps: &[u32],
    round: u32,
    variant: Variant,
    commands: &mut Vec<String>,
) -> Result<Visit> {
    wait_for_time_wait(bench)?;
    let kernel_before = KernelMemory::read()?;
    let mut broker = bench.brokers.start(variant, &bench.interrupt)?;
    let first = steps.first().copied().context("no steps")?;
    let mut load = Load::idle(&bench.generator, broker.mqtt(), first, &bench.results)?;
    if round == 0 {
        commands.extend([broker.line().to_owned(), load.line().to_owned()]);
    }
    let settle = Duration::from_secs(arguments.settle_s.into());
    let mut readings = Vec::new();
    for &connections in steps {
        if connections != first {
            load.grow(connections)?;
        }
        load.wait_until_ready(CONNECT_WITHIN, &bench.interrupt, || broker.check_alive())?;
        bench.interrupt.sleep(settle)?;
        broker.check_alive()?;
        check_connections(&broker, variant, connections)?;
        let reading = Reading::now(&broker, connections)?;
        say(format_args!(
            "round {} of {}, {variant}, {connections} connections: {} KiB anonymous, slab {} KiB",
            round + 1,
            arguments.rounds,
            reading.anonymous / 1024,
            reading.slab / 1024
        ));
        readings.push(reading);
    }
    load.end()?;
    broker.end()?;
    let slopes = slopes(&readings).context("the readings give no line")?;
    Ok(Visit { round, variant, kernel_before, readings, slopes })
}

/// Sockets of the previous turn are still in the slab, and would leave it during this one.
fn wait_for_time_wait(bench: &Bench) -> Result<()> {
    let until = Instant::now() + TIME_WAIT_WITHIN;
    let mut is_said = false;
    loop {
        let waiting = TcpSockets::read()?.time_wait;
        if waiting <= TIME_WAIT_MAX {
            return Ok(());
        }
        if Instant::now() > until {
            say(format_args!("warning: {waiting} sockets stay in TIME_WAIT; slab will be too low"));
            return Ok(());
        }
        if !is_said {
            say(format_args!("waiting until {waiting} sockets have left TIME_WAIT, up to 60 s"));
            is_said = true;
        }
        bench.interrupt.sleep(TIME_WAIT_TICK)?;
    }
}

/// Refuses figures with another number of connections. Mosquitto is trusted: the generator has its
/// CONNACKs.
fn check_connections(broker: &Broker, variant: Variant, meant: u32) -> Result<()> {
    let Some(metrics) = broker.metrics()? else { return Ok(()) };
    let value = |name| metrics.value(name).with_context(|| format!("the server counts no {name}"));
    let (open, armed) = (value("push_connections")?, value("push_connections_armed")?);
    let meant = f64::from(meant);
    if open != meant {
        bail!("the server has {open} connections open, {meant} are meant");
    }
    match variant {
        Variant::Kernel if armed < meant * ARMED_SHARE_MIN => {
            bail!("the kernel answers for {armed} of {meant} connections only")
        }
        Variant::User if armed > 0.0 => {
            bail!("the kernel answers for {armed} connections on the user path")
        }
        _ => Ok(()),
    }
}

impl Reading {
    fn now(broker: &Broker, connections: u32) -> Result<Self> {
        let process = ProcessMemory::read(broker.pid())?;
        let kernel = KernelMemory::read()?;
        Ok(Self {
            connections,
            anonymous: process.anonymous,
            private_dirty: process.private_dirty,
            resident: process.resident,
            slab: kernel.slab,
            slab_unreclaimable: kernel.slab_unreclaimable,
            per_cpu: kernel.per_cpu,
            vmalloc: kernel.vmalloc,
            tcp_queues: kernel.tcp_queues,
            bpf_maps: bpf_map_bytes(broker.pid())?,
            available: kernel.available,
        })
    }
}

fn slopes(readings: &[Reading]) -> Option<Vec<Slope>> {
    let slope = |quantity: &Quantity| {
        let point = |at: &Reading| (f64::from(at.connections), (quantity.value)(at));
        let points: Vec<(f64, f64)> = readings.iter().map(point).collect();
        Some(Slope { label: quantity.label, bytes: Line::through(&points)? })
    };
    QUANTITIES.iter().map(slope).collect()
}

/// A line of the table with its numbers.
#[derive(Debug, Serialize)]
struct Row {
    label: &'static str,
    kernel: Option<Cell>,
    user: Option<Cell>,
    mosquitto: Option<Cell>,
}

/// One quantity of one server over all rounds.
#[derive(Clone, Copy, Debug, Serialize)]
struct Cell {
    bytes: Spread,
    /// The largest of the rounds'.
    slope_error: f64,
}

fn summary(visits: &[Visit]) -> Vec<Row> {
    let row = |quantity: &Quantity| {
        let cell = |variant: Variant| {
            let own = visits.iter().filter(|visit| visit.variant == variant);
            let lines: Vec<Line> = own
                .flat_map(|visit| &visit.slopes)
                .filter(|slope| slope.label == quantity.label)
                .map(|slope| slope.bytes)
                .collect();
            let bytes = Spread::of(lines.iter().map(|line| line.slope))?;
            let slope_error = lines.iter().map(|line| line.slope_error).fold(0.0, f64::max);
            Some(Cell { bytes, slope_error })
        };
        let [kernel, user, mosquitto] = Variant::ALL.map(cell);
        Row { label: quantity.label, kernel, user, mosquitto }
    };
    QUANTITIES.iter().map(row).collect()
}

fn table(rows: &[Row]) -> Table {
    let head = ["bytes per connection", "kernel path", "user path", "mosquitto"];
    let text = |cell: Option<Cell>| {
        let figure = |cell: Cell| format!("{} ± {:.0}", cell.bytes.text(0), cell.slope_error);
        cell.map_or_else(|| "-".to_owned(), figure)
    };
    let cells = |row: &Row| {
        vec![row.label.to_owned(), text(row.kernel), text(row.user), text(row.mosquitto)]
    };
    Table { head: head.map(str::to_owned).to_vec(), rows: rows.iter().map(cells).collect() }
}

#[cfg(test)]
mod tests;

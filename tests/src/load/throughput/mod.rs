//! `push-load throughput`: messages to connected subscribers, by a window or at a rate.
//!
//! The client shares the measured machine's CPU, and must not be the bottleneck. So one thread has
//! both ends of every message, and needs no other thread to learn that it is complete. It writes
//! and reads many messages and acknowledgements at a time, with one reading of the clock.

mod alarm;
mod counts;
mod flight;
mod message;
mod plan;
mod schedule;
mod traffic;

use std::sync::Arc;
use std::time::Instant;

use anyhow::bail;
use serde_json::json;

use self::counts::{Counts, Summary};
use self::plan::Plan;
use self::traffic::Traffic;
use super::crew::{Crew, Post};
use super::options::{Shape, Throughput};
use super::output::print_line;
use super::transport::Kind;

/// Runs by the command line.
pub(super) fn run(options: &Throughput) -> anyhow::Result<()> {
    check(options)?;
    let epoch = Instant::now();
    let options_of_threads = Throughput { common: options.common.clone(), ..*options };
    let layers = Kind::new(&options.common.layers, options.common.target)?;
    let plan = Arc::new(Plan { options: options_of_threads, layers, epoch });
    let threads = usize::from(options.common.threads);
    let crew = Crew::start(threads, epoch, move |number, post: &Post<Counts>| {
        Traffic::connect(Arc::clone(&plan), number)?.run(post)
    })?;
    crew.wait_ready()?;
    let (clients, publishers) = (options.common.clients, options.publishers);
    let seconds = epoch.elapsed().as_secs_f64();
    eprintln!(
        "push-load: {clients} subscribers and {publishers} publishers at {} in {seconds:.1} s",
        options.common.target
    );
    print_line(&json!({
        "event": "ready", "clients": clients, "connected": clients, "connect_seconds": seconds,
    }));
    let measured = crew.measure(options.warmup_s, Some(options.seconds))?;
    let summary = Summary::of(options, &measured);
    summary.tell();
    print_line(&summary);
    Ok(())
}

/// Checks rules that clap cannot express.
fn check(options: &Throughput) -> anyhow::Result<()> {
    let Throughput { common, shape, publishers, .. } = options;
    if common.v5 {
        bail!("throughput speaks MQTT 3.1.1 only");
    }
    if *shape == Shape::Pairs && *publishers != common.clients {
        bail!("{publishers} publishers and {} clients are no pairs", common.clients);
    }
    let pairs_a_thread = match shape {
        Shape::Pairs => common.clients,
        Shape::FanOut | Shape::FanIn => 1,
    };
    if u32::from(common.threads) > pairs_a_thread {
        bail!("only pairs can be spread over threads, one a thread at least");
    }
    Ok(())
}

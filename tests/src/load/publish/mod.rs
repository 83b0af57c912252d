//! `push-load publish`: QoS 1 messages to many sessions, as fast as they are acknowledged.
//!
//! The client shares the measured machine's CPU. So it writes many messages at a time, reads many
//! acknowledgements at a time, and reads the clock once for all of them. It looks at a subscriber
//! once in a tick, and so reads and acknowledges everything since by one system call each.
//!
//! Each thread has its share of publishers and sessions; the main thread (this file) tells them
//! when.

mod counts;
mod message;
mod plan;
mod traffic;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

use anyhow::bail;
use serde_json::json;

use super::crew::{Crew, Post};
use super::options::Publish;
use super::output::print_line;
use super::transport::Kind;
use counts::{Counts, Summary};
use plan::Plan;
use traffic::Traffic;

/// Runs by the command line.
pub(super) fn run(options: &Publish) -> anyhow::Result<()> {
    if options.common.v5 {
        bail!("publish speaks MQTT 3.1.1 only: its window may exceed what MQTT 5 servers receive");
    }
    let begun = Instant::now();
    let plan = Arc::new(Plan {
        options: Publish { common: options.common.clone(), ..*options },
        layers: Kind::new(&options.common.layers, options.common.target)?,
        epoch: begun,
        sent: AtomicU64::new(0),
        acknowledged: AtomicU64::new(0),
        delivered: AtomicU64::new(0),
    });
    let threads = usize::from(options.common.threads);
    let crew = Crew::start(threads, plan.epoch, move |number, post: &Post<Counts>| {
        Traffic::new(Arc::clone(&plan), number)?.run(post)
    })?;
    crew.wait_ready()?;
    let seconds = begun.elapsed().as_secs_f64();
    let clients = options.common.clients;
    eprintln!(
        "push-load: {clients} sessions at {} in {seconds:.1} s, {} publishers",
        options.common.target, options.publishers
    );
    print_line(&json!({
        "event": "ready", "clients": clients, "connected": clients, "connect_seconds": seconds,
    }));
    let measured = crew.measure(options.warmup_s, options.seconds)?;
    let summary = Summary::of(options, &measured);
    summary.tell();
    print_line(&summary);
    Ok(())
}

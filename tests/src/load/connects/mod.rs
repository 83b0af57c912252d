//! `push-load connects`: clients that connect, wait for CONNACK, disconnect, and connect again.
//!
//! The server closes first, as it does after DISCONNECT, so the client's ports are free at once,
//! and the server has the TIME_WAIT.

mod counts;
mod logins;
mod plan;
mod visits;

use std::sync::Arc;
use std::time::Instant;

use anyhow::bail;
use serde_json::json;

use self::counts::{Counts, Summary};
use self::plan::Plan;
use self::visits::Visits;
use super::crew::{Crew, Post};
use super::options::Connects;
use super::output::print_line;
use super::transport::Kind;

/// Runs by the command line.
pub(super) fn run(options: &Connects) -> anyhow::Result<()> {
    let (clients, threads) = (options.common.clients, options.common.threads);
    if options.common.v5 {
        bail!("connects speaks MQTT 3.1.1 only");
    }
    if u32::from(threads) > clients {
        bail!("{clients} clients cannot be spread over {threads} threads");
    }
    let epoch = Instant::now();
    let logins = options.logins.as_deref().map(logins::read).transpose()?.unwrap_or_default();
    let options_of_threads = options.clone();
    let layers = Kind::new(&options.common.layers, options.common.target)?;
    let plan = Arc::new(Plan { options: options_of_threads, logins, layers, epoch });
    let crew = Crew::start(threads.into(), epoch, move |number, post: &Post<Counts>| {
        Visits::new(Arc::clone(&plan), number)?.run(post)
    })?;
    crew.wait_ready()?;
    print_line(&json!({ "event": "ready", "clients": clients, "connected": clients }));
    let measured = crew.measure(options.warmup_s, Some(options.seconds))?;
    let summary = Summary::of(options, &measured);
    summary.tell();
    print_line(&summary);
    Ok(())
}

//! `push-load publish`: QoS 1 messages to many sessions, as fast as they are acknowledged.
//!
//! The client's CPU is spent on the machine that is measured. So messages are written many at a
//! time, acknowledgements read many at a time, the clock is read once for all of them, and a
//! subscriber is looked at once in a tick, so that it reads and acknowledges what has come since by
//! one system call each.
//!
//! Each thread has its share of publishers and sessions; the main thread (here) tells them when.

mod counts;
mod frames;
mod link;
mod plan;
mod traffic;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde_json::json;

use super::options::Publish;
use super::output::print_line;
use super::tally::process_cpu;
use counts::{Counts, Summary};
use plan::{News, Plan, Span};
use traffic::Traffic;

/// The measured end of a run without one.
const NEVER_NS: u64 = u64::MAX;

/// Does what the command line says.
pub(super) fn run(options: &Publish) -> anyhow::Result<()> {
    if options.common.v5 {
        bail!("publish speaks MQTT 3.1.1 only: its window may exceed what MQTT 5 servers receive");
    }
    let plan = Arc::new(Plan {
        options: Publish { common: options.common.clone(), ..*options },
        epoch: Instant::now(),
        sent: AtomicU64::new(0),
        acknowledged: AtomicU64::new(0),
        delivered: AtomicU64::new(0),
    });
    let (sender, news) = channel();
    let orders: Vec<Sender<Span>> = (0..usize::from(options.common.threads))
        .map(|number| spawn(&plan, number, sender.clone()))
        .collect::<anyhow::Result<_>>()?;
    drop(sender);
    let begun = Instant::now();
    for _ in &orders {
        wait_ready(&news)?;
    }
    let seconds = begun.elapsed().as_secs_f64();
    let clients = options.common.clients;
    eprintln!(
        "push-load: {clients} sessions at {} in {seconds:.1} s, {} publishers",
        options.common.target, options.publishers
    );
    print_line(&json!({
        "event": "ready", "clients": clients, "connected": clients, "connect_seconds": seconds,
    }));
    measure(&plan, &orders, &news)
}

fn spawn(plan: &Arc<Plan>, number: usize, news: Sender<News>) -> anyhow::Result<Sender<Span>> {
    let (order, orders) = channel();
    let plan = Arc::clone(plan);
    thread::Builder::new().name(format!("load-{number}")).spawn(move || {
        // The last word of a thread that panics, too.
        let mut last = LastWord { news, word: Some(News::Failed("a thread panicked".into())) };
        let ready = last.news.clone();
        let run = Traffic::new(plan, number).and_then(|traffic| traffic.run(&ready, &orders));
        last.word = Some(match run {
            Ok(counts) => News::Finished(Box::new(counts)),
            Err(error) => News::Failed(format!("{error:#}")),
        });
    })?;
    Ok(order)
}

struct LastWord {
    news: Sender<News>,
    word: Option<News>,
}

impl Drop for LastWord {
    fn drop(&mut self) {
        if let Some(word) = self.word.take() {
            let _ = self.news.send(word);
        }
    }
}

fn wait_ready(news: &Receiver<News>) -> anyhow::Result<()> {
    match news.recv().context("the threads are gone")? {
        News::Ready => Ok(()),
        News::Finished(_) => bail!("a thread ended before it began"),
        News::Failed(why) => bail!(why),
    }
}

fn measure(plan: &Plan, orders: &[Sender<Span>], news: &Receiver<News>) -> anyhow::Result<()> {
    let Publish { warmup_s, seconds, .. } = plan.options;
    let from = Instant::now() + Duration::from_secs(warmup_s);
    let until = seconds.map(|seconds| from + Duration::from_secs(seconds));
    let since_epoch =
        |at: Instant| u64::try_from(at.duration_since(plan.epoch).as_nanos()).unwrap_or(NEVER_NS);
    let span = Span { from_ns: since_epoch(from), until_ns: until.map_or(NEVER_NS, since_epoch) };
    for order in orders {
        order.send(span).context("a thread is gone")?;
    }
    let mut sum = Counts::default();
    let mut unfinished = orders.len();
    wait(news, Some(from), &mut sum, &mut unfinished)?;
    let cpu_from = process_cpu();
    print_line(&json!({ "event": "begin" }));
    let begun = Instant::now();
    wait(news, until, &mut sum, &mut unfinished)?;
    let (measured, cpu) = (begun.elapsed(), process_cpu().saturating_sub(cpu_from));
    print_line(&json!({ "event": "end" }));
    wait(news, None, &mut sum, &mut unfinished)?;
    let summary = Summary::of(&plan.options, &sum, measured, cpu);
    summary.tell();
    print_line(&summary);
    Ok(())
}

/// Takes news until an instant, or until all threads have finished.
fn wait(
    news: &Receiver<News>,
    until: Option<Instant>,
    sum: &mut Counts,
    unfinished: &mut usize,
) -> anyhow::Result<()> {
    while *unfinished > 0 {
        let next = match until {
            None => news.recv().context("the threads are gone")?,
            Some(at) => match news.recv_timeout(at.saturating_duration_since(Instant::now())) {
                Ok(next) => next,
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) => return Ok(()),
                Err(error) => return Err(error.into()),
            },
        };
        match next {
            News::Ready => {}
            News::Finished(counts) => {
                sum.add(&counts);
                *unfinished -= 1;
            }
            News::Failed(why) => bail!(why),
        }
    }
    Ok(())
}

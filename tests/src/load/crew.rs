//! Threads that load a server together: they get ready, measure when told, and their counts are
//! added up.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde_json::json;

use super::output::print_line;
use super::tally::process_cpu;

/// The measured end of a run without one.
const NEVER_NS: u64 = u64::MAX;

/// Counts of one thread that can be added to those of another.
pub(super) trait Sum: Default + Send + 'static {
    /// Adds what another thread counted.
    fn add(&mut self, other: &Self);
}

/// The time in which messages count, in nanoseconds since the epoch of the crew.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) from_ns: u64,
    pub(super) until_ns: u64,
}

impl Span {
    /// Whether what happens now counts.
    pub(super) fn contains(self, now_ns: u64) -> bool {
        (self.from_ns..self.until_ns).contains(&now_ns)
    }
}

/// A message from a thread.
#[derive(Debug)]
enum News<C> {
    /// Its connections are up.
    Ready,
    /// It has finished.
    Finished(Box<C>),
    /// The run is over.
    Failed(String),
}

/// A thread's channel to the main thread.
#[derive(Debug)]
pub(super) struct Post<C> {
    news: Sender<News<C>>,
    orders: Receiver<Span>,
}

impl<C> Post<C> {
    /// Reports that this thread is ready, and waits for the time to measure.
    pub(super) fn wait_for_span(&self) -> anyhow::Result<Span> {
        self.news.send(News::Ready).ok().context("nobody listens")?;
        self.orders.recv().context("nobody gives the word")
    }
}

/// The counts of a crew in the measured time.
#[derive(Debug)]
pub(super) struct Measured<C> {
    pub(super) counts: C,
    /// How long it was.
    pub(super) took: Duration,
    /// CPU time of this process in it.
    pub(super) cpu: Duration,
}

/// The threads, as the main thread sees them.
#[derive(Debug)]
pub(super) struct Crew<C> {
    /// Zero of all nanoseconds.
    epoch: Instant,
    orders: Vec<Sender<Span>>,
    news: Receiver<News<C>>,
    /// Threads that have not finished.
    unfinished: usize,
}

impl<C: Sum> Crew<C> {
    /// Starts the threads; each does `work` with its number.
    pub(super) fn start(
        threads: usize,
        epoch: Instant,
        work: impl Fn(usize, &Post<C>) -> anyhow::Result<C> + Clone + Send + 'static,
    ) -> anyhow::Result<Self> {
        let (sender, news) = channel();
        let spawn = |number: usize| {
            let (order, orders) = channel();
            let (news, work) = (sender.clone(), work.clone());
            thread::Builder::new().name(format!("load-{number}")).spawn(move || {
                let panicked = News::Failed("a thread panicked".into());
                let mut last = LastWord { news: news.clone(), word: Some(panicked) };
                last.word = Some(match work(number, &Post { news, orders }) {
                    Ok(counts) => News::Finished(Box::new(counts)),
                    Err(error) => News::Failed(format!("{error:#}")),
                });
            })?;
            Ok(order)
        };
        let orders: Vec<Sender<Span>> = (0..threads).map(spawn).collect::<anyhow::Result<_>>()?;
        Ok(Self { epoch, orders, news, unfinished: threads })
    }

    /// Waits until every thread is ready.
    pub(super) fn wait_ready(&self) -> anyhow::Result<()> {
        for _ in &self.orders {
            match self.news.recv().context("the threads are gone")? {
                News::Ready => {}
                News::Finished(_) => bail!("a thread ended before it began"),
                News::Failed(why) => bail!(why),
            }
        }
        Ok(())
    }

    /// Measures for `seconds`, or until all threads have finished, and prints `begin` and `end`
    /// around it; then waits for the threads.
    pub(super) fn measure(
        mut self,
        warmup_s: u64,
        seconds: Option<u64>,
    ) -> anyhow::Result<Measured<C>> {
        let from = Instant::now() + Duration::from_secs(warmup_s);
        let until = seconds.map(|seconds| from + Duration::from_secs(seconds));
        let since_epoch = |at: Instant| {
            u64::try_from(at.duration_since(self.epoch).as_nanos()).unwrap_or(NEVER_NS)
        };
        let until_ns = until.map_or(NEVER_NS, since_epoch);
        let span = Span { from_ns: since_epoch(from), until_ns };
        for order in &self.orders {
            order.send(span).context("a thread is gone")?;
        }
        let mut counts = C::default();
        self.wait(Some(from), &mut counts)?;
        let cpu_from = process_cpu();
        print_line(&json!({ "event": "begin" }));
        let begun = Instant::now();
        self.wait(until, &mut counts)?;
        let (took, cpu) = (begun.elapsed(), process_cpu().saturating_sub(cpu_from));
        print_line(&json!({ "event": "end" }));
        self.wait(None, &mut counts)?;
        Ok(Measured { counts, took, cpu })
    }

    /// Takes messages until an instant, or until all threads have finished.
    fn wait(&mut self, until: Option<Instant>, counts: &mut C) -> anyhow::Result<()> {
        while self.unfinished > 0 {
            let next = match until {
                None => self.news.recv().context("the threads are gone")?,
                Some(at) => {
                    let left = at.saturating_duration_since(Instant::now());
                    match self.news.recv_timeout(left) {
                        Ok(next) => next,
                        Err(RecvTimeoutError::Timeout) => return Ok(()),
                        Err(error) => return Err(error.into()),
                    }
                }
            };
            match next {
                News::Ready => {}
                News::Finished(of_thread) => {
                    counts.add(&of_thread);
                    self.unfinished -= 1;
                }
                News::Failed(why) => bail!(why),
            }
        }
        Ok(())
    }
}

/// Sends the last message of a thread, even of one that panics.
struct LastWord<C> {
    news: Sender<News<C>>,
    word: Option<News<C>>,
}

impl<C> Drop for LastWord<C> {
    fn drop(&mut self) {
        if let Some(word) = self.word.take() {
            // Nobody listens any more once one thread has failed.
            let _ = self.news.send(word);
        }
    }
}

#[cfg(test)]
mod tests;

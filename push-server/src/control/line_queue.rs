//! Lines for standard error and standard output, written by threads of their own, so that a slow
//! reader holds up no thread that logs. A line is dropped and counted if the queue is full, or if
//! the reader has gone.
//!
//! Not `tracing-appender`: its thread would keep the capabilities that the start drops, and it
//! counts only lines that find its queue full.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use tracing_subscriber::fmt::MakeWriter;

use super::privileges;

/// Most log lines that wait to be written.
pub const LOG_LINES_MAX: usize = 4_096;
/// Most status lines that wait; more would be old when they are read.
pub const STATUS_LINES_MAX: usize = 4;
/// Longest time that the end of the process waits for lines to be written.
pub const FLUSH_MAX: Duration = Duration::from_millis(200);
/// Pause before writing again when the output would block (another process that shares it has set
/// `O_NONBLOCK`).
const BLOCKED_PAUSE: Duration = Duration::from_millis(10);
/// Pause before [`LineQueue::flush`] looks again.
const FLUSH_PAUSE: Duration = Duration::from_millis(2);

/// Counts dropped lines of all queues that share it.
#[derive(Clone, Debug, Default)]
pub struct LinesLost(Arc<AtomicU64>);

impl LinesLost {
    /// Lines dropped so far.
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A handle to one output's queue; clones share the queue.
#[derive(Clone, Debug)]
pub struct LineQueue {
    sender: SyncSender<Vec<u8>>,
    lost: LinesLost,
    counts: Arc<LineCounts>,
}

#[derive(Debug, Default)]
struct LineCounts {
    queued: AtomicU64,
    done: AtomicU64,
    is_gone: AtomicBool,
}

impl LineQueue {
    /// Starts the thread that writes to `out`; at most `lines_max` lines wait.
    ///
    /// # Errors
    /// The system cannot start a thread.
    pub fn start(
        name: &str,
        out: impl Write + Send + 'static,
        lines_max: usize,
        lost: LinesLost,
    ) -> io::Result<Self> {
        let (sender, lines) = mpsc::sync_channel(lines_max);
        let counts = Arc::new(LineCounts::default());
        let queue = Self { sender, lost: lost.clone(), counts: Arc::clone(&counts) };
        let body = move || {
            privileges::drop_all();
            write_lines(&lines, out, &lost, &counts);
        };
        thread::Builder::new().name(name.into()).spawn(body)?;
        Ok(queue)
    }

    /// Queues `text`, one line or more. If the queue is full, drops and counts it.
    pub fn push(&self, text: Vec<u8>) {
        self.counts.queued.fetch_add(1, Ordering::Relaxed);
        if self.sender.try_send(text).is_err() {
            self.lost.add();
            self.counts.done.fetch_add(1, Ordering::Release);
        }
    }

    /// Waits until everything pushed before is written or dropped, at most `timeout`.
    pub fn flush(&self, timeout: Duration) {
        let until = Instant::now() + timeout;
        let queued = self.counts.queued.load(Ordering::Relaxed);
        while self.counts.done.load(Ordering::Acquire) < queued && Instant::now() < until {
            thread::sleep(FLUSH_PAUSE);
        }
    }

    /// The count of dropped lines.
    pub fn lost(&self) -> &LinesLost {
        &self.lost
    }

    /// Whether the last line could not be written.
    pub fn is_gone(&self) -> bool {
        self.counts.is_gone.load(Ordering::Relaxed)
    }
}

fn write_lines(
    lines: &Receiver<Vec<u8>>,
    mut out: impl Write,
    lost: &LinesLost,
    counts: &LineCounts,
) {
    for line in lines {
        let written = write_whole(&mut out, &line);
        if written.is_err() {
            lost.add();
        }
        counts.is_gone.store(written.is_err(), Ordering::Relaxed);
        counts.done.fetch_add(1, Ordering::Release);
    }
}

fn write_whole(out: &mut impl Write, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match out.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(BLOCKED_PAUSE),
            Err(error) => return Err(error),
        }
    }
    out.flush()
}

/// tracing writes each line in one piece.
impl<'a> MakeWriter<'a> for LineQueue {
    type Writer = LineWriter<'a>;

    fn make_writer(&'a self) -> Self::Writer {
        LineWriter(self)
    }
}

/// Pushes every write; never fails, since tracing would complain on standard error.
#[derive(Debug)]
pub struct LineWriter<'a>(&'a LineQueue);

impl Write for LineWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.push(bytes.to_vec());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;

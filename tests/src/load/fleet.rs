//! All threads of clients, as the main thread sees them. It sends them commands, and waits in one
//! place for them, for stdin and for signals.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use mio::{Poll, Waker};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::command::{Command, Event, Settings};
use super::engine::{Engine, WAKER};
use super::tally::Tally;

/// Longest time for the threads to end: draining, leaving, and a margin.
const END_MAX: Duration = Duration::from_secs(10);

/// The threads.
pub(super) struct Fleet {
    settings: Arc<Settings>,
    engines: Vec<(Sender<Command>, Waker)>,
    events: Receiver<Event>,
    sender: Sender<Event>,
    finished: Vec<Tally>,
}

/// Why waiting ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Woken {
    /// The condition holds.
    Done,
    /// SIGINT or SIGTERM came.
    Signal,
}

/// How many clients are up, and how many have lost their connection.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Standing {
    pub(super) connected: u64,
    pub(super) closed: u64,
}

impl Fleet {
    /// Starts the threads, without clients yet, and begins to watch for signals.
    pub(super) fn start(settings: Settings) -> anyhow::Result<Self> {
        let settings = Arc::new(settings);
        let (sender, events) = channel();
        let mut engines = Vec::new();
        for number in 0..settings.threads {
            let poll = Poll::new().context("cannot make an epoll instance")?;
            let waker = Waker::new(poll.registry(), WAKER)?;
            let (commands, receiver) = channel();
            let engine = Engine::new(&settings, number, poll, receiver, sender.clone());
            let failed = LastWords(sender.clone());
            thread::Builder::new().name(format!("load-{number}")).spawn(move || {
                if let Err(error) = engine.run() {
                    failed.say(format!("epoll: {error}"));
                }
            })?;
            engines.push((commands, waker));
        }
        let fleet = Self { settings, engines, events, sender, finished: Vec::new() };
        fleet.watch_signals()?;
        Ok(fleet)
    }

    /// Zero of all nanoseconds.
    pub(super) fn epoch(&self) -> Instant {
        self.settings.epoch
    }

    /// Makes every line of stdin, and its end, an event.
    pub(super) fn watch_stdin(&self) {
        let sender = self.sender.clone();
        thread::spawn(move || {
            for line in std::io::stdin().lines() {
                let Ok(line) = line else { break };
                if sender.send(Event::Line(line)).is_err() {
                    return;
                }
            }
            let _ = sender.send(Event::InputClosed);
        });
    }

    fn watch_signals(&self) -> anyhow::Result<()> {
        let mut signals = Signals::new([SIGINT, SIGTERM]).context("cannot watch for signals")?;
        let sender = self.sender.clone();
        thread::spawn(move || {
            for _ in signals.forever() {
                if sender.send(Event::Signal).is_err() {
                    return;
                }
            }
        });
        Ok(())
    }

    /// Tells every thread.
    pub(super) fn tell(&self, command: Command) -> anyhow::Result<()> {
        for (commands, waker) in &self.engines {
            // A thread that has ended has sent, or will send, the reason as an event.
            let _ = commands.send(command);
            waker.wake().context("cannot wake a thread")?;
        }
        Ok(())
    }

    /// Grows to `clients` and waits until they are up.
    pub(super) fn connect(&mut self, clients: usize) -> anyhow::Result<(Woken, Standing)> {
        self.tell(Command::Connect { clients })?;
        let mut standing = Standing::default();
        let mut awaited = self.engines.len();
        while awaited > 0 {
            match self.next(None)? {
                Some(Event::Ready { connected, closed }) => {
                    standing.connected += connected;
                    standing.closed += closed;
                    awaited -= 1;
                }
                Some(Event::Signal) => return Ok((Woken::Signal, standing)),
                _ => {}
            }
        }
        Ok((Woken::Done, standing))
    }

    /// Waits until an instant, or a signal.
    pub(super) fn wait_until(&mut self, at: Instant) -> anyhow::Result<Woken> {
        loop {
            match self.next(Some(at.saturating_duration_since(Instant::now())))? {
                None => return Ok(Woken::Done),
                Some(Event::Signal) => return Ok(Woken::Signal),
                Some(_) => {}
            }
        }
    }

    /// The next event; `None` after `timeout`. A failure is an error.
    pub(super) fn next(&mut self, timeout: Option<Duration>) -> anyhow::Result<Option<Event>> {
        let event = match timeout {
            Some(timeout) => match self.events.recv_timeout(timeout) {
                Ok(event) => event,
                Err(RecvTimeoutError::Timeout) => return Ok(None),
                Err(error @ RecvTimeoutError::Disconnected) => return Err(error.into()),
            },
            None => self.events.recv()?,
        };
        match event {
            Event::Failed(why) => bail!("{why} ({})", self.settings.target),
            Event::Finished(tally) => {
                self.finished.push(*tally);
                Ok(Some(Event::Finished(Box::default())))
            }
            event => Ok(Some(event)),
        }
    }

    /// Waits until every thread has ended, and adds up their counts.
    pub(super) fn finish(mut self) -> anyhow::Result<Tally> {
        let deadline = Instant::now() + END_MAX;
        while self.finished.len() < self.engines.len() {
            let left = deadline.saturating_duration_since(Instant::now());
            if self.next(Some(left))?.is_none() {
                bail!("a thread did not end within {} s", END_MAX.as_secs());
            }
        }
        let mut sum = Tally::default();
        self.finished.iter().for_each(|tally| sum.add(tally));
        Ok(sum)
    }
}

/// Notifies the main thread when a thread of clients panics, so that it does not wait for ever.
struct LastWords(Sender<Event>);

impl LastWords {
    fn say(&self, words: String) {
        let _ = self.0.send(Event::Failed(words));
    }
}

impl Drop for LastWords {
    fn drop(&mut self) {
        if thread::panicking() {
            self.say("a thread of the load generator panicked".into());
        }
    }
}

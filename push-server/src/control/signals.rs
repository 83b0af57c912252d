//! Signals and changes of the wall clock as values, so that tests need neither.

use std::io;

use tokio::signal::unix::{self, SignalKind};

use super::wall_clock::WallClock;

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// SIGTERM or SIGINT, by its number: the first stops in order, the second at once.
    Stop(i32),
    /// SIGHUP: read the settings again, and the files that they name.
    Reload,
    /// The wall clock was set.
    ClockSet,
}

/// The signals of the process, and its wall clock.
#[derive(Debug)]
pub(crate) struct Signals {
    terminate: unix::Signal,
    interrupt: unix::Signal,
    hangup: unix::Signal,
    wall_clock: WallClock,
}

impl Signals {
    /// Takes over the signals from their default actions. Call it within a tokio runtime.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: unix::signal(SignalKind::terminate())?,
            interrupt: unix::signal(SignalKind::interrupt())?,
            hangup: unix::signal(SignalKind::hangup())?,
            wall_clock: WallClock::new(),
        })
    }

    /// The next request. The future may be dropped and called again without losing one.
    pub(crate) async fn next(&mut self) -> Request {
        tokio::select! {
            _ = self.terminate.recv() => Request::Stop(SignalKind::terminate().as_raw_value()),
            _ = self.interrupt.recv() => Request::Stop(SignalKind::interrupt().as_raw_value()),
            _ = self.hangup.recv() => Request::Reload,
            () = self.wall_clock.set() => Request::ClockSet,
        }
    }
}

#[cfg(test)]
mod tests;

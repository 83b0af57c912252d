//! Wakes at a nanosecond: epoll's own timeout counts milliseconds, and ten messages may be due
//! within one.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};

use mio::unix::SourceFd;
use mio::{Interest, Poll, Token};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

/// A timer that a poll listens to.
#[derive(Debug)]
pub(super) struct Alarm(OwnedFd);

impl Alarm {
    /// Makes the poll report `token` when the timer goes off.
    pub(super) fn new(poll: &Poll, token: Token) -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        poll.registry().register(&mut SourceFd(&timer.as_raw_fd()), token, Interest::READABLE)?;
        Ok(Self(timer))
    }

    /// Goes off once, in this many nanoseconds, instead of the time set before.
    pub(super) fn set(&self, in_ns: u64) -> io::Result<()> {
        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        // Zero would switch it off.
        let in_ns = i64::try_from(in_ns.max(1)).unwrap_or(i64::MAX);
        let value = Timespec { tv_sec: in_ns / 1_000_000_000, tv_nsec: in_ns % 1_000_000_000 };
        let once = Itimerspec { it_interval: zero, it_value: value };
        timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &once)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;

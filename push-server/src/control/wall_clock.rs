//! Notices when the wall clock is set: the system cancels a timer that would never expire
//! (`TFD_TIMER_CANCEL_ON_SET`, see `timerfd_create(2)`). A resume from suspend counts, too.

use std::future::pending;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, SystemTime};

use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::net::unix::pipe::Receiver;
use tracing::warn;

/// What the wall clock says: the time since 1970, or none if it is set to before.
pub(super) fn since_1970() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

/// Some 290 billion years from now.
const NEVER: Timespec = Timespec { tv_sec: i64::MAX, tv_nsec: 0 };
const ONCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// Notices when the wall clock is set.
#[derive(Debug)]
pub(super) struct WallClock {
    /// `None`: the system has no such timer. A pipe's type, because tokio needs only a descriptor.
    timer: Option<Receiver>,
}

impl WallClock {
    /// Notices changes from now on. Call it within a tokio runtime.
    pub(super) fn new() -> Self {
        let timer = armed().and_then(Receiver::from_owned_fd_unchecked);
        let timer = timer.inspect_err(|error| {
            warn!("that the wall clock is set is noticed within ten minutes only: {error}");
        });
        Self { timer: timer.ok() }
    }

    /// Waits until the clock is set. The future may be dropped and called again without missing a
    /// change.
    pub(super) async fn set(&self) {
        while let Some(timer) = &self.timer {
            let Err(error) = timer.readable().await.and_then(|()| timer.try_read(&mut [0; 8]))
            else {
                // The end of time.
                continue;
            };
            if error.raw_os_error() == Some(Errno::CANCELED.raw_os_error()) {
                if let Err(error) = arm(timer) {
                    warn!("that the wall clock is set again is not noticed at once: {error}");
                }
                return;
            }
            if error.kind() != io::ErrorKind::WouldBlock {
                warn!("that the wall clock is set is not noticed at once: {error}");
                break;
            }
        }
        pending::<()>().await;
    }
}

fn armed() -> io::Result<OwnedFd> {
    let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
    let timer = timerfd_create(TimerfdClockId::Realtime, flags)?;
    arm(&timer)?;
    Ok(timer)
}

fn arm(timer: impl AsFd) -> io::Result<()> {
    let flags = TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET;
    let never = Itimerspec { it_interval: ONCE, it_value: NEVER };
    match timerfd_settime(timer, flags, &never) {
        // The clock was set again meanwhile. The timer is armed all the same, and the caller reads
        // the clock after this.
        Ok(_) | Err(Errno::CANCELED) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests;

//! The two queues shared with the kernel: set-up, queueing operations, entering the kernel, taking
//! completions. It does not know what the operations mean.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use io_uring::types::{CancelBuilder, SubmitArgs, Timespec};
use io_uring::{EnterFlags, IoUring, cqueue, squeue};

use super::buffers::{GROUP, ReceiveBuffers};
use super::options::{RingError, RingOptions};

/// Completion entries for each submission entry: multishot operations complete many times. The
/// kernel keeps what does not fit (`IORING_FEAT_NODROP`) until the next enter.
const COMPLETIONS_PER_ENTRY: u32 = 4;

/// Pause before submitting again when the kernel took nothing.
const PRESSURE_PAUSE: Duration = Duration::from_millis(10);

/// Longest wait; longer ones end early. A day, because the kernel's signed seconds have a limit.
const WAIT_MAX: Duration = Duration::from_secs(86_400);

/// Longest time of a synchronous cancel of everything, in seconds.
const CANCEL_SECS_MAX: u64 = 1;

/// The queues, and what did not fit into them.
pub(super) struct Driver {
    io: IoUring,
    /// Operations that did not fit into the submission queue, in order. It grows only while the
    /// kernel takes no more; the shard's operations in flight bound it.
    backlog: VecDeque<squeue::Entry>,
    /// How many operations were pushed.
    pushed: u64,
    /// Times that the submission queue was full within a turn.
    sq_full: u64,
}

impl Driver {
    /// Linux 6.1 (`DEFER_TASKRUN`): this thread prepares completions inside `enter`, in batches,
    /// and nothing interrupts it.
    pub(super) fn new(options: &RingOptions) -> Result<Self, RingError> {
        let io = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_coop_taskrun()
            .setup_submit_all()
            .setup_clamp()
            .setup_cqsize(options.entries.saturating_mul(COMPLETIONS_PER_ENTRY))
            .build(options.entries)
            .map_err(|source| RingError::Kernel { what: setup_advice(&source), source })?;
        Ok(Self { io, backlog: VecDeque::new(), pushed: 0, sq_full: 0 })
    }

    pub(super) fn as_raw_fd(&self) -> RawFd {
        self.io.as_raw_fd()
    }

    pub(super) fn sq_full(&self) -> u64 {
        self.sq_full
    }

    /// Shares the receive buffers with the kernel.
    ///
    /// # Safety
    /// The buffers' memory stays mapped until they are withdrawn and every operation has ended.
    pub(super) unsafe fn register_buffers(
        &mut self,
        buffers: &ReceiveBuffers,
    ) -> Result<(), RingError> {
        let (address, count) = (buffers.ring_address(), buffers.count());
        // SAFETY: the address is that of a ring of `count` entries; the caller keeps it mapped.
        unsafe { self.io.submitter().register_buf_ring_with_flags(address, count, GROUP, 0) }
            .map_err(|source| RingError::Kernel { what: register_advice(&source), source })
    }

    /// Operations pushed so far; the last one has this number.
    pub(super) fn pushed(&self) -> u64 {
        self.pushed
    }

    /// How many of the pushed operations the kernel has taken; it takes them in order.
    pub(super) fn taken(&mut self) -> u64 {
        self.pushed - (self.io.submission().len() + self.backlog.len()) as u64
    }

    /// Queues an operation for the next enter. If the submission queue is full, submits it at once;
    /// if the kernel takes nothing, the operation waits in the backlog.
    ///
    /// # Safety
    /// All memory that `entry` points to stays valid and in place until its last completion.
    pub(super) unsafe fn push(&mut self, entry: squeue::Entry) {
        self.pushed += 1;
        if self.backlog.is_empty() {
            // SAFETY: handed through from the caller.
            if unsafe { self.push_to_queue(&entry) } {
                return;
            }
            self.sq_full += 1;
            // If the kernel refused, the next `submit_and_wait` meets the error and handles it.
            let _refused = self.submit();
            // SAFETY: handed through from the caller.
            if unsafe { self.push_to_queue(&entry) } {
                return;
            }
        }
        self.backlog.push_back(entry);
    }

    /// Submits everything and waits for a completion, at most `timeout`. One system call, unless
    /// more was pushed than the submission queue holds. May return early without a completion.
    pub(super) fn submit_and_wait(&mut self, timeout: Option<Duration>) -> Result<(), RingError> {
        self.drain_backlog();
        // Try soon again what the kernel refused, whatever the caller's timeout.
        let timeout = if self.backlog.is_empty() { timeout } else { Some(pressed(timeout)) };
        let queued = self.io.submission().len();
        match self.enter(queued, timeout) {
            Err(error) if is_pressure(&error) => self.wait_out_pressure(timeout),
            other => other,
        }
        .or_else(|source| {
            let nothing_yet = is_nothing_yet(&source) || is_pressure(&source);
            if nothing_yet { Ok(()) } else { Err(enter_error(source)) }
        })
    }

    /// Submits everything, and prepares no completion. What the kernel refuses stays queued.
    pub(super) fn submit_now(&mut self) {
        self.drain_backlog();
        let _ = self.submit();
    }

    /// Waits for a completion without submitting anything.
    pub(super) fn wait(&mut self, timeout: Duration) -> Result<(), RingError> {
        self.enter(0, Some(timeout)).or_else(|source| {
            if is_nothing_yet(&source) { Ok(()) } else { Err(enter_error(source)) }
        })
    }

    /// The next completion entry.
    pub(super) fn next_entry(&mut self) -> Option<cqueue::Entry> {
        self.io.completion().next()
    }

    /// Withdraws the receive buffers and cancels every operation that the kernel has. Returns
    /// whether it could. The completions follow at the next enter.
    pub(super) fn cancel_all(&mut self) -> bool {
        let submitter = self.io.submitter();
        // First, so that no receive takes a buffer from here on.
        let withdrawn = submitter.unregister_buf_ring(GROUP);
        let timeout = Timespec::new().sec(CANCEL_SECS_MAX);
        let cancelled = submitter.register_sync_cancel(Some(timeout), CancelBuilder::any());
        let none_left = match cancelled {
            Ok(()) => true,
            Err(error) => error.raw_os_error() == Some(libc::ENOENT),
        };
        none_left && withdrawn.is_ok()
    }

    /// # Safety
    /// As for [`Self::push`].
    unsafe fn push_to_queue(&mut self, entry: &squeue::Entry) -> bool {
        let mut queue = self.io.submission();
        // SAFETY: handed through from the caller.
        unsafe { queue.push(entry) }.is_ok()
    }

    /// Submits the backlog, a queue's length at a time, until it is empty or the kernel takes no
    /// more. Every round but the last moves at least one operation.
    fn drain_backlog(&mut self) {
        while let Some(entry) = self.backlog.pop_front() {
            // SAFETY: `push`'s caller keeps the operation's memory until its last completion.
            if unsafe { self.push_to_queue(&entry) } {
                continue;
            }
            self.backlog.push_front(entry);
            if !matches!(self.submit(), Ok(1..)) {
                return;
            }
        }
    }

    /// Submits the queue without waiting and without preparing completions.
    fn submit(&mut self) -> io::Result<usize> {
        let queued = self.io.submission().len();
        let flags = EnterFlags::empty().bits();
        // SAFETY: no argument is passed, so there is none to be wrong about; the queue's entries
        // were vouched for by `push`'s callers.
        unsafe { self.io.submitter().enter::<Timespec>(length(queued), 0, flags, None) }
    }

    /// One `io_uring_enter`. `GETEVENTS` even without waiting: only it runs deferred work and
    /// flushes completions that had overflowed.
    fn enter(&mut self, submit: usize, timeout: Option<Duration>) -> io::Result<()> {
        let want = u32::from(timeout != Some(Duration::ZERO));
        let timespec = timeout.map(|timeout| Timespec::from(timeout.min(WAIT_MAX)));
        let mut args = SubmitArgs::new();
        if let Some(timespec) = &timespec {
            args = args.timespec(timespec);
        }
        let flags = (EnterFlags::GETEVENTS | EnterFlags::EXT_ARG).bits();
        // SAFETY: `args` is what `EXT_ARG` promises and outlives the call, as does the timespec it
        // points to; the queue's entries were vouched for by `push`'s callers.
        unsafe { self.io.submitter().enter(length(submit), want, flags, Some(&args)) }.map(drop)
    }

    /// The kernel had no memory for more requests, or no room for completions. If there are
    /// completions the caller must take them first; otherwise waits for some before another
    /// attempt.
    fn wait_out_pressure(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        if !self.io.completion().is_empty() {
            return Ok(());
        }
        self.enter(0, Some(pressed(timeout)))
    }
}

/// Queue lengths are `u32` in the kernel's interface.
fn length(entries: usize) -> u32 {
    u32::try_from(entries).unwrap_or(u32::MAX)
}

fn pressed(timeout: Option<Duration>) -> Duration {
    timeout.map_or(PRESSURE_PAUSE, |timeout| timeout.min(PRESSURE_PAUSE))
}

fn is_nothing_yet(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ETIME | libc::EINTR))
}

fn is_pressure(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EBUSY))
}

fn enter_error(source: io::Error) -> RingError {
    let what = match source.raw_os_error() {
        Some(libc::EBADR) => "enter: completions were lost, the kernel had no memory to keep them",
        Some(libc::EEXIST) => "enter: called by another thread than the ring's own",
        _ => "enter",
    };
    RingError::Kernel { what, source }
}

fn setup_advice(source: &io::Error) -> &'static str {
    match source.raw_os_error() {
        Some(libc::ENOSYS) => {
            "set-up: the kernel has none (CONFIG_IO_URING), or a container's seccomp filter hides it"
        }
        Some(libc::EPERM) => {
            "set-up is forbidden: see `sysctl kernel.io_uring_disabled` (0 allows it), \
             kernel.io_uring_group, or the container's seccomp filter"
        }
        Some(libc::EINVAL) => {
            "set-up: the kernel is older than 6.1 (DEFER_TASKRUN), see `uname -r`"
        }
        Some(libc::ENOMEM) => "set-up: no memory for the queues: raise `ulimit -l` (memlock)",
        Some(libc::EMFILE | libc::ENFILE) => {
            "set-up: no descriptor left: raise `ulimit -n` or fs.file-max"
        }
        _ => "set-up",
    }
}

fn register_advice(source: &io::Error) -> &'static str {
    match source.raw_os_error() {
        Some(libc::ENOMEM) => {
            "receive buffers cannot be registered: raise `ulimit -l` (memlock), or use fewer"
        }
        _ => "receive buffers cannot be registered",
    }
}

#[cfg(test)]
mod tests;

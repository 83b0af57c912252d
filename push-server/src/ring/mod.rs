//! io_uring: one ring for each shard. The only user of the io-uring crate; it knows no MQTT. Kernel
//! 6.1 or later (`SINGLE_ISSUER | DEFER_TASKRUN`, multishot accept and receive, provided-buffer
//! rings).
//!
//! # A turn
//! The methods of [`Ring`] queue operations, and [`Ring::submit_and_wait`] submits them together:
//! one system call for each turn. Then call [`Ring::next_completion`] until it has no more. The
//! kernel prepares completions inside that call only, so nothing happens between turns, and a
//! completion that did not fit into the queue comes with the next turn.
//!
//! # What the ring owns
//! - Sent bytes, from [`Ring::send`] until [`Completion::Sent`], even when cancelled.
//! - Receive buffers. A [`Piece`] is a loan; a lost piece is a lost buffer.
//!
//! # What the caller keeps
//! - *Descriptors.* The ring borrows numbers. Close a socket only when its operations have ended
//!   (`!more`, `Sent`), or a queued or continued operation may act on another socket that got the same
//!   number; besides, an armed operation keeps the connection open behind the closed descriptor.
//!   Cancel first, then wait for the ends.
//! - *Ends of multishot operations.* `!more` can come with success too (the kernel ends them under
//!   pressure): take the result, then arm again.
//! - *Generations.* A completion may come after the shard gave a slot to another connection, so the
//!   shard compares the token's generation. The ring drops and counts completions that it cannot match
//!   itself (an unknown kind, a send that is over): [`RingCounters::stale`].
//! - *One thread.* The kernel takes operations from the creating thread alone; `Ring` is not
//!   `Send`.
//!
//! # Dropping a ring
//! Operations that the kernel has are cancelled and waited for, about two seconds at most. Memory
//! that the kernel might still use after that is leaked, never freed. Operations not yet submitted
//! are forgotten, and accepted connections not yet taken are closed.
#![expect(unsafe_code, reason = "the ring's memory is shared with the kernel")]

mod buffers;
mod driver;
mod listener;
mod options;
mod send;
#[cfg(test)]
mod tests;
mod user_data;

use std::collections::VecDeque;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::time::Duration;
use std::{fmt, io, mem, ptr};

use bytes::Bytes;
use io_uring::{cqueue, opcode, squeue, types};

use buffers::{GROUP, ReceiveBuffers};
use driver::Driver;
use send::{SendProgress, Sends};
use user_data::{Kind, decode, encode, encode_kind};

pub(crate) use buffers::Piece;
pub(crate) use listener::{Keepalive, listen};
pub(crate) use options::{RingError, RingOptions};
pub(crate) use user_data::Token;

/// Most waits for the kernel to end cancelled operations when a ring is dropped.
const SETTLE_WAITS_MAX: u32 = 50;

/// Length of each of these waits.
const SETTLE_WAIT: Duration = Duration::from_millis(20);

/// Where to wake another ring. Valid as long as that ring lives. Waking a ring that is gone is
/// counted ([`RingCounters::wake_failed`]); at worst it wakes a ring that got the same descriptor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RingHandle(RawFd);

/// Errors of a ring that belong to no caller's completion.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RingCounters {
    /// Completions that belong to no operation.
    pub stale: u64,
    /// Wakes that did not arrive: the other ring is gone or out of memory.
    pub wake_failed: u64,
    /// Watches that ended by an error. Their callers are told that the descriptor may be readable.
    pub watch_failed: u64,
    /// Times that the submission queue was full before the end of a turn.
    pub sq_full: u64,
}

/// The result of a receive.
#[derive(Debug)]
pub(crate) enum Received {
    /// Bytes: read them by `Ring::bytes`, then call `Ring::recycle`.
    Data(Piece),
    /// The peer sent FIN.
    End,
    /// No buffer was free; the operation ended. Arm it again.
    NoBuffers,
    /// Cancelled by `cancel_receive`.
    Cancelled,
    /// The socket failed.
    Failed(io::Error),
}

/// An operation has ended or made progress.
#[derive(Debug)]
pub(crate) enum Completion {
    /// A connection, or an error. `!more`: the multishot accept has ended.
    Accepted { token: Token, result: io::Result<OwnedFd>, more: bool },
    /// Bytes, or an error. `!more`: the multishot receive has ended.
    Received { token: Token, received: Received, more: bool },
    /// The socket has accepted all bytes, or the send failed. The ring continues short sends
    /// itself.
    Sent {
        token: Token,
        /// As it was given to `send`.
        weight: u32,
        /// Bytes accepted.
        result: io::Result<usize>,
    },
    /// An interrupted send has ended.
    Interrupted {
        token: Token,
        /// As it was given to `send`.
        weight: u32,
        /// Bytes that the socket has accepted.
        accepted: usize,
        /// The bytes after them.
        unsent: Vec<Bytes>,
    },
    /// Another ring called `wake`.
    Woken,
    /// A watched descriptor is readable. `!more`: watch again.
    Readable {
        #[cfg_attr(
            not(test),
            expect(dead_code, reason = "a shard watches one descriptor; tests watch several")
        )]
        token: Token,
        more: bool,
    },
}

/// The ring.
pub(crate) struct Ring {
    // First, so that the ring is closed before its memory goes.
    driver: Driver,
    sends: Sends,
    buffers: ReceiveBuffers,
    /// Completions that needed no kernel.
    ready: VecDeque<Completion>,
    counters: RingCounters,
}

impl Ring {
    /// Sets up the ring and its provided buffers. Must be called by the thread that will use it.
    pub(crate) fn new(options: RingOptions) -> Result<Self, RingError> {
        let buffers = ReceiveBuffers::new(&options)?;
        let mut driver = Driver::new(&options)?;
        // SAFETY: `drop` withdraws the buffers and waits for all operations, or leaks the buffers.
        unsafe { driver.register_buffers(&buffers) }?;
        Ok(Self {
            driver,
            sends: Sends::default(),
            buffers,
            ready: VecDeque::new(),
            counters: RingCounters::default(),
        })
    }

    /// The handle by which others wake this ring.
    pub(crate) fn handle(&self) -> RingHandle {
        RingHandle(self.driver.as_raw_fd())
    }

    /// The errors so far.
    pub(crate) fn counters(&self) -> RingCounters {
        RingCounters { sq_full: self.driver.sq_full(), ..self.counters }
    }

    /// Receive buffers that no [`Piece`] holds. Those in completions not yet taken count as free.
    #[cfg(test)]
    fn receive_buffers_free(&self) -> u16 {
        self.buffers.free()
    }

    /// Accepts connections until cancelled or failed (multishot). They are close-on-exec.
    pub(crate) fn accept(&mut self, listener: RawFd, token: Token) {
        let flags = libc::SOCK_CLOEXEC;
        let entry = opcode::AcceptMulti::new(types::Fd(listener)).flags(flags).build();
        self.push_plain(entry.user_data(encode(Kind::Accept, token)));
    }

    /// Cancels a multishot accept; it ends with `ECANCELED`.
    pub(crate) fn cancel_accept(&mut self, token: Token) {
        self.cancel(encode(Kind::Accept, token));
    }

    /// Receives into provided buffers until cancelled, ended or failed (multishot).
    pub(crate) fn receive(&mut self, socket: RawFd, token: Token) {
        let entry = opcode::RecvMulti::new(types::Fd(socket), GROUP).build();
        self.push_plain(entry.user_data(encode(Kind::Receive, token)));
    }

    /// Receives once into a provided buffer.
    pub(crate) fn receive_once(&mut self, socket: RawFd, token: Token) {
        let len = self.buffers.buffer_bytes();
        let entry = opcode::Recv::new(types::Fd(socket), ptr::null_mut(), len)
            .buf_group(GROUP)
            .build()
            .flags(squeue::Flags::BUFFER_SELECT);
        self.push_plain(entry.user_data(encode(Kind::Receive, token)));
    }

    /// Cancels the receive of `token`; it ends with `Received::Cancelled`, unless it has ended
    /// already.
    pub(crate) fn cancel_receive(&mut self, token: Token) {
        self.cancel(encode(Kind::Receive, token));
    }

    /// Sends all chunks, in order. The ring owns them until `Completion::Sent`, which returns
    /// `weight`: what the caller counts for them. At most one send for each token at a time.
    pub(crate) fn send(&mut self, socket: RawFd, token: Token, chunks: Vec<Bytes>, weight: u32) {
        match self.sends.start(socket, token, chunks, weight) {
            Some(key) => self.push_send(key),
            None => self.ready.push_back(Completion::Sent { token, weight, result: Ok(0) }),
        }
    }

    /// Cancels the send of `token`. It still ends with `Completion::Sent`: `ECANCELED`, or the
    /// bytes if all were accepted. It is unknown how many bytes of a cancelled send went out.
    pub(crate) fn cancel_send(&mut self, token: Token) {
        if let Some(user_data) = self.sends.cancel(token) {
            self.cancel(user_data);
        }
    }

    /// Cancels the send of `token` and gives back its unsent bytes: it ends with
    /// `Completion::Interrupted`, or with `Completion::Sent` if it was complete or has failed.
    pub(crate) fn interrupt_send(&mut self, token: Token) {
        if let Some(user_data) = self.sends.interrupt(token) {
            self.cancel(user_data);
        }
    }

    /// Reports when a descriptor becomes readable (multishot poll; for event descriptors). Edges,
    /// not levels: read the descriptor until it is empty each time.
    pub(crate) fn watch(&mut self, fd: RawFd, token: Token) {
        let events = u32::from(libc::POLLIN.cast_unsigned());
        let entry = opcode::PollAdd::new(types::Fd(fd), events).multi(true).build();
        self.push_plain(entry.user_data(encode(Kind::Watch, token)));
    }

    /// Wakes another ring (`MSG_RING`) at this turn's submission.
    pub(crate) fn wake(&mut self, other: RingHandle) {
        let woken = encode_kind(Kind::Woken);
        let entry = opcode::MsgRingData::new(types::Fd(other.0), 0, woken, None).build();
        let entry = entry.flags(squeue::Flags::SKIP_SUCCESS);
        self.push_plain(entry.user_data(encode_kind(Kind::Wake)));
    }

    /// Submits everything queued and waits for at least one completion, at most `timeout`
    /// (`Duration::ZERO`: does not wait; `None`: for ever). May return early without a completion
    /// (a signal, or an operation of the ring's own).
    pub(crate) fn submit_and_wait(&mut self, timeout: Option<Duration>) -> Result<(), RingError> {
        let timeout = if self.ready.is_empty() { timeout } else { Some(Duration::ZERO) };
        self.driver.submit_and_wait(timeout)
    }

    /// Submits what is queued now. What the kernel refuses is submitted by the next call.
    pub(crate) fn submit(&mut self) {
        self.driver.submit_now();
    }

    /// Takes the next completion.
    pub(crate) fn next_completion(&mut self) -> Option<Completion> {
        if let Some(completion) = self.ready.pop_front() {
            return Some(completion);
        }
        while let Some(entry) = self.driver.next_entry() {
            if let Some(completion) = self.completion(&entry) {
                return Some(completion);
            }
        }
        None
    }

    /// The bytes of a received piece.
    ///
    /// # Panics
    /// If the piece is another ring's.
    pub(crate) fn bytes(&self, piece: &Piece) -> &[u8] {
        self.buffers.bytes(piece)
    }

    /// Gives a piece's buffer back to the kernel.
    ///
    /// # Panics
    /// If the piece is another ring's.
    pub(crate) fn recycle(&mut self, piece: Piece) {
        self.buffers.recycle(piece);
    }

    /// Turns a completion entry into a completion; `None`: it concerns only the ring.
    fn completion(&mut self, entry: &cqueue::Entry) -> Option<Completion> {
        let Some((kind, token)) = decode(entry.user_data()) else {
            self.counters.stale += 1;
            return None;
        };
        let more = cqueue::more(entry.flags());
        match kind {
            Kind::Accept => {
                let result = accepted(entry.result());
                Some(Completion::Accepted { token, result, more })
            }
            Kind::Receive => {
                let received = self.received(entry);
                Some(Completion::Received { token, received, more })
            }
            Kind::Send => self.sent(token, entry.result()),
            Kind::Watch if entry.result() < 0 => {
                self.counters.watch_failed += 1;
                Some(Completion::Readable { token, more: false })
            }
            Kind::Watch => Some(Completion::Readable { token, more }),
            Kind::Woken => Some(Completion::Woken),
            Kind::Wake => {
                self.counters.wake_failed += 1;
                None
            }
            // There was nothing to cancel: the operation has ended, and its end has been or will be
            // taken.
            Kind::Cancel => None,
        }
    }

    fn received(&mut self, entry: &cqueue::Entry) -> Received {
        // The kernel may name a buffer along with an error or the stream's end: recycle it at once.
        let len = u32::try_from(entry.result()).unwrap_or(0);
        let piece =
            cqueue::buffer_select(entry.flags()).and_then(|buffer| self.buffers.lend(buffer, len));
        match (entry.result(), piece) {
            (1.., Some(piece)) => Received::Data(piece),
            (1.., None) => Received::Failed(io::Error::other("bytes without a receive buffer")),
            (result, piece) => {
                if let Some(piece) = piece {
                    self.buffers.recycle(piece);
                }
                match -result {
                    0 => Received::End,
                    libc::ENOBUFS => Received::NoBuffers,
                    libc::ECANCELED => Received::Cancelled,
                    errno => Received::Failed(io::Error::from_raw_os_error(errno)),
                }
            }
        }
    }

    fn sent(&mut self, slab: Token, result: i32) -> Option<Completion> {
        match self.sends.complete(slab.index, slab.generation, result) {
            SendProgress::Stale => {
                self.counters.stale += 1;
                None
            }
            SendProgress::Short { key } => {
                self.push_send(key);
                None
            }
            SendProgress::Done { token, weight, result } => {
                Some(Completion::Sent { token, weight, result })
            }
            SendProgress::Interrupted { token, weight, accepted, unsent } => {
                Some(Completion::Interrupted { token, weight, accepted, unsent })
            }
        }
    }

    fn push_send(&mut self, key: u32) {
        if let Some(entry) = self.sends.operation(key, self.driver.pushed() + 1) {
            // SAFETY: chunks, header and vector belong to the send, which `Sends` keeps until
            // `complete` sees the operation's only completion, and `drop` until then or for ever.
            unsafe { self.driver.push(entry) };
        }
    }

    fn cancel(&mut self, user_data: u64) {
        let entry = opcode::AsyncCancel::new(user_data).build();
        let entry = entry.flags(squeue::Flags::SKIP_SUCCESS);
        self.push_plain(entry.user_data(encode_kind(Kind::Cancel)));
    }

    /// Pushes an operation without memory of its own.
    fn push_plain(&mut self, entry: squeue::Entry) {
        // SAFETY: the callers' operations point to no memory; receives use the registered buffers,
        // which `register_buffers`'s contract covers.
        unsafe { self.driver.push(entry) };
    }

    /// Takes completions until there is none. Returns how many there were.
    fn discard_completions(&mut self) -> usize {
        let mut discarded = 0;
        while let Some(entry) = self.driver.next_entry() {
            discarded += 1;
            match decode(entry.user_data()) {
                Some((Kind::Accept, _)) => drop(accepted(entry.result())),
                Some((Kind::Send, slab)) => {
                    self.sends.complete(slab.index, slab.generation, entry.result());
                }
                _ => {}
            }
        }
        discarded
    }

    /// Waits until the kernel has ended what `cancel_all` cancelled. Returns false if that takes
    /// too long.
    fn settle(&mut self) -> bool {
        for _ in 0..SETTLE_WAITS_MAX {
            let taken = self.driver.taken();
            let wait = if self.sends.in_kernel(taken) == 0 { Duration::ZERO } else { SETTLE_WAIT };
            if self.driver.wait(wait).is_err() {
                return false;
            }
            if self.discard_completions() == 0 && wait.is_zero() {
                return true;
            }
        }
        false
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        self.sends.cancel_all();
        let cancelled = self.driver.cancel_all();
        let settled = self.settle();
        if !(cancelled && settled) {
            self.buffers.leak();
            mem::forget(mem::take(&mut self.sends));
        }
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring")
            .field("fd", &self.driver.as_raw_fd())
            .field("counters", &self.counters())
            .finish_non_exhaustive()
    }
}

/// The connection of an accept's result, or its error.
fn accepted(result: i32) -> io::Result<OwnedFd> {
    if result < 0 {
        return Err(io::Error::from_raw_os_error(-result));
    }
    // SAFETY: the kernel has just put this descriptor into our table for this completion, and each
    // completion is taken once.
    Ok(unsafe { OwnedFd::from_raw_fd(result) })
}

//! Sends in flight. Each owns its bytes, and the message header and vector that describe them, from
//! the first submission to the last completion, even when cancelled: the kernel reads them whenever
//! the socket has room. This file continues short sends.

use std::io;
use std::os::fd::RawFd;
use std::ptr;

use bytes::{Buf, Bytes};
use hashbrown::HashMap;
use io_uring::{opcode, squeue, types};
use slab::Slab;

use super::user_data::{GENERATION_MASK, Kind, Token, encode};

/// Most chunks in one operation; the rest follows in the next. The kernel's own maximum is 1024
/// (`UIO_MAXIOV`), and it allocates for more than 8.
pub(super) const IOVECS_MAX: usize = 256;

/// Most bytes of one chunk in one operation. 1 GiB, because the kernel takes no more than 2 GiB at
/// once.
const OPERATION_BYTES_MAX: u32 = 1 << 30;

/// `MSG_WAITALL` makes the kernel continue most short sends itself; with `MSG_NOSIGNAL` a closed
/// peer causes `EPIPE` instead of a signal.
const FLAGS: i32 = libc::MSG_NOSIGNAL | libc::MSG_WAITALL;

/// What a completion means for its send.
#[derive(Debug)]
pub(super) enum SendProgress {
    /// No such send.
    Stale,
    /// Some bytes were accepted. Submit `Sends::operation` of this key again.
    Short { key: u32 },
    /// The send is over and forgotten.
    Done { token: Token, weight: u32, result: io::Result<usize> },
    /// The send was interrupted after `accepted` bytes; `unsent` are the bytes after them.
    Interrupted { token: Token, weight: u32, accepted: usize, unsent: Vec<Bytes> },
}

/// All sends in flight.
#[derive(Default)]
pub(super) struct Sends {
    sends: Slab<Send>,
    /// For cancelling; one send for each token.
    by_token: HashMap<Token, u32, foldhash::fast::RandomState>,
    /// Counts sends, to distinguish users of one slab entry.
    generation: u32,
}

struct Send {
    token: Token,
    /// The caller's number for these bytes.
    weight: u32,
    socket: RawFd,
    generation: u32,
    /// The number of its latest operation among all that the ring pushed.
    operation: u64,
    /// None is empty. Sent ones stay until the end; the last one sent in part is cut.
    chunks: Vec<Bytes>,
    /// The first chunk with unsent bytes.
    next: usize,
    accepted: usize,
    /// Set once the send is cancelled, so that it is not continued.
    cancelled: Option<Cancelled>,
    message: Option<Box<SendHeader>>,
}

/// What to do with the unsent bytes of a cancelled send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cancelled {
    /// Drop them.
    Drops,
    /// Give them back to the caller.
    GivesBack,
}

/// The memory that `sendmsg` reads; boxed, so that it stays in place when the slab grows.
struct SendHeader {
    header: libc::msghdr,
    vector: Vec<libc::iovec>,
}

impl Sends {
    /// Takes the chunks; `None`: there is not one byte to send.
    pub(super) fn start(
        &mut self,
        socket: RawFd,
        token: Token,
        mut chunks: Vec<Bytes>,
        weight: u32,
    ) -> Option<u32> {
        chunks.retain(|chunk| !chunk.is_empty());
        if chunks.is_empty() {
            return None;
        }
        self.generation = self.generation.wrapping_add(1) & GENERATION_MASK;
        let key = self.sends.insert(Send {
            token,
            weight,
            socket,
            generation: self.generation,
            operation: 0,
            chunks,
            next: 0,
            accepted: 0,
            cancelled: None,
            message: None,
        });
        let key = u32::try_from(key).expect("fewer than 2^32 sends fit into memory");
        let earlier = self.by_token.insert(token, key);
        debug_assert!(earlier.is_none(), "one send a token at a time");
        Some(key)
    }

    /// The operation that sends the rest. `number`: its number among all that the ring pushed. The
    /// memory that it points to stays in place until the send is done.
    pub(super) fn operation(&mut self, key: u32, number: u64) -> Option<squeue::Entry> {
        let send = self.sends.get_mut(key as usize)?;
        send.operation = number;
        let user_data = encode(Kind::Send, Token { index: key, generation: send.generation });
        Some(send.entry()?.user_data(user_data))
    }

    /// Takes the result of a completion.
    pub(super) fn complete(&mut self, key: u32, generation: u32, result: i32) -> SendProgress {
        let send = match self.sends.get_mut(key as usize) {
            Some(send) if send.generation == generation => send,
            _ => return SendProgress::Stale,
        };
        let result = match usize::try_from(result) {
            Ok(0) => Err(io::ErrorKind::WriteZero.into()),
            Ok(accepted) => {
                send.advance(accepted);
                match send.chunks.get(send.next) {
                    None => Ok(send.accepted),
                    Some(_) if send.cancelled.is_none() => return SendProgress::Short { key },
                    Some(_) => Err(io::Error::from_raw_os_error(libc::ECANCELED)),
                }
            }
            Err(_) if result == -libc::EINTR && send.cancelled.is_none() => {
                return SendProgress::Short { key };
            }
            Err(_) => Err(io::Error::from_raw_os_error(-result)),
        };
        let mut send = self.sends.remove(key as usize);
        if self.by_token.get(&send.token) == Some(&key) {
            self.by_token.remove(&send.token);
        }
        let Send { token, weight, accepted, .. } = send;
        match result {
            Err(error) if send.cancelled == Some(Cancelled::GivesBack) && is_cancel(&error) => {
                let unsent = send.chunks.split_off(send.next);
                SendProgress::Interrupted { token, weight, accepted, unsent }
            }
            result => SendProgress::Done { token, weight, result },
        }
    }

    /// Cancels the send of `token`, so that it is not continued. Returns the user data of its
    /// operation.
    pub(super) fn cancel(&mut self, token: Token) -> Option<u64> {
        self.end(token, Cancelled::Drops)
    }

    /// Like `cancel`, and gives the unsent bytes back.
    pub(super) fn interrupt(&mut self, token: Token) -> Option<u64> {
        self.end(token, Cancelled::GivesBack)
    }

    fn end(&mut self, token: Token, cancelled: Cancelled) -> Option<u64> {
        let key = *self.by_token.get(&token)?;
        let send = self.sends.get_mut(key as usize)?;
        send.cancelled = Some(cancelled);
        Some(encode(Kind::Send, Token { index: key, generation: send.generation }))
    }

    /// Marks every send as cancelled.
    pub(super) fn cancel_all(&mut self) {
        for (_, send) in &mut self.sends {
            send.cancelled = Some(Cancelled::Drops);
        }
    }

    /// How many of the sends the kernel has, if it took the ring's first `taken` operations.
    pub(super) fn in_kernel(&self, taken: u64) -> usize {
        self.sends.iter().filter(|(_, send)| send.operation <= taken).count()
    }
}

impl Send {
    fn advance(&mut self, mut accepted: usize) {
        self.accepted += accepted;
        while let Some(chunk) = self.chunks.get_mut(self.next) {
            if accepted < chunk.len() {
                chunk.advance(accepted);
                return;
            }
            accepted -= chunk.len();
            self.next += 1;
        }
    }

    fn entry(&mut self) -> Option<squeue::Entry> {
        let socket = types::Fd(self.socket);
        let entry = match self.chunks.get(self.next..)? {
            [] => return None,
            [chunk] => {
                let len = u32::try_from(chunk.len())
                    .map_or(OPERATION_BYTES_MAX, |len| len.min(OPERATION_BYTES_MAX));
                opcode::Send::new(socket, chunk.as_ptr(), len).flags(FLAGS).build()
            }
            chunks => {
                // The previous operation's header is free: that operation has completed.
                let message = self.message.insert(SendHeader::new(chunks));
                opcode::SendMsg::new(socket, &raw const message.header)
                    .flags(FLAGS.cast_unsigned())
                    .build()
            }
        };
        Some(entry)
    }
}

/// Whether a send failed only because it was cancelled.
fn is_cancel(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ECANCELED | libc::EINTR))
}

impl SendHeader {
    fn new(chunks: &[Bytes]) -> Box<Self> {
        let vector = chunks
            .iter()
            .take(IOVECS_MAX)
            .map(|chunk| libc::iovec {
                iov_base: chunk.as_ptr().cast_mut().cast(),
                iov_len: chunk.len(),
            })
            .collect();
        let header = libc::msghdr {
            msg_name: ptr::null_mut(),
            msg_namelen: 0,
            msg_iov: ptr::null_mut(),
            msg_iovlen: 0,
            msg_control: ptr::null_mut(),
            msg_controllen: 0,
            msg_flags: 0,
        };
        let mut message = Box::new(Self { header, vector });
        message.header.msg_iov = message.vector.as_mut_ptr();
        message.header.msg_iovlen = message.vector.len();
        message
    }
}

#[cfg(test)]
mod tests;

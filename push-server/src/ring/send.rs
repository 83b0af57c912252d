//! Sends in flight. Each owns its bytes, and the message header and vector that describe them,
//! from the first submission to the last completion, cancelled or not: the kernel reads them
//! whenever the socket has room. Short sends are continued here.

use std::io;
use std::os::fd::RawFd;
use std::ptr;

use bytes::{Buf, Bytes};
use hashbrown::HashMap;
use io_uring::{opcode, squeue, types};
use slab::Slab;

use super::user_data::{GENERATION_MASK, Kind, Token, encode};

/// Chunks handed to the kernel by one operation; the rest follows in the next. The kernel's own
/// bound is 1024 (`UIO_MAXIOV`), and it allocates for more than 8.
pub(super) const IOVECS_MAX: usize = 256;

/// Bytes of one chunk handed to the kernel by one operation; it takes no more than 2 GiB at once.
const OPERATION_BYTES_MAX: u32 = 1 << 30;

/// `MSG_WAITALL` has the kernel continue most short sends itself; `MSG_NOSIGNAL` has a closed
/// peer show as `EPIPE`, not as a signal.
const FLAGS: i32 = libc::MSG_NOSIGNAL | libc::MSG_WAITALL;

/// What a completion means for its send.
#[derive(Debug)]
pub(super) enum SendProgress {
    /// No such send.
    Stale,
    /// Some bytes were accepted. Submit `Sends::operation` of this key again.
    Short { key: u32 },
    /// It is over and forgotten.
    Done { token: Token, weight: u32, result: io::Result<usize> },
    /// It was interrupted after `accepted` bytes; `unsent` follow them.
    Interrupted { token: Token, weight: u32, accepted: usize, unsent: Vec<Bytes> },
}

/// All sends in flight.
#[derive(Default)]
pub(super) struct Sends {
    sends: Slab<Send>,
    /// For cancelling; one send a token.
    by_token: HashMap<Token, u32, foldhash::fast::RandomState>,
    /// Counts sends, to tell the users of one slab entry apart.
    generation: u32,
}

struct Send {
    token: Token,
    /// The caller's.
    weight: u32,
    socket: RawFd,
    generation: u32,
    /// Number of its latest operation among all that the ring pushed.
    operation: u64,
    /// None is empty. Sent ones stay until the end, cut to what is left of the last.
    chunks: Vec<Bytes>,
    /// The first chunk with bytes left.
    next: usize,
    accepted: usize,
    /// Whether it is not to be continued, and if so what becomes of the bytes that are left.
    cancelled: Option<Cancelled>,
    message: Option<Box<Message>>,
}

/// What becomes of the bytes that a cancelled send leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cancelled {
    /// They are dropped.
    Drops,
    /// The caller gets them back.
    GivesBack,
}

/// What `sendmsg` is pointed to; boxed, so that it stays in place when the slab grows.
struct Message {
    header: libc::msghdr,
    vector: Vec<libc::iovec>,
}

impl Sends {
    /// Takes the chunks in; `None` if there is not one byte to send.
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

    /// The operation that sends what is left. `number` is its place among all that the ring pushed.
    /// What it points to stays in place until the send is done.
    pub(super) fn operation(&mut self, key: u32, number: u64) -> Option<squeue::Entry> {
        let send = self.sends.get_mut(key as usize)?;
        send.operation = number;
        let user_data = encode(Kind::Send, Token { index: key, generation: send.generation });
        Some(send.entry()?.user_data(user_data))
    }

    /// Takes a completion's result in.
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

    /// Marks the send of `token` as cancelled, so that it is not continued, and returns the user
    /// data of its operation.
    pub(super) fn cancel(&mut self, token: Token) -> Option<u64> {
        self.end(token, Cancelled::Drops)
    }

    /// The same, and what has not been sent comes back.
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

    /// How many of the sends the kernel has, if it took the first `taken` operations of the ring.
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
                // The header of the operation before, if any, has served: it has completed.
                let message = self.message.insert(Message::new(chunks));
                opcode::SendMsg::new(socket, &raw const message.header)
                    .flags(FLAGS.cast_unsigned())
                    .build()
            }
        };
        Some(entry)
    }
}

/// Whether a send failed for nothing but its cancel.
fn is_cancel(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ECANCELED | libc::EINTR))
}

impl Message {
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

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
pub(super) enum Progress {
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
    pub(super) fn complete(&mut self, key: u32, generation: u32, result: i32) -> Progress {
        let send = match self.sends.get_mut(key as usize) {
            Some(send) if send.generation == generation => send,
            _ => return Progress::Stale,
        };
        let result = match usize::try_from(result) {
            Ok(0) => Err(io::ErrorKind::WriteZero.into()),
            Ok(accepted) => {
                send.advance(accepted);
                match send.chunks.get(send.next) {
                    None => Ok(send.accepted),
                    Some(_) if send.cancelled.is_none() => return Progress::Short { key },
                    Some(_) => Err(io::Error::from_raw_os_error(libc::ECANCELED)),
                }
            }
            Err(_) if result == -libc::EINTR && send.cancelled.is_none() => {
                return Progress::Short { key };
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
                Progress::Interrupted { token, weight, accepted, unsent }
            }
            result => Progress::Done { token, weight, result },
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
mod tests {
    use super::*;

    const TOKEN: Token = Token { index: 9, generation: 4 };

    fn chunks(lengths: &[usize]) -> Vec<Bytes> {
        lengths.iter().map(|len| Bytes::from(vec![7; *len])).collect()
    }

    fn started(lengths: &[usize]) -> (Sends, u32, u32) {
        let mut sends = Sends::default();
        let key = sends.start(3, TOKEN, chunks(lengths), 7).expect("bytes to send");
        let generation = sends.generation;
        (sends, key, generation)
    }

    #[test]
    fn nothing_to_send_starts_nothing() {
        let mut sends = Sends::default();
        assert!(sends.start(3, TOKEN, Vec::new(), 7).is_none());
        assert!(sends.start(3, TOKEN, chunks(&[0, 0]), 7).is_none());
        assert!(sends.cancel(TOKEN).is_none());
    }

    #[test]
    fn one_chunk_is_sent_without_a_vector() {
        let (mut sends, key, _) = started(&[5]);
        let entry = sends.operation(key, 1).expect("bytes left");
        assert_eq!(entry.get_opcode(), u32::from(opcode::Send::CODE));
        let (mut sends, key, _) = started(&[5, 6]);
        let entry = sends.operation(key, 1).expect("bytes left");
        assert_eq!(entry.get_opcode(), u32::from(opcode::SendMsg::CODE));
    }

    #[test]
    fn short_sends_continue_where_the_kernel_stopped() {
        let (mut sends, key, generation) = started(&[5, 6, 7]);
        for (accepted, left) in [(4, vec![1, 6, 7]), (7, vec![7]), (6, vec![1])] {
            let progress = sends.complete(key, generation, accepted);
            assert!(matches!(progress, Progress::Short { key: k } if k == key));
            let send = &sends.sends[key as usize];
            let lengths: Vec<usize> = send.chunks[send.next..].iter().map(Bytes::len).collect();
            assert_eq!(lengths, left);
            assert!(sends.operation(key, 1).is_some());
        }
        let Progress::Done { token, weight, result } = sends.complete(key, generation, 1) else {
            panic!("not done after the last byte");
        };
        assert_eq!((token, weight, result.expect("all accepted")), (TOKEN, 7, 18));
        assert!(matches!(sends.complete(key, generation, 1), Progress::Stale));
    }

    #[test]
    fn vectors_are_bounded() {
        let (mut sends, key, generation) = started(&vec![1; IOVECS_MAX + 3]);
        sends.operation(key, 1).expect("bytes left");
        let message = sends.sends[key as usize].message.as_ref().expect("a vector");
        assert_eq!(message.header.msg_iovlen, IOVECS_MAX);
        let all = i32::try_from(IOVECS_MAX).expect("a small number");
        assert!(matches!(sends.complete(key, generation, all), Progress::Short { .. }));
        sends.operation(key, 2).expect("bytes left");
        let message = sends.sends[key as usize].message.as_ref().expect("a vector");
        assert_eq!(message.header.msg_iovlen, 3);
    }

    #[test]
    fn a_cancelled_send_is_not_continued() {
        let (mut sends, key, generation) = started(&[5, 6]);
        assert!(sends.cancel(TOKEN).is_some());
        let Progress::Done { result, .. } = sends.complete(key, generation, 4) else {
            panic!("continued");
        };
        assert_eq!(result.expect_err("half sent").raw_os_error(), Some(libc::ECANCELED));
    }

    #[test]
    fn an_interrupted_send_gives_back_what_the_kernel_has_not_taken() {
        for (result, accepted, left) in
            [(4, 4, vec![1, 6]), (7, 7, vec![4]), (-libc::ECANCELED, 0, vec![5, 6])]
        {
            let (mut sends, key, generation) = started(&[5, 6]);
            assert!(sends.interrupt(TOKEN).is_some());
            let Progress::Interrupted { token, weight, accepted: taken, unsent } =
                sends.complete(key, generation, result)
            else {
                panic!("no interruption");
            };
            assert_eq!((token, weight, taken), (TOKEN, 7, accepted));
            assert_eq!(unsent.iter().map(Bytes::len).collect::<Vec<_>>(), left);
        }
    }

    #[test]
    fn an_interrupted_send_that_was_whole_or_failed_says_so() {
        let (mut sends, key, generation) = started(&[5]);
        assert!(sends.interrupt(TOKEN).is_some());
        let progress = sends.complete(key, generation, 5);
        assert!(matches!(progress, Progress::Done { result: Ok(5), .. }));
        let (mut sends, key, generation) = started(&[5]);
        assert!(sends.interrupt(TOKEN).is_some());
        let progress = sends.complete(key, generation, -libc::EPIPE);
        assert!(matches!(progress, Progress::Done { result: Err(_), .. }));
    }

    #[test]
    fn a_cancelled_send_that_was_whole_is_a_success() {
        let (mut sends, key, generation) = started(&[5]);
        assert!(sends.cancel(TOKEN).is_some());
        let progress = sends.complete(key, generation, 5);
        assert!(matches!(progress, Progress::Done { result: Ok(5), .. }));
    }

    #[test]
    fn a_stale_generation_does_not_touch_the_slabs_next_user() {
        let (mut sends, key, old) = started(&[5]);
        assert!(matches!(sends.complete(key, old, 5), Progress::Done { .. }));
        let again = sends.start(3, TOKEN, chunks(&[8]), 7).expect("bytes to send");
        assert_eq!(again, key, "the slab entry is used again");
        assert!(matches!(sends.complete(key, old, 8), Progress::Stale));
        assert!(matches!(sends.complete(key, sends.generation, 8), Progress::Done { .. }));
    }

    #[test]
    fn only_operations_that_the_kernel_took_count_as_in_it() {
        let (mut sends, key, _) = started(&[5]);
        sends.operation(key, 3);
        assert_eq!(sends.in_kernel(2), 0);
        assert_eq!(sends.in_kernel(3), 1);
    }
}

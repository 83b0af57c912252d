//! Asks the kernel for the state of a connection's socket (`NETLINK_SOCK_DIAG`), even of one whose
//! process is dead and which the system still sends for. It takes no capability, and sees the
//! network namespace of the thread that opened it.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::sync::{Mutex, PoisonError};

use push_common::flow::FlowKey;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with,
};

use super::flows::key_of;

/// What a socket still sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SocketState {
    /// It may still send bytes, or its FIN.
    Sends,
    /// The peer has acknowledged everything, FIN included.
    HeardOut,
    /// There is no such socket, or none that ever sent bytes of this connection.
    Gone,
}

/// A netlink socket for these questions.
#[derive(Debug)]
pub(super) struct SocketDiag {
    asking: Mutex<Asking>,
}

#[derive(Debug)]
struct Asking {
    socket: OwnedFd,
    /// The number of the last question.
    sequence: u32,
}

/// A question: `struct nlmsghdr` and `struct inet_diag_req_v2`.
const REQUEST_BYTES: usize = 16 + 56;
/// Room for an answer: `struct nlmsghdr`, `struct inet_diag_msg` and attributes.
const REPLY_BYTES_MAX: usize = 4_096;
/// Replies to earlier questions that are skipped before giving up.
const STALE_REPLIES_MAX: usize = 8;

/// `SOCK_DIAG_BY_FAMILY` and `NLMSG_ERROR`.
const BY_FAMILY: u16 = 20;
const ERROR: u16 = 2;

/// States of `<net/tcp_states.h>`.
mod tcp {
    pub(super) const SYN_RECV: u8 = 3;
    pub(super) const FIN_WAIT2: u8 = 5;
    pub(super) const TIME_WAIT: u8 = 6;
    pub(super) const CLOSE: u8 = 7;
    pub(super) const LISTEN: u8 = 10;
    pub(super) const NEW_SYN_RECV: u8 = 12;
}

impl SocketDiag {
    /// `None`: this kernel cannot answer. It says "not found" then, too, so this tries it on an
    /// existing socket.
    pub(super) fn open() -> Option<Self> {
        let flags = SocketFlags::CLOEXEC;
        let protocol = Some(netlink::SOCK_DIAG);
        let socket =
            socket_with(AddressFamily::NETLINK, SocketType::DGRAM, flags, protocol).ok()?;
        let diag = Self { asking: Mutex::new(Asking { socket, sequence: 0 }) };
        let listener = TcpListener::bind("127.0.0.1:0").ok()?;
        let nobody: SocketAddr = "127.0.0.1:1".parse().ok()?;
        let key = key_of(listener.local_addr().ok()?, nobody)?;
        (diag.ask(&key, 0) == Reply::State(tcp::LISTEN)).then_some(diag)
    }

    /// The state of the socket of a connection bound to `iface`, or not bound; `None`: the kernel
    /// did not answer.
    pub(super) fn state(&self, key: &FlowKey, iface: u32) -> Option<SocketState> {
        match self.ask(key, iface) {
            Reply::State(state) => Some(meaning(state)),
            Reply::NotFound => Some(SocketState::Gone),
            Reply::Failed => None,
        }
    }

    fn ask(&self, key: &FlowKey, iface: u32) -> Reply {
        let mut asking = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
        asking.sequence = asking.sequence.wrapping_add(1);
        let Asking { socket, sequence } = &*asking;
        if send(socket, &request(key, iface, *sequence), SendFlags::DONTWAIT).is_err() {
            return Reply::Failed;
        }
        // The kernel answers before `send` returns.
        let mut buffer = [0; REPLY_BYTES_MAX];
        for _ in 0..STALE_REPLIES_MAX {
            let Ok((_, bytes)) = recv(socket, &mut buffer, RecvFlags::DONTWAIT) else { break };
            if let Some(reply) = buffer.get(..bytes).and_then(|bytes| reply(bytes, *sequence)) {
                return reply;
            }
        }
        Reply::Failed
    }
}

/// What the kernel replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reply {
    /// There is a socket, in this state.
    State(u8),
    /// There is no socket, or the kernel does not know such questions.
    NotFound,
    /// It failed to tell.
    Failed,
}

fn meaning(state: u8) -> SocketState {
    match state {
        tcp::FIN_WAIT2 | tcp::TIME_WAIT => SocketState::HeardOut,
        // Of a listener, or of a newer connection that is not established yet.
        tcp::CLOSE | tcp::LISTEN | tcp::SYN_RECV | tcp::NEW_SYN_RECV => SocketState::Gone,
        _ => SocketState::Sends,
    }
}

/// The question for exactly this connection.
fn request(key: &FlowKey, iface: u32, sequence: u32) -> [u8; REQUEST_BYTES] {
    const TCP: u8 = 6;
    /// `AF_INET` and `AF_INET6`.
    const V4: u8 = 2;
    const V6: u8 = 10;
    const NLM_F_REQUEST: u16 = 1;
    const MAPPED: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF];
    let is_v4 = key.local.starts_with(&MAPPED) && key.peer.starts_with(&MAPPED);
    let address = |octets: &[u8; 16]| {
        let mut field = [0; 16];
        if is_v4 {
            field[..4].copy_from_slice(&octets[12..]);
        } else {
            field = *octets;
        }
        field
    };
    let mut bytes = [0; REQUEST_BYTES];
    let mut at = 0;
    let mut put = |field: &[u8]| {
        bytes[at..at + field.len()].copy_from_slice(field);
        at += field.len();
    };
    // struct nlmsghdr: length, type, flags, sequence, port id.
    put(&(REQUEST_BYTES as u32).to_ne_bytes());
    put(&BY_FAMILY.to_ne_bytes());
    put(&NLM_F_REQUEST.to_ne_bytes());
    put(&sequence.to_ne_bytes());
    put(&[0; 4]);
    // struct inet_diag_req_v2: family, protocol, extensions, padding, states.
    put(&[if is_v4 { V4 } else { V6 }, TCP, 0, 0]);
    put(&u32::MAX.to_ne_bytes());
    // struct inet_diag_sockid: ports, addresses, interface, no cookie.
    put(&key.local_port);
    put(&key.peer_port);
    put(&address(&key.local));
    put(&address(&key.peer));
    put(&iface.to_ne_bytes());
    put(&[0xFF; 8]);
    bytes
}

/// Parses a reply; `None`: it answers another question.
fn reply(bytes: &[u8], sequence: u32) -> Option<Reply> {
    let u16_at = |at: usize| Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
    let u32_at = |at: usize| Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let not_found = rustix::io::Errno::NOENT.raw_os_error().wrapping_neg() as u32;
    if u32_at(8)? != sequence {
        return None;
    }
    Some(match u16_at(4)? {
        BY_FAMILY => bytes.get(17).map_or(Reply::Failed, |&state| Reply::State(state)),
        ERROR if u32_at(16)? == not_found => Reply::NotFound,
        _ => Reply::Failed,
    })
}

#[cfg(test)]
mod tests;

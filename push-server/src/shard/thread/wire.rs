//! A shard's wire on this machine: its ring, its listeners, the system calls on its clients' sockets,
//! and the event descriptor by which other threads wake it.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use bytes::Bytes;
use rustix::event::{EventfdFlags, eventfd};
use rustix::io::{Errno, ioctl_fionread};
use rustix::net::sockopt::set_socket_linger;
use rustix::net::{Shutdown, getpeername, getsockname, shutdown};

use super::probes::is_unanswered;
use crate::ring::{self, Piece, Ring, RingError, RingHandle, RingOptions};
use crate::shard::ports::{
    AcceptFault, Completion, Received, Socket, Token, Waker, Wire, WireFaults,
};

/// 8 MiB of receive buffers a shard, whatever the number of connections (`limit="receive_buffers"`).
const RING_OPTIONS: RingOptions =
    RingOptions { entries: 4_096, buffers: 2_048, buffer_bytes: 4_096 };

/// The token of the event descriptor by which other threads wake the shard.
const WAKE_UP: ring::Token = ring::Token { index: u32::MAX, generation: 0 };

/// A shard's wire.
#[derive(Debug)]
pub(super) struct RingWire {
    // First, so that its operations have ended before descriptors are closed.
    ring: Ring,
    listeners: Vec<OwnedFd>,
    wake_up: WakeUp,
    /// Of every shard, in order.
    peers: Vec<RingHandle>,
}

impl RingWire {
    /// Must be called by the thread that will use it.
    pub(super) fn new(listeners: Vec<OwnedFd>, wake_up: WakeUp) -> Result<Self, RingError> {
        Ok(Self { ring: Ring::new(RING_OPTIONS)?, listeners, wake_up, peers: Vec::new() })
    }

    /// The handle by which other shards wake this one.
    pub(super) fn handle(&self) -> RingHandle {
        self.ring.handle()
    }

    /// Every shard is there: this one can wake the others from now on.
    pub(super) fn join(&mut self, peers: Vec<RingHandle>) {
        self.peers = peers;
        self.watch_wake_up();
    }

    fn watch_wake_up(&mut self) {
        self.ring.watch(self.wake_up.0.as_raw_fd(), WAKE_UP);
    }
}

impl Wire for RingWire {
    type Socket = OwnedFd;
    type Piece = Piece;
    type Error = RingError;

    fn accept(&mut self, listener: u32) {
        if let Some(socket) = self.listeners.get(listener as usize) {
            self.ring.accept(socket.as_raw_fd(), listening(listener));
        }
    }

    fn cancel_accept(&mut self, listener: u32) {
        self.ring.cancel_accept(listening(listener));
    }

    fn close_listeners(&mut self) {
        self.listeners.clear();
    }

    fn receive(&mut self, socket: &OwnedFd, token: Token) {
        self.ring.receive(socket.as_raw_fd(), token.into());
    }

    fn receive_once(&mut self, socket: &OwnedFd, token: Token) {
        self.ring.receive_once(socket.as_raw_fd(), token.into());
    }

    fn cancel_receive(&mut self, token: Token) {
        self.ring.cancel_receive(token.into());
    }

    fn send(&mut self, socket: &OwnedFd, token: Token, chunks: Vec<Bytes>, weight: u32) {
        self.ring.send(socket.as_raw_fd(), token.into(), chunks, weight);
    }

    fn cancel_send(&mut self, token: Token) {
        self.ring.cancel_send(token.into());
    }

    fn interrupt_send(&mut self, token: Token) {
        self.ring.interrupt_send(token.into());
    }

    fn wake(&mut self, shard: u16) {
        if let Some(peer) = self.peers.get(usize::from(shard)) {
            self.ring.wake(*peer);
        }
    }

    fn submit(&mut self) {
        self.ring.submit();
    }

    fn submit_and_wait(&mut self, timeout: Duration) -> Result<(), RingError> {
        self.ring.submit_and_wait(Some(timeout))
    }

    fn next_completion(&mut self) -> Option<Completion<OwnedFd, Piece>> {
        Some(match self.ring.next_completion()? {
            ring::Completion::Accepted { token, result, more } => {
                let result = result.map_err(accept_fault);
                Completion::Accepted { listener: token.index, result, more }
            }
            ring::Completion::Received { token, received, more } => {
                Completion::Received { token: token.into(), received: received.into(), more }
            }
            ring::Completion::Sent { token, weight, result } => {
                Completion::Sent { token: token.into(), weight, result }
            }
            ring::Completion::Interrupted { token, weight, accepted, unsent } => {
                Completion::Interrupted { token: token.into(), weight, accepted, unsent }
            }
            ring::Completion::Woken => Completion::Woken,
            ring::Completion::Readable { more, .. } => {
                self.wake_up.clear();
                if !more {
                    self.watch_wake_up();
                }
                Completion::Woken
            }
        })
    }

    fn bytes<'a>(&'a self, piece: &'a Piece) -> &'a [u8] {
        self.ring.bytes(piece)
    }

    fn recycle(&mut self, piece: Piece) {
        self.ring.recycle(piece);
    }

    fn faults(&self) -> WireFaults {
        let ring::RingCounters { stale, wake_failed, watch_failed, sq_full } = self.ring.counters();
        WireFaults { stale, wake_failed, watch_failed, queue_full: sq_full }
    }
}

/// The token of a listener's accept.
fn listening(listener: u32) -> ring::Token {
    ring::Token { index: listener, generation: 0 }
}

impl From<Token> for ring::Token {
    fn from(Token { index, generation }: Token) -> Self {
        Self { index, generation }
    }
}

impl From<ring::Token> for Token {
    fn from(ring::Token { index, generation }: ring::Token) -> Self {
        Self { index, generation }
    }
}

impl From<ring::Received> for Received<Piece> {
    fn from(received: ring::Received) -> Self {
        match received {
            ring::Received::Data(piece) => Self::Data(piece),
            ring::Received::End => Self::End,
            ring::Received::NoBuffers => Self::NoBuffers,
            ring::Received::Cancelled => Self::Cancelled,
            ring::Received::Failed(error) if is_unanswered(&error) => Self::Unanswered,
            ring::Received::Failed(_) => Self::Failed,
        }
    }
}

fn accept_fault(error: io::Error) -> AcceptFault {
    match Errno::from_io_error(&error) {
        Some(Errno::CANCELED | Errno::CONNABORTED | Errno::INTR) => AcceptFault::Passing,
        Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => {
            AcceptFault::Exhausted(error)
        }
        _ => AcceptFault::Failed(error),
    }
}

impl Socket for OwnedFd {
    fn local_address(&self) -> io::Result<SocketAddr> {
        Ok(canonical(SocketAddr::try_from(getsockname(self)?)?))
    }

    fn peer_address(&self) -> io::Result<SocketAddr> {
        match getpeername(self)? {
            Some(name) => Ok(canonical(SocketAddr::try_from(name)?)),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    fn unread_bytes(&self) -> io::Result<u64> {
        Ok(ioctl_fionread(self)?)
    }

    fn end_sending(&self) {
        let _ = shutdown(self, Shutdown::Write);
    }

    fn end_both_ways(&self) {
        let _ = shutdown(self, Shutdown::Both);
    }

    fn reset_on_close(&self) {
        // A socket that refuses has failed already.
        let _ = set_socket_linger(self, Some(Duration::ZERO));
    }
}

/// An address of IPv4 as such, by whichever family of sockets it comes (`--listen-dual`).
fn canonical(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V6(v6) => match v6.ip().to_ipv4_mapped() {
            Some(ip) => (ip, v6.port()).into(),
            None => address,
        },
        SocketAddr::V4(_) => address,
    }
}

/// A shard's event descriptor.
#[derive(Debug)]
pub(super) struct WakeUp(OwnedFd);

impl WakeUp {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
    }

    /// The same descriptor, for another owner.
    pub(super) fn try_clone(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }

    /// Its count is read to rearm the edge that the ring waits for.
    fn clear(&self) {
        let mut count = [0; 8];
        // An empty counter is no error.
        let _ = rustix::io::read(&self.0, &mut count);
    }
}

impl Waker for WakeUp {
    fn wake(&self) {
        if let Err(errno) = rustix::io::write(&self.0, &1u64.to_ne_bytes()) {
            tracing::warn!(%errno, "cannot wake a shard; it looks for itself within 1 s");
        }
    }
}

#[cfg(test)]
mod tests;

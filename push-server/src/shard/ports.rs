//! What a shard needs of the world, as traits: its clients' sockets, the kernel's record of who is alive, the time,
//! and randomness. `thread` binds those of the machine; `simulation` has them in memory. The shard names its ports
//! by one parameter, so calls are static.
//!
//! Two more ports are no parameter: the store, [`crate::store::Store`], and the [`Waker`] by which other threads
//! wake a shard, once for many messages.
//!
//! Nothing here knows MQTT: bytes, sockets and numbers.

use std::fmt::Debug;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use bytes::Bytes;
use push_common::clock::Monotonic;
use push_common::heartbeat::Heartbeat;

use crate::transport::Table;

/// One world, by its parts.
pub(crate) trait Ports: Debug + Sized {
    type Wire: Wire;
    type Liveness: Liveness<Socket = SocketOf<Self>>;
    type Clock: Clock;
    type Randomness: Randomness;
}

/// A client's socket.
pub(crate) type SocketOf<P> = <<P as Ports>::Wire as Wire>::Socket;

/// A received piece of bytes.
pub(crate) type PieceOf<P> = <<P as Ports>::Wire as Wire>::Piece;

/// A connection's line in the liveness map.
pub(crate) type SlotOf<P> = <<P as Ports>::Liveness as Liveness>::Slot;

/// Why a wire has failed.
pub(crate) type WireError<P> = <<P as Ports>::Wire as Wire>::Error;

/// Names the client of an operation, by its index and generation; every completion brings it back. Generations have
/// 24 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Token {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

impl Token {
    /// Names no client.
    pub(crate) const NOBODY: Self = Self { index: u32::MAX, generation: u32::MAX };
}

/// Sockets of one shard, and operations on them. Operations are queued and submitted together; completions come
/// only from [`Self::submit_and_wait`].
///
/// A socket is dropped, which closes it, only when its operations have ended: `!more` of a receive,
/// [`Completion::Sent`] or [`Completion::Interrupted`] of a send.
pub(crate) trait Wire: Debug {
    type Socket: Socket;
    /// Received bytes, on loan: a piece that is not given back is a buffer lost.
    type Piece: Debug;
    type Error;

    /// Accepts connections of a listener until cancelled or failed.
    fn accept(&mut self, listener: u32);

    /// Cancels an accept; it ends with [`AcceptFault::Passing`].
    fn cancel_accept(&mut self, listener: u32);

    /// Closes the listeners for ever: the system refuses new connections from now on.
    fn close_listeners(&mut self);

    /// Receives until cancelled, ended or failed.
    fn receive(&mut self, socket: &Self::Socket, token: Token);

    /// Receives one piece.
    fn receive_once(&mut self, socket: &Self::Socket, token: Token);

    /// Cancels a receive; it ends with [`Received::Cancelled`], unless it had ended already.
    fn cancel_receive(&mut self, token: Token);

    /// Sends all chunks, in order; at most one send a token at a time. [`Completion::Sent`] brings `weight`
    /// back: what the caller counts for them.
    fn send(&mut self, socket: &Self::Socket, token: Token, chunks: Vec<Bytes>, weight: u32);

    /// Cancels a send; it still ends with [`Completion::Sent`].
    fn cancel_send(&mut self, token: Token);

    /// Cancels a send, and has the bytes that the socket has not taken given back: it ends with
    /// [`Completion::Interrupted`], or with [`Completion::Sent`] if it was whole or has failed.
    fn interrupt_send(&mut self, token: Token);

    /// Wakes another shard, with this turn's submission.
    fn wake(&mut self, shard: u16);

    /// Submits the queued operations now, rather than at the end of the turn.
    fn submit(&mut self);

    /// Submits the queued operations, and waits for a completion, for at most `timeout`. May return early.
    ///
    /// # Errors
    /// The wire has failed, so the shard cannot go on.
    fn submit_and_wait(&mut self, timeout: Duration) -> Result<(), Self::Error>;

    /// The next completion that the wait has brought.
    fn next_completion(&mut self) -> Option<Completion<Self::Socket, Self::Piece>>;

    fn bytes<'a>(&'a self, piece: &'a Self::Piece) -> &'a [u8];

    fn recycle(&mut self, piece: Self::Piece);

    fn faults(&self) -> WireFaults;
}

/// A client's socket. Dropping it closes it.
pub(crate) trait Socket: Debug {
    fn local_address(&self) -> io::Result<SocketAddr>;

    fn peer_address(&self) -> io::Result<SocketAddr>;

    /// How many bytes have arrived that no receive has brought yet.
    fn unread_bytes(&self) -> io::Result<u64>;

    /// Sends FIN behind all sent bytes. If the socket has failed, its receive says so.
    fn end_sending(&self);

    /// Sends FIN, and ends the receive that is under way.
    fn end_both_ways(&self);

    /// Makes the socket's close send a RST at once, and leave nothing behind that sends.
    fn reset_on_close(&self);
}

/// A finished or progressing operation.
#[derive(Debug)]
pub(crate) enum Completion<S, B> {
    /// A connection, or why not. `!more`: the listener accepts no more.
    Accepted { listener: u32, result: Result<S, AcceptFault>, more: bool },
    /// Bytes, or why not. `!more`: the receive has ended.
    Received { token: Token, received: Received<B>, more: bool },
    /// The socket has accepted all bytes, and how many, or the send has failed.
    Sent { token: Token, weight: u32, result: io::Result<usize> },
    /// A send was interrupted: the socket has accepted so many bytes, and `unsent` follow them, at least one.
    Interrupted { token: Token, weight: u32, accepted: usize, unsent: Vec<Bytes> },
    /// Another shard or thread has something for this one.
    Woken,
}

/// What a receive brought.
#[derive(Debug)]
pub(crate) enum Received<B> {
    /// Bytes, on loan: to be given back by [`Wire::recycle`].
    Data(B),
    /// The peer sent FIN.
    End,
    /// No buffer was free; the receive has ended.
    NoBuffers,
    Cancelled,
    /// The peer answers no more: neither TCP's probes nor what was sent to it.
    Unanswered,
    /// The socket failed otherwise.
    Failed,
}

/// Why there is no connection.
#[derive(Debug)]
pub(crate) enum AcceptFault {
    /// The accept was cancelled, or the peer was gone before it was accepted.
    Passing,
    /// Descriptors or memory are used up.
    Exhausted(io::Error),
    Failed(io::Error),
}

/// Faults of a wire that no completion brings, by the names of `push_ring_faults_total`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct WireFaults {
    pub(crate) stale: u64,
    pub(crate) wake_failed: u64,
    pub(crate) watch_failed: u64,
    pub(crate) queue_full: u64,
}

/// The words of a slot by which user space tells how far both streams are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Boundaries<'a> {
    /// What was parsed, up to the end of a whole packet.
    pub(crate) rx: &'a AtomicU64,
    /// What the socket has accepted, up to the end of a whole frame and record.
    pub(crate) tx: &'a AtomicU64,
}

/// A shard's part of the kernel path: the slots of its connections, whose pings the kernel answers.
pub(crate) trait Liveness: Debug {
    type Socket;
    type Slot: Debug;

    /// The dead-man switch: at least once a second. The kernel stops answering for this shard's
    /// connections when the last stamp is older than 5 s.
    fn stamp_heartbeat(&self, now: Monotonic);

    /// Takes a slot; to be called while no send is under way. If the heartbeats are sealed, also takes an answer table,
    /// and gives it to `begin` before any program can know it. The table stays where it is as long as the process
    /// lives, but the caller may use it only until the slot is released.
    ///
    /// # Errors
    /// Nothing is left behind, and the connection is served by user space alone.
    fn register(
        &mut self,
        socket: &Self::Socket,
        registration: &Registration,
        begin: impl FnOnce(&'static Table),
        now: Monotonic,
    ) -> Result<Self::Slot, Unarmed>;

    /// Lets the kernel answer; to be called once, when the CONNACK has been sent.
    ///
    /// # Errors
    /// The slot is to be released, and the connection is served by user space alone.
    fn arm(
        &self,
        socket: &Self::Socket,
        slot: &mut Self::Slot,
        now: Monotonic,
    ) -> Result<(), Unarmed>;

    /// The connection has come from another shard, and is this one's `client`: the slot names both from now on. This
    /// shard gives it back. All else in it stays as it is, because the kernel goes on with the flow.
    fn adopt(&self, slot: &Self::Slot, client: u32);

    /// Whether the kernel may answer the connection's pings.
    fn is_armed(&self, slot: &Self::Slot) -> bool;

    /// Gives `store` the slot's words, to publish one boundary or both. Boundaries never go back.
    fn publish(&self, slot: &Self::Slot, store: impl FnOnce(Boundaries<'_>));

    /// Appends the clients whose tables run low, as far as the programs have noted it since the last call. One that
    /// has gone may be among them, or another one that has its number now.
    fn take_low_tables(&mut self, clients: &mut Vec<u32>);

    /// When the kernel last answered a ping of this connection; the registration if never.
    fn last_seen(&self, slot: &Self::Slot) -> Monotonic;

    /// How many pings of this connection the kernel has answered.
    fn pings(&self, slot: &Self::Slot) -> u64;

    /// The connection is being closed: the kernel answers no more pings.
    fn closing(&self, slot: &Self::Slot);

    /// Call it before closing the socket. Returns whether the system will go on to send bytes that
    /// the programs must translate.
    fn before_close(&self, socket: &Self::Socket, slot: &Self::Slot, is_stopping: bool) -> bool;

    /// The socket is closed: gives the slot back. `speaks`: see [`Self::before_close`].
    fn release(&mut self, slot: Self::Slot, speaks: bool, now: Monotonic);

    /// The shard ends, and has closed every socket.
    fn leave(&self);

    /// Forgets connections that have been closed for long; call about once a second. A bounded number
    /// per call; returns whether there may be more.
    fn sweep(&mut self, now: Monotonic) -> bool;
}

/// A connection that is to have a slot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Registration {
    pub(crate) local: SocketAddr,
    pub(crate) peer: SocketAddr,
    /// The client, by the shard's own count.
    pub(crate) client: u32,
    /// What its heartbeats are on the wire.
    pub(crate) heartbeat: Heartbeat,
    /// Nanoseconds between two pings in the long run, at least; 0: no limit.
    pub(crate) ping_interval_ns: u32,
    /// Bytes that came on the wire up to the end of the last whole packet.
    pub(crate) rx: u64,
    /// Bytes that the socket was given, all of which it has accepted.
    pub(crate) tx: u64,
}

/// Why one connection is not served by the kernel; a metric label each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unarmed {
    /// The shard's slots are used up.
    NoSlot,
    /// Its heartbeats are inside TLS, and all answer tables are in use.
    NoTable,
    /// The flow map has no room, or the addresses alone do not tell the connection.
    FlowMap,
    /// Bytes overtook others before the flow was there.
    OutOfOrder,
    /// A first fragment, perhaps of its, came before the flow was there.
    EarlyFragment,
    /// Its timestamps are microseconds.
    FineTimestamps,
    /// It comes or leaves by an interface without our programs, or leaves by another than it comes.
    Interface,
    /// The socket could not be asked.
    Socket,
}

/// The clock of every decision.
pub(crate) trait Clock: Debug {
    fn now(&self) -> Monotonic;

    /// What the wall clock says, in milliseconds since 1970. It may be set at any time, forwards and backwards.
    fn wall_millis(&self) -> u64;
}

/// Randomness for nonces and names, which no client may guess.
pub(crate) trait Randomness: Debug {
    fn fill(&mut self, bytes: &mut [u8]);

    fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }
}

/// Wakes a shard from any thread.
pub(crate) trait Waker: Debug + Send + Sync {
    fn wake(&self);
}

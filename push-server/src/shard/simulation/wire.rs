//! The wire in memory: connections are two buffers, and operations end at the next wait, as the ring's do.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use super::bell::Bell;
use crate::shard::ports::{AcceptFault, Completion, Received, Socket, Token, Wire, WireFaults};

/// A shard's listeners.
pub(super) const LISTENER_TCP: u32 = 0;
pub(super) const LISTENER_WEBSOCKET: u32 = 1;
/// The listener for MQTT inside TLS.
pub(super) const LISTENER_TLS: u32 = 2;
/// The listener for MQTT behind proxies.
pub(super) const LISTENER_PROXIED: u32 = 3;

/// Networks that clients connect from, one host a shard.
pub(super) const NETWORK: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 0);
pub(super) const OTHER_NETWORK: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 0);

/// What a receive brings at once: a receive buffer of the ring has as many bytes.
const PIECE_BYTES: usize = 4_096;

/// The port that clients connect to.
const PORT: u16 = 1_883;

/// A client's end of a connection. Dropping it leaves the connection as it is.
#[derive(Debug)]
pub struct Peer(Arc<Pipe>);

impl Peer {
    /// Sends bytes to the server.
    pub fn send(&self, bytes: &[u8]) {
        self.0.state().to_server.extend(bytes);
    }

    /// Takes what the server has sent.
    pub fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.state().to_client)
    }

    /// From now on at most so many bytes wait for it to be taken; what is beyond them the server's sends
    /// wait for.
    pub fn set_window(&self, bytes: usize) {
        self.0.state().window = bytes;
    }

    /// From now on a receive of the server's brings at most so many bytes at once.
    pub fn set_piece_bytes(&self, bytes: usize) {
        self.0.state().piece_bytes = bytes.clamp(1, PIECE_BYTES);
    }

    /// Bytes that the server has not received yet.
    pub fn unread(&self) -> usize {
        self.0.state().to_server.len()
    }

    /// How many bytes have come from the server that were not taken.
    pub fn arrived(&self) -> usize {
        self.0.state().to_client.len()
    }

    /// Gives back the memory that the connection's two buffers have in reserve: it is no part of a server.
    pub fn shrink(&self) {
        let mut state = self.0.state();
        state.to_server.shrink_to_fit();
        state.to_client.shrink_to_fit();
    }

    /// Whether the server has received anything of it, though it may not have looked at it yet.
    pub(super) fn is_heard(&self) -> bool {
        self.0.state().is_heard
    }

    /// Sends FIN.
    pub fn end(&self) {
        self.0.state().client_ended = true;
    }

    /// Sends RST: what is under way is lost.
    pub fn reset(&self) {
        let mut state = self.0.state();
        state.is_reset = true;
        state.to_server.clear();
        state.to_client.clear();
    }

    /// Whether the server has sent FIN.
    pub fn is_ended(&self) -> bool {
        self.0.state().server_ended
    }

    /// Whether the server has let go of its socket.
    pub fn is_closed(&self) -> bool {
        self.0.state().is_closed
    }

    /// Its own address.
    pub fn address(&self) -> SocketAddr {
        self.0.client
    }
}

/// A connection.
#[derive(Debug)]
struct Pipe {
    client: SocketAddr,
    state: Mutex<PipeState>,
}

#[derive(Debug)]
struct PipeState {
    to_server: VecDeque<u8>,
    to_client: Vec<u8>,
    /// Bytes that wait for the client at most.
    window: usize,
    /// Bytes that a receive brings at most.
    piece_bytes: usize,
    client_ended: bool,
    /// The server has received something.
    is_heard: bool,
    server_ended: bool,
    /// The server receives no more.
    is_deaf: bool,
    is_reset: bool,
    is_closed: bool,
}

impl Pipe {
    fn new(client: SocketAddr) -> Self {
        let state = PipeState {
            to_server: VecDeque::new(),
            to_client: Vec::new(),
            window: usize::MAX,
            piece_bytes: PIECE_BYTES,
            client_ended: false,
            is_heard: false,
            server_ended: false,
            is_deaf: false,
            is_reset: false,
            is_closed: false,
        };
        Self { client, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, PipeState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The server's end of a connection.
#[derive(Debug)]
pub(super) struct MemorySocket(Arc<Pipe>);

impl Drop for MemorySocket {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.server_ended = true;
        state.is_closed = true;
    }
}

impl Socket for MemorySocket {
    fn local_address(&self) -> io::Result<SocketAddr> {
        Ok((Ipv4Addr::LOCALHOST, PORT).into())
    }

    fn peer_address(&self) -> io::Result<SocketAddr> {
        Ok(self.0.client)
    }

    fn unread_bytes(&self) -> io::Result<u64> {
        Ok(self.0.state().to_server.len() as u64)
    }

    fn end_sending(&self) {
        self.0.state().server_ended = true;
    }

    fn end_both_ways(&self) {
        let mut state = self.0.state();
        state.server_ended = true;
        state.is_deaf = true;
    }

    fn reset_on_close(&self) {
        self.0.state().is_reset = true;
    }
}

/// A shard's wire.
#[derive(Debug)]
pub(super) struct MemoryWire {
    queued: Vec<Operation>,
    listeners: Vec<Listener>,
    /// By index and generation, so that the order is the same in every run.
    receives: BTreeMap<(u32, u32), Receive>,
    /// The same.
    sends: BTreeMap<(u32, u32), Sending>,
    ready: VecDeque<Completion<MemorySocket, Vec<u8>>>,
    bell: Arc<Bell>,
    /// Of every shard, in order.
    bells: Vec<Arc<Bell>>,
    pieces_lent: usize,
    connected: u32,
    /// Receives that find no buffer.
    starved: u32,
}

#[derive(Debug, Default)]
struct Listener {
    is_accepting: bool,
    backlog: VecDeque<MemorySocket>,
}

#[derive(Debug)]
struct Receive {
    pipe: Arc<Pipe>,
    is_once: bool,
}

#[derive(Debug)]
struct Sending {
    pipe: Arc<Pipe>,
    bytes: Vec<u8>,
    accepted: usize,
    /// The caller's.
    weight: u32,
}

/// Queued until the next wait.
#[derive(Debug)]
enum Operation {
    Accept { listener: u32 },
    CancelAccept { listener: u32 },
    Receive { token: Token, receive: Receive },
    CancelReceive { token: Token },
    Send { token: Token, sending: Sending },
    CancelSend { token: Token },
    InterruptSend { token: Token },
    Wake { shard: u16 },
}

impl MemoryWire {
    /// `bell`: the shard's own; `bells`: those of all shards.
    pub(super) fn new(listeners: usize, bell: Arc<Bell>, bells: Vec<Arc<Bell>>) -> Self {
        Self {
            queued: Vec::new(),
            listeners: (0..listeners).map(|_| Listener::default()).collect(),
            receives: BTreeMap::new(),
            sends: BTreeMap::new(),
            ready: VecDeque::new(),
            bell,
            bells,
            pieces_lent: 0,
            connected: 0,
            starved: 0,
        }
    }

    /// A client connects; where nothing listens any more, it is refused.
    pub(super) fn connect(&mut self, listener: u32) -> Peer {
        self.connect_from(NETWORK, listener)
    }

    /// The same from a network.
    pub(super) fn connect_from(&mut self, network: Ipv4Addr, listener: u32) -> Peer {
        self.connected += 1;
        // A client of the next shard has the same port at times, and another address.
        let shard = self.bells.iter().position(|bell| Arc::ptr_eq(bell, &self.bell));
        let host = Ipv4Addr::from_bits(network.to_bits() + shard.unwrap_or(0) as u32);
        let port = u16::try_from(self.connected).unwrap_or(u16::MAX);
        let client = SocketAddr::from((host, port));
        let pipe = Arc::new(Pipe::new(client));
        let socket = MemorySocket(Arc::clone(&pipe));
        match self.listeners.get_mut(listener as usize) {
            Some(listener) => listener.backlog.push_back(socket),
            None => drop(socket),
        }
        Peer(pipe)
    }

    pub(super) fn pieces_lent(&self) -> usize {
        self.pieces_lent
    }

    /// Operations that have not ended.
    pub(super) fn under_way(&self) -> usize {
        self.receives.len() + self.sends.len()
    }

    /// So many receives find no buffer.
    pub(super) fn starve(&mut self, receives: u32) {
        self.starved = receives;
    }

    /// Whether a wait would end at once.
    pub(super) fn is_ready(&mut self) -> bool {
        self.collect();
        !self.ready.is_empty()
    }

    /// Makes completions of what has come to pass.
    pub(super) fn collect(&mut self) {
        if self.bell.take() {
            self.ready.push_back(Completion::Woken);
        }
        for (index, listener) in (0u32..).zip(&mut self.listeners) {
            if listener.is_accepting {
                let accepted = listener.backlog.drain(..).map(|socket| Completion::Accepted {
                    listener: index,
                    result: Ok(socket),
                    more: true,
                });
                self.ready.extend(accepted);
            }
        }
        let (ready, lent, starved) = (&mut self.ready, &mut self.pieces_lent, &mut self.starved);
        self.sends.retain(|&(index, generation), sending| {
            let Some(result) = sending.go_on() else { return true };
            let (token, weight) = (Token { index, generation }, sending.weight);
            ready.push_back(Completion::Sent { token, weight, result });
            false
        });
        self.receives.retain(|&(index, generation), receive| {
            let token = Token { index, generation };
            if *starved > 0 && receive.has_data() {
                *starved -= 1;
                let received = Received::NoBuffers;
                ready.push_back(Completion::Received { token, received, more: false });
                return false;
            }
            let mut more = true;
            while more && let Some((received, ends)) = receive.next() {
                *lent += usize::from(matches!(received, Received::Data(_)));
                more = !ends;
                ready.push_back(Completion::Received { token, received, more });
            }
            more
        });
    }

    fn begin(&mut self, operation: Operation) {
        match operation {
            Operation::Accept { listener } => {
                if let Some(listener) = self.listeners.get_mut(listener as usize) {
                    listener.is_accepting = true;
                }
            }
            Operation::CancelAccept { listener: index } => {
                if let Some(listener) = self.listeners.get_mut(index as usize)
                    && std::mem::take(&mut listener.is_accepting)
                {
                    let result = Err(AcceptFault::Passing);
                    self.ready.push_back(Completion::Accepted {
                        listener: index,
                        result,
                        more: false,
                    });
                }
            }
            Operation::Receive { token, receive } => {
                let before = self.receives.insert((token.index, token.generation), receive);
                assert!(before.is_none(), "two receives of one client");
            }
            Operation::CancelReceive { token } => {
                if self.receives.remove(&(token.index, token.generation)).is_some() {
                    let received = Received::Cancelled;
                    self.ready.push_back(Completion::Received { token, received, more: false });
                }
            }
            Operation::Send { token, sending } => {
                let before = self.sends.insert((token.index, token.generation), sending);
                assert!(before.is_none(), "two sends of one client");
            }
            Operation::CancelSend { token } => {
                if let Some(sending) = self.sends.remove(&(token.index, token.generation)) {
                    let result = Err(io::ErrorKind::Interrupted.into());
                    self.ready.push_back(Completion::Sent {
                        token,
                        weight: sending.weight,
                        result,
                    });
                }
            }
            Operation::InterruptSend { token } => {
                if let Some(sending) = self.sends.remove(&(token.index, token.generation)) {
                    let Sending { mut bytes, accepted, weight, .. } = sending;
                    let unsent = vec![bytes.split_off(accepted).into()];
                    self.ready.push_back(Completion::Interrupted {
                        token,
                        weight,
                        accepted,
                        unsent,
                    });
                }
            }
            Operation::Wake { shard } => self.bells[usize::from(shard)].ring(),
        }
    }
}

impl Receive {
    fn has_data(&self) -> bool {
        let state = self.pipe.state();
        !state.is_reset && !state.is_deaf && !state.to_server.is_empty()
    }

    /// What there is now, and whether the receive ends with it.
    fn next(&self) -> Option<(Received<Vec<u8>>, bool)> {
        let mut state = self.pipe.state();
        if state.is_reset {
            return Some((Received::Failed, true));
        }
        if state.is_deaf {
            return Some((Received::End, true));
        }
        let len = state.to_server.len().min(state.piece_bytes);
        if len > 0 {
            state.is_heard = true;
            return Some((Received::Data(state.to_server.drain(..len).collect()), self.is_once));
        }
        state.client_ended.then_some((Received::End, true))
    }
}

impl Sending {
    /// Hands on what finds room. Returns how the send has ended, if it has.
    fn go_on(&mut self) -> Option<io::Result<usize>> {
        let mut state = self.pipe.state();
        if state.is_reset || state.server_ended {
            return Some(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let room = state.window.saturating_sub(state.to_client.len());
        let left = &self.bytes[self.accepted..];
        let accepted = room.min(left.len());
        state.to_client.extend(&left[..accepted]);
        self.accepted += accepted;
        (self.accepted == self.bytes.len()).then_some(Ok(self.accepted))
    }
}

impl Wire for MemoryWire {
    type Socket = MemorySocket;
    type Piece = Vec<u8>;
    type Error = Infallible;

    fn accept(&mut self, listener: u32) {
        self.queued.push(Operation::Accept { listener });
    }

    fn cancel_accept(&mut self, listener: u32) {
        self.queued.push(Operation::CancelAccept { listener });
    }

    fn close_listeners(&mut self) {
        self.listeners.clear();
    }

    fn receive(&mut self, socket: &MemorySocket, token: Token) {
        let receive = Receive { pipe: Arc::clone(&socket.0), is_once: false };
        self.queued.push(Operation::Receive { token, receive });
    }

    fn receive_once(&mut self, socket: &MemorySocket, token: Token) {
        let receive = Receive { pipe: Arc::clone(&socket.0), is_once: true };
        self.queued.push(Operation::Receive { token, receive });
    }

    fn cancel_receive(&mut self, token: Token) {
        self.queued.push(Operation::CancelReceive { token });
    }

    fn send(&mut self, socket: &MemorySocket, token: Token, chunks: Vec<Bytes>, weight: u32) {
        let (pipe, bytes) = (Arc::clone(&socket.0), chunks.concat());
        let sending = Sending { pipe, bytes, accepted: 0, weight };
        self.queued.push(Operation::Send { token, sending });
    }

    fn cancel_send(&mut self, token: Token) {
        self.queued.push(Operation::CancelSend { token });
    }

    fn interrupt_send(&mut self, token: Token) {
        self.queued.push(Operation::InterruptSend { token });
    }

    fn wake(&mut self, shard: u16) {
        self.queued.push(Operation::Wake { shard });
    }

    fn submit(&mut self) {
        for operation in std::mem::take(&mut self.queued) {
            self.begin(operation);
        }
    }

    fn submit_and_wait(&mut self, _timeout: Duration) -> Result<(), Infallible> {
        self.submit();
        self.collect();
        Ok(())
    }

    fn next_completion(&mut self) -> Option<Completion<MemorySocket, Vec<u8>>> {
        self.ready.pop_front()
    }

    fn bytes<'a>(&'a self, piece: &'a Vec<u8>) -> &'a [u8] {
        piece
    }

    fn recycle(&mut self, _piece: Vec<u8>) {
        self.pieces_lent -= 1;
    }

    fn faults(&self) -> WireFaults {
        WireFaults::default()
    }
}

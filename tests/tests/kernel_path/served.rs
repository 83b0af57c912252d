//! A connection that the kernel may serve: a client, and a plain TCP stand-in for the server, which registers it and
//! answers what the kernel leaves to it.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use push_server::kernel::{KernelPath, Registration, ShardPath, SlotRef, Unarmed};
use socket2::SockRef;

use super::path::{PATIENCE, counted, counter, now};

pub(crate) const PINGREQ: [u8; 2] = [0xC0, 0x00];
pub(crate) const PINGRESP: [u8; 2] = [0xD0, 0x00];
const CONNECT: [u8; 14] = *b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x0a\x00\x00";
pub(crate) const CONNACK: [u8; 4] = [0x20, 0x02, 0x00, 0x00];
/// First byte of our stand-in for PUBLISH: four bytes of length follow, and the payload.
const DATA: u8 = 0x30;

/// A frame of `bytes` payload that differ by place.
pub(crate) fn frame(bytes: usize) -> Vec<u8> {
    let mut frame = vec![DATA];
    frame.extend((bytes as u32).to_be_bytes());
    frame.extend((0..bytes).map(|at| (at / 7 + at % 251) as u8));
    frame
}

/// What the stand-in is told to do.
pub(crate) enum Order {
    /// Send this frame.
    Send(Vec<u8>),
    /// Close, and give the handle back.
    Close,
}

/// What the stand-in saw.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Saw {
    Ping,
    Frame(Vec<u8>),
    End,
}

/// A connected client and its stand-in server, which owns the shard's handle.
pub(crate) struct Served {
    pub(crate) client: TcpStream,
    pub(crate) orders: Sender<Order>,
    saw: Receiver<Saw>,
    /// Ends with the shard's handle, and how many pings the kernel has answered by the slot's count.
    pub(crate) server: JoinHandle<(ShardPath, u64)>,
}

impl Served {
    /// Connects, registers, and exchanges CONNECT and CONNACK. `connect` runs where the client lives.
    pub(crate) fn open(
        mut shard: ShardPath,
        listen: IpAddr,
        connect: impl FnOnce(SocketAddr) -> io::Result<TcpStream> + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind((listen, 0)).expect("listen");
        let address = listener.local_addr().expect("local address");
        let connecting = thread::spawn(move || connect(address));
        let (mut socket, _) = listener.accept().expect("accept");
        let mut client = connecting.join().expect("connect thread").expect("connect");
        client.set_nodelay(true).expect("nodelay");
        client.set_read_timeout(Some(PATIENCE)).expect("timeout");

        client.write_all(&CONNECT).expect("CONNECT");
        let mut connect = [0; CONNECT.len()];
        socket.read_exact(&mut connect).expect("read CONNECT");
        shard.stamp_heartbeat(now());
        let rx = CONNECT.len() as u64;
        let slot = armed(&mut shard, &socket, &client, rx);

        let (orders, ordered) = channel();
        let (seen, saw) = channel();
        let server = thread::spawn(move || {
            let mut stand_in =
                StandIn { socket, shard, slot, rx, tx: CONNACK.len() as u64, unparsed: Vec::new() };
            stand_in.serve(&ordered, &seen);
            stand_in.finish()
        });
        Self { client, orders, saw, server }
    }

    /// Sends PINGREQ and reads PINGRESP.
    pub(crate) fn ping(&mut self) {
        self.client.write_all(&PINGREQ).expect("PINGREQ");
        let mut answer = [0; 2];
        self.client.read_exact(&mut answer).expect("PINGRESP");
        assert_eq!(answer, PINGRESP);
    }

    /// Pings until the kernel answers. The client's stack may hold its ACK of the last data back
    /// (40 ms) and send it with a ping, which then is not the kernel's to answer (rule 4).
    pub(crate) fn ping_until_kernel_answers(&mut self, path: &KernelPath) {
        let before = counter(path, "answered");
        for _ in 0..20 {
            self.ping();
            if counter(path, "answered") > before {
                return;
            }
            assert_eq!(self.saw.recv_timeout(PATIENCE).expect("a ping"), Saw::Ping);
            thread::sleep(Duration::from_millis(60));
        }
        panic!("20 pings, none answered in the kernel: {:?}", counted(path));
    }

    pub(crate) fn client_sends(&mut self, bytes: usize) {
        let sent = frame(bytes);
        self.client.write_all(&sent).expect("client's frame");
        let saw = self.saw.recv_timeout(PATIENCE).expect("frame arrives");
        assert!(saw == Saw::Frame(sent), "the client's frame arrived changed");
    }

    pub(crate) fn server_sends(&mut self, bytes: usize) {
        let sent = frame(bytes);
        self.orders.send(Order::Send(sent.clone())).expect("stand-in lives");
        let mut read = vec![0; sent.len()];
        self.client.read_exact(&mut read).expect("server's frame");
        assert!(read == sent, "the server's frame arrived changed");
    }

    /// Pings that reached the stand-in since the last call.
    pub(crate) fn pings_seen(&self) -> usize {
        self.saw.try_iter().filter(|saw| *saw == Saw::Ping).count()
    }

    /// The server closes; both ends must come to an orderly end. Returns what the stand-in
    /// ends with.
    pub(crate) fn close(mut self) -> (ShardPath, u64) {
        self.orders.send(Order::Close).expect("stand-in lives");
        let mut rest = Vec::new();
        self.client.read_to_end(&mut rest).expect("orderly end");
        assert!(rest.is_empty(), "{rest:?}");
        drop(self.client);
        self.server.join().expect("stand-in")
    }

    /// The tour that every link takes.
    pub(crate) fn tour(mut self, path: &KernelPath) {
        self.ping_until_kernel_answers(path);
        let before = counter(path, "answered");
        for _ in 0..50 {
            self.ping();
        }
        assert_eq!(self.pings_seen(), 0, "the server saw pings: {:?}", counted(path));
        assert_eq!(counter(path, "answered"), before + 50);

        for bytes in [1, 100, 20_000, 300_000] {
            self.client_sends(bytes);
            self.server_sends(bytes);
            self.ping_until_kernel_answers(path);
        }
        assert!(counter(path, "translated") > 0);
        // Nothing follows at once, so the client's stack acknowledges by itself.
        for _ in 0..2 {
            self.ping();
            thread::sleep(Duration::from_millis(100));
        }
        assert!(counter(path, "absorbed") > 0, "{:?}", counted(path));

        for _ in 0..300 {
            self.ping();
        }
        assert_eq!(counter(path, "every_256th"), 1);
        for drop in ["stale_bytes", "unexpected", "rewrite_failed"] {
            assert_eq!(counter(path, drop), 0, "{drop}");
        }
        let answered = counter(path, "answered");
        let (mut shard, pings) = self.close();
        assert_eq!(pings, answered, "the slot's count");
        shard.sweep(now());
    }
}

/// Registers a connection of which user space has parsed `rx` bytes.
pub(crate) fn register(
    shard: &mut ShardPath,
    socket: &TcpStream,
    rx: u64,
) -> Result<SlotRef, Unarmed> {
    let [local, peer] = [socket.local_addr(), socket.peer_addr()].map(|end| end.expect("address"));
    let registration = Registration { rx, ..Registration::new(local, peer) };
    shard.register(socket.as_fd(), &registration, |_| {}, now())
}

/// Registers a connection and says CONNACK.
pub(crate) fn said_connack(shard: &mut ShardPath, socket: &TcpStream, rx: u64) -> SlotRef {
    let slot = register(shard, socket, rx).expect("registered");
    (&*socket).write_all(&CONNACK).expect("CONNACK");
    shard.tx_word(&slot).store(CONNACK.len() as u64, Ordering::Release);
    slot
}

/// The same, and the kernel may answer pings from then on: the client has read its CONNACK.
pub(crate) fn armed(
    shard: &mut ShardPath,
    socket: &TcpStream,
    mut client: &TcpStream,
    rx: u64,
) -> SlotRef {
    let mut slot = said_connack(shard, socket, rx);
    shard.arm(socket.as_fd(), &mut slot, now()).expect("armed");
    let mut connack = [0; CONNACK.len()];
    client.read_exact(&mut connack).expect("read CONNACK");
    assert_eq!(connack, CONNACK);
    slot
}

/// The server's side of one connection.
struct StandIn {
    socket: TcpStream,
    shard: ShardPath,
    slot: SlotRef,
    rx: u64,
    tx: u64,
    unparsed: Vec<u8>,
}

impl StandIn {
    fn serve(&mut self, orders: &Receiver<Order>, seen: &Sender<Saw>) {
        self.socket.set_read_timeout(Some(Duration::from_millis(5))).expect("timeout");
        let mut buffer = vec![0; 65536];
        loop {
            self.shard.stamp_heartbeat(now());
            match orders.try_recv() {
                Ok(Order::Send(frame)) => self.send(&frame),
                Ok(Order::Close) | Err(TryRecvError::Disconnected) => return,
                Err(TryRecvError::Empty) => {}
            }
            match self.socket.read(&mut buffer) {
                Ok(0) => {
                    let _ = seen.send(Saw::End);
                    return;
                }
                Ok(bytes) => self.unparsed.extend_from_slice(&buffer[..bytes]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => panic!("stand-in reads: {error}"),
            }
            while let Some(saw) = self.parse() {
                if saw == Saw::Ping {
                    self.send(&PINGRESP);
                }
                let _ = seen.send(saw);
            }
        }
    }

    fn parse(&mut self) -> Option<Saw> {
        let (bytes, saw) = match self.unparsed.as_slice() {
            [0xC0, 0x00, ..] => (2, Saw::Ping),
            [DATA, a, b, c, d, payload @ ..] => {
                let bytes = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
                if payload.len() < bytes {
                    return None;
                }
                (5 + bytes, Saw::Frame(self.unparsed[..5 + bytes].to_vec()))
            }
            [] | [0xC0] | [DATA, ..] => return None,
            other => {
                panic!("the server's stream is broken: {:02x?}", &other[..other.len().min(16)])
            }
        };
        self.unparsed.drain(..bytes);
        self.rx += bytes as u64;
        self.shard.rx_word(&self.slot).store(self.rx, Ordering::Release);
        Some(saw)
    }

    fn send(&mut self, frame: &[u8]) {
        self.socket.write_all(frame).expect("stand-in writes");
        self.tx += frame.len() as u64;
        self.shard.tx_word(&self.slot).store(self.tx, Ordering::Release);
    }

    fn finish(mut self) -> (ShardPath, u64) {
        let pings = self.shard.pings(&self.slot);
        self.shard.closing(&self.slot);
        let speaks = self.shard.before_close(self.socket.as_fd(), &self.slot, false);
        // Nothing is pinned, so this would be a reset: but this process lives on, with the programs.
        SockRef::from(&self.socket).set_linger(None).expect("close it as it is");
        drop(self.socket);
        self.shard.release(self.slot, speaks, now());
        (self.shard, pings)
    }
}

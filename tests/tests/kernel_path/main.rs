//! The kernel path against a real kernel, without the server: a plain TCP stand-in registers its
//! connections with `push_server::kernel`, and the counters tell who answered. Needs root; says so
//! by name where it cannot run.
mod devices;
mod namespace;
mod retention;
mod routes;

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use namespace::{Veth, ip, private_lo};
use push_common::clock::Monotonic;
use push_server::kernel::{
    KernelPath, KernelPathError, KernelPathOptions, Registration, ShardPath, SlotRef, Unarmed,
    interfaces_for,
};
use push_tests::skip::{Skip, need_kernel_path_kernel, need_root, report};
use socket2::SockRef;

const PINGREQ: [u8; 2] = [0xC0, 0x00];
const PINGRESP: [u8; 2] = [0xD0, 0x00];
const CONNECT: [u8; 14] = *b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x0a\x00\x00";
const CONNACK: [u8; 4] = [0x20, 0x02, 0x00, 0x00];
/// First byte of our stand-in for PUBLISH: four bytes of length follow, and the payload.
const DATA: u8 = 0x30;

/// No step of these tests takes longer; a read that does has failed.
const PATIENCE: Duration = Duration::from_secs(60);

fn now() -> Monotonic {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Monotonic(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}

/// A frame of `bytes` payload that differ by place.
fn frame(bytes: usize) -> Vec<u8> {
    let mut frame = vec![DATA];
    frame.extend((bytes as u32).to_be_bytes());
    frame.extend((0..bytes).map(|at| (at / 7 + at % 251) as u8));
    frame
}

/// What the stand-in is told to do.
enum Order {
    /// Send this frame.
    Send(Vec<u8>),
    /// Close, and give the handle back.
    Close,
}

/// What the stand-in saw.
#[derive(Debug, PartialEq, Eq)]
enum Saw {
    Ping,
    Frame(Vec<u8>),
    End,
}

/// A connected client and its stand-in server, which owns the shard's handle.
struct Served {
    client: TcpStream,
    orders: Sender<Order>,
    saw: Receiver<Saw>,
    server: JoinHandle<(ShardPath, u64)>,
}

impl Served {
    /// Connects, registers, and exchanges CONNECT and CONNACK. `client_side` runs the connect where
    /// the client lives.
    fn open(
        mut shard: ShardPath,
        listen: IpAddr,
        connect: impl FnOnce(SocketAddr) -> io::Result<TcpStream> + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind((listen, 0)).expect("listen");
        let address = listener.local_addr().expect("local address");
        let connecting = thread::spawn(move || connect(address));
        let (mut socket, peer) = listener.accept().expect("accept");
        let mut client = connecting.join().expect("connect thread").expect("connect");
        client.set_nodelay(true).expect("nodelay");
        client.set_read_timeout(Some(PATIENCE)).expect("timeout");

        client.write_all(&CONNECT).expect("CONNECT");
        let mut connect = [0; CONNECT.len()];
        socket.read_exact(&mut connect).expect("read CONNECT");
        let local = socket.local_addr().expect("local address");
        shard.stamp_heartbeat(now());
        let rx = CONNECT.len() as u64;
        let slot = shard.register(
            socket.as_fd(),
            &Registration { rx, ..Registration::new(local, peer) },
            now(),
        );
        let mut slot = slot.expect("registered");
        socket.write_all(&CONNACK).expect("CONNACK");
        shard.set_tx(&slot, CONNACK.len() as u64);
        shard.arm(socket.as_fd(), &mut slot, now()).expect("armed");
        let mut connack = [0; CONNACK.len()];
        client.read_exact(&mut connack).expect("read CONNACK");
        assert_eq!(connack, CONNACK);

        let (orders, ordered) = channel();
        let (seen, saw) = channel();
        let server = thread::spawn(move || {
            let mut stand_in = StandIn { socket, shard, slot, rx, tx: 4, unparsed: Vec::new() };
            stand_in.serve(&ordered, &seen);
            stand_in.finish()
        });
        Self { client, orders, saw, server }
    }

    /// Sends PINGREQ and reads PINGRESP.
    fn ping(&mut self) {
        self.client.write_all(&PINGREQ).expect("PINGREQ");
        let mut answer = [0; 2];
        self.client.read_exact(&mut answer).expect("PINGRESP");
        assert_eq!(answer, PINGRESP);
    }

    /// Pings until the kernel answers. The client's stack may hold its ACK of the last data back
    /// (40 ms) and send it with a ping, which then is not the kernel's to answer (rule 4).
    fn ping_until_kernel_answers(&mut self, path: &KernelPath) {
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

    fn client_sends(&mut self, bytes: usize) {
        let sent = frame(bytes);
        self.client.write_all(&sent).expect("client's frame");
        let saw = self.saw.recv_timeout(PATIENCE).expect("frame arrives");
        assert!(saw == Saw::Frame(sent), "the client's frame arrived changed");
    }

    fn server_sends(&mut self, bytes: usize) {
        let sent = frame(bytes);
        self.orders.send(Order::Send(sent.clone())).expect("stand-in lives");
        let mut read = vec![0; sent.len()];
        self.client.read_exact(&mut read).expect("server's frame");
        assert!(read == sent, "the server's frame arrived changed");
    }

    /// Pings that reached the stand-in since the last call.
    fn pings_seen(&self) -> usize {
        self.saw.try_iter().filter(|saw| *saw == Saw::Ping).count()
    }

    /// The server closes; both ends must come to an orderly end. Returns the handle, and how many
    /// pings the kernel has answered by the slot's count.
    fn close(mut self) -> (ShardPath, u64) {
        self.orders.send(Order::Close).expect("stand-in lives");
        let mut rest = Vec::new();
        self.client.read_to_end(&mut rest).expect("orderly end");
        assert!(rest.is_empty(), "{rest:?}");
        drop(self.client);
        self.server.join().expect("stand-in")
    }
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
        self.shard.set_rx(&self.slot, self.rx);
        Some(saw)
    }

    fn send(&mut self, frame: &[u8]) {
        self.socket.write_all(frame).expect("stand-in writes");
        self.tx += frame.len() as u64;
        self.shard.set_tx(&self.slot, self.tx);
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

/// Loads the programs on `interface`; `None`, reported as skipped, where this machine cannot.
fn load(test: &str, interface: &str) -> Option<KernelPath> {
    load_for(test, interface, 1)
}

/// The same for so many shards.
fn load_for(test: &str, interface: &str, shards: u16) -> Option<KernelPath> {
    if let Err(skip) = need_kernel_path_kernel() {
        report(test, Err(skip));
        return None;
    }
    let options = KernelPathOptions {
        interfaces: vec![interface.to_owned()],
        connections_max: 64,
        shards,
        ping_burst: 1,
        place_seed: 1,
    };
    match KernelPath::load(&options) {
        Ok(path) => Some(path),
        Err(error) if rustix::process::geteuid().is_root() => panic!("{test}: {error:?}"),
        Err(error) => {
            report(test, Err(Skip::kernel_path(error.to_string())));
            None
        }
    }
}

fn counter(path: &KernelPath, name: &str) -> u64 {
    path.counters().iter().find(|counter| counter.name == name).expect("a counter's name").value
}

/// Every counter that has counted.
fn counted(path: &KernelPath) -> Vec<(&'static str, u64)> {
    let all = path.counters().into_iter();
    all.filter(|counter| counter.value > 0).map(|counter| (counter.name, counter.value)).collect()
}

/// The tour that every link takes.
fn tour(path: &KernelPath, mut served: Served) {
    served.ping_until_kernel_answers(path);
    let before = counter(path, "answered");
    for _ in 0..50 {
        served.ping();
    }
    assert_eq!(served.pings_seen(), 0, "the server saw pings: {:?}", counted(path));
    assert_eq!(counter(path, "answered"), before + 50);

    for bytes in [1, 100, 20_000, 300_000] {
        served.client_sends(bytes);
        served.server_sends(bytes);
        served.ping_until_kernel_answers(path);
    }
    assert!(counter(path, "translated") > 0);
    // Nothing follows at once, so the client's stack acknowledges by itself.
    for _ in 0..2 {
        served.ping();
        thread::sleep(Duration::from_millis(100));
    }
    assert!(counter(path, "absorbed") > 0, "{:?}", counted(path));

    for _ in 0..300 {
        served.ping();
    }
    assert_eq!(counter(path, "every_256th"), 1);
    for drop in ["stale_bytes", "unexpected", "rewrite_failed"] {
        assert_eq!(counter(path, drop), 0, "{drop}");
    }
    let answered = counter(path, "answered");
    let (mut shard, pings) = served.close();
    assert_eq!(pings, answered, "the slot's count");
    shard.sweep(now());
}

/// Loads the programs on the lo of a network namespace of this thread's own, where no other server
/// and no other test is; `None`, with the reason on stderr, without root.
fn load_on_private_lo(test: &str) -> Option<KernelPath> {
    load_on_private_lo_for(test, 1)
}

/// The same for so many shards.
fn load_on_private_lo_for(test: &str, shards: u16) -> Option<KernelPath> {
    if !rustix::process::geteuid().is_root() {
        report(test, Err(Skip::kernel_path("network namespaces need root")));
        return None;
    }
    private_lo();
    load_for(test, "lo", shards)
}

fn on_lo(test: &str, address: &str) {
    let Some(mut path) = load_on_private_lo(test) else { return };
    let shard = path.shard(0);
    tour(&path, Served::open(shard, address.parse().expect("address"), TcpStream::connect));
}

/// How segments carry their checksums.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sums {
    /// Left to the device (`CHECKSUM_PARTIAL`), as veth does by itself.
    Partial,
    /// Complete, and checked by the receiving stack, as on a wire.
    Full,
}

fn over_veth(test: &'static str, tag: &str, address: &str, sums: Sums) {
    if !rustix::process::geteuid().is_root() {
        report(test, Err(Skip::kernel_path("network namespaces need root")));
        return;
    }
    let veth = Veth::new(tag);
    if sums == Sums::Full {
        for (space, iface) in [(&veth.server, Veth::SERVER_IFACE), (&veth.client, "pushc0")] {
            ip(&format!("netns exec {space} ethtool -K {iface} tx off"));
        }
    }
    let (client, address) = (veth.client.clone(), address.parse().expect("address"));
    Veth::inside(&veth.server, move || {
        let listen = SocketAddr::new(address, 0);
        assert_eq!(interfaces_for(&[listen]).expect("interfaces"), [Veth::SERVER_IFACE]);
        let Some(mut path) = load(test, Veth::SERVER_IFACE) else { return };
        let shard = path.shard(0);
        let connect = move |to| Veth::inside(&client, move || TcpStream::connect(to));
        tour(&path, Served::open(shard, address, connect));
    });
}

#[test]
fn kernel_answers_and_streams_stay_intact_on_lo_ipv4() {
    on_lo("kernel_answers_and_streams_stay_intact_on_lo_ipv4", "127.0.0.1");
}

#[test]
fn kernel_answers_and_streams_stay_intact_on_lo_ipv6() {
    on_lo("kernel_answers_and_streams_stay_intact_on_lo_ipv6", "::1");
}

#[test]
fn kernel_answers_and_streams_stay_intact_over_veth_ipv4() {
    over_veth(
        "kernel_answers_and_streams_stay_intact_over_veth_ipv4",
        "a",
        "10.88.0.1",
        Sums::Partial,
    );
}

#[test]
fn kernel_answers_and_streams_stay_intact_over_veth_ipv6() {
    over_veth(
        "kernel_answers_and_streams_stay_intact_over_veth_ipv6",
        "b",
        "fd88::1",
        Sums::Partial,
    );
}

#[test]
fn kernel_answers_and_streams_stay_intact_with_full_checksums() {
    let test = "kernel_answers_and_streams_stay_intact_with_full_checksums";
    if Command::new("ethtool").arg("--version").output().is_err() {
        report(test, Err(Skip::missing("no ethtool to turn checksum offload off")));
        return;
    }
    over_veth(test, "c", "10.88.0.1", Sums::Full);
    over_veth(test, "d", "fd88::1", Sums::Full);
}

#[test]
fn ipv4_client_of_an_ipv6_listener_is_served_by_the_kernel() {
    let test = "ipv4_client_of_an_ipv6_listener_is_served_by_the_kernel";
    let Some(mut path) = load_on_private_lo(test) else { return };
    let shard = path.shard(0);
    let connect = |to: SocketAddr| TcpStream::connect(("127.0.0.1", to.port()));
    let mut served = Served::open(shard, "::".parse().expect("address"), connect);
    served.ping_until_kernel_answers(&path);
}

#[test]
fn two_servers_share_an_interface() {
    let test = "two_servers_share_an_interface";
    let Some(mut first) = load_on_private_lo(test) else { return };
    let Some(mut second) = load(test, "lo") else { return };
    let lo: IpAddr = "127.0.0.1".parse().expect("address");
    for path in [&mut first, &mut second] {
        let shard = path.shard(0);
        let mut served = Served::open(shard, lo, TcpStream::connect);
        served.ping_until_kernel_answers(path);
        served.server_sends(1000);
        served.ping_until_kernel_answers(path);
        assert_eq!(counter(path, "resent") + counter(path, "refilled"), 0, "{:?}", counted(path));
        served.close();
    }
}

#[test]
fn half_written_4_mb_frame_is_intact_though_pings_arrive() {
    const BYTES: usize = 4 << 20;
    let test = "half_written_4_mb_frame_is_intact_though_pings_arrive";
    let Some(mut path) = load_on_private_lo(test) else { return };
    let shard = path.shard(0);
    let mut served = Served::open(shard, "127.0.0.1".parse().expect("address"), TcpStream::connect);
    served.ping_until_kernel_answers(&path);
    let answered = counter(&path, "answered");

    // The stand-in blocks in its write: this client does not read until the buffers are full.
    let sent = frame(BYTES);
    served.orders.send(Order::Send(sent.clone())).expect("stand-in lives");
    thread::sleep(Duration::from_millis(200));
    const PINGS: usize = 20;
    for _ in 0..PINGS {
        served.client.write_all(&PINGREQ).expect("PINGREQ");
        thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(counter(&path, "answered"), answered, "answered inside a frame");
    let mut read = vec![0; BYTES + 5];
    served.client.read_exact(&mut read).expect("the frame");
    assert!(read == sent, "the frame arrived changed");
    let mut answers = [0; 2 * PINGS];
    served.client.read_exact(&mut answers).expect("an answer to every ping");
    assert_eq!(answers, PINGRESP.repeat(PINGS)[..]);
    served.ping_until_kernel_answers(&path);
}

#[test]
fn silent_shard_and_closing_slot_are_not_vouched_for() {
    let test = "silent_shard_and_closing_slot_are_not_vouched_for";
    let Some(mut path) = load_on_private_lo(test) else { return };
    let shard = path.shard(0);
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    let mut client = TcpStream::connect(listener.local_addr().expect("address")).expect("connect");
    client.set_nodelay(true).expect("nodelay");
    let (mut socket, peer) = listener.accept().expect("accept");
    let local = socket.local_addr().expect("address");
    socket.set_read_timeout(Some(PATIENCE)).expect("timeout");
    let mut shard = shard;
    let mut slot =
        shard.register(socket.as_fd(), &Registration::new(local, peer), now()).expect("registered");
    socket.write_all(&CONNACK).expect("CONNACK");
    shard.set_tx(&slot, 4);
    shard.arm(socket.as_fd(), &mut slot, now()).expect("armed");
    let mut connack = [0; 4];
    client.read_exact(&mut connack).expect("CONNACK");
    let mut rx = 0;
    let mut ping = |client: &mut TcpStream, shard: &ShardPath, slot: &SlotRef| {
        client.write_all(&PINGREQ).expect("PINGREQ");
        let mut request = [0; 2];
        socket.read_exact(&mut request).expect("the ping reaches user space");
        rx += 2;
        shard.set_rx(slot, rx);
    };

    shard.stamp_heartbeat(Monotonic(now().0 - 6_000_000_000));
    ping(&mut client, &shard, &slot);
    assert_eq!(counter(&path, "shard_silent"), 1);
    shard.stamp_heartbeat(now());
    shard.closing(&slot);
    ping(&mut client, &shard, &slot);
    assert_eq!(counter(&path, "not_armed"), 1);
    assert_eq!(counter(&path, "answered"), 0);
    assert_eq!(shard.pings(&slot), 0);
}

#[test]
fn a_connection_that_moves_is_answered_on_the_word_of_its_new_shard_which_gives_the_slot_back() {
    let test = "a_connection_that_moves_is_answered_on_the_word_of_its_new_shard_which_gives_the_slot_back";
    let Some(mut path) = load_on_private_lo_for(test, 2) else { return };
    let (mut first, mut second) = (path.shard(0), path.shard(1));
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    let address = listener.local_addr().expect("address");
    let mut client = TcpStream::connect(address).expect("connect");
    client.set_nodelay(true).expect("nodelay");
    let (mut socket, peer) = listener.accept().expect("accept");
    socket.set_nodelay(true).expect("nodelay");
    socket.set_read_timeout(Some(Duration::from_millis(200))).expect("timeout");
    let mut slot = first
        .register(socket.as_fd(), &Registration::new(address, peer), now())
        .expect("registered");
    socket.write_all(&CONNACK).expect("CONNACK");
    first.set_tx(&slot, 4);
    first.arm(socket.as_fd(), &mut slot, now()).expect("armed");
    let mut connack = [0; 4];
    client.read_exact(&mut connack).expect("CONNACK");
    let (mut rx, mut tx) = (0, 4);
    // Returns whether the kernel has answered; else user space does.
    let mut ping = |shard: &ShardPath, slot: &SlotRef| {
        client.write_all(&PINGREQ).expect("PINGREQ");
        let mut bytes = [0; 2];
        let reaches_user_space = socket.read_exact(&mut bytes).is_ok();
        if reaches_user_space {
            rx += 2;
            shard.set_rx(slot, rx);
            socket.write_all(&PINGRESP).expect("PINGRESP");
            tx += 2;
            shard.set_tx(slot, tx);
        }
        client.read_exact(&mut bytes).expect("an answer");
        assert_eq!(bytes, PINGRESP);
        !reaches_user_space
    };
    let silent = || Monotonic(now().0 - 6_000_000_000);
    first.stamp_heartbeat(now());
    second.stamp_heartbeat(silent());
    assert!((0..20).any(|_| ping(&first, &slot)), "{:?}", counted(&path));
    let before = first.pings(&slot);

    second.adopt(&slot);
    assert!(!ping(&second, &slot), "its new shard is silent");
    first.stamp_heartbeat(silent());
    second.stamp_heartbeat(now());
    assert!((0..20).any(|_| ping(&second, &slot)), "{:?}", counted(&path));
    assert!(second.pings(&slot) > before, "and the flow's numbers go on");
    let speaks = second.before_close(socket.as_fd(), &slot, false);
    drop(socket);
    second.release(slot, speaks, now());

    let connected: Vec<_> = (0..65)
        .map(|_| {
            (TcpStream::connect(address).expect("connect"), listener.accept().expect("accept"))
        })
        .collect();
    let mut slots = Vec::new();
    for (_, (socket, peer)) in &connected {
        for shard in [&mut first, &mut second] {
            if let Ok(slot) =
                shard.register(socket.as_fd(), &Registration::new(address, *peer), now())
            {
                slots.push(slot);
                break;
            }
        }
    }
    assert_eq!(slots.len(), 64, "every slot is somebody's again");
}

#[test]
fn slots_run_out_and_come_back_with_a_new_generation() {
    let test = "slots_run_out_and_come_back_with_a_new_generation";
    let Some(mut path) = load_on_private_lo(test) else { return };
    let mut shard = path.shard(0);
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    let connected: Vec<_> = (0..65)
        .map(|_| {
            let client = TcpStream::connect(listener.local_addr().expect("address"));
            (client.expect("connect"), listener.accept().expect("accept"))
        })
        .collect();
    let mut register = |at: usize| {
        let (_, (socket, peer)) = &connected[at];
        let local = socket.local_addr().expect("address");
        shard.register(socket.as_fd(), &Registration::new(local, *peer), now())
    };
    let mut slots: Vec<_> = (0..64).map(|at| register(at).expect("a slot")).collect();
    assert_eq!(register(64).err(), Some(Unarmed::NoSlot));
    let freed = slots.pop().expect("a slot");
    let (index, generation) = (freed.index, freed.generation);
    shard.release(freed, false, now());
    let (_, (socket, peer)) = &connected[64];
    let local = socket.local_addr().expect("address");
    let slot =
        shard.register(socket.as_fd(), &Registration::new(local, *peer), now()).expect("a slot");
    assert_eq!(slot.index, index);
    assert_ne!(slot.generation, generation);
}

#[test]
fn connections_come_and_go_without_any_capability() {
    let test = "connections_come_and_go_without_any_capability";
    let Some(mut path) = load_on_private_lo(test) else { return };
    let shard = path.shard(0);
    // Capabilities are a thread's own.
    let worker = thread::spawn(move || {
        for set in [caps::CapSet::Effective, caps::CapSet::Permitted] {
            caps::clear(None, set).expect("drops capabilities");
        }
        let options = KernelPathOptions {
            interfaces: vec!["lo".to_owned()],
            connections_max: 1,
            shards: 1,
            ping_burst: 1,
            place_seed: 1,
        };
        let error = KernelPath::load(&options).expect_err("loading needs capabilities");
        assert!(matches!(error, KernelPathError::Capabilities { .. }), "{error:?}");
        assert!(error.to_string().contains("CAP_BPF"));

        let mut served =
            Served::open(shard, "127.0.0.1".parse().expect("address"), TcpStream::connect);
        served.ping_until_kernel_answers(&path);
        let (mut shard, pings) = served.close();
        assert!(pings > 0);
        // Two minutes later the flow goes.
        assert_eq!(shard.flows_leaving(), 1);
        shard.sweep(now().after_millis(10_000));
        assert_eq!(shard.flows_leaving(), 1);
        shard.sweep(now().after_millis(130_000));
        assert_eq!(shard.flows_leaving(), 0);
    });
    worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

#[test]
fn missing_interface_is_named_together_with_those_there_are() {
    if let Err(skip) = need_root().and_then(|()| need_kernel_path_kernel()) {
        return report("missing_interface_is_named_together_with_those_there_are", Err(skip));
    }
    let options = KernelPathOptions {
        interfaces: vec!["nope0".to_owned()],
        connections_max: 1,
        shards: 1,
        ping_burst: 1,
        place_seed: 1,
    };
    let error = KernelPath::load(&options).expect_err("there is no nope0");
    assert!(matches!(error, KernelPathError::InterfaceNotFound { .. }), "{error:?}");
    let message = error.to_string();
    assert!(message.contains("nope0") && message.contains("lo") && message.contains("--iface"));
}

//! Heartbeats inside TLS: a stand-in for the server keeps the answer table as the server does, and every byte that
//! the client gets is the record that has the next number.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use push_common::answer_table::{ENTRIES, RecordShape};
use push_common::clock::Monotonic;
use push_server::kernel::{
    KernelPath, KernelPathOptions, Registration, ShardPath, SlotRef, Table, Unarmed,
};
use push_tests::records::{Kind, SHAPES, fill, fill_up, first, sealed};
use push_tests::skip::{Skip, report};

use super::namespace::{Veth, ip};
use super::path::{PATIENCE, counted, counter, load_on_private_lo_with, load_with, now, options};

/// Long enough for an answer of the kernel, and for the ACK that a stack holds back.
const PAUSE: Duration = Duration::from_millis(100);

/// The client, as its shard counts.
const CLIENT: u32 = 4_711;

const TABLES: u32 = 4;

/// A connection's two ends, and what the server's knows.
struct Sealed {
    client: TcpStream,
    socket: TcpStream,
    shard: ShardPath,
    slot: SlotRef,
    table: &'static Table,
    shape: RecordShape,
    rx: u64,
    tx: u64,
    /// Records that the client has sent, and those that it has got.
    sent: u64,
    got: u64,
}

impl Sealed {
    fn open(
        mut shard: ShardPath,
        shape: RecordShape,
        listen: IpAddr,
        connect: impl FnOnce(SocketAddr) -> io::Result<TcpStream> + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind((listen, 0)).expect("listen");
        let address = listener.local_addr().expect("address");
        let connecting = thread::spawn(move || connect(address));
        let (mut socket, _) = listener.accept().expect("accept");
        let mut client = connecting.join().expect("connect thread").expect("connect");
        for end in [&client, &socket] {
            end.set_nodelay(true).expect("nodelay");
            end.set_read_timeout(Some(PATIENCE)).expect("timeout");
        }
        shard.stamp_heartbeat(now());
        let mut table = None;
        let begin = |begun: &'static Table| {
            fill(begun, shape);
            table = Some(begun);
        };
        let mut slot = register(&mut shard, &socket, shape, begin).expect("registered");
        let table = table.expect("it has begun");
        // A record that is no heartbeat; its number is before those of the table.
        let connack = [7; 33];
        socket.write_all(&connack).expect("CONNACK");
        let tx = connack.len() as u64;
        shard.tx_word(&slot).store(tx, Ordering::Release);
        shard.arm(socket.as_fd(), &mut slot, now()).expect("armed");
        client.read_exact(&mut [0; 33]).expect("read CONNACK");
        Self { client, socket, shard, slot, table, shape, rx: 0, tx, sent: 0, got: 0 }
    }

    fn next(&self, kind: Kind) -> Vec<u8> {
        let more = if kind == Kind::Request { self.sent } else { self.got };
        sealed(kind, self.shape, first(kind).after(more).expect("small numbers"))
    }

    /// The client pings, and gets the record that answers. Returns whether the kernel has sent it.
    fn ping(&mut self) -> bool {
        self.shard.stamp_heartbeat(now());
        self.client.write_all(&self.next(Kind::Request)).expect("PINGREQ");
        self.sent += 1;
        let mut answer = vec![0; self.shape.record_bytes().into()];
        self.client.set_read_timeout(Some(PAUSE)).expect("timeout");
        let got = self.client.read(&mut answer);
        let is_of_kernel = match got {
            Ok(bytes) => bytes == answer.len(),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}");
                self.take(answer.len());
                let answer = self.next(Kind::Answer);
                self.give(&answer);
                false
            }
        };
        if !is_of_kernel {
            self.client.set_read_timeout(Some(PATIENCE)).expect("timeout");
            self.client.read_exact(&mut answer).expect("PINGRESP");
            // The client's stack holds its ACK back, and would send it with the next ping.
            thread::sleep(PAUSE);
        }
        assert_eq!(answer, self.next(Kind::Answer), "answer {}", self.got);
        self.got += 1;
        is_of_kernel
    }

    /// User space opens one record of so many bytes.
    fn take(&mut self, bytes: usize) {
        self.socket.read_exact(&mut vec![0; bytes]).expect("the client's record");
        self.rx += bytes as u64;
        let mut reading = self.table.read();
        assert_eq!(Some(reading.next()), first(Kind::Request).after(self.sent - 1));
        assert!(reading.opened());
        self.table.publish(reading).publish_rx(self.shard.rx_word(&self.slot), self.rx);
    }

    /// User space sends one record.
    fn give(&mut self, record: &[u8]) {
        let mut claim = self.table.claim().expect("free");
        let at = self.table.seal(&mut claim);
        assert_eq!(at, first(Kind::Answer).after(self.got), "the next number");
        self.socket.write_all(record).expect("the server's record");
        claim.handed(1);
        self.tx += record.len() as u64;
        assert!(claim.publish_tx(self.shard.tx_word(&self.slot), self.tx));
        fill_up(self.table, &claim, self.shape);
        self.table.release(claim).expect("published");
    }

    fn client_sends(&mut self, bytes: usize) {
        self.client.write_all(&vec![1; bytes]).expect("the client's record");
        self.sent += 1;
        self.take(bytes);
    }

    fn server_sends(&mut self, bytes: usize) {
        let record: Vec<_> = (0..bytes).map(|at| at as u8).collect();
        self.give(&record);
        let mut read = vec![0; bytes];
        self.client.read_exact(&mut read).expect("the server's record");
        assert!(read == record, "arrived changed");
        self.got += 1;
    }

    fn ping_until_kernel_answers(&mut self, path: &KernelPath) {
        assert!((0..20).any(|_| self.ping()), "none of 20: {:?}", counted(path));
    }

    /// Fills up the table if the kernel has told that it runs low.
    fn fill_if_low(&mut self) -> bool {
        let mut clients = Vec::new();
        self.shard.take_low_tables(&mut clients);
        if clients.is_empty() {
            return false;
        }
        assert_eq!(clients, [CLIENT]);
        let claim = self.table.claim().expect("free");
        fill_up(self.table, &claim, self.shape);
        self.table.release(claim).expect("nothing was sealed");
        true
    }

    /// The tour that every link takes.
    fn tour(mut self, path: &KernelPath) {
        self.ping_until_kernel_answers(path);
        self.fill_if_low();
        const HALVES: usize = 10;
        let fills = (0..HALVES * ENTRIES / 2).filter(|_| {
            assert!(self.ping(), "{:?}", counted(path));
            self.fill_if_low()
        });
        assert_eq!(fills.count(), HALVES, "with each half");

        for bytes in [1, 24, 100, 9_000] {
            self.client_sends(bytes);
            self.server_sends(bytes);
            self.ping_until_kernel_answers(path);
            self.fill_if_low();
        }
        assert!(counter(path, "translated") > 0);
        // Nobody fills the table: one half is left, or less.
        let answered = (0..=ENTRIES).take_while(|_| self.ping()).count();
        assert!(answered <= ENTRIES, "{answered} answers of a table");
        assert!(self.fill_if_low());
        self.ping_until_kernel_answers(path);
        // While user space holds the numbers it answers itself.
        let claim = self.table.claim().expect("free");
        let before = counter(path, "claimed");
        self.client.write_all(&self.next(Kind::Request)).expect("PINGREQ");
        self.sent += 1;
        self.take(self.shape.record_bytes().into());
        assert_eq!(counter(path, "claimed"), before + 1);
        self.table.release(claim).expect("nothing was sealed");
        self.server_sends(50);

        for drop in ["stale_bytes", "unexpected", "rewrite_failed"] {
            assert_eq!(counter(path, drop), 0, "{drop}");
        }
        assert_eq!(self.shard.pings(&self.slot), counter(path, "answered"));
    }
}

fn register(
    shard: &mut ShardPath,
    socket: &TcpStream,
    shape: RecordShape,
    begin: impl FnOnce(&'static Table),
) -> Result<SlotRef, Unarmed> {
    let [local, peer] = [socket.local_addr(), socket.peer_addr()].map(|end| end.expect("address"));
    let heartbeat = shape.heartbeat();
    let registration = Registration { heartbeat, client: CLIENT, ..Registration::new(local, peer) };
    shard.register(socket.as_fd(), &registration, begin, now())
}

fn load(test: &str) -> Option<KernelPath> {
    load_on_private_lo_with(test, |options| options.tables = TABLES)
}

#[test]
fn records_of_each_shape_are_answered_from_the_table_on_lo() {
    for shape in SHAPES {
        for address in ["127.0.0.1", "::1"] {
            let test = "records_of_each_shape_are_answered_from_the_table_on_lo";
            let Some(mut path) = load(test) else { return };
            let shard = path.shard(0);
            let address = address.parse().expect("address");
            Sealed::open(shard, shape, address, TcpStream::connect).tour(&path);
        }
    }
}

/// Over a link whose segments carry complete checksums, which the receiving stack checks.
#[test]
fn records_of_each_shape_are_answered_under_full_checksums() {
    let test = "records_of_each_shape_are_answered_under_full_checksums";
    if !rustix::process::geteuid().is_root() {
        report(test, Err(Skip::kernel_path("network namespaces need root")));
        return;
    }
    if Command::new("ethtool").arg("--version").output().is_err() {
        report(test, Err(Skip::missing("no ethtool to turn checksum offload off")));
        return;
    }
    let veth = Veth::new("t");
    for (space, iface) in [(&veth.server, Veth::SERVER_IFACE), (&veth.client, "pushc0")] {
        ip(&format!("netns exec {space} ethtool -K {iface} tx off"));
    }
    for shape in SHAPES {
        for address in ["10.88.0.1", "fd88::1"] {
            let (client, address) = (veth.client.clone(), address.parse().expect("address"));
            Veth::inside(&veth.server, move || {
                let options =
                    KernelPathOptions { tables: TABLES, ..options(&[Veth::SERVER_IFACE]) };
                let Some(mut path) = load_with(test, &options) else { return };
                let shard = path.shard(0);
                let connect = move |to| Veth::inside(&client, move || TcpStream::connect(to));
                Sealed::open(shard, shape, address, connect).tour(&path);
            });
        }
    }
}

#[test]
fn tables_run_out_and_come_back_when_their_flows_are_gone() {
    let test = "tables_run_out_and_come_back_when_their_flows_are_gone";
    let Some(mut path) = load(test) else { return };
    let mut shard = path.shard(0);
    let shape = RecordShape::TLS_1_3;
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    let connected: Vec<_> = (0..6)
        .map(|_| {
            let client = TcpStream::connect(listener.local_addr().expect("address"));
            (client.expect("connect"), listener.accept().expect("accept").0)
        })
        .collect();
    let socket = |at: usize| &connected[at].1;
    let begun = RefCell::new(Vec::new());
    let register = |shard: &mut ShardPath, at| {
        register(shard, socket(at), shape, |table: &'static Table| {
            fill(table, shape);
            begun.borrow_mut().push(std::ptr::from_ref(table));
        })
    };
    let mut slots: Vec<_> = (0..4).map(|at| register(&mut shard, at).expect("a table")).collect();
    assert_eq!(register(&mut shard, 4).err(), Some(Unarmed::NoTable));
    assert_eq!(begun.borrow().iter().collect::<BTreeSet<_>>().len(), 4, "each has its own");
    // Those in clear need none.
    super::served::register(&mut shard, socket(5), 0).expect("a slot");

    let later = |secs: u64| Monotonic(now().0 + secs * 1_000_000_000);
    let freed = slots.pop().expect("a slot");
    shard.release(freed, false, now());
    shard.sweep(now());
    assert_eq!(register(&mut shard, 4).err(), Some(Unarmed::NoTable), "its flow is there");
    shard.sweep(later(2));
    shard.sweep(later(2));
    assert_eq!(register(&mut shard, 4).err(), Some(Unarmed::NoTable), "it rests");
    shard.sweep(later(4));
    slots.push(register(&mut shard, 4).expect("a table"));
    assert_eq!(begun.borrow().len(), 5);
    assert_eq!(begun.borrow().last(), begun.borrow().get(3), "the one that was given back");
}

#[test]
fn a_table_whose_last_answer_is_acknowledged_is_free_soon_after_the_end() {
    let test = "a_table_whose_last_answer_is_acknowledged_is_free_soon_after_the_end";
    let Some(mut path) = load_on_private_lo_with(test, |options| options.tables = 2) else {
        return;
    };
    let lo = "127.0.0.1".parse().expect("address");
    let shape = RecordShape::TLS_1_3;
    let mut first = Sealed::open(path.shard(0), shape, lo, TcpStream::connect);
    first.ping_until_kernel_answers(&path);
    // The client's delayed ACK. One that is reset before is pending for good.
    thread::sleep(3 * PAUSE);
    let Sealed { mut shard, slot, socket, client, table, .. } = first;
    let speaks = shard.before_close(socket.as_fd(), &slot, false);
    drop((socket, client));
    let closed = now();
    shard.release(slot, speaks, closed);

    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    let connect = || {
        let client = TcpStream::connect(listener.local_addr().expect("address"));
        (client.expect("connect"), listener.accept().expect("accept").0)
    };
    let begun = RefCell::new(Vec::new());
    let registered = |shard: &mut ShardPath, socket: &TcpStream| {
        register(shard, socket, shape, |table: &'static Table| {
            begun.borrow_mut().push(std::ptr::from_ref(table));
        })
    };
    let connected = [connect(), connect()];
    let _other = registered(&mut shard, &connected[0].1).expect("the other table");
    let mut is_free_after = |secs: u64| {
        shard.sweep(Monotonic(closed.0 + secs * 1_000_000_000));
        registered(&mut shard, &connected[1].1).is_ok()
    };
    // A second until the flow is looked at, and one of rest. The flow itself goes on for two minutes.
    assert!(!is_free_after(0) && !is_free_after(2));
    assert!(is_free_after(4));
    assert_eq!(begun.borrow().last(), Some(&std::ptr::from_ref(table)));
}

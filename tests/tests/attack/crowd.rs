//! Many clients, from many addresses of loopback: to the server, each is somebody else.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use push_tests::expectations::PATIENCE;
use push_tests::skip::{Skip, TestResult};
use rustix::process::Resource;
use socket2::{Domain, Socket, Type};

/// Between two bytes of those who send slowly.
const DRIP: Duration = Duration::from_millis(100);

/// Most bytes that they send: for longer than any of the server's times.
const DRIPS_MAX: usize = 200;

/// Connects from an address of loopback that depends on `number`.
#[track_caller]
pub(crate) fn dial(number: usize, server: SocketAddr) -> TcpStream {
    let number = u32::try_from(number).expect("some thousands");
    let ip = Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 1, 0, 1)) + number);
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("make a socket");
    socket.bind(&SocketAddr::new(IpAddr::V4(ip), 0).into()).expect("an address of loopback");
    socket.set_tcp_nodelay(true).expect("set an option");
    socket.connect_timeout(&server.into(), PATIENCE).expect("connect to the server");
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).expect("set a timeout");
    stream.set_write_timeout(Some(PATIENCE)).expect("set a timeout");
    stream
}

/// That many, each from an address of its own, made by two threads.
pub(crate) fn many(count: usize, server: SocketAddr) -> Vec<TcpStream> {
    thread::scope(|scope| {
        let half = |numbers: std::ops::Range<usize>| {
            scope.spawn(move || numbers.map(|number| dial(number, server)).collect::<Vec<_>>())
        };
        let halves = [half(0..count / 2), half(count / 2..count)];
        halves.into_iter().flat_map(|half| half.join().expect("connects")).collect()
    })
}

/// As many connections send `bytes`, and then the last of them again and again, one after a while,
/// until the server has closed each.
pub(crate) fn drip(count: usize, server: SocketAddr, bytes: &[u8]) {
    let mut crowd = many(count, server);
    let last = bytes.last().copied().into_iter().cycle();
    for byte in bytes.iter().copied().chain(last).take(DRIPS_MAX) {
        crowd.retain_mut(|stream| stream.write_all(&[byte]).is_ok());
        if crowd.is_empty() {
            return;
        }
        thread::sleep(DRIP);
    }
    panic!("{} of {count} are still open", crowd.len());
}

/// Skips the test if this process may not have so many sockets.
pub(crate) fn need_descriptors(count: u64) -> TestResult {
    push_tests::server::raise_descriptor_limit();
    match rustix::process::getrlimit(Resource::Nofile).current {
        Some(limit) if limit < count => {
            Err(Skip::missing(format!("{count} descriptors are needed; the limit is {limit}")))
        }
        _ => Ok(()),
    }
}

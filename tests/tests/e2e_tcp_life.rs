//! TCP's odd endings and beginnings on real sockets, with pings answered before them: the numbers of
//! one connection must never reach the next, and no end be lost.

use std::io::Read as _;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use push_tests::both_paths;
use push_tests::clients::{Client, Connect, Gone};
use push_tests::expectations::{PATIENCE, wait_for};
use push_tests::link::{Fault, Faults, Link, Way};
use push_tests::server::{PingPath, Place, Server, raise_descriptor_limit};
use push_tests::skip::TestResult;
use push_tests::wire::{self, Properties, Version};
use socket2::{Domain, Socket, Type};

/// Longer than a client's kernel puts off an acknowledgement.
const CALM: Duration = Duration::from_millis(100);

both_paths! {
    a_port_used_again_at_once_begins_a_new_stream,
    a_client_that_has_no_more_to_say_gets_its_end,
    a_storm_of_resets_leaves_the_others_alone,
    ends_that_cross_end_the_connection,
    a_client_that_has_forgotten_comes_back_by_the_same_port,
}

fn a_port_used_again_at_once_begins_a_new_stream(path: PingPath) -> TestResult {
    const ROUNDS: u64 = 8;
    let server = Server::with(path).start()?;
    let mut local: Option<SocketAddr> = None;
    for _ in 0..ROUNDS {
        let stream = connect_from(local, server.target().address);
        local = Some(stream.local_addr().expect("a connected socket"));
        let mut client = Client::over(stream, Version::V5);
        client.send(&wire::connect(Version::V5, "same", 60, true, None, &Properties::default()));
        client.read_connack(PATIENCE).expect("a CONNACK");
        ping_twice(&mut client);
        client.publish("t", &[7; 3_000], 1);
        reset(client);
    }
    let replaced = "push_kernel_path_events_total{event=\"replaced\"}";
    let metrics = server.metrics();
    match path {
        PingPath::User => assert_eq!(metrics.kernel_pings(), 0),
        PingPath::Kernel => {
            assert!(metrics.kernel_pings() >= ROUNDS, "{}", metrics.text());
            assert!(metrics.value(replaced) > 0, "no flow was there from the connection before");
        }
    }
    server.finish();
    Ok(())
}

fn a_client_that_has_no_more_to_say_gets_its_end(path: PingPath) -> TestResult {
    let server = Server::with(path).start()?;
    let mut client = connect(&server, 0);
    ping_twice(&mut client);
    let mut stream = client.stream().try_clone().expect("a descriptor");
    stream.shutdown(Shutdown::Write).expect("FIN");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    assert_eq!(stream.read(&mut [0; 16]).expect("the server's FIN"), 0);
    server.wait_metric("push_connections", |connections| connections == 0);
    server.finish();
    Ok(())
}

fn a_storm_of_resets_leaves_the_others_alone(path: PingPath) -> TestResult {
    const CLIENTS: usize = 200;
    raise_descriptor_limit();
    let server = Server::with(path).flag("--shards", 2).start()?;
    let mut bystander = connect(&server, CLIENTS);
    bystander.subscribe(&[("still", 1)]);
    for _ in 0..3 {
        let mut clients: Vec<Client> = (0..CLIENTS).map(|n| connect(&server, n)).collect();
        std::thread::sleep(CALM);
        clients.iter_mut().for_each(Client::ping);
        clients.into_iter().for_each(reset);
        bystander.publish("still", b"here", 1);
        assert_eq!(bystander.message().payload, b"here");
    }
    server.wait_metric("push_connections", |connections| connections == 1);
    if path == PingPath::Kernel {
        assert!(server.metrics().kernel_pings() >= CLIENTS as u64);
    }
    bystander.assert_alive();
    server.finish();
    Ok(())
}

/// Simultaneous close (RFC 9293, section 3.6, figure 13): each FIN is on its way when the other end
/// sends its own.
fn ends_that_cross_end_the_connection(path: PingPath) -> TestResult {
    /// "Session taken over" of an MQTT 5 DISCONNECT.
    const TAKEN_OVER: u8 = 0x8E;
    let link = Link::create(Faults::NONE, 0, [0, 1])?;
    let server = Server::with(path).within(link.namespaces(), Place::VethV4).start()?;
    let target = server.target();
    let mut client = connect(&server, 0);
    ping_twice(&mut client);
    let metrics = server.metrics();
    assert_eq!(metrics.kernel_pings() > 0, path == PingPath::Kernel, "{}", metrics.text());
    let port = client.stream().local_addr().expect("an address").port();
    let at_client = || target.run_at_client(|| states(port));
    let at_server = || target.run_at_server(|| states(port));

    std::thread::sleep(CALM);
    link.hold(Way::ToServer);
    link.hold(Way::ToClient);
    client.stream().shutdown(Shutdown::Write).expect("FIN");
    // From the server's own side, where nothing is held: the session's next connection, for which the
    // server closes this one.
    let next = target.run_at_server(|| {
        Client::connect(&target.from_here(), &Connect::new(Version::V5, "client-0"))
    });
    wait_for("the server's FIN", || (at_server() == [FIN_WAIT1]).then_some(()));
    assert_eq!(at_client(), [FIN_WAIT1], "the ends have not crossed");
    link.release();

    let ending = client.wait_ending();
    assert_eq!((ending.how, ending.reason), (Gone::Closed, Some(TAKEN_OVER)));
    // Both ends wait: neither was the one that only answered.
    wait_for("the client's end", || (at_client() == [TIME_WAIT]).then_some(()));
    wait_for("the server's end", || (at_server() == [TIME_WAIT]).then_some(()));
    server.wait_metric("push_connections", |connections| connections == 1);
    drop(next);
    server.finish();
    Ok(())
}

/// SYN on a live tuple: the server's stack answers it by a challenge ACK, whose numbers must be such
/// that the client's RST to it ends the old connection (RFC 5961, section 4).
fn a_client_that_has_forgotten_comes_back_by_the_same_port(path: PingPath) -> TestResult {
    let link = Link::create(Faults::NONE, 0, [0, 1])?;
    let server = Server::with(path).within(link.namespaces(), Place::VethV4).start()?;
    let target = server.target();
    let mut client = connect(&server, 0);
    ping_twice(&mut client);
    let local = client.stream().local_addr().expect("an address");
    let before = server.metrics();
    assert_eq!(before.kernel_pings() > 0, path == PingPath::Kernel, "{}", before.text());
    std::thread::sleep(CALM);
    link.cut(Way::ToServer);
    reset(client);
    wait_for("the lost RST", || (link.count(Way::ToServer, Fault::Lost) > 0).then_some(()));
    assert_eq!(target.run_at_server(|| states(local.port())), [ESTABLISHED]);
    link.release();

    let stream = target.run_at_client(|| connect_from(Some(local), target.address));
    let mut client = Client::over(stream, Version::V5);
    client.send(&wire::connect(Version::V5, "new", 60, true, None, &Properties::default()));
    client.read_connack(PATIENCE).expect("a CONNACK");
    client.subscribe(&[("own", 1)]);
    ping_twice(&mut client);
    client.publish("own", &[7; 3_000], 1);
    assert_eq!(client.message().payload, [7; 3_000]);
    server.wait_metric("push_connections", |connections| connections == 1);
    if path == PingPath::Kernel {
        let after = server.metrics();
        assert!(after.kernel_pings() > before.kernel_pings(), "{}", after.text());
        assert_eq!(after.value("push_kernel_path_events_total{event=\"replaced\"}"), 1);
    }
    client.disconnect();
    server.finish();
    Ok(())
}

/// States of TCP as `/proc/net/tcp` has them.
const ESTABLISHED: u8 = 1;
const FIN_WAIT1: u8 = 4;
const TIME_WAIT: u8 = 6;

/// The states of this namespace's sockets that have the port at either end.
fn states(port: u16) -> Vec<u8> {
    let table = std::fs::read_to_string("/proc/thread-self/net/tcp").expect("TCP's sockets");
    let port = format!(":{port:04X}");
    let state = |line: &str| {
        let mut fields = line.split_whitespace().skip(1);
        let ends = [fields.next()?, fields.next()?];
        let ours = ends.iter().any(|end| end.ends_with(&port));
        let state = fields.next().filter(|_| ours)?;
        Some(u8::from_str_radix(state, 16).expect("a state"))
    };
    table.lines().skip(1).filter_map(state).collect()
}

fn connect(server: &Server, number: usize) -> Client {
    Client::connect(server.target(), &Connect::new(Version::V5, &format!("client-{number}")))
}

/// Connects from a port of before, if there is one.
fn connect_from(local: Option<SocketAddr>, server: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::for_address(server), Type::STREAM, None).expect("a socket");
    socket.set_reuse_address(true).expect("an option");
    socket.set_tcp_nodelay(true).expect("an option");
    if let Some(local) = local {
        socket.bind(&local.into()).expect("the port of before");
    }
    socket.connect_timeout(&server.into(), PATIENCE).expect("connect");
    socket.into()
}

/// At least the second is the kernel's to answer.
fn ping_twice(client: &mut Client) {
    for _ in 0..2 {
        std::thread::sleep(CALM);
        client.ping();
    }
}

/// Closes by RST.
fn reset(client: Client) {
    let linger = socket2::SockRef::from(client.stream()).set_linger(Some(Duration::ZERO));
    linger.expect("an option");
    drop(client);
}

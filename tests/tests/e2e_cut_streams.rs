//! The server goes away while bytes to its clients are lost on the way, or not taken by them: what the
//! clients read, once they can, is the beginning of what was sent, and then an end. The sockets that
//! the server leaves behind go on to send, and what they send must be translated; or there are none.

use std::io::{ErrorKind, Read as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use push_tests::clients::{Client, Connect, Gone};
use push_tests::expectations::{PATIENCE, wait_for};
use push_tests::link::{Fault, Faults, Link, Way};
use push_tests::server::{PingPath, Place, Server, ServerBuilder};
use push_tests::skip::{Skip, TestResult};
use push_tests::wire::{self, PINGREQ, Publish, Version};
use push_tests::{both_paths, claims};
use rustix::process::Signal;

/// Longer than a client's kernel puts off an acknowledgement.
const CALM: Duration = Duration::from_millis(150);

/// How the first byte of an MQTT 5 DISCONNECT reads.
const DISCONNECT: u8 = 0xE0;

both_paths! {
    stopped_in_a_gap_of_the_link_it_cuts_nothing_out_of_a_stream,
    stopped_in_a_gap_of_the_link_it_leaves_no_client_without_an_end,
    stopped_while_a_client_does_not_read_it_leaves_it_an_end,
}

claims! {
    killed_its_programs_stay_when_the_next_start_fails,
    killed_its_programs_stay_when_the_next_server_stops_at_once,
    stopped_at_once_by_a_second_signal_its_programs_stay,
    stopped_after_it_has_given_a_client_up_its_programs_stay,
    killed_where_its_pins_die_with_it_it_leaves_no_stream_that_goes_on,
    where_its_pins_die_with_it_a_connection_that_is_closed_ends_as_elsewhere,
}

fn stopped_in_a_gap_of_the_link_it_cuts_nothing_out_of_a_stream(path: PingPath) -> TestResult {
    let (link, mut server) = start(path)?;
    let mut client = connect(&server, Version::V5);
    let sent = send_into_the_gap(&link, &server);
    server.terminate();
    assert!(server.wait_exit().0.success(), "{}", server.log());
    assert!(server.pins().links().is_empty(), "{:?}", server.pins().links());
    link.release();
    assert_begins_and_ends(&mut client, &sent);
    Ok(())
}

/// What is lost is the FIN alone: short enough to be wholly old to a client whose numbers are ahead.
fn stopped_in_a_gap_of_the_link_it_leaves_no_client_without_an_end(path: PingPath) -> TestResult {
    let (link, mut server) = start(path)?;
    let mut client = connect(&server, Version::V311);
    link.cut(Way::ToClient);
    server.terminate();
    assert!(server.wait_exit().0.success(), "{}", server.log());
    assert!(link.count(Way::ToClient, Fault::Lost) > 0, "no FIN was lost");
    link.release();
    assert_begins_and_ends(&mut client, &[]);
    Ok(())
}

fn stopped_while_a_client_does_not_read_it_leaves_it_an_end(path: PingPath) -> TestResult {
    const MESSAGES: usize = 20;
    let mut server = Server::with(path).place(Place::VethV4).start()?;
    let connecting = Connect::new(Version::V5, "stuck").receive_buffer(4 << 10);
    let mut stuck = Client::connect(server.target(), &connecting);
    ping(&server, &mut stuck);
    let mut publisher = Client::connect(server.target(), &Connect::new(Version::V5, "flooder"));
    let mut sent = Vec::new();
    for _ in 0..MESSAGES {
        let publish = message(1 << 20);
        publisher.publish(&publish.topic, &publish.payload, 1);
        sent.extend(wire::publish(Version::V5, &publish));
    }
    server.terminate();
    assert!(server.wait_exit().0.success(), "{}", server.log());
    assert_begins_and_ends(&mut stuck, &sent);
    Ok(())
}

fn killed_its_programs_stay_when_the_next_start_fails() -> TestResult {
    let Killed { link, server, mut client, sent, left } = killed_while_it_sends()?;
    let next = Server::with(PingPath::Kernel).place(Place::VethV4).pinned_as(&server);
    let failed = next.data_dir("/dev/null/nothing").start().expect_err("it started");
    // Only after the pins are claimed.
    assert!(format!("{failed:?}").contains("/dev/null/nothing"), "{failed:?}");
    assert_eq!(server.pins().links(), left, "they translate what the dead server's sockets send");
    link.release();
    assert_begins_and_ends(&mut client, &sent);
    Ok(())
}

fn killed_its_programs_stay_when_the_next_server_stops_at_once() -> TestResult {
    let Killed { link, server, mut client, sent, left } = killed_while_it_sends()?;
    let next = Server::with(PingPath::Kernel).place(Place::VethV4).pinned_as(&server);
    let mut next = next.start()?;
    next.terminate();
    assert!(next.wait_exit().0.success(), "{}", next.log());
    assert_eq!(server.pins().links(), left, "its own are gone, those of the dead one are not");
    link.release();
    assert_begins_and_ends(&mut client, &sent);
    Ok(())
}

fn stopped_at_once_by_a_second_signal_its_programs_stay() -> TestResult {
    let (link, mut server) = start(PingPath::Kernel)?;
    let mut client = connect(&server, Version::V5);
    let sent = send_into_the_gap(&link, &server);
    server.terminate();
    wait_for("the first signal", || server.log().contains("stopping on signal").then_some(()));
    server.terminate();
    let (status, _) = server.wait_exit();
    assert_eq!(status.code(), Some(128 + 15), "{}", server.log());
    assert_eq!(server.pins().links().len(), 2, "as after a crash");
    link.release();
    assert_begins_and_ends(&mut client, &sent);
    Ok(())
}

/// The connection is closed before the stop, and its socket out of reach: the system sends for it.
fn stopped_after_it_has_given_a_client_up_its_programs_stay() -> TestResult {
    let (link, mut server) = start(PingPath::Kernel)?;
    let connecting = Connect::new(Version::V5, "client").keep_alive(3);
    let mut client = Client::connect(server.target(), &connecting);
    ping(&server, &mut client);
    let sent = send_into_the_gap(&link, &server);
    server.wait_metric("push_sessions_expired_total", |expired| expired == 1);
    server.wait_metric("push_connections", |connections| connections == 0);
    server.terminate();
    assert!(server.wait_exit().0.success(), "{}", server.log());
    assert_eq!(server.pins().links().len(), 2, "as after a crash");
    link.release();
    assert_begins_and_ends(&mut client, &sent);
    Ok(())
}

/// Below `/sys`, which `ip netns exec` mounts anew for its process alone; and where there is no BPF file
/// system at all.
fn dirs_that_die_with_the_server() -> [std::path::PathBuf; 2] {
    let name = format!("push-tests-{}", std::process::id());
    [std::path::Path::new("/sys/fs/bpf").join(&name), std::env::temp_dir().join(&name)]
}

fn killed_where_its_pins_die_with_it_it_leaves_no_stream_that_goes_on() -> TestResult {
    for dir in dirs_that_die_with_the_server() {
        // The clients of a gap of the link, and those that do not read.
        for gap in [true, false] {
            let (link, mut server) = start_with(PingPath::Kernel, |server| server.bpf_dir(&dir))?;
            server.wait_log("WARN");
            let metrics = server.metrics();
            assert!(metrics.text().contains("push_kernel_path_durable{reason=\""));
            let connecting = Connect::new(Version::V5, "client").receive_buffer(4 << 10);
            let mut client = Client::connect(server.target(), &connecting);
            ping(&server, &mut client);
            let sent = if gap {
                send_into_the_gap(&link, &server)
            } else {
                let publish = message(4 << 20);
                let mut publisher =
                    Client::connect(server.target(), &Connect::new(Version::V5, "publisher"));
                publisher.publish(&publish.topic, &publish.payload, 1);
                wire::publish(Version::V5, &publish)
            };
            server.signal(Signal::KILL);
            server.wait_exit();
            link.release();
            assert_begins_and_ends(&mut client, &sent);
        }
    }
    Ok(())
}

fn where_its_pins_die_with_it_a_connection_that_is_closed_ends_as_elsewhere() -> TestResult {
    for dir in dirs_that_die_with_the_server() {
        let (_link, server) = start_with(PingPath::Kernel, |server| server.bpf_dir(&dir))?;
        let mut replaced = connect(&server, Version::V5);
        let _next = Client::connect(server.target(), &Connect::new(Version::V5, "client"));
        let ending = replaced.wait_ending();
        assert_eq!(ending.how, Gone::Closed, "a FIN, behind the reason: {ending:?}");
        assert!(ending.reason.is_some(), "{ending:?}");
        server.finish();
    }
    Ok(())
}

/// A server that was killed while bytes of a translated stream were lost.
struct Killed {
    link: Link,
    server: Server,
    client: Client,
    sent: Vec<u8>,
    /// The links that it has left pinned.
    left: Vec<PathBuf>,
}

fn killed_while_it_sends() -> Result<Killed, Skip> {
    let (link, mut server) = start(PingPath::Kernel)?;
    let client = connect(&server, Version::V5);
    let sent = send_into_the_gap(&link, &server);
    server.signal(Signal::KILL);
    server.wait_exit();
    let left = server.pins().links();
    assert_eq!(left.len(), 2, "ingress and egress");
    Ok(Killed { link, server, client, sent, left })
}

fn start(path: PingPath) -> Result<(Link, Server), Skip> {
    start_with(path, |server| server)
}

fn start_with(
    path: PingPath,
    with: impl FnOnce(ServerBuilder) -> ServerBuilder,
) -> Result<(Link, Server), Skip> {
    let link = Link::create(Faults::NONE, 0, [0, 1])?;
    let namespaces = link.namespaces();
    // Neither the sockets that the server leaves behind nor the client's shall give up while the test
    // waits: the link has them do so early.
    for namespace in [&namespaces.server, &namespaces.client] {
        namespace.run(|| {
            let setting = std::path::Path::new("/proc/sys/net/ipv4/tcp_rto_max_ms");
            if setting.exists() {
                std::fs::write(setting, "120000").expect("set the longest wait of TCP");
            }
        });
    }
    let server = Server::with(path).within(Arc::clone(&namespaces), Place::VethV4);
    let server = with(server).start()?;
    Ok((link, server))
}

fn connect(server: &Server, version: Version) -> Client {
    let mut client = Client::connect(server.target(), &Connect::new(version, "client"));
    ping(server, &mut client);
    client
}

/// Subscribes and pings; on the kernel path at least two pings are the kernel's to answer.
fn ping(server: &Server, client: &mut Client) {
    client.subscribe(&[("t", 0)]);
    for _ in 0..4 {
        std::thread::sleep(CALM);
        client.ping();
    }
    std::thread::sleep(CALM);
    let metrics = server.metrics();
    match server.path() {
        PingPath::Kernel => assert!(metrics.kernel_pings() >= 2, "{}", metrics.text()),
        PingPath::User => assert_eq!(metrics.kernel_pings(), 0),
    }
}

/// Cuts the link to the client and sends it a message; its bytes. The publisher is with the server.
fn send_into_the_gap(link: &Link, server: &Server) -> Vec<u8> {
    let target = server.target();
    link.cut(Way::ToClient);
    let publish = message(64 << 10);
    target.run_at_server(|| {
        let connecting = Connect::new(Version::V5, "publisher");
        let mut publisher = Client::connect(&target.from_here(), &connecting);
        publisher.publish(&publish.topic, &publish.payload, 1);
        publisher.disconnect();
    });
    wait_for("lost bytes", || (link.count(Way::ToClient, Fault::Lost) > 1).then_some(()));
    wire::publish(Version::V5, &publish)
}

/// As the client gets it. No two bytes at even distance below 251 are the same, so that what is
/// missing or doubled shows.
fn message(bytes: usize) -> Publish {
    let payload = (0..bytes).map(|at| (at % 251) as u8).collect();
    Publish { topic: "t".to_owned(), payload, ..Publish::default() }
}

/// Reads to the end, with a heartbeat now and then: a client is to find out by it, if by nothing else.
fn assert_begins_and_ends(client: &mut Client, sent: &[u8]) {
    const HEARTBEAT: Duration = Duration::from_millis(500);
    let mut stream = client.stream().try_clone().expect("a descriptor");
    stream.set_read_timeout(Some(HEARTBEAT)).expect("a timeout");
    let (mut read, mut buffer) = (Vec::<u8>::new(), vec![0; 64 << 10]);
    let begun = Instant::now();
    let end = loop {
        assert!(begun.elapsed() < PATIENCE, "no end after {} bytes", read.len());
        match stream.read(&mut buffer) {
            Ok(0) => break Gone::Closed,
            Ok(bytes) => read.extend(&buffer[..bytes]),
            Err(error) => match error.kind() {
                ErrorKind::Interrupted => {}
                ErrorKind::WouldBlock | ErrorKind::TimedOut => {
                    let _ = client.try_send(&PINGREQ);
                }
                ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => break Gone::Reset,
                _ => panic!("reading from the server: {error}"),
            },
        }
    };
    println!("{} of {} bytes, then {end:?}", read.len(), sent.len());
    let common = read.len().min(sent.len());
    let wrong = (0..common).find(|&at| read[at] != sent[at]);
    assert_eq!(wrong, None, "the stream of {} bytes is another from there on", read.len());
    // What may follow is the goodbye.
    assert!(read.get(common).is_none_or(|&first| first == DISCONNECT), "{:?}", &read[common..]);
}

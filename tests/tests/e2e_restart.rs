//! Death and life of the server: what clients see of a crash, and what a start finds of it.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use push_tests::clients::{Client, Connect, Gone};
use push_tests::expectations::{PATIENCE, wait_for};
use push_tests::server::{PingPath, Place, Server, ServerBuilder, server_binary};
use push_tests::skip::{TestResult, need_root};
use push_tests::wire::{self, PINGREQ, Packet, Publish, Version};
use push_tests::{both_paths, claims};
use rustix::process::Signal;
use socket2::SockRef;
use tempfile::TempDir;

/// Clients of a server that is killed.
const CLIENTS: usize = 40;

/// Servers that died whose programs are still needed.
const GENERATIONS: &str = "push_kernel_path_generations";

/// Longer than a client's kernel puts off an acknowledgement: the kernel's rules want the last
/// answer acknowledged.
const CALM: Duration = Duration::from_millis(150);

claims! {
    killed_under_load_its_clients_see_a_clean_end,
    killed_it_is_followed_by_a_server_that_serves_at_once,
    an_orderly_stop_leaves_nothing_pinned,
    a_second_server_at_once_is_refused,
    detach_removes_what_a_crash_left_and_says_so,
    a_stopped_server_is_not_vouched_for,
    quick_crashes_leave_no_generation_behind,
    a_generation_goes_once_its_last_socket_was_heard_out,
    a_stop_tells_of_earlier_servers_whose_sockets_need_them_still,
    generations_that_sockets_need_leave_no_room_for_one_more_until_they_go,
    a_live_server_at_the_address_is_named_at_once,
}

both_paths! {
    a_start_right_after_a_kill_gets_what_the_dead_server_had,
    a_start_during_the_stop_of_the_server_before_gets_what_that_had,
    a_start_with_the_same_flags_during_the_stop_serves_and_harms_no_client_of_before,
}

fn killed_under_load_its_clients_see_a_clean_end() -> TestResult {
    for place in [Place::LoopbackV4, Place::VethV4, Place::VethV6] {
        let mut server = Server::with(PingPath::Kernel).place(place).start()?;
        let mut clients = pinged_clients(&server);
        // Half of them have something to read that they have not read, half have not.
        for number in (0..CLIENTS).step_by(2) {
            clients[number].subscribe(&[("load", 0)]);
        }
        let mut publisher = connect(&server, CLIENTS);
        for _ in 0..50 {
            publisher.publish("load", &[7; 4_000], 0);
        }
        server.signal(Signal::KILL);
        server.wait_exit();
        for client in &mut clients {
            // Their next heartbeat must find out, if nothing else has.
            let _ = client.try_send(&PINGREQ);
            let ending = client.wait_ending();
            assert!(matches!(ending.how, Gone::Closed | Gone::Reset), "{ending:?}");
        }
    }
    Ok(())
}

fn killed_it_is_followed_by_a_server_that_serves_at_once() -> TestResult {
    let mut first = Server::with(PingPath::Kernel).place(Place::VethV4).start()?;
    let clients = pinged_clients(&first);
    assert_eq!(first.pins().links().len(), 2, "ingress and egress");
    first.signal(Signal::KILL);
    first.wait_exit();
    let left = first.pins().links();
    assert_eq!(left.len(), 2, "a crash leaves the programs attached");

    let second = Server::with(PingPath::Kernel).place(Place::VethV4).pinned_as(&first).start()?;
    second.wait_log("did not stop in order");
    assert_eq!(second.pins().links().len(), 4, "the old ones still translate");
    drop(clients);
    pinged_clients(&second);
    let pins = second.pins().clone();
    second.finish();
    assert!(pins.links().iter().all(|link| left.contains(link)), "its own are gone");
    Ok(())
}

fn an_orderly_stop_leaves_nothing_pinned() -> TestResult {
    let server = Server::with(PingPath::Kernel).start()?;
    let pins = server.pins().clone();
    assert_eq!(pins.links().len(), 2);
    server.finish();
    assert!(pins.links().is_empty(), "{:?}", pins.links());
    assert_eq!(
        detach(pins.path())?,
        (true, format!("nothing to remove in {}\n", shown(pins.path())))
    );
    Ok(())
}

fn a_second_server_at_once_is_refused() -> TestResult {
    let server = Server::with(PingPath::Kernel).place(Place::VethV4).start()?;
    for kernel_path in ["auto", "require"] {
        let Output { status, stderr, .. } = Command::new(server_binary()?)
            .args(["run", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"])
            .args(["--kernel-path", kernel_path, "--durability", "off"])
            .args(["--start-wait-secs", "1", "--bpf-dir"])
            .arg(server.pins().path())
            .output()
            .expect("run a second server");
        let said = String::from_utf8_lossy(&stderr);
        assert_eq!(status.code(), Some(1), "{said}");
        assert!(said.contains("another push-server runs with --bpf-dir"), "{said}");
        let who = format!("push-server (process {}) has held it for the 1 s", server.pid());
        assert!(said.contains(&who), "{said}");
    }
    let (removed, said) = detach(server.pins().path())?;
    assert!(!removed && said.contains("another push-server runs"), "{said}");
    server.finish();
    Ok(())
}

fn detach_removes_what_a_crash_left_and_says_so() -> TestResult {
    let mut server = Server::with(PingPath::Kernel).place(Place::VethV4).start()?;
    pinged_clients(&server);
    server.signal(Signal::KILL);
    server.wait_exit();
    let mut links = server.pins().links();
    assert_eq!(links.len(), 2);
    let (removed, said) = detach(server.pins().path())?;
    assert!(removed, "{said}");
    let mut lines: Vec<String> = said.lines().map(str::to_owned).collect();
    let mut expected: Vec<String> =
        links.drain(..).map(|link| format!("removed {}", shown(&link))).collect();
    lines.sort();
    expected.sort();
    assert_eq!(lines, expected);
    assert!(server.pins().links().is_empty());
    Ok(())
}

fn a_stopped_server_is_not_vouched_for() -> TestResult {
    let server = Server::with(PingPath::Kernel).place(Place::VethV4).start()?;
    let mut client = connect(&server, 0);
    ping_until_kernel_answers(&server, &mut client);
    server.signal(Signal::STOP);
    // For five seconds the kernel goes on; then a ping waits for the server.
    wait_for("a ping that nobody answers", || {
        std::thread::sleep(Duration::from_millis(900));
        client.send(&PINGREQ);
        client.receive(Duration::from_millis(500)).is_err().then_some(())
    });
    server.signal(Signal::CONT);
    client.receive(PATIENCE).expect("the answer of user space");
    let silent = "push_kernel_path_declined_total{reason=\"shard_silent\"}";
    assert!(server.metrics().value(silent) > 0);
    ping_until_kernel_answers(&server, &mut client);
    server.finish();
    Ok(())
}

fn quick_crashes_leave_no_generation_behind() -> TestResult {
    /// More than fit beside each other.
    const CRASHES: usize = 12;
    let mut server = Server::with(PingPath::Kernel).place(Place::VethV4).start()?;
    for _ in 0..CRASHES {
        server.signal(Signal::KILL);
        server.wait_exit();
        let next = Server::with(PingPath::Kernel).place(Place::VethV4).pinned_as(&server);
        server = next.start()?;
        assert_eq!(server.pins().links().len(), 2, "{}", server.log());
        assert_eq!(server.metrics().value(GENERATIONS), 0);
    }
    pinged_clients(&server);
    server.finish();
    Ok(())
}

fn a_generation_goes_once_its_last_socket_was_heard_out() -> TestResult {
    let mut first = Server::with(PingPath::Kernel).place(Place::VethV4).start()?;
    let mut slow = client_that_does_not_read(&first, 0);
    first.signal(Signal::KILL);
    first.wait_exit();
    let left = first.pins().links();
    let second = Server::with(PingPath::Kernel).place(Place::VethV4).pinned_as(&first).start()?;
    // Long enough for several looks.
    std::thread::sleep(Duration::from_secs(7));
    assert!(left.iter().all(|link| link.exists()), "its socket still sends");
    assert_eq!(second.metrics().value(GENERATIONS), 1);

    let received = read_to_the_end(&mut slow);
    assert!(received > 0, "something was on its way");
    // Else the dead server's socket would wait a minute for what may still come of it.
    SockRef::from(slow.stream()).set_linger(Some(Duration::ZERO)).expect("reset it");
    drop(slow);
    second.wait_metric(GENERATIONS, |generations| generations == 0);
    assert!(!left.iter().any(|link| link.exists()), "{left:?}");
    second.finish();
    Ok(())
}

fn a_stop_tells_of_earlier_servers_whose_sockets_need_them_still() -> TestResult {
    let mut first = Server::with(PingPath::Kernel).place(Place::VethV4).start()?;
    let slow = client_that_does_not_read(&first, 0);
    first.signal(Signal::KILL);
    first.wait_exit();
    let left = first.pins().links();
    let again = Server::with(PingPath::Kernel).place(Place::VethV4).pinned_as(&first);
    let mut second = again.start()?;
    second.terminate();
    second.wait_exit();
    let told = "sockets of 1 earlier servers need their programs still";
    assert!(second.log().contains(told), "{}", second.log());
    assert_eq!(first.pins().links(), left, "and nothing of its own stays");

    drop(slow);
    let mut third = again.start()?;
    third.wait_metric(GENERATIONS, |generations| generations == 0);
    third.terminate();
    third.wait_exit();
    assert!(!third.log().contains(told), "{}", third.log());
    Ok(())
}

fn generations_that_sockets_need_leave_no_room_for_one_more_until_they_go() -> TestResult {
    /// One more than may be attached beside a server's own.
    const CRASHES: usize = 9;
    let with =
        |mode: &'static str| Server::with(PingPath::Kernel).place(Place::VethV4).kernel_path(mode);
    let mut server = with("require").start()?;
    let mut slow = Vec::new();
    for number in 0..CRASHES {
        slow.push(client_that_does_not_read(&server, number));
        server.signal(Signal::KILL);
        server.wait_exit();
        if number + 1 < CRASHES {
            server = with("require").pinned_as(&server).start()?;
        }
    }
    let left = server.pins().links();
    assert_eq!(left.len(), 2 * CRASHES, "each is needed");
    let refused = with("require").pinned_as(&server).start().expect_err("there is no room");
    assert!(format!("{refused:?}").contains("9 servers that died before"), "{refused:?}");
    let auto = with("auto").pinned_as(&server).start()?;
    auto.wait_log("9 servers that died before");
    assert_eq!(auto.metrics().value(GENERATIONS), CRASHES as u64);
    assert_eq!(auto.pins().links(), left, "no stream loses its programs");

    // Their resets end the sockets.
    drop(slow);
    auto.wait_metric(GENERATIONS, |generations| generations == 0);
    auto.terminate();
    let pins = auto.pins().clone();
    drop(auto);
    assert!(pins.links().is_empty(), "{:?}", pins.links());
    let server = with("require").pinned_as(&server).start()?;
    pinged_clients(&server);
    server.finish();
    Ok(())
}

fn a_live_server_at_the_address_is_named_at_once() -> TestResult {
    need_root()?;
    let server = Server::with(PingPath::User).start()?;
    for flag in ["--listen", "--ws-listen"] {
        let address = server.target().address.to_string();
        let mut command = Command::new(server_binary()?);
        if flag == "--ws-listen" {
            command.args(["run", "--listen", "127.0.0.1:0"]);
        } else {
            command.arg("run");
        }
        let Output { status, stderr, .. } = command
            .args([flag, &address, "--http", "127.0.0.1:0"])
            .args(["--kernel-path", "off", "--durability", "off"])
            .output()
            .expect("run a second server");
        let said = String::from_utf8_lossy(&stderr);
        assert_eq!(status.code(), Some(1), "{said}");
        let pid = server.pid();
        let reason = format!("{address}: address already in use by push-server (process {pid})");
        assert!(said.contains(&reason) && said.contains(flag), "{said}");
    }
    server.finish();
    Ok(())
}

/// A server that keeps its sessions in `data`; over veth, if the kernel is to answer.
fn on_disk(path: PingPath, data: &Path) -> ServerBuilder {
    let place = match path {
        PingPath::Kernel => Place::VethV4,
        PingPath::User => Place::LoopbackV4,
    };
    Server::with(path).place(place).data_dir(data)
}

/// The next one is started while this one still dies: its process goes first, then its listeners with its
/// rings.
fn a_start_right_after_a_kill_gets_what_the_dead_server_had(path: PingPath) -> TestResult {
    const ROUNDS: usize = 12;
    let data = TempDir::new().expect("a directory");
    let with = || on_disk(path, data.path());
    let mut server = with().start()?;
    for _ in 0..ROUNDS {
        let clients: Vec<Client> = (0..CLIENTS).map(|number| connect(&server, number)).collect();
        server.signal(Signal::KILL);
        server = with().pinned_as(&server).at(&server).start()?;
        drop(clients);
    }
    server.finish();
    Ok(())
}

fn a_start_during_the_stop_of_the_server_before_gets_what_that_had(path: PingPath) -> TestResult {
    let data = TempDir::new().expect("a directory");
    let with = || on_disk(path, data.path());
    let mut first = with().start()?;
    // One that acknowledges nothing holds the stop up.
    let mut stuck = client_that_does_not_read(&first, 0);
    first.terminate();
    let second = with().pinned_as(&first).start()?;
    assert!(first.wait_exit().0.success(), "{}", first.log());
    second.wait_log("is in use: waiting");
    read_to_the_end(&mut stuck);
    second.finish();
    Ok(())
}

/// As a supervisor does that does not wait: the same addresses, data directory and pins.
fn a_start_with_the_same_flags_during_the_stop_serves_and_harms_no_client_of_before(
    path: PingPath,
) -> TestResult {
    let data = TempDir::new().expect("a directory");
    let with = || on_disk(path, data.path());
    let mut first = with().start()?;
    let mut clients = match path {
        PingPath::Kernel => pinged_clients(&first),
        PingPath::User => (0..CLIENTS).map(|number| connect(&first, number)).collect(),
    };
    let durable = |number| Connect::new(Version::V5, &format!("durable-{number}")).persistent();
    for number in 0..CLIENTS {
        Client::connect(first.target(), &durable(number)).disconnect();
    }
    let mut slow = client_that_does_not_read(&first, CLIENTS);
    first.terminate();
    let mut second = with().pinned_as(&first).at(&first).start()?;

    assert!(first.wait_exit().0.success(), "{}", first.log());
    // What said that it is ready may have been the first one.
    second.wait_ready().expect("it serves");
    let waited = second.metrics().value("push_start_waited_ms{for=\"http\"}");
    assert!(waited > 0, "the first one was still there: {}", second.log());
    for number in 0..CLIENTS {
        let client = Client::connect(second.target(), &durable(number));
        assert!(client.connack.session_present, "{number}");
    }
    for client in &mut clients {
        let ending = client.wait_ending();
        assert_eq!((ending.how, ending.reason), (Gone::Closed, Some(0x8B)), "{ending:?}");
    }
    read_what_was_sent(&mut slow);
    second.finish();
    Ok(())
}

/// What is on its way to a slow client.
fn slow_message() -> Publish {
    let payload = (0..1_u32 << 20).map(|at| (at / 253 + at) as u8).collect();
    Publish { topic: "slow".to_owned(), payload, ..Publish::default() }
}

/// Reads to the end of a slow client's stream, of which any part may have come, and nothing else.
fn read_what_was_sent(client: &mut Client) {
    let message = slow_message();
    let mut received = 0;
    let end = loop {
        match client.decode_read() {
            Some(Packet::Publish(publish)) => {
                assert!(publish.payload == message.payload, "message {received} came changed");
                received += 1;
            }
            Some(Packet::Disconnect { reason, .. }) => assert_eq!(reason, 0x8B),
            Some(other) => panic!("after {received} messages: {other:?}"),
            None => match client.read_some(64 << 10, PATIENCE) {
                Ok(_) => {}
                Err(end) => break end,
            },
        }
    };
    assert!(matches!(end, Gone::Closed | Gone::Reset), "{end:?}");
    let whole = wire::publish(Version::V5, &message);
    let rest = client.unread();
    assert!(whole.starts_with(rest), "behind {received} messages came {} bytes", rest.len());
}

/// A client that was answered by the kernel, if that is the path, and takes nothing of the much that is on
/// its way to it.
fn client_that_does_not_read(server: &Server, number: usize) -> Client {
    const MESSAGES: usize = 8;
    let connecting = Connect::new(Version::V5, &format!("slow-{number}")).receive_buffer(4 << 10);
    let mut slow = Client::connect(server.target(), &connecting);
    slow.subscribe(&[("slow", 0)]);
    if server.path() == PingPath::Kernel {
        ping_until_kernel_answers(server, &mut slow);
    }
    let mut publisher = connect(server, number);
    for _ in 0..MESSAGES {
        publisher.publish_packet(Publish { qos: 1, ..slow_message() });
    }
    publisher.disconnect();
    slow
}

/// How many bytes came before the end.
fn read_to_the_end(client: &mut Client) -> usize {
    let mut received = 0;
    loop {
        match client.read_some(64 << 10, PATIENCE) {
            Ok(bytes) => received += bytes,
            Err(end) => {
                assert!(matches!(end, Gone::Closed | Gone::Reset), "{end:?}");
                return received;
            }
        }
    }
}

/// Clients that the kernel has answered a ping each.
fn pinged_clients(server: &Server) -> Vec<Client> {
    let before = server.metrics().kernel_pings();
    let mut clients: Vec<Client> = (0..CLIENTS).map(|number| connect(server, number)).collect();
    for _ in 0..3 {
        std::thread::sleep(CALM);
        clients.iter_mut().for_each(Client::ping);
    }
    let answered = server.metrics().kernel_pings() - before;
    assert!(answered >= 2 * CLIENTS as u64, "the kernel answered {answered}");
    clients
}

fn ping_until_kernel_answers(server: &Server, client: &mut Client) {
    let before = server.metrics().kernel_pings();
    wait_for("an answer of the kernel", || {
        std::thread::sleep(CALM);
        client.ping();
        (server.metrics().kernel_pings() > before).then_some(())
    });
}

fn connect(server: &Server, number: usize) -> Client {
    Client::connect(server.target(), &Connect::new(Version::V5, &format!("client-{number}")))
}

/// Runs `push-server detach`: whether it succeeded, and what it said.
fn detach(dir: &std::path::Path) -> Result<(bool, String), push_tests::skip::Skip> {
    let Output { status, stdout, stderr } = Command::new(server_binary()?)
        .args(["detach", "--wait-secs", "1", "--bpf-dir"])
        .arg(dir)
        .output()
        .expect("run push-server detach");
    let said = String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned();
    Ok((status.success(), said))
}

fn shown(path: &std::path::Path) -> std::path::Display<'_> {
    path.display()
}

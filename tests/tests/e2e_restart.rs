//! Death and life of the server: what clients see of a crash, and what a start finds of it.

use std::process::{Command, Output};
use std::time::Duration;

use push_tests::claims;
use push_tests::clients::{Client, Connect, Gone};
use push_tests::expectations::{PATIENCE, wait_for};
use push_tests::server::{PingPath, Place, Server, server_binary};
use push_tests::skip::TestResult;
use push_tests::wire::{PINGREQ, Version};
use rustix::process::Signal;

/// Clients of a server that is killed.
const CLIENTS: usize = 40;

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
    assert!(second.log().contains("did not stop in order"), "{}", second.log());
    assert_eq!(second.pins().links().len(), 4, "the old ones still translate");
    drop(clients);
    pinged_clients(&second);
    let pins = second.pins().clone();
    second.finish();
    assert_eq!(pins.links(), left, "its own are gone, those of the first have not had their time");
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
            .args(["--kernel-path", kernel_path, "--bpf-dir"])
            .arg(server.pins().path())
            .output()
            .expect("run a second server");
        let said = String::from_utf8_lossy(&stderr);
        assert_eq!(status.code(), Some(1), "{said}");
        assert!(said.contains("another push-server runs with --bpf-dir"), "{said}");
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
        .args(["detach", "--bpf-dir"])
        .arg(dir)
        .output()
        .expect("run push-server detach");
    let said = String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned();
    Ok((status.success(), said))
}

fn shown(path: &std::path::Path) -> std::path::Display<'_> {
    path.display()
}

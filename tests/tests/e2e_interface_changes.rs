//! Interfaces and routes that come, go and change while the server runs. Where no programs of ours are,
//! user space serves, and the reason is counted.

use std::sync::Arc;
use std::time::Duration;

use push_tests::both_paths;
use push_tests::clients::{Client, Connect, Gone};
use push_tests::expectations::{PATIENCE, wait_for};
use push_tests::link::{Faults, Link};
use push_tests::netns::{CLIENT_INTERFACE, CLIENT_V4, SERVER_INTERFACE, SERVER_V4, Veth};
use push_tests::server::{PingPath, Place, Server};
use push_tests::skip::{Skip, TestResult};
use push_tests::wire::{self, PINGREQ, Packet, Properties, Version};

/// Longer than a client's kernel puts off an acknowledgement.
const CALM: Duration = Duration::from_millis(100);

/// Connections left to user space because they use an interface without our programs.
const DECLINED: &str = "push_kernel_path_declined_total{reason=\"uncovered_interface\"}";

both_paths! {
    an_interface_deleted_and_made_again_is_served_in_user_space,
    an_interface_that_comes_later_is_served_in_user_space,
    an_interface_that_goes_down_and_changes_is_served_on,
    a_route_that_moves_at_the_server_changes_no_stream,
    what_is_left_to_user_space_goes_with_its_route,
}

fn an_interface_deleted_and_made_again_is_served_in_user_space(path: PingPath) -> TestResult {
    let (veth, mut server) = start(path)?;
    let mut before = connect(&server, "before");
    talk(&server, &mut before, path);
    veth.server.ip(&format!("link del {SERVER_INTERFACE}"))?;
    std::thread::sleep(CALM);
    server.assert_running();
    veth.join()?;

    let mut client = connect(&server, "client");
    talk(&server, &mut client, PingPath::User);
    // A connection that the kernel has answered for keeps to the interface that it came by.
    match path {
        PingPath::User => talk(&server, &mut before, PingPath::User),
        PingPath::Kernel => {
            wait_for("the end of what came by the old one", || {
                let _ = before.try_send(&PINGREQ);
                let end = before.receive(Duration::from_millis(50)).expect_err("no answer");
                (end != Gone::Silent).then_some(())
            });
            assert_eq!(server.metrics().value(DECLINED), 1);
        }
    }
    client.disconnect();
    // By now no path can be proven to be the kernel's.
    let pins = Arc::clone(server.pins());
    server.terminate();
    assert!(server.wait_exit().0.success(), "{}", server.log());
    assert!(pins.links().is_empty(), "{:?}", pins.links());
    Ok(())
}

fn an_interface_that_comes_later_is_served_in_user_space(path: PingPath) -> TestResult {
    let (veth, server) = start(path)?;
    veth.join_again()?;
    veth.client.ip(&format!("route add {SERVER_V4}/32 dev cli1"))?;
    let mut client = connect(&server, "by the new one");
    talk(&server, &mut client, PingPath::User);
    let declined = server.metrics().value(DECLINED);
    assert_eq!(declined, u64::from(path == PingPath::Kernel));
    veth.client.ip(&format!("route del {SERVER_V4}/32 dev cli1"))?;
    let mut other = connect(&server, "by the old one");
    talk(&server, &mut other, path);
    server.finish();
    Ok(())
}

fn an_interface_that_goes_down_and_changes_is_served_on(path: PingPath) -> TestResult {
    let (veth, server) = start(path)?;
    let mut client = connect(&server, "client");
    talk(&server, &mut client, path);
    for change in ["mtu 1280", "address 02:00:00:00:00:77", "name srv9"] {
        println!("{change}");
        let name = SERVER_INTERFACE;
        veth.server.ip(&format!("link set {name} down"))?;
        // A ping is lost meanwhile; TCP repeats it.
        client.send(&PINGREQ);
        veth.server.ip(&format!("link set {name} {change}"))?;
        let name = if change.starts_with("name") { "srv9" } else { name };
        veth.server.ip(&format!("link set {name} up"))?;
        // Or the client goes on to send to the old address.
        veth.client.ip(&format!("neighbour flush dev {CLIENT_INTERFACE}"))?;
        client.expect("a PINGRESP", |packet| (*packet == Packet::Pingresp).then_some(()));
        talk(&server, &mut client, path);
    }
    server.finish();
    Ok(())
}

fn a_route_that_moves_at_the_server_changes_no_stream(path: PingPath) -> TestResult {
    let (veth, server) = start(path)?;
    let mut before = connect(&server, "before");
    talk(&server, &mut before, path);
    veth.join_again()?;
    veth.server.ip(&format!("route add {CLIENT_V4}/32 dev srv1"))?;
    // It keeps to its interface, where the kernel goes on to answer.
    talk(&server, &mut before, path);
    // Another one comes by the first and would leave by the second.
    let mut client = connect(&server, "client");
    talk(&server, &mut client, PingPath::User);
    let declined = server.metrics().value(DECLINED);
    assert_eq!(declined, u64::from(path == PingPath::Kernel));
    veth.server.ip(&format!("route del {CLIENT_V4}/32 dev srv1"))?;
    talk(&server, &mut before, path);
    talk(&server, &mut client, PingPath::User);
    server.finish();
    Ok(())
}

/// A connection is bound to its interface for the programs' sake only.
fn what_is_left_to_user_space_goes_with_its_route(path: PingPath) -> TestResult {
    /// Some of so many small segments overtake others on a link that delays each by its own time.
    const PIECES: usize = 60;
    let link = Link::create(Faults { reordered: 1_000, ..Faults::NONE }, 7, [0, 1])?;
    let veth = link.namespaces();
    let server = Server::with(path).within(Arc::clone(&veth), Place::VethV4).start()?;
    let mut client = Client::dial(server.target(), Version::V311, None);
    let name = "overtaken".repeat(PIECES);
    let connect = wire::connect(Version::V311, &name, 60, true, None, &Properties::default());
    for piece in connect.chunks(connect.len().div_ceil(PIECES)) {
        client.send(piece);
    }
    client.read_connack(PATIENCE).expect("a CONNACK");
    link.heal();
    let overtaken = "push_kernel_path_declined_total{reason=\"out_of_order\"}";
    assert_eq!(server.metrics().value(overtaken), u64::from(path == PingPath::Kernel));
    talk(&server, &mut client, PingPath::User);

    veth.join_again()?;
    veth.server.ip(&format!("route add {CLIENT_V4}/32 dev srv1"))?;
    veth.client.ip(&format!("route add {SERVER_V4}/32 dev cli1"))?;
    talk(&server, &mut client, PingPath::User);
    // Everybody else's way leads elsewhere, too: no path can be proven to be the kernel's.
    client.disconnect();
    Ok(())
}

fn start(path: PingPath) -> Result<(Arc<Veth>, Server), Skip> {
    let veth = Arc::new(Veth::create()?);
    let server = Server::with(path).within(Arc::clone(&veth), Place::VethV4);
    Ok((veth, server.flag("--ping-rate", 0).start()?))
}

fn connect(server: &Server, name: &str) -> Client {
    let mut client = Client::connect(server.target(), &Connect::new(Version::V5, name));
    client.subscribe(&[(name, 1)]);
    client
}

/// Messages there and back (each client subscribes to its own name), and pings, which the kernel answers
/// sooner or later, or never.
#[track_caller]
fn talk(server: &Server, client: &mut Client, by: PingPath) {
    const PINGS_MAX: u64 = 20;
    let before = server.metrics();
    for pings in 1..=PINGS_MAX {
        std::thread::sleep(CALM);
        client.ping();
        client.publish("nobody", &[7; 3_000], 1);
        std::thread::sleep(CALM);
        client.ping();
        let now = server.metrics();
        let kernel = now.kernel_pings() - before.kernel_pings();
        match by {
            PingPath::User => {
                assert_eq!(kernel, 0);
                assert_eq!(now.user_pings() - before.user_pings(), 2 * pings);
                return;
            }
            PingPath::Kernel if kernel > 0 => return,
            PingPath::Kernel => {}
        }
    }
    panic!("the kernel has answered no ping: {}", server.metrics().text());
}

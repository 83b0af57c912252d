//! Path MTU Discovery behind kernel-answered pings: a router between server and device has a smaller
//! link, and says so by ICMP errors, whose quoted numbers the server's stack must recognise (rule 15).

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use push_tests::both_paths;
use push_tests::clients::{Client, Connect};
use push_tests::expectations::{PATIENCE, wait_for};
use push_tests::netns::{CLIENT_V4, CLIENT_V6, Namespace, Veth};
use push_tests::server::{PingPath, Place, Server};
use push_tests::skip::{Skip, TestResult};
use push_tests::wire::Version;

/// Longer than a client's kernel puts off an acknowledgement.
const CALM: Duration = Duration::from_millis(100);

/// The small link. Both ends believe that they have 1,500.
const MTU: usize = 1_400;

/// A message that fills one segment, which does not fit.
const MESSAGE_BYTES: usize = 1_410;

/// So far ahead are the client's numbers then that no byte of the message has a number in the server's
/// own space that is outstanding there.
const KERNEL_PINGS: u64 = 750;

/// Pings in a row; the 256th would be left to user space.
const PINGS_IN_A_ROW: usize = 250;

both_paths! {
    over_ipv4_a_large_message_arrives_though_the_path_mtu_is_small,
    over_ipv6_a_large_message_arrives_though_the_path_mtu_is_small,
}

fn over_ipv4_a_large_message_arrives_though_the_path_mtu_is_small(path: PingPath) -> TestResult {
    a_large_message_arrives(path, Place::VethV4)
}

fn over_ipv6_a_large_message_arrives_though_the_path_mtu_is_small(path: PingPath) -> TestResult {
    a_large_message_arrives(path, Place::VethV6)
}

fn a_large_message_arrives(path: PingPath, place: Place) -> TestResult {
    let veth = Arc::new(Veth::create()?);
    let device = Namespace::create("d")?;
    route_through_the_clients_end(&veth, &device)?;
    let server = Server::with(path).within(Arc::clone(&veth), place);
    let server = server.flag("--ping-rate", 0).start()?;
    let address = server.target().address;
    let mut client = connect(&device, address);
    client.subscribe(&[("firmware", 1)]);
    match path {
        PingPath::Kernel => ping_far_ahead(&server, &mut client),
        PingPath::User => client.ping(),
    }

    let mut publisher = Client::connect(server.target(), &Connect::new(Version::V5, "publisher"));
    let message = vec![0x5A; MESSAGE_BYTES];
    publisher.publish("firmware", &message, 1);
    assert_eq!(client.message().payload, message);
    client.assert_alive();
    publisher.disconnect();
    client.disconnect();

    let translated = "push_kernel_path_events_total{event=\"icmp_translated\"}";
    assert_eq!(server.metrics().value(translated) > 0, path == PingPath::Kernel);
    assert_eq!(out_of_window_icmps(&veth.server), 0);
    server.finish();
    Ok(())
}

/// The device lives behind the clients' end of the pair, which forwards: 10.79.0.2, fd79::2.
fn route_through_the_clients_end(veth: &Veth, device: &Namespace) -> TestResult {
    let router = &veth.client;
    router.ip(&format!("link add dev0 type veth peer name dev1 netns {}", device.name()))?;
    for (namespace, interface, last) in [(router, "dev0", 1), (device, "dev1", 2)] {
        namespace.ip(&format!("address add 10.79.0.{last}/24 dev {interface}"))?;
        namespace.ip(&format!("address add fd79::{last}/64 dev {interface} nodad"))?;
        namespace.ip(&format!("link set {interface} up"))?;
    }
    router.ip(&format!("link set dev0 mtu {MTU}"))?;
    veth.server.ip(&format!("route add 10.79.0.0/24 via {CLIENT_V4}"))?;
    veth.server.ip(&format!("route add fd79::/64 via {CLIENT_V6}"))?;
    device.ip("route add default via 10.79.0.1")?;
    device.ip("route add default via fd79::1")?;
    router.run(|| {
        for setting in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
            std::fs::write(format!("/proc/sys/net/{setting}"), "1")
                .map_err(|error| Skip::kernel_path(format!("{setting}: {error}")))?;
        }
        Ok(())
    })
}

fn connect(device: &Namespace, server: SocketAddr) -> Client {
    // A link that has just come up finds no neighbours yet.
    let stream = wait_for("a way to the server", || device.run(|| TcpStream::connect(server)).ok());
    stream.set_nodelay(true).expect("set TCP_NODELAY");
    let mut client = Client::over(stream, Version::V5);
    client.say_connect(&Connect::new(Version::V5, "device"));
    client.read_connack(PATIENCE).expect("a CONNACK");
    client
}

/// Pings until the kernel has answered so many.
#[track_caller]
fn ping_far_ahead(server: &Server, client: &mut Client) {
    const ROUNDS_MAX: usize = 40;
    for _ in 0..ROUNDS_MAX {
        std::thread::sleep(CALM);
        (0..PINGS_IN_A_ROW).for_each(|_| client.ping());
        if server.metrics().kernel_pings() >= KERNEL_PINGS {
            return;
        }
    }
    panic!("the kernel answers too few pings: {}", server.metrics().text());
}

/// ICMP errors that TCP has ignored because of the number that they quote.
fn out_of_window_icmps(namespace: &Namespace) -> u64 {
    let text = namespace
        .run(|| std::fs::read_to_string("/proc/thread-self/net/netstat"))
        .expect("statistics");
    let mut lines = text.lines().filter(|line| line.starts_with("TcpExt:"));
    let (names, values) = (lines.next().expect("names"), lines.next().expect("values"));
    let found =
        names.split(' ').zip(values.split(' ')).find(|(name, _)| *name == "OutOfWindowIcmps");
    found.and_then(|(_, value)| value.parse().ok()).expect("a counter of that name")
}

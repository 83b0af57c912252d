//! Devices behind routers of the test's own: a link too narrow for their packets, and a way back by
//! another router than the way there.

use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use push_tests::both_paths;
use push_tests::clients::{Client, Connect};
use push_tests::expectations::{PATIENCE, wait_for};
use push_tests::metrics::Metrics;
use push_tests::netns::{CLIENT_INTERFACE, Namespace, SERVER_V4, Veth};
use push_tests::server::{PingPath, Place, Server};
use push_tests::skip::{Skip, TestResult};
use push_tests::wire::Version;

/// Longer than a client's kernel puts off an acknowledgement.
const CALM: Duration = Duration::from_millis(100);
/// A ping that finds the connection calm is answered by the kernel; a busy machine may take some more.
const PINGS_MAX: usize = 20;

const DEVICE_V4: &str = "10.79.0.2";

both_paths! {
    datagrams_cut_by_a_narrow_link_arrive,
    a_connect_cut_by_a_narrow_link_is_served,
    answers_leave_by_the_router_that_the_server_sends_to,
}

/// The device sets no DF, as lwIP and many modems.
fn datagrams_cut_by_a_narrow_link_arrive(path: PingPath) -> TestResult {
    let device = Device::behind_a_router()?;
    let server = device.serve(path)?;
    let mut client = device.connect(&server);
    answered(&server, &mut client, path);

    let narrow = format!("{SERVER_V4}/32 dev {CLIENT_INTERFACE} mtu lock 1400");
    device.router().ip(&format!("route add {narrow}"))?;
    for bytes in [3_000, 20_000] {
        echoed(&mut client, bytes);
    }
    std::thread::sleep(CALM);
    client.ping();
    let metrics = server.metrics();
    let is_kernel = path == PingPath::Kernel;
    assert_eq!(event(&metrics, "fragment") > 0, is_kernel, "{}", metrics.text());
    assert_eq!(declined(&metrics, "fragments") > 0, is_kernel, "{}", metrics.text());

    // Beyond the longest datagram the kernel answers again.
    device.router().ip(&format!("route del {narrow}"))?;
    echoed(&mut client, 70_000);
    answered(&server, &mut client, path);
    client.disconnect();
    server.finish();
    Ok(())
}

/// Its first fragment comes before there is a flow, so user space serves the connection.
fn a_connect_cut_by_a_narrow_link_is_served(path: PingPath) -> TestResult {
    let device = Device::behind_a_router()?;
    let server = device.serve(path)?;
    let narrow = format!("{SERVER_V4}/32 dev {CLIENT_INTERFACE} mtu lock 1400");
    device.router().ip(&format!("route add {narrow}"))?;
    let large = Connect::new(Version::V5, "device").will("gone", &[7; 3_000]);
    let mut client = device.connect_as(&server, &large);
    for _ in 0..3 {
        std::thread::sleep(CALM);
        client.ping();
    }
    echoed(&mut client, 20_000);
    client.ping();
    let metrics = server.metrics();
    let is_kernel = path == PingPath::Kernel;
    assert_eq!(declined(&metrics, "early_fragment"), u64::from(is_kernel), "{}", metrics.text());
    assert_eq!((metrics.kernel_pings(), metrics.user_pings()), (0, 4));
    client.disconnect();
    server.finish();
    Ok(())
}

/// Direct server return: what came back by the router of the way there would be lost.
fn answers_leave_by_the_router_that_the_server_sends_to(path: PingPath) -> TestResult {
    let device = Device::behind_a_router()?;
    let back = device.add_a_router_back()?;
    let server = device.serve(path)?;
    let mut client = device.connect(&server);
    answered(&server, &mut client, path);
    let is_kernel = path == PingPath::Kernel;
    let before = server.metrics();
    // By the router there, one was left to the stack, to see where it sends the answer.
    assert_eq!(declined(&before, "next_hop"), u64::from(is_kernel), "{}", before.text());
    for _ in 0..PINGS_MAX {
        client.ping();
    }
    let after = server.metrics();
    if is_kernel {
        assert_eq!(after.kernel_pings(), before.kernel_pings() + PINGS_MAX as u64);
        // None had to be asked for again.
        assert_eq!(event(&after, "resent"), event(&before, "resent"), "{}", after.text());
    }
    echoed(&mut client, 20_000);
    client.disconnect();
    drop(back);
    server.finish();
    Ok(())
}

/// A device in a network of its own, behind a router (the clients' namespace of the veth pair).
struct Device {
    veth: Arc<Veth>,
    device: Namespace,
}

impl Device {
    fn behind_a_router() -> Result<Self, Skip> {
        let (veth, device) = (Arc::new(Veth::create()?), Namespace::create("d")?);
        let router = &veth.client;
        router.ip(&format!("link add far0 type veth peer name dev0 netns {}", device.name()))?;
        for (namespace, interface, last) in [(router, "far0", 1), (&device, "dev0", 2)] {
            namespace.ip(&format!("address add 10.79.0.{last}/24 dev {interface}"))?;
            namespace.ip(&format!("link set {interface} up"))?;
        }
        device.ip("route add default via 10.79.0.1")?;
        veth.server.ip("route add 10.79.0.0/24 via 10.77.0.2")?;
        set(router, "ip_forward", "1");
        set(&device, "ip_no_pmtu_disc", "1");
        Ok(Self { veth, device })
    }

    /// A second router on the server's link, by which the server sends to the device; nothing of the
    /// server comes through the first one any more.
    fn add_a_router_back(&self) -> Result<Namespace, Skip> {
        let (server, there, back) = (&self.veth.server, self.router(), Namespace::create("b")?);
        let name = back.name();
        there.ip(&format!("link add mac0 link {CLIENT_INTERFACE} type macvlan mode bridge"))?;
        there.ip(&format!("link set mac0 netns {name}"))?;
        back.ip(&format!("link add far0 type veth peer name dev1 netns {}", self.device.name()))?;
        for (namespace, interface, address) in [
            (&back, "mac0", "10.77.0.3/24"),
            (&back, "far0", "10.80.0.1/24"),
            (&self.device, "dev1", "10.80.0.2/24"),
        ] {
            namespace.ip(&format!("address add {address} dev {interface}"))?;
            namespace.ip(&format!("link set {interface} up"))?;
        }
        back.ip(&format!("route add {DEVICE_V4}/32 via 10.80.0.2"))?;
        set(&back, "ip_forward", "1");
        // Each way has interfaces of its own, and nobody may take that for forged.
        for (namespace, interface) in [(&self.device, "dev1"), (&back, "mac0"), (&back, "far0")] {
            set(namespace, &format!("conf/{interface}/rp_filter"), "0");
            set(namespace, "conf/all/rp_filter", "0");
        }
        server.ip("route replace 10.79.0.0/24 via 10.77.0.3")?;
        there.ip(&format!("rule add from {SERVER_V4} to {DEVICE_V4} blackhole pref 10"))?;
        Ok(back)
    }

    fn router(&self) -> &Namespace {
        &self.veth.client
    }

    fn serve(&self, path: PingPath) -> Result<Server, Skip> {
        let server = Server::with(path).within(Arc::clone(&self.veth), Place::VethV4);
        server.flag("--ping-rate", 0).start()
    }

    /// A client on the device, which gets what it publishes.
    fn connect(&self, server: &Server) -> Client {
        self.connect_as(server, &Connect::new(Version::V5, "device"))
    }

    fn connect_as(&self, server: &Server, connect: &Connect) -> Client {
        let to = (SERVER_V4, server.target().address.port());
        // A link that has just come up finds no neighbours yet.
        let stream =
            wait_for("a way to the server", || self.device.run(|| TcpStream::connect(to)).ok());
        assert_eq!(stream.local_addr().expect("its address").ip().to_string(), DEVICE_V4);
        let mut client = Client::over(stream, Version::V5);
        client.say_connect(connect);
        client.read_connack(PATIENCE).expect("a CONNACK");
        client.subscribe(&[("uplink", 1)]);
        client
    }
}

/// Sets a value below `net.ipv4`.
fn set(namespace: &Namespace, name: &str, value: &str) {
    let path = format!("/proc/sys/net/ipv4/{name}");
    namespace.run(|| std::fs::write(path, value)).expect("set a sysctl");
}

/// Pings until the kernel has answered one, if it is to.
#[track_caller]
fn answered(server: &Server, client: &mut Client, path: PingPath) {
    let before = server.metrics().kernel_pings();
    for _ in 0..PINGS_MAX {
        std::thread::sleep(CALM);
        client.ping();
        let by_kernel = server.metrics().kernel_pings() > before;
        if by_kernel || path == PingPath::User {
            return assert_eq!(by_kernel, path == PingPath::Kernel);
        }
    }
    panic!("the kernel has answered no ping: {}", server.metrics().text());
}

/// A message of the client to itself.
#[track_caller]
fn echoed(client: &mut Client, bytes: usize) {
    let payload: Vec<u8> = (0..bytes).map(|at| (at / 7 + at % 251) as u8).collect();
    client.publish("uplink", &payload, 1);
    assert!(client.message().payload == payload, "it came changed");
}

fn declined(metrics: &Metrics, reason: &str) -> u64 {
    value(metrics, &format!("push_kernel_path_declined_total{{reason=\"{reason}\"}}"))
}

fn event(metrics: &Metrics, event: &str) -> u64 {
    value(metrics, &format!("push_kernel_path_events_total{{event=\"{event}\"}}"))
}

/// The programs' counters are there with the programs alone.
fn value(metrics: &Metrics, sample: &str) -> u64 {
    metrics.find(sample).unwrap_or_default()
}

//! The kernel path's own limits: a connection for which it has no room is served in user space, and
//! counted with the reason.

use std::io::{Read as _, Write as _};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use push_tests::claims;
use push_tests::clients::{Client, Connect};
use push_tests::expectations::PATIENCE;
use push_tests::metrics::Metrics;
use push_tests::netns::{CLIENT_V4, SERVER_INTERFACE, Veth};
use push_tests::server::{PingPath, Place, Server, raise_descriptor_limit};
use push_tests::skip::{Skip, TestResult};
use push_tests::wire::Version;
use socket2::{Domain, Socket, Type};

/// Longer than a client's kernel puts off an acknowledgement.
const CALM: Duration = Duration::from_millis(100);

claims! {
    out_of_slots_a_connection_is_served_in_user_space,
    out_of_flows_a_connection_is_served_in_user_space,
    with_timestamps_in_microseconds_a_connection_is_served_in_user_space,
}

fn out_of_slots_a_connection_is_served_in_user_space() -> TestResult {
    const CONNECTIONS: usize = 256;
    /// A quarter more slots and 64, shared out evenly: 12 for each.
    const SHARDS: usize = 32;
    raise_descriptor_limit();
    let server = Server::with(PingPath::Kernel)
        .flag("--max-connections", CONNECTIONS)
        .flag("--shards", SHARDS)
        .start()?;
    // Clients come to shards by their ids. Ever new ones, until a shard gets more than it has slots.
    let mut names = (0..).map(|number| format!("client-{number}"));
    let (mut clients, before) = loop {
        let before = server.metrics();
        let mut connect = || {
            let name = names.next().expect("no end of names");
            Client::connect(server.target(), &Connect::new(Version::V5, &name))
        };
        let clients: Vec<Client> = (0..CONNECTIONS).map(|_| connect()).collect();
        if declined(&server.metrics(), "no_slot") > 0 {
            break (clients, before);
        }
        clients.into_iter().for_each(Client::disconnect);
        server.wait_metric("push_connections", |connections| connections == 0);
    };
    let unarmed = declined(&server.metrics(), "no_slot");
    for _ in 0..2 {
        std::thread::sleep(CALM);
        clients.iter_mut().for_each(Client::ping);
    }
    let after = server.metrics();
    assert!(after.user_pings() - before.user_pings() >= 2 * unarmed, "{}", after.text());
    assert!(after.kernel_pings() > before.kernel_pings(), "{}", after.text());
    assert_eq!(after.value("push_connections_armed"), CONNECTIONS as u64 - unarmed);
    drop(clients);
    server.wait_metric("push_connections", |connections| connections == 0);
    server.finish();
    Ok(())
}

fn out_of_flows_a_connection_is_served_in_user_space() -> TestResult {
    const CONNECTIONS: usize = 200;
    /// For each slot one, and 1,024.
    const FLOWS_LEFT_MAX: usize = CONNECTIONS * 5 / 4 + 64 + 1_024;
    raise_descriptor_limit();
    let mut server = Server::with(PingPath::Kernel)
        .flag("--max-connections", CONNECTIONS)
        .flag("--shards", 1)
        .start()?;
    let connect = |number: usize| {
        Client::connect(server.target(), &Connect::new(Version::V5, &format!("client-{number}")))
    };
    // Each first ping that the kernel answers leaves a flow, which lingers for two minutes. How many it
    // answers is the machine's.
    let begun = Instant::now();
    let (mut rounds, mut before) = (0, server.metrics());
    while before.kernel_pings() < FLOWS_LEFT_MAX as u64 {
        assert!(
            begun.elapsed() < PATIENCE,
            "{rounds} rounds of {CONNECTIONS} connections: the kernel has answered {} of their first pings, \
             user space {}; {FLOWS_LEFT_MAX} flows were to be left; {}",
            before.kernel_pings(),
            before.user_pings(),
            before.text()
        );
        let mut clients: Vec<Client> = (0..CONNECTIONS).map(connect).collect();
        std::thread::sleep(CALM);
        clients.iter_mut().for_each(Client::ping);
        drop(clients);
        server.wait_metric("push_connections", |connections| connections == 0);
        (rounds, before) = (rounds + 1, server.metrics());
    }
    let mut client = connect(0);
    client.subscribe(&[("still", 1)]);
    for _ in 0..3 {
        std::thread::sleep(CALM);
        client.ping();
        client.publish("still", &[7; 3_000], 1);
        assert_eq!(client.message().payload, [7; 3_000]);
    }
    let after = server.metrics();
    assert_eq!(declined(&after, "flow_map"), declined(&before, "flow_map") + 1);
    assert_eq!(after.user_pings(), before.user_pings() + 3);
    assert_eq!(after.value("push_connections_armed"), 0);
    client.disconnect();
    // Its flows stay as they are, so no path is to be proven at the end.
    server.terminate();
    assert!(server.wait_exit().0.success());
    Ok(())
}

fn with_timestamps_in_microseconds_a_connection_is_served_in_user_space() -> TestResult {
    let veth = Arc::new(Veth::create()?);
    let server = Server::with(PingPath::Kernel).within(Arc::clone(&veth), Place::VethV4).start()?;
    veth.server.run(|| route_with_fine_timestamps(CLIENT_V4.parse().expect("an address")))?;
    let name = "client";
    let mut client = Client::connect(server.target(), &Connect::new(Version::V5, name));
    client.subscribe(&[(name, 1)]);
    for pings in 1..=3 {
        std::thread::sleep(CALM);
        client.ping();
        assert_eq!(server.metrics().user_pings(), pings);
    }
    let metrics = server.metrics();
    assert_eq!((declined(&metrics, "fine_timestamps"), metrics.kernel_pings()), (1, 0));
    client.disconnect();
    veth.server.ip(&format!("route del {CLIENT_V4}/32"))?;
    server.finish();
    Ok(())
}

/// Adds a route to a host by the server's interface with the feature `tcp_usec_ts`, which not every `ip`
/// knows: a request of rtnetlink(7), written by hand.
fn route_with_fine_timestamps(host: Ipv4Addr) -> TestResult {
    const RTM_NEWROUTE: u16 = 24;
    /// A request, acknowledged, that makes what must not be there.
    const FLAGS: u16 = 0x1 | 0x4 | 0x200 | 0x400;
    /// AF_INET, a host; the main table, made by hand, on the link, unicast.
    const ROUTE: [u8; 12] = [2, 32, 0, 0, 254, 4, 253, 1, 0, 0, 0, 0];
    const RTA_DST: u16 = 1;
    const RTA_OIF: u16 = 4;
    const RTA_METRICS: u16 = 8;
    const RTAX_FEATURES: u16 = 12;
    const TCP_USEC_TS: u32 = 1 << 4;
    const AF_NETLINK: i32 = 16;
    let attribute = |kind: u16, value: &[u8]| -> Vec<u8> {
        let bytes = u16::try_from(4 + value.len()).expect("a short one");
        [&bytes.to_ne_bytes()[..], &kind.to_ne_bytes(), value].concat()
    };
    let any = Socket::new(Domain::IPV4, Type::DGRAM, None).expect("a socket");
    let index = rustix::net::netdevice::name_to_index(&any, SERVER_INTERFACE).expect("its index");
    let features = attribute(RTAX_FEATURES, &TCP_USEC_TS.to_ne_bytes());
    let body = [
        ROUTE.to_vec(),
        attribute(RTA_DST, &host.octets()),
        attribute(RTA_OIF, &index.to_ne_bytes()),
        attribute(RTA_METRICS, &features),
    ]
    .concat();
    let bytes = u32::try_from(16 + body.len()).expect("a short one");
    let header = [bytes.to_ne_bytes(), [0; 4], [1, 0, 0, 0], [0; 4]];
    let mut message: Vec<u8> = header.concat();
    message[4..6].copy_from_slice(&RTM_NEWROUTE.to_ne_bytes());
    message[6..8].copy_from_slice(&FLAGS.to_ne_bytes());
    message.extend(body);

    let mut socket = Socket::new(Domain::from(AF_NETLINK), Type::RAW, None).expect("netlink");
    socket.write_all(&message).expect("ask for the route");
    let mut answer = [0; 256];
    let read = socket.read(&mut answer).expect("an answer");
    assert!(read >= 20, "{read} bytes");
    match i32::from_ne_bytes(answer[16..20].try_into().expect("four bytes")) {
        0 => Ok(()),
        errno => Err(Skip::kernel_path(format!("no tcp_usec_ts (Linux 6.7): errno {}", -errno))),
    }
}

fn declined(metrics: &Metrics, reason: &str) -> u64 {
    metrics.value(&format!("push_kernel_path_declined_total{{reason=\"{reason}\"}}"))
}

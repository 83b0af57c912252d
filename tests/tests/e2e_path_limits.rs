//! The kernel path's own limits: a connection for which it has no room is served in user space, and
//! counted with the reason.

use std::time::Duration;

use push_tests::claims;
use push_tests::clients::{Client, Connect};
use push_tests::metrics::Metrics;
use push_tests::server::{PingPath, Server, raise_descriptor_limit};
use push_tests::skip::TestResult;
use push_tests::wire::Version;

/// Longer than a client's kernel puts off an acknowledgement.
const CALM: Duration = Duration::from_millis(100);

claims! {
    out_of_slots_a_connection_is_served_in_user_space,
    out_of_flows_a_connection_is_served_in_user_space,
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
    // Flows of connections whose pings the kernel has answered linger for two minutes.
    for _ in 0..FLOWS_LEFT_MAX.div_ceil(CONNECTIONS) + 1 {
        let mut clients: Vec<Client> = (0..CONNECTIONS).map(connect).collect();
        std::thread::sleep(CALM);
        clients.iter_mut().for_each(Client::ping);
        drop(clients);
        server.wait_metric("push_connections", |connections| connections == 0);
    }
    let before = server.metrics();
    assert!(declined(&before, "flow_map") > 0, "{}", before.text());
    assert!(before.kernel_pings() >= FLOWS_LEFT_MAX as u64, "{}", before.text());
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

fn declined(metrics: &Metrics, reason: &str) -> u64 {
    metrics.value(&format!("push_kernel_path_declined_total{{reason=\"{reason}\"}}"))
}

//! `--listen-dual`: IPv4 clients at `[::]`, whose packets are IPv4's and whose socket is IPv6's.

use push_tests::both_paths;
use push_tests::clients::{Client, Connect};
use push_tests::expectations::wait_for;
use push_tests::server::{PingPath, Place, Server};
use push_tests::skip::TestResult;
use push_tests::wire::Version;

both_paths! {
    both_families_are_served_at_one_address,
    ipv4_clients_of_it_are_served_over_veth,
}

/// Pings of a calm client: the kernel answers all but the first two.
const PINGS: u64 = 5;

const DUAL: &str = "listen-dual = true\n[[listener]]\naddress = '[::]:{port}'\n";

fn both_families_are_served_at_one_address(path: PingPath) -> TestResult {
    let server = Server::with(path)
        .settings(DUAL)
        .flag("--iface", "lo")
        .flag("--anonymous", "always")
        .start()?;
    let port = server.target().address.port();
    for (ip, id) in [("127.0.0.1", "four"), ("[::1]", "six")] {
        let address = format!("{ip}:{port}").parse().expect("an address");
        let target = server.target().with_address(address);
        let connect = Connect::new(Version::V5, id);
        let mut client = Client::connect(&target, &connect);
        let kernel = server.kernel_share_of(&mut client, PINGS);
        match path {
            PingPath::Kernel => assert!(kernel >= PINGS - 2, "{id}: {kernel} by the kernel"),
            PingPath::User => assert_eq!(kernel, 0),
        }
        // The log has the address as the client knows it.
        let own = client.stream().local_addr().expect("an address");
        let _second = Client::connect(&target, &connect);
        let line = format!("client=\"{id}\" address={own} ");
        wait_for(&line, || server.log().contains(&line).then_some(()));
    }
    server.finish();
    Ok(())
}

fn ipv4_clients_of_it_are_served_over_veth(path: PingPath) -> TestResult {
    let server = Server::with(path).place(Place::VethV4).settings(DUAL).start()?;
    let mut client = Client::connect(server.target(), &Connect::new(Version::V311, "four"));
    let kernel = server.kernel_share_of(&mut client, PINGS);
    match path {
        PingPath::Kernel => assert!(kernel >= PINGS - 2, "{kernel} by the kernel"),
        PingPath::User => assert_eq!(kernel, 0),
    }
    client.disconnect();
    server.finish();
    Ok(())
}

//! Two servers on one interface: their programs see each other's segments, and leave them alone.

use std::time::Duration;

use push_tests::both_paths;
use push_tests::clients::{Client, Connect};
use push_tests::server::{PingPath, Place, Server};
use push_tests::skip::TestResult;
use push_tests::wire::Version;

const PINGS: u64 = 10;

/// Longer than TCP holds an ACK back: a connection is quiescent after it.
const QUIESCENT_AFTER: Duration = Duration::from_millis(100);

both_paths! {
    two_servers_on_one_interface_answer_their_own_clients,
}

fn two_servers_on_one_interface_answer_their_own_clients(path: PingPath) -> TestResult {
    let first = Server::with(path).place(Place::VethV4).start()?;
    let second = Server::with(path).beside(&first, Place::VethV4).start()?;
    for server in [&first, &second] {
        let mut client = Client::connect(server.target(), &Connect::new(Version::V5, "own"));
        for _ in 0..PINGS {
            std::thread::sleep(QUIESCENT_AFTER);
            client.ping();
        }
        server.expect_pings(PINGS);
    }
    // One goes; the other's translated connections must live on.
    let mut survivor = Client::connect(second.target(), &Connect::new(Version::V5, "survivor"));
    for _ in 0..PINGS {
        std::thread::sleep(QUIESCENT_AFTER);
        survivor.ping();
    }
    first.finish();
    survivor.publish("still", b"here", 1);
    survivor.ping();
    second.finish();
    Ok(())
}

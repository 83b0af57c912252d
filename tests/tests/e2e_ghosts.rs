//! Clients that vanish without a word: their connections end, and those of clients that are merely silent do
//! not.

use std::time::Duration;

use push_tests::both_paths;
use push_tests::clients::{Client, Connect};
use push_tests::netns::CLIENT_INTERFACE;
use push_tests::server::{PingPath, Place, Server};
use push_tests::skip::TestResult;
use push_tests::wire::{Version, property};

both_paths! {
    a_client_without_keep_alive_that_vanishes_is_found_by_tcp,
    a_client_without_keep_alive_that_is_silent_stays,
    who_asks_for_no_keep_alive_is_told_the_default,
}

fn without_keep_alive(version: Version) -> Connect {
    Connect::new(version, &format!("{version:?}")).keep_alive(0)
}

fn a_client_without_keep_alive_that_vanishes_is_found_by_tcp(path: PingPath) -> TestResult {
    let server = Server::with(path).place(Place::VethV4).flag("--tcp-keepalive-secs", 1).start()?;
    let clients = [Version::V311, Version::V5].map(|version| {
        let mut client = Client::connect(server.target(), &without_keep_alive(version));
        for _ in 0..3 {
            client.ping();
            std::thread::sleep(Duration::from_millis(100));
        }
        client
    });
    server.wait_metric("push_connections", |connections| connections == 2);
    // Nothing more comes from it, and nothing gets there.
    set_link(&server, "down");
    server.wait_metric("push_connections", |connections| connections == 0);
    let metrics = server.metrics();
    assert_eq!(metrics.value("push_connections_unanswered_total"), 2);
    assert_eq!(metrics.value("push_sessions_expired_total"), 0, "they had no keep alive");
    drop(clients);
    set_link(&server, "up");
    server.finish();
    Ok(())
}

fn set_link(server: &Server, state: &str) {
    let arguments = ["link", "set", CLIENT_INTERFACE, state];
    let status = server.target().command("ip").args(arguments).status().expect("run ip");
    assert!(status.success());
}

fn a_client_without_keep_alive_that_is_silent_stays(path: PingPath) -> TestResult {
    /// Probes come in each of them.
    const SILENCES: usize = 4;
    let server = Server::with(path).place(Place::VethV4).flag("--tcp-keepalive-secs", 1).start()?;
    let mut client = Client::connect(server.target(), &without_keep_alive(Version::V5));
    for _ in 0..SILENCES {
        // One for user space, perhaps, and then one that the kernel may answer.
        for _ in 0..2 {
            client.ping();
            std::thread::sleep(Duration::from_millis(100));
        }
        std::thread::sleep(Duration::from_millis(1_800));
    }
    client.assert_alive();
    let metrics = server.metrics();
    assert_eq!(metrics.value("push_connections_unanswered_total"), 0);
    if path == PingPath::Kernel {
        let answered = metrics.kernel_pings();
        assert!(
            answered > SILENCES as u64,
            "the probes keep the kernel from answering: {answered}"
        );
    }
    server.finish();
    Ok(())
}

fn who_asks_for_no_keep_alive_is_told_the_default(path: PingPath) -> TestResult {
    let server = Server::with(path).flag("--keep-alive-default-secs", 300).start()?;
    let told = |keep_alive_secs| {
        let connect = Connect::new(Version::V5, "client").keep_alive(keep_alive_secs);
        let client = Client::connect(server.target(), &connect);
        client.connack.properties.number(property::SERVER_KEEP_ALIVE)
    };
    assert_eq!(told(0), Some(300));
    assert_eq!(told(60), None);
    assert_eq!(told(900), None);
    server.finish();
    Ok(())
}

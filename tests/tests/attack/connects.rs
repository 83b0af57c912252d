//! Clients that come and go as fast as they can.

use std::net::SocketAddr;
use std::thread;

use push_tests::clients::{Client, Connect};
use push_tests::server::{PingPath, Server};
use push_tests::skip::TestResult;
use push_tests::wire::Version;

use crate::crowd;
use crate::withstand::Attack;

/// Connects of each of two threads.
const CONNECTS: usize = 1_500;

/// What the server lets in a second, and at once: enough for the warm-up.
const RATE: usize = 1_000;
const BURST: usize = 300;

pub(crate) fn a_storm_of_connects() -> TestResult {
    let counters = [
        ("push_connects_total{result=\"accepted\"}", 2 * CONNECTS as u64),
        ("push_limits_hit_total{limit=\"connect_rate\"}", 1),
    ];
    let server =
        Server::with(PingPath::User).flag("--connect-rate", RATE).flag("--connect-burst", BURST);
    let attack = Attack::on(server, &counters);
    attack.withstood(
        |server| {
            let address = server.target().address;
            thread::scope(|scope| {
                for thread in 0..2 {
                    scope.spawn(move || storm(thread, address));
                }
            });
        },
        |_, ()| {},
    )
}

/// Every other client goes without a word.
fn storm(thread: usize, address: SocketAddr) {
    for number in 0..CONNECTS {
        let stream = crowd::dial(thread * CONNECTS + number, address);
        let connect = Connect::new(Version::V5, &format!("storm-{thread}-{number}"));
        let client = Client::accepted_over(stream, &connect);
        if number % 2 == 0 {
            client.disconnect();
        }
    }
}

//! Connections that nobody goes on with.

use std::io::Write as _;

use push_tests::certificates::{Folder, LOCAL_NAMES};
use push_tests::server::{PingPath, Server};
use push_tests::skip::TestResult;

use crate::crowd;
use crate::slow::hello;
use crate::withstand::Attack;

/// Connections that say nothing.
const SILENT: usize = 10_000;

/// Descriptors that the attack needs, in the server and here.
const DESCRIPTORS: u64 = SILENT as u64 + 1_000;

/// Handshakes that begin: more than the 512 that may be under way.
const BEGUN: usize = 700;

pub(crate) fn ten_thousand_that_say_nothing() -> TestResult {
    crowd::need_descriptors(DESCRIPTORS)?;
    // The first wave is of all of them, and so is the second.
    let server = Server::with(PingPath::User)
        .flag("--connect-timeout-secs", 3)
        .flag("--connect-burst", 3 * SILENT);
    let attack = Attack::on(server, &[("push_connects_total{result=\"timeout\"}", SILENT as u64)])
        .rehearsed();
    attack.withstood(
        |server| crowd::many(SILENT, server.target().address),
        |server, silent| {
            // They stay, and the server closes each.
            server.wait_metric("push_connections", |connections| connections == 1);
            drop(silent);
        },
    )
}

/// Of one address: more than may wait there.
pub(crate) fn a_thousand_of_one_address() -> TestResult {
    const SOCKETS: usize = 1_000;
    const WAITING_MAX: usize = 256;
    let server = Server::with(PingPath::User).flag("--connect-timeout-secs", 2);
    let closed = "push_limits_hit_total{limit=\"address_waiting\"}";
    let counters = [(closed, (SOCKETS - WAITING_MAX) as u64)];
    Attack::on(server, &counters).withstood(
        |server| {
            let address = server.target().address;
            let crowd: Vec<_> = (0..SOCKETS).map(|_| crowd::dial(0, address)).collect();
            server.wait_metric(closed, |closed| closed >= (SOCKETS - WAITING_MAX) as u64);
            crowd
        },
        |server, crowd| {
            server.wait_metric("push_connections", |connections| connections == 1);
            drop(crowd);
        },
    )
}

pub(crate) fn handshakes_of_tls_left_half_way() -> TestResult {
    let directory = tempfile::tempdir().expect("make a directory");
    let folder = Folder::make(directory.path(), &LOCAL_NAMES).expect("make certificates");
    let hello = hello(&folder);
    let server = Server::with(PingPath::User).tls(&folder).flag("--connect-timeout-secs", 6);
    let counters = [
        ("push_limits_hit_total{limit=\"tls_handshakes\"}", 1),
        ("push_tls_handshakes_total{result=\"gave_way\",resumed=\"no\",version=\"\"}", 1),
    ];
    let attack = Attack::on(server, &counters).rehearsed();
    attack.withstood(
        |server| {
            let mut crowd = crowd::many(BEGUN, server.tls().address);
            for stream in &mut crowd {
                stream.write_all(&hello).expect("send a hello");
            }
            crowd
        },
        |server, crowd| {
            server.wait_metric("push_connections", |connections| connections == 1);
            drop(crowd);
        },
    )
}

//! Handshakes by the thousands, and those that stall.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::generator::{Layers, Load};
use crate::rig::{Rig, handshakes};
use push_tests::clients::{Client, Connect};
use push_tests::server::{PingPath, raise_descriptor_limit};
use push_tests::skip::TestResult;
use push_tests::tls::dial;
use push_tests::wire::Version;

/// How long all of them may take.
const ALL_IN_WITHIN: Duration = Duration::from_secs(60);

/// Clients that are connected, and those that come.
const CONNECTED: u32 = 1_000;
const COMING: u32 = 5_000;

/// That the pings' times stay within twice those of a quiet server `cargo xtask bench handshakes`
/// measures: a tail is a figure of the whole machine, of which a test has no quiet one to compare.
pub(crate) fn all_of_5000_handshakes_at_once_are_done_while_connected_clients_ping(
    path: PingPath,
) -> TestResult {
    raise_descriptor_limit();
    // A busy machine may take longer for all than a client has by default.
    let rig = Rig::start_with(path, |server| {
        server
            .flag("--shards", 2)
            .flag("--connect-timeout-secs", 60)
            .flag("--address-waiting-max", 0)
    })?;
    // As long as it takes.
    let ping = format!("ping --clients {CONNECTED} --rate {CONNECTED} --seconds 3600");
    let mut pings = Load::start(&rig, Layers::Tls, &ping);
    let ready = pings.line();
    assert_eq!(ready["connected"], CONNECTED, "{ready}");
    let begun = Instant::now();
    let idle = format!(
        "idle --hold --clients {COMING} --connect-rate 1000000 --connect-concurrency {COMING} \
         --client-id-prefix coming-"
    );
    let mut coming = Load::start(&rig, Layers::Tls, &idle);
    let ready = coming.line();
    let took = begun.elapsed();
    assert_eq!((&ready["connected"], &ready["closed"]), (&COMING.into(), &0.into()), "{ready}");
    assert!(took < ALL_IN_WITHIN, "all were in after {took:?}");
    let all = u64::from(CONNECTED + COMING);
    rig.wait_handshakes("result=\"completed\",resumed=\"no\",version=\"1.3\"", all);
    rig.server.wait_metric("push_connections", |connections| connections == all);
    let done = pings.stop();
    for (key, expected) in [("missing", 0), ("closed", 0), ("bad", 0), ("connected", CONNECTED)] {
        assert_eq!(done[key], expected, "{key}: {done}");
    }
    assert_eq!(done["sent"], done["answered"]);
    let done = coming.end();
    assert_eq!((&done["closed"], &done["bad"]), (&0.into(), &0.into()), "{done}");
    let metrics = rig.server.metrics();
    let (kernel, user) = (metrics.kernel_pings(), metrics.user_pings());
    assert_eq!(kernel > 0, path == PingPath::Kernel, "{kernel} by the kernel, {user} not");
    println!(
        "{path:?}: all in after {took:.2?}, {kernel} pings by the kernel, {user} not, {}",
        done["rtt_us"]
    );
    rig.finish();
    Ok(())
}

/// Peers that begin a handshake and say no more: far more of them than there are places.
pub(crate) fn handshakes_that_stall_keep_nobody_out() -> TestResult {
    const PLACES: u32 = 4;
    const STALLED: usize = 100;
    const TIMEOUT: Duration = Duration::from_secs(5);
    let rig = Rig::start_with(PingPath::User, |server| {
        server.flag("--tls-handshakes-max", PLACES).flag("--connect-timeout-secs", 5)
    })?;
    let config = rig.certificates.offer().config();
    let hello = {
        let name = "localhost".try_into().expect("a host's name");
        let mut connection =
            rustls::ClientConnection::new(config.clone(), name).expect("a connection");
        let mut hello = Vec::new();
        connection.write_tls(&mut hello).expect("a hello");
        hello
    };
    // A third says nothing, a third begins, and a third is answered and then silent.
    let stalled: Vec<TcpStream> = (0..STALLED)
        .map(|number| {
            let mut socket = rig.server.tls().connect(None).expect("connect to the server");
            let said = [0, hello.len() / 2, hello.len()][number % 3];
            socket.write_all(&hello[..said]).expect("send to the server");
            socket
        })
        .collect();
    // In turns of so many places they would keep clients out for 25 times the timeout. A client whose own
    // time is over meanwhile comes again, as devices do.
    let begun = Instant::now();
    for number in 0..10 {
        let connect = Connect::new(Version::V5, &format!("good-{number}"));
        let stream = loop {
            match dial(&rig.server.tls(), &config) {
                Ok(stream) => break stream,
                Err(error) => assert!(begun.elapsed() < TIMEOUT * 2, "{error}"),
            }
        };
        Client::accepted_over(stream, &connect).disconnect();
    }
    assert!(begun.elapsed() < TIMEOUT * 2, "they were in after {:?}", begun.elapsed());
    // All of them end, whatever they are called: those that gave way, and those whose time was over.
    rig.server.wait_metric("push_connections", |connections| connections == 0);
    let metrics = rig.server.metrics();
    let ended: u64 = ["timeout", "gave_way"]
        .map(|result| {
            metrics.value(&handshakes(format!("result=\"{result}\",resumed=\"no\",version=\"\"")))
        })
        .iter()
        .sum();
    assert!(ended >= STALLED as u64, "{}", metrics.text());
    drop(stalled);
    rig.finish();
    Ok(())
}

//! Handshakes by the thousands, and those that stall.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use push_tests::clients::Connect;
use push_tests::server::{PingPath, raise_descriptor_limit};
use push_tests::skip::TestResult;
use push_tests::wire::Version;
use serde_json::Value;

use crate::rig::{Rig, handshakes};

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
    let rig = Rig::start_with(path, |server| server.flag("--shards", 2))?;
    let ping = format!("ping --clients {CONNECTED} --rate {CONNECTED} --seconds 20");
    let mut pings = Load::start(&rig, &ping);
    let ready = pings.line();
    assert_eq!(ready["connected"], CONNECTED, "{ready}");
    let begun = Instant::now();
    let idle = format!(
        "idle --hold --clients {COMING} --connect-rate 1000000 --connect-concurrency {COMING} \
         --client-id-prefix coming-"
    );
    let mut coming = Load::start(&rig, &idle);
    let ready = coming.line();
    let took = begun.elapsed();
    assert_eq!((&ready["connected"], &ready["closed"]), (&COMING.into(), &0.into()), "{ready}");
    assert!(took < ALL_IN_WITHIN, "all were in after {took:?}");
    let all = u64::from(CONNECTED + COMING);
    rig.wait_handshakes("result=\"completed\",resumed=\"no\",version=\"1.3\"", all);
    rig.server.wait_metric("push_connections", |connections| connections == all);
    let done = pings.end();
    for (key, expected) in [("missing", 0), ("closed", 0), ("bad", 0), ("connected", CONNECTED)] {
        assert_eq!(done[key], expected, "{key}: {done}");
    }
    assert_eq!(done["sent"], done["answered"]);
    let done = coming.end();
    assert_eq!((&done["closed"], &done["bad"]), (&0.into(), &0.into()), "{done}");
    println!("{path:?}: all in after {took:.2?}, pings {}", done["rtt_us"]);
    rig.finish();
    Ok(())
}

/// The load generator over TLS.
struct Load {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
}

impl Load {
    fn start(rig: &Rig, arguments: &str) -> Self {
        let target = rig.server.tls().address.to_string();
        let mut child = Command::new(env!("CARGO_BIN_EXE_push-load"))
            .args(arguments.split(' '))
            .args(["--target", &target, "--tls"])
            .arg(rig.certificates.folder.ca())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("start push-load");
        let lines = BufReader::new(child.stdout.take().expect("its output is piped"));
        Self { child, lines }
    }

    #[track_caller]
    fn line(&mut self) -> Value {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("read from push-load");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?}: {error}"))
    }

    /// Closes its stdin, and returns its last line.
    #[track_caller]
    fn end(mut self) -> Value {
        drop(self.child.stdin.take());
        let mut rest = String::new();
        self.lines.read_to_string(&mut rest).expect("read from push-load");
        assert!(self.child.wait().expect("wait for push-load").success());
        let last = rest.lines().last().unwrap_or_default();
        serde_json::from_str(last).unwrap_or_else(|error| panic!("{rest:?}: {error}"))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
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
        let mut connection = rustls::ClientConnection::new(config, name).expect("a connection");
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
    // In turns of so many places they would keep a client out for 25 times the timeout.
    let begun = Instant::now();
    for number in 0..10 {
        rig.connect(&Connect::new(Version::V5, &format!("good-{number}"))).disconnect();
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
    assert_eq!(ended, STALLED as u64, "{}", metrics.text());
    drop(stalled);
    rig.finish();
    Ok(())
}

//! Very many pings inside TLS over a link that loses, by every suite at once: `PUSH_WIRE_PINGS` says how
//! many of them the kernel is to answer. No connection may end, and each ping is answered.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, ChildStdout, Stdio};
use std::time::{Duration, Instant};

use push_tests::certificates::Folder;
use push_tests::figure;
use push_tests::link::{Faults, Link};
use push_tests::load::options::TlsVersion;
use push_tests::server::{PingPath, Place, Server, Target, find_binary, raise_descriptor_limit};
use push_tests::skip::{Skip, TestResult};
use rustix::process::{Pid, Signal};
use serde_json::Value;
use tempfile::TempDir;

use crate::load::{SUITES, number, seed, settle};
use crate::{faults_of, loaded_server};

/// Pings that the kernel answers in a run without `PUSH_WIRE_PINGS`.
const PINGS: u64 = 10_000;

/// Clients of each suite, and the time between two pings of one: so long that its table is mostly filled up in time.
const CLIENTS: u64 = 160;
const INTERVAL_MS: u64 = 250;

/// The clients' keep alive. At this loss, one ping of a million is lost six times in a row, itself or its answer, and
/// TCP doubles its wait each time. On a busy machine, where the link delays frames by a second, that is over a minute;
/// the expiry of a client that was so unlucky would say nothing about the kernel path.
const KEEP_ALIVE_SECS: u64 = 3_600;

/// For how long pings go on once no frame is lost any more, at least, and at most: TCP sends again what it has lost
/// meanwhile, after no longer than it has waited already, and within two minutes (`TCP_RTO_MAX`).
const HEALED_MIN: Duration = Duration::from_secs(5);
const HEALED_MAX: Duration = Duration::from_secs(120);

/// How often the test looks at the counters, and for how long the kernel may answer nothing.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const STANDSTILL: Duration = Duration::from_secs(30);

pub(crate) fn pings_inside_tls_break_no_stream_over_a_link_that_loses_5_percent() -> TestResult {
    raise_descriptor_limit();
    let wanted = number("PUSH_WIRE_PINGS").unwrap_or(PINGS);
    let directory = TempDir::new().expect("make a directory");
    let folder = Folder::make(directory.path(), &["localhost"]).expect("make certificates");
    let link = Link::create(Faults::with_loss(5), seed(), [0, 1])?;
    // Connecting is not what is tried here.
    link.heal();
    let builder = loaded_server(PingPath::Kernel).within(link.namespaces(), Place::VethV4);
    let server = builder.tls(&folder).start()?;
    let target = server.tls();
    let mut fleets = SUITES
        .map(|suite| Fleet::start(&target, &folder, suite))
        .into_iter()
        .collect::<Result<Vec<_>, Skip>>()?;
    for fleet in &mut fleets {
        let ready = fleet.line();
        assert_eq!(ready["connected"], CLIENTS, "{}: {ready}", fleet.suite);
    }
    link.harm();
    let begun = Instant::now();
    wait_for_kernel_pings(&server, wanted);
    let lasted = begun.elapsed();
    link.heal();
    std::thread::sleep(lasted.clamp(HEALED_MIN, HEALED_MAX));
    let clients = CLIENTS * SUITES.len() as u64;
    server.wait_metric("push_connections", |connections| connections == clients);
    let mut pings = 0;
    for fleet in fleets {
        let suite = fleet.suite;
        let done = fleet.stop();
        for (key, expected) in [("missing", 0), ("closed", 0), ("bad", 0), ("connected", CLIENTS)] {
            assert_eq!(done[key], expected, "{suite}, {key}: {done}");
        }
        pings += done["answered"].as_u64().expect("a count");
    }
    let metrics = server.metrics();
    let event =
        |name: &str| metrics.value(&format!("push_kernel_path_events_total{{event=\"{name}\"}}"));
    figure::tell(format!(
        "pings inside TLS over a link that loses 5 %, {} suites, {clients} clients, {:.0} s, seed {}: {pings} \
         answered, {} by the kernel; {} faults, resent {}, refilled {}, absorbed {}, old {}; no stream broke",
        SUITES.len(),
        lasted.as_secs_f64(),
        seed(),
        metrics.kernel_pings(),
        faults_of(&link).iter().sum::<u64>(),
        event("resent"),
        event("refilled"),
        event("absorbed"),
        event("old_timestamp"),
    ));
    settle(&server);
    server.finish();
    Ok(())
}

/// Waits until the kernel has answered so many; the number grows all the time.
#[track_caller]
fn wait_for_kernel_pings(server: &Server, wanted: u64) {
    let (mut answered, mut grown) = (0, Instant::now());
    while answered < wanted {
        std::thread::sleep(LOOK_EVERY);
        let metrics = server.metrics();
        if metrics.kernel_pings() > answered {
            (answered, grown) = (metrics.kernel_pings(), Instant::now());
        }
        let text = metrics.text();
        assert!(grown.elapsed() < STANDSTILL, "{answered} answers of {wanted}; metrics:\n{text}");
    }
}

/// `push-load ping` by one suite, for as long as it takes; killed when dropped.
struct Fleet {
    suite: &'static str,
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Fleet {
    fn start(
        target: &Target,
        folder: &Folder,
        (version, suite): (TlsVersion, &'static str),
    ) -> Result<Self, Skip> {
        let version = match version {
            TlsVersion::Tls12 => "1.2",
            TlsVersion::Tls13 => "1.3",
        };
        let mut child = target
            .command(find_binary("PUSH_LOAD_BIN", "push-load")?)
            .args(["ping", "--target", &target.address.to_string(), "--seconds", "86400"])
            .args(["--clients", &CLIENTS.to_string()])
            .args(["--interval-ms", &INTERVAL_MS.to_string()])
            .args(["--keep-alive-secs", &KEEP_ALIVE_SECS.to_string()])
            .args(["--client-id-prefix", &format!("{suite}-")])
            .args(["--tls-name", "localhost", "--tls-version", version, "--tls-suite", suite])
            .arg("--tls")
            .arg(folder.ca())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("start push-load");
        let lines = BufReader::new(child.stdout.take().expect("its output is piped"));
        Ok(Self { suite, child, lines })
    }

    #[track_caller]
    fn line(&mut self) -> Value {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("read from push-load");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?}: {error}"))
    }

    /// Ends it by a signal, and returns its last line.
    #[track_caller]
    fn stop(mut self) -> Value {
        let pid = Pid::from_child(&self.child);
        rustix::process::kill_process(pid, Signal::TERM).expect("signal push-load");
        let mut rest = String::new();
        self.lines.read_to_string(&mut rest).expect("read from push-load");
        assert!(self.child.wait().expect("wait for push-load").success(), "{rest}");
        let last = rest.lines().last().unwrap_or_default();
        serde_json::from_str(last).unwrap_or_else(|error| panic!("{rest:?}: {error}"))
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

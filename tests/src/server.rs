//! The real binary as a child process: started where a test wants it, queried over HTTP, and
//! stopped.

mod builder;

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Signal};
use tempfile::TempDir;

use crate::clients::{Client, Connect};
use crate::expectations::{PATIENCE, wait_for};
use crate::metrics::{self, Metrics};
use crate::pins::PinDir;
use crate::skip::Skip;
use crate::stand_in;
pub use crate::target::Target;
use crate::wire::Version;
pub use builder::{ServerBuilder, nobody_with};

/// How long an orderly stop may take.
pub const STOP_MAX: Duration = Duration::from_secs(5);

/// How long a start may take: 20 s in an emulated machine, nearly all of it the verifier's.
const START_MAX: Duration = Duration::from_secs(120);

/// Most pings of a witness before the kernel must have answered one.
const WITNESS_PINGS_MAX: u64 = 30;

/// Time between two of them: longer than the 40 ms for which TCP may delay an ACK, because a
/// connection is quiescent only once everything is acknowledged.
const WITNESS_INTERVAL: Duration = Duration::from_millis(100);

/// `USER_HZ`: the unit of CPU times in `/proc`, the same on all architectures that the server is
/// built for.
const TICKS_PER_SECOND: u32 = 100;

/// Lines of the server's log shown when a test fails.
const LOG_LINES_SHOWN: usize = 60;

/// Which path must answer pings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PingPath {
    /// `--kernel-path require`.
    Kernel,
    /// `--kernel-path off`.
    User,
}

/// The server's address, and the place of its clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// 127.0.0.1 in the namespace of the tests; with the kernel path in one of the test's own.
    LoopbackV4,
    /// ::1 there.
    LoopbackV6,
    /// IPv4 over a veth pair between two namespaces.
    VethV4,
    /// IPv6 over a veth pair between two namespaces.
    VethV6,
}

/// A running server. Killed when dropped; its log is shown when the test is failing.
#[derive(Debug)]
pub struct Server {
    child: Child,
    path: PingPath,
    target: Target,
    http: SocketAddr,
    directory: TempDir,
    pins: Arc<PinDir>,
}

impl Server {
    /// Address of the server, and where its clients are.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// The server's process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The path that must answer pings.
    pub fn path(&self) -> PingPath {
        self.path
    }

    /// CPU time of all its threads so far, to 10 ms.
    pub fn cpu_time(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid()));
        let stat = stat.expect("look at the server's CPU time");
        // Fields from the third on follow the name's parenthesis; 14 and 15 are utime and stime.
        let fields = stat.rsplit_once(')').expect("a process name").1.split_whitespace();
        let ticks: u64 = fields.skip(11).take(2).filter_map(|n| n.parse::<u64>().ok()).sum();
        Duration::from_secs(ticks) / TICKS_PER_SECOND
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        let bytes = std::fs::read(log_path(self.directory.path())).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Waits until it has logged this, which a thread of its own writes a little later. Returns the log.
    #[track_caller]
    pub fn wait_log(&self, text: &str) -> String {
        wait_for(&format!("{text:?} in the server's log"), || {
            Some(self.log()).filter(|log| log.contains(text))
        })
    }

    /// Where it listens for a protocol, as its log calls it.
    #[track_caller]
    pub fn listener(&self, protocol: &str) -> SocketAddr {
        let named = format!("protocol=\"{protocol}\"");
        wait_for("the log line of a listener", || {
            let log = self.log();
            let line = log.lines().find(|line| line.contains(&named))?;
            let (_, after) = line.split_once("listening address=")?;
            after.split(' ').next()?.parse().ok()
        })
    }

    /// Its socket for operators, unless a flag names another.
    pub fn admin_socket(&self) -> PathBuf {
        admin_socket(self.directory.path())
    }

    /// Its own directory, which goes with it.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Where the listener with this name is reached.
    #[track_caller]
    pub fn listener_called(&self, name: &str) -> Target {
        let named = format!(" listener={name} ");
        let address = wait_for("the log line of a listener", || {
            let log = self.log();
            let line = log.lines().find(|line| line.contains(&named))?;
            let (_, after) = line.split_once("listening address=")?;
            after.split(' ').next()?.parse().ok()
        });
        self.target.with_address(address)
    }

    /// Its address for MQTT over TLS, started with [`ServerBuilder::tls`].
    #[track_caller]
    pub fn tls(&self) -> Target {
        self.target.with_address(self.listener("MQTT over TLS"))
    }

    /// The same for WebSocket.
    #[track_caller]
    pub fn websocket(&self) -> Target {
        self.target.with_address(self.listener("MQTT over WebSocket"))
    }

    /// The same for WebSocket inside TLS.
    #[track_caller]
    pub fn websocket_tls(&self) -> Target {
        self.target.with_address(self.listener("MQTT over WebSocket and TLS"))
    }

    /// Scrapes `/metrics`.
    #[track_caller]
    pub fn metrics(&self) -> Metrics {
        if stand_in::binary().is_some() {
            return Metrics::default();
        }
        let answer = self.http("/metrics").expect("scrape the metrics");
        assert_eq!(answer.status, 200, "{}", answer.body);
        Metrics::parse(&answer.body)
    }

    /// The address of the HTTP port.
    pub fn http_address(&self) -> SocketAddr {
        self.http
    }

    /// Sends a request to the HTTP port.
    pub fn http(&self, path: &str) -> io::Result<metrics::Answer> {
        let connect = || TcpStream::connect_timeout(&self.http, PATIENCE);
        let stream = match &self.target.veth {
            Some(veth) => veth.server.run(connect)?,
            None => connect()?,
        };
        metrics::request(stream, path)
    }

    /// Waits until a sample satisfies `holds`, and returns it. (A stand-in has no metrics: returns
    /// at once.)
    #[track_caller]
    pub fn wait_metric(&self, sample: &str, holds: impl Fn(u64) -> bool) -> u64 {
        if stand_in::binary().is_some() {
            return 0;
        }
        wait_for(sample, || Some(self.metrics().value(sample)).filter(|value| holds(*value)))
    }

    /// Proves by the counters which path answers pings: a witness pings. With the kernel path off
    /// the kernel must not have answered, and with it required the kernel must have.
    #[track_caller]
    pub fn prove_path(&self) {
        if stand_in::binary().is_some() {
            return;
        }
        let mut witness = Client::connect(&self.target, &Connect::new(Version::V311, "witness"));
        self.prove_path_by(&mut witness);
        witness.disconnect();
    }

    /// The same by a client that is connected, and the only one that pings. Returns its pings.
    #[track_caller]
    pub fn prove_path_by(&self, witness: &mut Client) -> u64 {
        let before = self.metrics();
        for pings in 1..=WITNESS_PINGS_MAX {
            std::thread::sleep(WITNESS_INTERVAL);
            witness.ping();
            let now = self.metrics();
            match self.path {
                PingPath::User => {
                    assert_eq!(now.kernel_pings(), 0, "the kernel answered with its path off");
                    if now.user_pings() > before.user_pings() {
                        return pings;
                    }
                }
                PingPath::Kernel if now.kernel_pings() > before.kernel_pings() => return pings,
                PingPath::Kernel => {}
            }
        }
        panic!(
            "{WITNESS_PINGS_MAX} pings, none answered by the {:?} path; metrics:\n{}",
            self.path,
            self.metrics().text()
        );
    }

    /// Sends so many pings of a client, the only one that pings, apart by more than a delayed ACK.
    /// Returns how many of them the kernel has answered; user space has answered the others.
    #[track_caller]
    pub fn kernel_share_of(&self, client: &mut Client, pings: u64) -> u64 {
        let before = self.metrics();
        for _ in 0..pings {
            std::thread::sleep(WITNESS_INTERVAL);
            client.ping();
        }
        let after = self.metrics();
        let kernel = after.kernel_pings() - before.kernel_pings();
        let user = after.user_pings() - before.user_pings();
        assert_eq!(kernel + user, pings, "each is counted once; metrics:\n{}", after.text());
        kernel
    }

    /// Asserts that its path has answered this many pings; of a calm client's, the kernel answers
    /// all but the first two.
    #[track_caller]
    pub fn expect_pings(&self, pings: u64) {
        let metrics = self.metrics();
        let (kernel, user) = (metrics.kernel_pings(), metrics.user_pings());
        assert_eq!(kernel + user, pings);
        match self.path {
            PingPath::Kernel => assert!(kernel >= pings - 2, "{}", metrics.text()),
            PingPath::User => assert_eq!(kernel, 0),
        }
    }

    /// The directory of its pins.
    pub fn pins(&self) -> &Arc<PinDir> {
        &self.pins
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("signal the server");
    }

    /// Waits until it has ended, and returns how long that took.
    #[track_caller]
    pub fn wait_exit(&mut self) -> (ExitStatus, Duration) {
        let begun = Instant::now();
        let status = wait_for("the server's exit", || self.child.try_wait().expect("wait"));
        (status, begun.elapsed())
    }

    /// The end of a good test: proves the path, and checks that an orderly stop exits with 0 in
    /// time.
    #[track_caller]
    pub fn finish(mut self) {
        self.assert_running();
        self.prove_path();
        self.terminate();
        let (status, took) = self.wait_exit();
        assert!(status.success(), "the server ended with {status}");
        assert!(took <= STOP_MAX, "an orderly stop took {took:?}");
        let log = self.log();
        assert!(!log.contains("panicked at"), "the server panicked:\n{log}");
    }

    /// Asserts that it has not ended by itself.
    #[track_caller]
    pub fn assert_running(&mut self) {
        let ended = self.child.try_wait().expect("look after the server");
        assert!(ended.is_none(), "the server ended by itself: {ended:?}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let shown = &lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..];
            println!("--- the server's log ends ---\n{}\n---", shown.join("\n"));
        }
    }
}

impl Server {
    /// Waits until it is ready; if it ends instead, returns its log.
    #[track_caller]
    pub fn wait_ready(&mut self) -> Result<(), String> {
        let stand_in = stand_in::binary().is_some();
        let begun = Instant::now();
        while begun.elapsed() < START_MAX {
            if self.child.try_wait().expect("look after the server").is_some() {
                return Err(self.log());
            }
            let ready = if stand_in {
                self.target.connect(None).is_ok()
            } else {
                self.http("/readyz").is_ok_and(|answer| answer.status == 200)
            };
            if ready {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("the server was not ready after {START_MAX:?}");
    }
}

/// A file or directory of the workspace.
pub fn workspace_path(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace").join(relative)
}

/// The server's binary: `PUSH_SERVER_BIN`, or the release build, or the debug build.
pub fn server_binary() -> Result<PathBuf, Skip> {
    find_binary("PUSH_SERVER_BIN", "push-server")
}

/// A binary of the workspace: the environment's, or the release build, or the debug build.
pub fn find_binary(variable: &str, name: &str) -> Result<PathBuf, Skip> {
    if let Some(path) = std::env::var_os(variable) {
        return Ok(path.into());
    }
    ["release", "debug"]
        .map(|profile| workspace_path(&format!("target/{profile}/{name}")))
        .into_iter()
        .find(|path| path.exists())
        .ok_or_else(|| Skip::kernel_path(format!("no {name} is built: `cargo xtask build`")))
}

/// Raises the limit of descriptors of this process and its later children to the hard limit.
pub fn raise_descriptor_limit() {
    let mut limit = rustix::process::getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    rustix::process::setrlimit(Resource::Nofile, limit).expect("raise the soft limit");
}

fn admin_socket(directory: &Path) -> PathBuf {
    directory.join("admin.sock")
}

fn log_path(directory: &Path) -> PathBuf {
    directory.join("server.log")
}

//! The real binary as a child process: started where a test wants it, asked over HTTP, stopped and
//! looked after.

use std::ffi::OsString;
use std::fmt::Display;
use std::fs::{File, Permissions};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;
use rustix::process::{Pid, Resource, Signal};
use tempfile::TempDir;

use crate::clients::{Client, Connect};
use crate::expectations::{PATIENCE, wait_for};
use crate::metrics::{self, Metrics};
use crate::netns::{SERVER_INTERFACE, SERVER_V4, SERVER_V6, Veth};
use crate::pins::PinDir;
use crate::skip::{self, Skip};
use crate::stand_in;
pub use crate::target::Target;
use crate::target::in_namespace;
use crate::wire::Version;

/// How long an orderly stop may take.
pub const STOP_MAX: Duration = Duration::from_secs(5);

/// How long a start may take: 20 s in an emulated machine, nearly all of it the verifier's.
const START_MAX: Duration = Duration::from_secs(120);

/// Starts that lost the race for their port are tried again this often.
const START_TRIES: usize = 5;

/// Pings a witness sends until one must have been answered by the kernel.
const WITNESS_PINGS_MAX: usize = 30;

/// Between two of them: longer than the 40 ms that TCP may hold an ACK back, because a connection
/// is quiescent only when everything is acknowledged.
const WITNESS_INTERVAL: Duration = Duration::from_millis(100);

/// `USER_HZ`: the unit of CPU times in `/proc`, the same on all architectures that we build for.
const TICKS_PER_SECOND: u32 = 100;

/// Lines of the server's log shown when a test fails.
const LOG_LINES_SHOWN: usize = 60;

/// Who is to answer pings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PingPath {
    /// `--kernel-path require`.
    Kernel,
    /// `--kernel-path off`.
    User,
}

/// Where the server listens, and clients come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// 127.0.0.1 in the namespace of the tests.
    LoopbackV4,
    /// ::1 in the namespace of the tests.
    LoopbackV6,
    /// IPv4 over a veth pair between two namespaces.
    VethV4,
    /// IPv6 over a veth pair between two namespaces.
    VethV6,
}

/// What to start, with which flags. Made by [`Server::with`].
#[derive(Clone, Debug)]
pub struct ServerBuilder {
    path: PingPath,
    place: Place,
    mode: Option<&'static str>,
    flags: Vec<String>,
    wrapper: Vec<String>,
    beside: Option<Arc<Veth>>,
    pins: Option<Arc<PinDir>>,
    bpf_dir: Option<PathBuf>,
    addresses: Option<[SocketAddr; 2]>,
    data_dir: Option<PathBuf>,
    outputs: Option<Arc<OwnedFd>>,
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
    _loopback: Option<File>,
}

impl Server {
    /// Begins to describe a server on 127.0.0.1.
    pub fn with(path: PingPath) -> ServerBuilder {
        ServerBuilder {
            path,
            place: Place::LoopbackV4,
            mode: None,
            flags: Vec::new(),
            wrapper: Vec::new(),
            beside: None,
            pins: None,
            bpf_dir: None,
            addresses: None,
            data_dir: None,
            outputs: None,
        }
    }

    /// Where clients connect.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// The server's process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Who is to answer pings here.
    pub fn path(&self) -> PingPath {
        self.path
    }

    /// CPU time that it has used, all threads, to 10 ms.
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

    /// Where the HTTP port is.
    pub fn http_address(&self) -> SocketAddr {
        self.http
    }

    /// Asks the HTTP port.
    pub fn http(&self, path: &str) -> io::Result<metrics::Answer> {
        let connect = || TcpStream::connect_timeout(&self.http, PATIENCE);
        let stream = match &self.target.veth {
            Some(veth) => veth.server.run(connect)?,
            None => connect()?,
        };
        metrics::request(stream, path)
    }

    /// Waits until a sample satisfies `holds`, and returns it. (`Ok` at once for a stand-in, which
    /// has no metrics.)
    #[track_caller]
    pub fn wait_metric(&self, sample: &str, holds: impl Fn(u64) -> bool) -> u64 {
        if stand_in::binary().is_some() {
            return 0;
        }
        wait_for(sample, || Some(self.metrics().value(sample)).filter(|value| holds(*value)))
    }

    /// Proves by the counters who answers pings: a witness pings, and the other path must not have
    /// answered anything (kernel path off), or the kernel must have (kernel path required).
    #[track_caller]
    pub fn prove_path(&self) {
        if stand_in::binary().is_some() {
            return;
        }
        let before = self.metrics();
        let mut witness = Client::connect(&self.target, &Connect::new(Version::V311, "witness"));
        for _ in 0..WITNESS_PINGS_MAX {
            std::thread::sleep(WITNESS_INTERVAL);
            witness.ping();
            let now = self.metrics();
            match self.path {
                PingPath::User => {
                    assert_eq!(now.kernel_pings(), 0, "the kernel answered with its path off");
                    if now.user_pings() > before.user_pings() {
                        return witness.disconnect();
                    }
                }
                PingPath::Kernel if now.kernel_pings() > before.kernel_pings() => {
                    return witness.disconnect();
                }
                PingPath::Kernel => {}
            }
        }
        panic!(
            "{WITNESS_PINGS_MAX} pings, none answered by the {:?} path; metrics:\n{}",
            self.path,
            self.metrics().text()
        );
    }

    /// That it has answered so many pings, by its path: of a calm client's, all but the first two are
    /// the kernel's.
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

    /// Where it pins its programs.
    pub fn pins(&self) -> &Arc<PinDir> {
        &self.pins
    }

    /// Asks it to stop, by SIGTERM.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("signal the server");
    }

    /// Waits for its end, and how long that took.
    #[track_caller]
    pub fn wait_exit(&mut self) -> (ExitStatus, Duration) {
        let begun = Instant::now();
        let status = wait_for("the server's exit", || self.child.try_wait().expect("wait"));
        (status, begun.elapsed())
    }

    /// The end of a good test: the path is proven, and an orderly stop exits 0 in time.
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

    /// That it has not ended by itself.
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

impl ServerBuilder {
    /// Another place than 127.0.0.1.
    pub fn place(mut self, place: Place) -> Self {
        self.place = place;
        self
    }

    /// Another `--kernel-path` than the path says.
    pub fn kernel_path(mut self, mode: &'static str) -> Self {
        self.mode = Some(mode);
        self
    }

    /// On the interface of a server that runs over veth.
    pub fn beside(mut self, other: &Server, place: Place) -> Self {
        self.beside.clone_from(&other.target.veth);
        self.place = place;
        self
    }

    /// In namespaces that the test has made.
    pub fn within(mut self, veth: Arc<Veth>, place: Place) -> Self {
        self.beside = Some(veth);
        self.place = place;
        self
    }

    /// Where another server pins, or has pinned, and over the same link.
    pub fn pinned_as(mut self, other: &Server) -> Self {
        self.pins = Some(Arc::clone(&other.pins));
        self.beside.clone_from(&other.target.veth);
        self
    }

    /// Another `--bpf-dir` than one that the tests look after.
    pub fn bpf_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.bpf_dir = Some(directory.into());
        self
    }

    /// At the very addresses of another server, which it is to get at the first try.
    pub fn at(mut self, other: &Server) -> Self {
        self.addresses = Some([other.target.address, other.http]);
        self.beside.clone_from(&other.target.veth);
        self
    }

    /// A `--data-dir` that outlives the server.
    pub fn data_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.data_dir = Some(directory.into());
        self
    }

    /// Where it writes what it says, instead of the file that `Server::log` reads.
    pub fn outputs_to(mut self, outputs: impl Into<OwnedFd>) -> Self {
        self.outputs = Some(Arc::new(outputs.into()));
        self
    }

    /// A flag with its value.
    pub fn flag(mut self, name: &str, value: impl Display + Copy) -> Self {
        self.flags.extend([name.to_owned(), value.to_string()]);
        self
    }

    /// A flag without value.
    pub fn switch(mut self, name: &str) -> Self {
        self.flags.push(name.to_owned());
        self
    }

    /// A soft and hard limit on the server's descriptors.
    pub fn descriptors(mut self, limit: u64) -> Self {
        self.wrapper.extend(["prlimit".to_owned(), format!("--nofile={limit}:{limit}")]);
        self
    }

    /// A variable of its environment.
    pub fn environment(mut self, name: &str, value: impl Display) -> Self {
        self.wrapper.extend(["env".to_owned(), format!("{name}={value}")]);
        self
    }

    /// Not as root, but as nobody with these capabilities.
    pub fn as_nobody_with(mut self, capabilities: &[&str]) -> Self {
        self.wrapper.push("setpriv".to_owned());
        self.wrapper.extend(nobody_with(capabilities));
        self
    }

    /// Descriptors that are open in the server before it begins.
    pub fn inherited_descriptors(mut self, count: u64) -> Self {
        const FIRST: u64 = 20;
        let last = FIRST + count - 1;
        let open = format!("for n in {{{FIRST}..{last}}}; do eval \"exec $n</dev/null\"; done");
        let script = format!("{open}; exec \"$@\"");
        self.wrapper.extend(["bash", "-c", &script, "bash"].map(str::to_owned));
        self
    }

    /// Starts it and waits until it is ready.
    ///
    /// # Panics
    /// When it ends instead, other than for the want of a kernel path, which skips.
    #[track_caller]
    pub fn start(&self) -> Result<Server, Skip> {
        if self.path == PingPath::Kernel {
            if stand_in::binary().is_some() {
                return Err(Skip::missing("the stand-in has no kernel path"));
            }
            skip::need_root()?;
        }
        let veth = match (self.place, &self.beside) {
            (Place::VethV4 | Place::VethV6, Some(veth)) => Some(Arc::clone(veth)),
            (Place::VethV4 | Place::VethV6, None) => Some(Arc::new(Veth::create()?)),
            (Place::LoopbackV4 | Place::LoopbackV6, _) => None,
        };
        let loopback = match self.path {
            PingPath::Kernel if veth.is_none() => Some(lock_loopback()),
            _ => None,
        };
        let mut said = String::new();
        for _ in 0..START_TRIES {
            let mut server = self.spawn(veth.clone())?;
            match server.wait_ready() {
                Ok(()) => {
                    server._loopback = loopback;
                    return Ok(server);
                }
                Err(log) => said = log,
            }
            if !said.contains("in use") || self.addresses.is_some() {
                break;
            }
        }
        let last = said.lines().last().unwrap_or_default();
        assert!(self.path == PingPath::Kernel, "the server did not start:\n{said}");
        Err(Skip::kernel_path(format!("`--kernel-path require` did not start: {last}")))
    }

    /// Starts it and waits for nothing: it may be about to end, or to be killed. Not over veth.
    ///
    /// # Panics
    /// When it is to require the kernel path.
    #[track_caller]
    pub fn launch(&self) -> Result<Server, Skip> {
        assert!(self.path == PingPath::User, "a launched server has not been waited for");
        self.spawn(self.beside.clone())
    }

    /// Spawns it on ports that were free a moment ago.
    fn spawn(&self, veth: Option<Arc<Veth>>) -> Result<Server, Skip> {
        let ip = self.ip();
        let free_ports = || self.addresses.unwrap_or_else(|| free_addresses(ip));
        let [address, http] = match &veth {
            Some(veth) => veth.server.run(free_ports),
            None => free_ports(),
        };
        let pins = self.pins.clone().unwrap_or_default();
        let directory = server_directory().expect("make a directory for the server");
        if !self.wrapper.is_empty() {
            // It may run as somebody else, who keeps its data there.
            let for_all = Permissions::from_mode(0o777);
            std::fs::set_permissions(directory.path(), for_all).expect("open up a directory");
        }
        let mut words: Vec<OsString> = self.wrapper.iter().map(OsString::from).collect();
        if let Some(binary) = stand_in::binary() {
            if !stand_in::does_without(&self.flags) || !self.wrapper.is_empty() {
                return Err(Skip::missing("the stand-in has not our flags"));
            }
            let data = self.data_dir.as_deref();
            let file = stand_in::write_configuration(directory.path(), address, data)
                .expect("write the stand-in's configuration");
            words.extend([binary.into(), "-c".into(), file.into()]);
        } else {
            words.push(server_binary()?.into());
            words.extend(self.arguments(address, http, directory.path(), veth.is_some()));
            let bpf_dir = self.bpf_dir.as_deref().unwrap_or(pins.path());
            words.extend(["--bpf-dir".into(), bpf_dir.into()]);
        }
        let mut command = match &veth {
            Some(veth) => in_namespace(veth.server.name(), &words[0]),
            None => Command::new(&words[0]),
        };
        let log = match &self.outputs {
            Some(outputs) => File::from(outputs.try_clone().expect("share an output")),
            None => File::create(log_path(directory.path())).expect("create the server's log"),
        };
        let child = command
            .args(&words[1..])
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("share the server's log"))
            .stderr(log)
            .spawn()
            .expect("start the server");
        let target = Target { address, veth };
        Ok(Server { child, path: self.path, target, http, directory, pins, _loopback: None })
    }

    fn arguments(
        &self,
        address: SocketAddr,
        http: SocketAddr,
        directory: &Path,
        on_veth: bool,
    ) -> Vec<OsString> {
        let kernel_path = self.mode.unwrap_or(match self.path {
            PingPath::Kernel => "require",
            PingPath::User => "off",
        });
        let mut arguments: Vec<OsString> = vec!["run".into()];
        for (flag, value) in [
            ("--listen", address.to_string()),
            ("--http", http.to_string()),
            ("--kernel-path", kernel_path.to_owned()),
        ] {
            arguments.extend([flag.into(), value.into()]);
        }
        if !self.flags.iter().any(|flag| flag == "--log") {
            arguments.extend(["--log".into(), "info".into()]);
        }
        let data = self.data_dir.clone().unwrap_or_else(|| directory.join("data"));
        arguments.extend(["--data-dir".into(), data.into()]);
        // On lo the interface is left for the server to find, on veth it is named: both are served.
        if on_veth {
            arguments.extend(["--iface".into(), SERVER_INTERFACE.into()]);
        }
        arguments.extend(self.flags.iter().map(OsString::from));
        arguments
    }

    fn ip(&self) -> IpAddr {
        match self.place {
            Place::LoopbackV4 => Ipv4Addr::LOCALHOST.into(),
            Place::LoopbackV6 => Ipv6Addr::LOCALHOST.into(),
            Place::VethV4 => SERVER_V4.parse().expect("a valid address"),
            Place::VethV6 => SERVER_V6.parse().expect("a valid address"),
        }
    }
}

impl Server {
    /// Waits until it is ready; its log, when it ends instead.
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

/// Arguments of `setpriv`: nobody, with these capabilities.
pub fn nobody_with(capabilities: &[&str]) -> Vec<String> {
    const NOBODY: &str = "65534";
    let sets: Vec<String> = capabilities.iter().map(|name| format!("+{name}")).collect();
    let sets = sets.join(",");
    ["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups", "--inh-caps", &sets, "--ambient-caps"]
        .into_iter()
        .chain([sets.as_str()])
        .map(str::to_owned)
        .collect()
}

/// A server's own directory, in memory where the system has such a place: what most tests store is not
/// what they are about, and the disk would be what they wait for.
fn server_directory() -> io::Result<TempDir> {
    TempDir::new_in("/dev/shm").or_else(|_| TempDir::new())
}

/// A file or directory of the workspace.
pub fn workspace_path(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace").join(relative)
}

/// The server's binary: `PUSH_SERVER_BIN`, else the release build, else the debug build.
pub fn server_binary() -> Result<PathBuf, Skip> {
    find_binary("PUSH_SERVER_BIN", "push-server")
}

/// A binary of the workspace: by the environment, else the release build, else the debug build.
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

/// Lets this process, and what it starts from now on, open as many descriptors as the hard limit
/// allows.
pub fn raise_descriptor_limit() {
    let mut limit = rustix::process::getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    rustix::process::setrlimit(Resource::Nofile, limit).expect("raise the soft limit");
}

/// One server of this machine at a time attaches to lo: what a test counts there is then its own
/// server's.
fn lock_loopback() -> File {
    let path = std::env::temp_dir().join("push-tests-on-lo.lock");
    let file = File::create(path).expect("create the lock for lo");
    rustix::fs::flock(&file, FlockOperation::LockExclusive).expect("lock lo");
    file
}

/// Two addresses that nobody listens at. Both ports are held until both are chosen: the kernel may
/// give out a port again that was let go of.
fn free_addresses(ip: IpAddr) -> [SocketAddr; 2] {
    let held = [(); 2].map(|()| TcpListener::bind((ip, 0)).expect("find a free port"));
    held.map(|listener| listener.local_addr().expect("ask for the port"))
}

fn log_path(directory: &Path) -> PathBuf {
    directory.join("server.log")
}

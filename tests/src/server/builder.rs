//! Starts a server: its flags, place, user, and free ports.

use std::ffi::OsString;
use std::fmt::Display;
use std::fs::{File, Permissions};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use tempfile::TempDir;

use super::{PingPath, Place, Server, admin_socket, log_path, server_binary};
use crate::certificates::Folder;
use crate::netns::{self, SERVER_INTERFACE, SERVER_V4, SERVER_V6, Veth};
use crate::pins::PinDir;
use crate::skip::{self, Skip};
use crate::stand_in;
use crate::target::{Target, in_namespace};

/// Tries for a start that loses the race for its port.
const START_TRIES: usize = 5;

/// Flags with which a server may listen where other machines reach it.
const DECIDES_WHO_CONNECTS: [&str; 2] = ["--anonymous", "--users"];

/// A server to start. Made by [`Server::with`].
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
    settings: Option<String>,
    data_dir: Option<PathBuf>,
    outputs: Option<Arc<OwnedFd>>,
}

impl Server {
    /// Begins to describe a server on 127.0.0.1.
    pub fn with(path: PingPath) -> ServerBuilder {
        ServerBuilder::new(path)
    }
}

impl ServerBuilder {
    /// A server with the path's defaults.
    fn new(path: PingPath) -> Self {
        Self {
            path,
            place: Place::LoopbackV4,
            mode: None,
            flags: Vec::new(),
            wrapper: Vec::new(),
            beside: None,
            pins: None,
            bpf_dir: None,
            addresses: None,
            settings: None,
            data_dir: None,
            outputs: None,
        }
    }

    /// Uses another place than 127.0.0.1.
    pub fn place(mut self, place: Place) -> Self {
        self.place = place;
        self
    }

    /// Sets another `--kernel-path` than the path implies.
    pub fn kernel_path(mut self, mode: &'static str) -> Self {
        self.mode = Some(mode);
        self
    }

    /// Uses the interface of a server that runs over veth.
    pub fn beside(mut self, other: &Server, place: Place) -> Self {
        self.beside.clone_from(&other.target.veth);
        self.place = place;
        self
    }

    /// Uses namespaces that the test has made.
    pub fn within(mut self, veth: Arc<Veth>, place: Place) -> Self {
        self.beside = Some(veth);
        self.place = place;
        self
    }

    /// Uses the pin directory and the link of another server.
    pub fn pinned_as(mut self, other: &Server) -> Self {
        self.pins = Some(Arc::clone(&other.pins));
        self.beside.clone_from(&other.target.veth);
        self
    }

    /// Sets a `--bpf-dir` that the tests do not manage.
    pub fn bpf_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.bpf_dir = Some(directory.into());
        self
    }

    /// Uses the addresses of another server, and must get them at the first try.
    pub fn at(mut self, other: &Server) -> Self {
        self.addresses = Some([other.target.address, other.http]);
        self.beside.clone_from(&other.target.veth);
        self
    }

    /// Sets a `--data-dir` that outlives the server.
    pub fn data_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.data_dir = Some(directory.into());
        self
    }

    /// Sends its output here, instead of to the file that `Server::log` reads.
    pub fn outputs_to(mut self, outputs: impl Into<OwnedFd>) -> Self {
        self.outputs = Some(Arc::new(outputs.into()));
        self
    }

    /// Adds a flag with its value.
    pub fn flag(mut self, name: &str, value: impl Display + Copy) -> Self {
        self.flags.extend([name.to_owned(), value.to_string()]);
        self
    }

    /// Reads this settings file, whose `[[listener]]` tables say where it listens. In it, `{ip}` and
    /// `{port}` are those of [`Server::target`], and `{directory}` is the server's own.
    pub fn settings(mut self, text: impl Into<String>) -> Self {
        self.settings = Some(text.into());
        self
    }

    /// Also listens for TLS and for WebSocket inside TLS, with a folder's certificate.
    pub fn tls(self, folder: &Folder) -> Self {
        let any_port = SocketAddr::new(self.ip(), 0);
        let files = folder.server().map(|file| file.display().to_string());
        let [certificate, key] = files.each_ref().map(String::as_str);
        self.flag("--tls-listen", any_port)
            .flag("--wss-listen", any_port)
            .flag("--tls-cert", certificate)
            .flag("--tls-key", key)
    }

    /// Also listens for WebSocket.
    pub fn websocket(self) -> Self {
        let any_port = SocketAddr::new(self.ip(), 0);
        self.flag("--ws-listen", any_port)
    }

    /// Adds a flag without value.
    pub fn switch(mut self, name: &str) -> Self {
        self.flags.push(name.to_owned());
        self
    }

    /// Limits the server's descriptors, soft and hard.
    pub fn descriptors(mut self, limit: u64) -> Self {
        self.wrapper.extend(["prlimit".to_owned(), format!("--nofile={limit}:{limit}")]);
        self
    }

    /// Sets an environment variable.
    pub fn environment(mut self, name: &str, value: impl Display) -> Self {
        self.wrapper.extend(["env".to_owned(), format!("{name}={value}")]);
        self
    }

    /// Runs as nobody with these capabilities, instead of as root.
    pub fn as_nobody_with(mut self, capabilities: &[&str]) -> Self {
        self.wrapper.push("setpriv".to_owned());
        self.wrapper.extend(nobody_with(capabilities));
        self
    }

    /// Opens this many descriptors in the server before it begins.
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
    /// It ends instead. If it lacks a kernel path, the test is skipped.
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
        if self.path == PingPath::Kernel && veth.is_none() {
            // So that a test counts only its own server's packets on lo, and waits for no other test.
            netns::enter_own_loopback()?;
        }
        let mut said = String::new();
        for _ in 0..START_TRIES {
            let mut server = self.spawn(veth.clone())?;
            match server.wait_ready() {
                Ok(()) => return Ok(server),
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

    /// Starts it and does not wait: it may be about to end, or to be killed. Not over veth.
    ///
    /// # Panics
    /// It requires the kernel path.
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
            // It may run as another user, who keeps its data there.
            let for_all = Permissions::from_mode(0o777);
            std::fs::set_permissions(directory.path(), for_all).expect("open up a directory");
        }
        let mut words: Vec<OsString> = self.wrapper.iter().map(OsString::from).collect();
        if let Some(binary) = stand_in::binary() {
            let is_plain = self.settings.is_none() && self.wrapper.is_empty();
            if !stand_in::does_without(&self.flags) || !is_plain {
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
        Ok(Server { child, path: self.path, target, http, directory, pins })
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
        let listens: [OsString; 2] = match &self.settings {
            Some(text) => ["--config".into(), write_settings(text, address, directory).into()],
            None => ["--listen".into(), address.to_string().into()],
        };
        arguments.extend(listens);
        for (flag, value) in
            [("--http", http.to_string()), ("--kernel-path", kernel_path.to_owned())]
        {
            arguments.extend([flag.into(), value.into()]);
        }
        let has_flag = |name| self.flags.iter().any(|flag| flag == name);
        if !has_flag("--log") {
            // A key of a file would not count beside it.
            let in_file = self.settings.as_ref().is_some_and(|text| text.contains("log = "));
            arguments.extend(
                (!in_file).then_some(["--log", "info"]).into_iter().flatten().map(OsString::from),
            );
        }
        if !has_flag("--admin-socket") {
            arguments.extend(["--admin-socket".into(), admin_socket(directory).into()]);
        }
        let data = self.data_dir.clone().unwrap_or_else(|| directory.join("data"));
        arguments.extend(["--data-dir".into(), data.into()]);
        // Other machines, the client's namespace among them, reach a server on veth: it does not start open there
        // unless it is told to.
        if on_veth && !self.flags.iter().any(|flag| DECIDES_WHO_CONNECTS.contains(&flag.as_str())) {
            arguments.extend(["--anonymous".into(), "always".into()]);
        }
        // On lo the server finds the interface, on veth a flag names it: this tests both.
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

/// Writes a settings file, with the places filled in. Returns its path.
fn write_settings(text: &str, address: SocketAddr, directory: &Path) -> PathBuf {
    let ip = match address.ip() {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    };
    let text = text
        .replace("{ip}", &ip)
        .replace("{port}", &address.port().to_string())
        .replace("{directory}", &directory.display().to_string());
    let path = directory.join("push.toml");
    std::fs::write(&path, text).expect("write a settings file");
    path
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

/// A server's own directory, in memory if the system has such a place: most tests are not about the
/// disk, and would only wait for it.
fn server_directory() -> io::Result<TempDir> {
    TempDir::new_in("/dev/shm").or_else(|_| TempDir::new())
}

/// Two addresses that nobody listens at. Both ports are held until both are chosen, since the
/// kernel may assign a released port again.
fn free_addresses(ip: IpAddr) -> [SocketAddr; 2] {
    let held = [(); 2].map(|()| TcpListener::bind((ip, 0)).expect("find a free port"));
    held.map(|listener| listener.local_addr().expect("ask for the port"))
}

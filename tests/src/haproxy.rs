//! HAProxy in front of the server: started where its clients are, and stopped when dropped.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::certificates::Folder;
use crate::expectations::wait_for;
use crate::server::Target;
use crate::skip::Skip;

/// Where clients reach it.
const IP: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Tries for a start that loses the race for its port.
const START_TRIES: usize = 5;

/// What it does between a client and the server.
#[derive(Clone, Copy, Debug)]
pub struct Front<'a> {
    /// What it says to the server in front of all else, by its keywords: `send-proxy-v2`, say.
    pub sends: &'a str,
    /// It ends TLS, with this folder's certificate.
    pub tls: Option<&'a Folder>,
    /// It speaks HTTP, and adds X-Forwarded-For.
    pub http: bool,
}

impl<'a> Front<'a> {
    /// It hands on bytes, behind what it `sends`.
    pub fn sending(sends: &'a str) -> Self {
        Self { sends, tls: None, http: false }
    }

    /// It hands on WebSocket, and says by X-Forwarded-For for whom.
    pub fn forwarding() -> Self {
        Self { sends: "", tls: None, http: true }
    }

    /// The same, but it ends TLS.
    pub fn with_tls(self, folder: &'a Folder) -> Self {
        Self { tls: Some(folder), ..self }
    }
}

/// A running HAProxy.
#[derive(Debug)]
pub struct HaProxy {
    child: Child,
    target: Target,
    directory: TempDir,
}

impl HaProxy {
    /// Starts it in front of `server`.
    ///
    /// # Panics
    /// It does not listen.
    #[track_caller]
    pub fn start(server: &Target, front: Front<'_>) -> Result<Self, Skip> {
        let found = Command::new("haproxy").arg("-v").output();
        found.map_err(|error| Skip::missing(format!("cannot run haproxy: {error}")))?;
        let mut said = String::new();
        for _ in 0..START_TRIES {
            let mut started = Self::spawn(server, front);
            if started.wait_ready() {
                return Ok(started);
            }
            said = started.log();
        }
        panic!("HAProxy does not start:\n{said}");
    }

    /// Where clients reach it.
    pub fn target(&self) -> &Target {
        &self.target
    }

    fn spawn(server: &Target, front: Front<'_>) -> Self {
        let directory = tempfile::tempdir().expect("make a directory");
        let free = || TcpListener::bind((IP, 0)).expect("find a free port").local_addr();
        let address = server.run_at_client(free).expect("ask for the port");
        let file = directory.path().join("haproxy.cfg");
        let text = configuration(directory.path(), address, server.address, front);
        fs::write(&file, text).expect("write a configuration");
        let log = fs::File::create(directory.path().join("log")).expect("create a log");
        let child = server
            .command("haproxy")
            .args(["-db", "-f"])
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("share the log"))
            .stderr(log)
            .spawn()
            .expect("start haproxy");
        Self { child, target: server.with_address(address), directory }
    }

    /// Waits until it listens. Returns whether it does.
    fn wait_ready(&mut self) -> bool {
        wait_for("HAProxy to listen", || {
            let ended = self.child.try_wait().expect("look after haproxy").is_some();
            let address = self.target.address;
            let listens = self.target.run_at_client(|| TcpStream::connect(address).is_ok());
            (ended || listens).then_some(!ended)
        })
    }

    /// What it has said so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}

impl Drop for HaProxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn configuration(
    directory: &Path,
    address: SocketAddr,
    server: SocketAddr,
    front: Front<'_>,
) -> String {
    let Front { sends, tls, http } = front;
    let tls = tls.map_or_else(String::new, |folder| {
        let both = folder.server().map(|file| fs::read(file).expect("read a certificate")).concat();
        let file = directory.join("both.pem");
        fs::write(&file, both).expect("write a certificate with its key");
        format!(" ssl crt {}", file.display())
    });
    let mode = if http { "mode http\n  option forwardfor" } else { "mode tcp" };
    format!(
        "defaults\n  {mode}\n  timeout connect 10s\n  timeout client 1h\n  timeout server 1h\n  \
         timeout tunnel 1h\nlisten front\n  bind {address}{tls}\n  server push {server} {sends}\n"
    )
}

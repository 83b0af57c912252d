//! TLS by programs of others: a process that speaks TLS to a server on one side, and lets bytes of MQTT
//! through on the other. So the tests' own client speaks MQTT over whatever stack the process has.

use std::fs::File;
use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};

use tempfile::TempDir;

use crate::certificates::Folder;
use crate::clients::{Client, Connect};
use crate::expectations::wait_for;
use crate::server::workspace_path;
use crate::skip::Skip;
use crate::target::Target;

/// OpenSSL's names of every suite: the flag of the version, the flag of the suite, and the suite.
pub const OPENSSL_SUITES: [[&str; 3]; 6] = [
    ["-tls1_3", "-ciphersuites", "TLS_AES_128_GCM_SHA256"],
    ["-tls1_3", "-ciphersuites", "TLS_AES_256_GCM_SHA384"],
    ["-tls1_3", "-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256"],
    ["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"],
    ["-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384"],
    ["-tls1_2", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305"],
];

/// mbedTLS's names. Debian's speaks TLS 1.2 only.
pub const MBEDTLS_SUITES: [&str; 3] = [
    "TLS-ECDHE-ECDSA-WITH-AES-128-GCM-SHA256",
    "TLS-ECDHE-ECDSA-WITH-AES-256-GCM-SHA384",
    "TLS-ECDHE-ECDSA-WITH-CHACHA20-POLY1305-SHA256",
];

/// A process between the tests' client and a server; killed when dropped.
#[derive(Debug)]
pub struct Relay {
    child: Child,
    /// The client's end of its standard streams.
    inside: TcpStream,
    directory: TempDir,
}

impl Relay {
    /// `openssl s_client` with further arguments.
    pub fn openssl(target: &Target, ca: &Path, more: &[&str]) -> Result<Self, Skip> {
        let openssl = Command::new("openssl").arg("version").output();
        openssl.map_err(|error| Skip::missing(format!("cannot run openssl: {error}")))?;
        let mut command = target.command("openssl");
        command.args(["s_client", "-connect", &target.address.to_string(), "-CAfile"]).arg(ca);
        // Without -brief it prints the session among the bytes; -quiet would end its commands.
        command.args(["-brief", "-verify_return_error"]).args(more);
        Ok(Self::start(command))
    }

    /// `tests/clients/mbedtls_relay.c` with one suite, as mbedTLS calls it.
    pub fn mbedtls(target: &Target, folder: &Folder, suite: &str) -> Result<Self, Skip> {
        let mut command = target.command(mbedtls_program()?);
        let (host, port) = (target.address.ip().to_string(), target.address.port().to_string());
        command.args([&host, &port]).arg(folder.ca()).arg(suite);
        Ok(Self::start(command))
    }

    fn start(mut command: Command) -> Self {
        // A socket, and no pipes, because the tests' client sets timeouts on it.
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("find a free port");
        let address = listener.local_addr().expect("ask for the port");
        let inside = TcpStream::connect(address).expect("connect to ourselves");
        let (outside, _) = listener.accept().expect("connect to ourselves");
        inside.set_nodelay(true).expect("set an option");
        outside.set_nodelay(true).expect("set an option");
        let directory = TempDir::new().expect("make a directory");
        let log = File::create(log_path(&directory)).expect("create a log");
        let input = OwnedFd::from(outside.try_clone().expect("a second descriptor"));
        let child = command
            .stdin(Stdio::from(input))
            .stdout(Stdio::from(OwnedFd::from(outside)))
            .stderr(log)
            .spawn()
            .expect("start the relay");
        Self { child, inside, directory }
    }

    /// A client that speaks MQTT through it, and expects to be accepted.
    #[track_caller]
    pub fn connect(&self, connect: &Connect) -> Client {
        let inside = self.inside.try_clone().expect("a second descriptor");
        Client::accepted_over(inside, connect)
    }

    /// Gives `s_client` a command of one letter: `K` and `k` change keys, `R` renegotiates, `Q` ends.
    /// No bytes of MQTT may be under way to it.
    #[track_caller]
    pub fn command(&mut self, letter: char) {
        self.inside.write_all(format!("{letter}\n").as_bytes()).expect("tell the relay");
    }

    /// What it has told people.
    pub fn log(&self) -> String {
        let bytes = std::fs::read(log_path(&self.directory)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Waits until it has told people this.
    #[track_caller]
    pub fn wait_log(&self, text: &str) {
        wait_for(&format!("{text:?} of the relay"), || self.log().contains(text).then_some(()));
    }

    /// Waits until it has ended.
    #[track_caller]
    pub fn wait_exit(&mut self) -> ExitStatus {
        wait_for("the relay's exit", || self.child.try_wait().expect("wait"))
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            println!("--- the relay said ---\n{}\n---", self.log());
        }
    }
}

fn log_path(directory: &TempDir) -> PathBuf {
    directory.path().join("relay.log")
}

/// The relay by mbedTLS, compiled if its source has changed.
fn mbedtls_program() -> Result<PathBuf, Skip> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _held = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let source = workspace_path("tests/tests/clients/mbedtls_relay.c");
    let folder = workspace_path("target/tools/mbedtls");
    let program = folder.join("relay");
    let age = |path: &Path| std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    if age(&program).is_some_and(|built| age(&source).is_some_and(|written| written < built)) {
        return Ok(program);
    }
    std::fs::create_dir_all(&folder).expect("make a directory below target");
    // Under a name of this process's own, and then renamed: test binaries run beside each other.
    let own = folder.join(format!("relay-{}", std::process::id()));
    let compiled = Command::new("cc")
        .args(["-O1", "-Wall", "-o"])
        .args([&own, &source])
        .args(["-lmbedtls", "-lmbedx509", "-lmbedcrypto"])
        .output()
        .map_err(|error| Skip::missing(format!("cannot run cc: {error}")))?;
    if !compiled.status.success() {
        let said = String::from_utf8_lossy(&compiled.stderr);
        let first = said.lines().next().unwrap_or_default();
        return Err(Skip::missing(format!(
            "no mbedTLS to compile with (Debian's libmbedtls-dev): {first}"
        )));
    }
    std::fs::rename(&own, &program).expect("put the relay in its place");
    Ok(program)
}

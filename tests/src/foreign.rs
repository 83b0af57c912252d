//! Clients of others: `mosquitto_pub` and `mosquitto_sub`, and, by scripts, paho for Python,
//! MQTT.js and paho for JavaScript.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};

use crate::certificates::Folder;
use crate::expectations::{PATIENCE, wait_for};
use crate::server::{Server, Target, workspace_path};
use crate::skip::Skip;
use crate::wire::Version;

/// What is between a foreign client's MQTT and its socket.
#[derive(Clone, Copy, Debug)]
pub enum By<'a> {
    /// Nothing.
    Tcp,
    /// TLS, by an authority.
    Tls(&'a Folder),
    /// WebSocket.
    WebSocket,
    /// WebSocket inside TLS.
    WebSocketTls(&'a Folder),
    /// A Unix socket; only paho for Python can.
    Unix(&'a Path),
}

impl By<'_> {
    /// Where a server started with [`crate::server::ServerBuilder::tls`] and `websocket` is reached.
    #[track_caller]
    pub fn target(self, server: &Server) -> Target {
        match self {
            Self::Tcp | Self::Unix(_) => server.target().clone(),
            Self::Tls(_) => server.tls(),
            Self::WebSocket => server.websocket(),
            Self::WebSocketTls(_) => server.websocket_tls(),
        }
    }

    /// The file of certificates to trust.
    fn ca(self) -> Option<PathBuf> {
        match self {
            Self::Tcp | Self::WebSocket | Self::Unix(_) => None,
            Self::Tls(folder) | Self::WebSocketTls(folder) => Some(folder.ca()),
        }
    }

    /// As URLs begin.
    fn scheme(self) -> &'static str {
        match self {
            Self::Tcp | Self::Unix(_) => "mqtt",
            Self::Tls(_) => "mqtts",
            Self::WebSocket => "ws",
            Self::WebSocketTls(_) => "wss",
        }
    }
}

/// Begins every message line of a [`Subscriber`]; its other lines are its own log.
const MESSAGE_MARK: &str = "> ";

/// Skips the test if mosquitto's clients are not installed.
pub fn need_mosquitto_clients() -> Result<(), Skip> {
    for program in ["mosquitto_pub", "mosquitto_sub", "stdbuf"] {
        let found = Command::new(program).arg("--help").output();
        found.map_err(|error| Skip::missing(format!("cannot run {program}: {error}")))?;
    }
    Ok(())
}

/// A running `mosquitto_sub`; killed when dropped.
#[derive(Debug)]
pub struct Subscriber {
    child: Child,
    lines: Receiver<String>,
}

impl Subscriber {
    /// Starts it with `arguments`, printing messages in `format` (its `-F`), and waits until the
    /// server has granted its subscriptions.
    #[track_caller]
    pub fn start(target: &Target, version: Version, format: &str, arguments: &[&str]) -> Self {
        // Line buffering, because output into a pipe would otherwise come at its end.
        let mut command = target.command("stdbuf");
        command.args(["-oL", "mosquitto_sub"]).args(common_arguments(target, version));
        command.args(["-d", "-F", &format!("{MESSAGE_MARK}{format}")]).args(arguments);
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("start mosquitto_sub");
        let output = BufReader::new(child.stdout.take().expect("its output is piped"));
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let subscriber = Self { child, lines };
        subscriber.wait_line("mosquitto_sub to subscribe", |line| {
            line.starts_with("Subscribed (mid:").then_some(())
        });
        subscriber
    }

    /// The next message, in the subscriber's format.
    #[track_caller]
    pub fn message(&self) -> String {
        self.wait_line("a message at mosquitto_sub", |line| {
            line.strip_prefix(MESSAGE_MARK).map(str::to_owned)
        })
    }

    /// The next `count` messages, in order.
    #[track_caller]
    pub fn messages(&self, count: usize) -> Vec<String> {
        (0..count).map(|_| self.message()).collect()
    }

    /// Messages that have come and that no test asked for.
    pub fn unexpected(&self) -> Vec<String> {
        self.lines.try_iter().filter(|line| line.starts_with(MESSAGE_MARK)).collect()
    }

    /// Waits until it logs that it sent a ping and got the answer.
    #[track_caller]
    pub fn wait_ping(&self) {
        self.wait_line("mosquitto_sub's PINGRESP", |line| {
            line.contains("received PINGRESP").then_some(())
        });
    }

    /// Kills it without a goodbye (SIGKILL).
    pub fn kill(mut self) {
        let _ = self.child.kill();
    }

    /// Waits until it ends by itself, as after the last message of `-C`.
    #[track_caller]
    pub fn wait_exit(mut self) {
        wait_for("mosquitto_sub's end", || self.child.try_wait().expect("wait"));
    }

    #[track_caller]
    fn wait_line<T>(&self, what: &str, wanted: impl Fn(&str) -> Option<T>) -> T {
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => {
                    if let Some(found) = wanted(&line) {
                        return found;
                    }
                }
                Err(error) => panic!("waited for {what}: {error}"),
            }
        }
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs `mosquitto_pub` to its end.
///
/// # Panics
/// It fails.
#[track_caller]
pub fn mosquitto_pub(target: &Target, version: Version, arguments: &[&str]) {
    let mut command = target.command("mosquitto_pub");
    let output = command
        .args(common_arguments(target, version))
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("run mosquitto_pub");
    assert_success("mosquitto_pub", &output);
}

/// Whether `mosquitto_pub` is let in with these arguments; it says why it was not.
#[track_caller]
pub fn mosquitto_pub_is_let_in(target: &Target, version: Version, arguments: &[&str]) -> bool {
    let mut command = target.command("mosquitto_pub");
    let output = command
        .args(common_arguments(target, version))
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("run mosquitto_pub");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() || said.contains("Connection error: "), "{said}");
    output.status.success()
}

/// Runs the `case` of `tests/clients/paho_roundtrip.py` over TCP.
///
/// # Panics
/// It fails.
#[track_caller]
pub fn paho(target: &Target, version: Version, case: &str) -> Result<(), Skip> {
    paho_by(By::Tcp, target, version, case)
}

/// Runs it over layers.
///
/// # Panics
/// It fails.
#[track_caller]
pub fn paho_by(by: By<'_>, target: &Target, version: Version, case: &str) -> Result<(), Skip> {
    paho_with(by, target, version, case, &[])
}

/// Runs it over layers, with further arguments.
///
/// # Panics
/// It fails.
#[track_caller]
pub fn paho_with(
    by: By<'_>,
    target: &Target,
    version: Version,
    case: &str,
    arguments: &[&str],
) -> Result<(), Skip> {
    let python = python()?;
    let protocol = match version {
        Version::V31 => "3",
        Version::V311 => "4",
        Version::V5 => "5",
    };
    let transport = match by {
        By::Tcp | By::Tls(_) => "tcp",
        By::WebSocket | By::WebSocketTls(_) => "websockets",
        By::Unix(_) => "unix",
    };
    let host = match by {
        By::Unix(path) => path.display().to_string(),
        _ => target.address.ip().to_string(),
    };
    let mut command = target.command(python);
    command
        .arg(workspace_path("tests/tests/clients/paho_roundtrip.py"))
        .args(["--host", &host])
        .args(["--port", &target.address.port().to_string()])
        .args(["--protocol", protocol, "--case", case, "--transport", transport]);
    if let Some(ca) = by.ca() {
        command.arg("--ca").arg(ca);
    }
    command.args(arguments);
    let output = command.stdin(Stdio::null()).output().expect("run python");
    assert_success(&format!("paho, case {case}, protocol {protocol}, {by:?}"), &output);
    Ok(())
}

/// The Python that has paho: `PUSH_PYTHON`, or the one that `cargo xtask setup` makes.
fn python() -> Result<PathBuf, Skip> {
    let named = std::env::var_os("PUSH_PYTHON").map(PathBuf::from);
    let python = named.unwrap_or_else(|| workspace_path("target/tools/venv/bin/python"));
    let output = Command::new(&python).args(["-c", "import paho.mqtt.client"]).output();
    match output {
        Ok(output) if output.status.success() => Ok(python),
        _ => Err(Skip::missing(format!(
            "{} cannot import paho.mqtt: `cargo xtask setup`",
            python.display()
        ))),
    }
}

/// Runs the `case` of `tests/clients/mqttjs_roundtrip.cjs`.
///
/// # Panics
/// It fails.
#[track_caller]
pub fn mqtt_js(by: By<'_>, target: &Target, version: Version, case: &str) -> Result<(), Skip> {
    mqtt_js_as(by, target, version, case, &[])
}

/// Runs it with this user name and password of CONNECT, which are in variables of its environment: `PUSH_USER` and
/// `PUSH_PASSWORD`.
///
/// # Panics
/// It fails.
#[track_caller]
pub fn mqtt_js_as(
    by: By<'_>,
    target: &Target,
    version: Version,
    case: &str,
    login: &[(&str, &str)],
) -> Result<(), Skip> {
    let protocol = if version == Version::V5 { "5" } else { "4" };
    let mut node = node(by, target, "mqtt")?;
    let (host, port) = (target.address.ip().to_string(), target.address.port().to_string());
    let output = node
        .arg(workspace_path("tests/tests/clients/mqttjs_roundtrip.cjs"))
        .args([&host, &port, protocol, case, by.scheme()])
        .envs(login.iter().copied())
        .output()
        .expect("run node");
    assert_success(&format!("MQTT.js, case {case}, protocol {protocol}, {by:?}"), &output);
    Ok(())
}

/// The only version and suite that Node.js offers, by OpenSSL's names.
#[derive(Clone, Copy, Debug)]
pub struct NodeSuite {
    /// Such as `TLSv1.3`.
    pub version: &'static str,
    /// Such as `TLS_AES_128_GCM_SHA256`.
    pub suite: &'static str,
}

/// Runs the case `one-suite` of `tests/clients/mqttjs_roundtrip.cjs` over TLS by MQTT 5: pings between
/// messages. Calls `heal` before the client leaves. Returns how many pings were sent, and answered.
///
/// # Panics
/// It fails.
#[track_caller]
pub fn mqtt_js_by_suite(
    folder: &Folder,
    target: &Target,
    suite: NodeSuite,
    heal: impl FnOnce(),
) -> Result<u64, Skip> {
    let by = By::Tls(folder);
    let mut node = node(by, target, "mqtt")?;
    let (host, port) = (target.address.ip().to_string(), target.address.port().to_string());
    let mut child = node
        .arg(workspace_path("tests/tests/clients/mqttjs_roundtrip.cjs"))
        .args([&host, &port, "5", "one-suite", by.scheme(), suite.version, suite.suite])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("run node");
    let mut said = String::new();
    let mut lines = BufReader::new(child.stdout.take().expect("its output is piped"));
    lines.read_line(&mut said).expect("read from node");
    heal();
    // It leaves when its stdin is closed.
    let output = child.wait_with_output().expect("wait for node");
    assert_success(&format!("MQTT.js, {suite:?}"), &output);
    let pings = said.trim_end().strip_prefix("pings ").and_then(|pings| pings.parse().ok());
    Ok(pings.unwrap_or_else(|| panic!("MQTT.js does not tell its pings: {said:?}")))
}

/// Runs the `case` of `tests/clients/paho_websocket.cjs`.
///
/// # Panics
/// It fails.
#[track_caller]
pub fn paho_js(by: By<'_>, target: &Target, case: &str) -> Result<(), Skip> {
    let mut node = node(by, target, "paho-mqtt")?;
    let (host, port) = (target.address.ip().to_string(), target.address.port().to_string());
    let output = node
        .arg(workspace_path("tests/tests/clients/paho_websocket.cjs"))
        .args([&host, &port, case, by.scheme()])
        .output()
        .expect("run node");
    assert_success(&format!("paho for JavaScript, case {case}, {by:?}"), &output);
    Ok(())
}

/// Node.js with a package.
fn node(by: By<'_>, target: &Target, package: &str) -> Result<Command, Skip> {
    let mut node = target.command("node");
    node.env("NODE_PATH", node_modules(package)?).stdin(Stdio::null());
    if let Some(ca) = by.ca() {
        node.env("NODE_EXTRA_CA_CERTS", ca);
    }
    Ok(node)
}

/// The folder where Node.js finds `package`: `PUSH_NODE_MODULES`, or the one that `cargo xtask
/// setup` fills.
pub fn node_modules(package: &str) -> Result<PathBuf, Skip> {
    let named = std::env::var_os("PUSH_NODE_MODULES").map(PathBuf::from);
    let modules = named.unwrap_or_else(|| workspace_path("target/tools/node/node_modules"));
    let node = Command::new("node").arg("--version").output();
    node.map_err(|error| Skip::missing(format!("cannot run node: {error}")))?;
    if modules.join(package).join("package.json").exists() {
        return Ok(modules);
    }
    Err(Skip::missing(format!(
        "no {package} in {}: `cargo xtask setup --tests`",
        modules.display()
    )))
}

fn common_arguments(target: &Target, version: Version) -> Vec<String> {
    let protocol = match version {
        Version::V31 => "31",
        Version::V311 => "311",
        Version::V5 => "5",
    };
    let (host, port) = (target.address.ip().to_string(), target.address.port().to_string());
    ["-h", &host, "-p", &port, "-V", protocol].map(str::to_owned).to_vec()
}

#[track_caller]
fn assert_success(what: &str, output: &Output) {
    assert!(
        output.status.success(),
        "{what} ended with {}:\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

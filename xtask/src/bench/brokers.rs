//! Starts the compared servers, one at a time, on a free loopback port, reads their counters, and
//! ends them in order.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use serde::Serialize;

use super::children::{Child, Interrupt};
use super::data_directory::DataDirectory;
use super::layers::Layers;
use super::rules;
use crate::workspace::output_of;

/// How long a server may take until it serves.
const READY_WITHIN: Duration = Duration::from_secs(20);

/// Time between two looks meanwhile.
const READY_TICK: Duration = Duration::from_millis(20);

/// How long one request to its HTTP port may take.
const HTTP_WITHIN: Duration = Duration::from_secs(5);

/// Connections that a server must have room for beside the clients measured.
const CONNECTIONS_SPARE: u32 = 100;

/// A column of the comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(super) enum Variant {
    /// Our server; the kernel answers heartbeats.
    Kernel,
    /// Our server; user space answers heartbeats.
    User,
    /// mosquitto, for comparison.
    Mosquitto,
    /// The build of `--before`; the kernel answers heartbeats.
    BeforeKernel,
    /// The build of `--before`; user space answers heartbeats.
    BeforeUser,
    /// Our server with rules about what clients may do; user space answers heartbeats.
    UserRules,
    /// mosquitto with the same rules.
    MosquittoRules,
}

impl Variant {
    /// The variants that every run compares, in the order of the report's columns.
    pub(super) const ALL: [Self; 3] = [Self::Kernel, Self::User, Self::Mosquitto];

    /// The variants that `--before` adds.
    pub(super) const BEFORE: [Self; 2] = [Self::BeforeKernel, Self::BeforeUser];

    /// The variants that `--acl` adds.
    pub(super) const RULES: [Self; 2] = [Self::UserRules, Self::MosquittoRules];
}

impl fmt::Display for Variant {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Kernel => "kernel path",
            Self::User => "user path",
            Self::Mosquitto => "mosquitto",
            Self::BeforeKernel => "kernel path before",
            Self::BeforeUser => "user path before",
            Self::UserRules => "user path with rules",
            Self::MosquittoRules => "mosquitto with rules",
        })
    }
}

/// The order of a round: rotated by one each round, so that drift, and whatever one turn leaves
/// behind, affects all alike.
pub(super) fn rotated<T>(measured: &[T], round: u32) -> impl Iterator<Item = &T> {
    let first = round as usize % measured.len().max(1);
    measured[first..].iter().chain(&measured[..first])
}

/// What a server is told beside the usual.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Our server: flags.
    pub(super) words: Vec<String>,
    /// mosquitto: lines of its configuration.
    pub(super) lines: String,
}

/// Has one of our servers let in all clients at once, who come from few addresses. Earlier builds have no such limits.
pub(super) fn lift_connect_limits(command: &mut Command, server: &Path) -> Result<()> {
    if knows_flag(server, "--connect-rate")? {
        command.args(["--connect-rate", "0", "--address-waiting-max", "0"]);
    }
    Ok(())
}

/// The programs, and how to run them.
#[derive(Debug)]
pub(super) struct Brokers {
    /// `target/release/push-server`.
    pub(super) server: PathBuf,
    /// An earlier build of it, measured in the same rounds.
    pub(super) before: Option<PathBuf>,
    /// `None`: not installed.
    pub(super) mosquitto: Option<PathBuf>,
    /// Whether servers with rules are measured, too.
    pub(super) has_rules: bool,
    /// The variants to measure; none: all.
    pub(super) only: Vec<Variant>,
    /// The folder for configurations and logs.
    pub(super) folder: PathBuf,
    /// Shards of our server.
    pub(super) shards: u16,
    /// How many clients there will be.
    pub(super) clients: u32,
    /// The layers around MQTT.
    pub(super) layers: Layers,
}

impl Brokers {
    /// The variants to measure whose programs exist, in the order of the report's columns.
    pub(super) fn variants(&self) -> Vec<Variant> {
        let is_measured = |variant: &Variant| {
            let is_wanted = self.only.is_empty() || self.only.contains(variant);
            let is_there = match variant {
                Variant::Kernel | Variant::User => true,
                Variant::Mosquitto => self.mosquitto.is_some(),
                Variant::UserRules => self.has_rules,
                Variant::MosquittoRules => self.has_rules && self.mosquitto.is_some(),
                Variant::BeforeKernel | Variant::BeforeUser => self.before.is_some(),
            };
            is_wanted && is_there
        };
        let added = Variant::BEFORE.into_iter().chain(Variant::RULES);
        Variant::ALL.into_iter().chain(added).filter(is_measured).collect()
    }

    /// mosquitto's version, as it prints it.
    pub(super) fn mosquitto_version(&self) -> Option<String> {
        let program = self.mosquitto.as_ref()?;
        // The help has the version; 2.0 ends it with a failure's exit code.
        let help = Command::new(program).arg("-h").output().ok()?.stdout;
        let help = String::from_utf8_lossy(&help).into_owned();
        let first = help.lines().next()?;
        Some(first.strip_prefix("mosquitto version ").unwrap_or(first).to_owned())
    }

    /// Starts one on an empty data directory and waits until it serves.
    pub(super) fn start(&self, variant: Variant, interrupt: &Interrupt) -> Result<Broker> {
        self.start_told(variant, &Told::default(), interrupt)
    }

    /// The same, told more: flags of ours, lines of mosquitto's configuration.
    pub(super) fn start_told(
        &self,
        variant: Variant,
        told: &Told,
        interrupt: &Interrupt,
    ) -> Result<Broker> {
        let [mqtt, http] = free_ports()?;
        let data = DataDirectory::below(&self.folder)?;
        let own = |server: &Path, kernel_path: &str| {
            let mut command = self.own(server, (mqtt, http), kernel_path, data.path())?;
            command.args(&told.words);
            anyhow::Ok(command)
        };
        let (mut command, http) = match variant {
            Variant::Kernel => (own(&self.server, "require")?, Some(http)),
            Variant::User => (own(&self.server, "off")?, Some(http)),
            Variant::BeforeKernel => (own(self.before()?, "require")?, Some(http)),
            Variant::BeforeUser => (own(self.before()?, "off")?, Some(http)),
            Variant::Mosquitto => (self.mosquitto(mqtt, &told.lines)?, None),
            Variant::UserRules => {
                let file = self.written("rules.toml", &rules::ours())?;
                let mut command = own(&self.server, "off")?;
                command.arg("--acl").arg(file);
                (command, Some(http))
            }
            Variant::MosquittoRules => {
                let file = self.written("rules.acl", &rules::mosquittos())?;
                (self.mosquitto(mqtt, &format!("acl_file {}\n", file.display()))?, None)
            }
        };
        let name = match variant {
            Variant::Mosquitto | Variant::MosquittoRules => "mosquitto",
            Variant::BeforeKernel | Variant::BeforeUser => "push-server-before",
            Variant::Kernel | Variant::User | Variant::UserRules => "push-server",
        };
        let broker = Broker::launch(
            name,
            &mut command,
            &self.folder,
            (mqtt, http),
            READY_WITHIN,
            interrupt,
        )?;
        Ok(broker.with_data(data))
    }

    /// The build of `--before`.
    pub(super) fn before(&self) -> Result<&Path> {
        self.before.as_deref().context("no build is given with --before")
    }

    fn own(
        &self,
        server: &Path,
        (mqtt, http): (SocketAddr, SocketAddr),
        kernel_path: &str,
        data: &Path,
    ) -> Result<Command> {
        let room = (self.clients + CONNECTIONS_SPARE).to_string();
        let mut command = Command::new(server);
        let listen = self.layers.listen_flag();
        if !knows_flag(server, listen)? {
            bail!("{} does not know {listen}", server.display());
        }
        command.args(["run", listen, &mqtt.to_string(), "--http", &http.to_string()]);
        if !self.layers.arguments().are_none() {
            // The usual listener, on a port that is surely free.
            let [plain] = free_ports()?;
            command.args(["--listen", &plain.to_string()]).args(self.layers.server_words());
        }
        command.args(["--kernel-path", kernel_path, "--shards", &self.shards.to_string()]);
        // Its clients ping as fast as they get answers.
        command.args(["--ping-rate", "0"]);
        command.args(["--max-connections", &room, "--log", "warn"]);
        lift_connect_limits(&mut command, server)?;
        // Builds from before sessions were stored have no such flag.
        if knows_flag(server, "--data-dir")? {
            command.arg("--data-dir").arg(data);
        }
        Ok(command)
    }

    /// A file for a server.
    fn written(&self, name: &str, text: &str) -> Result<PathBuf> {
        let file = self.folder.join(name);
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        Ok(file)
    }

    /// As installed, except that it uses a port of ours, allows anonymous clients, and does not log
    /// each connection. `more`: lines of its configuration.
    fn mosquitto(&self, mqtt: SocketAddr, more: &str) -> Result<Command> {
        let program = self.mosquitto.as_ref().context("mosquitto is not installed")?;
        let text = format!(
            "listener {} {}\n{}allow_anonymous true\npersistence false\nlog_dest stderr\nlog_type \
             error\nlog_type warning\n{more}",
            mqtt.port(),
            mqtt.ip(),
            self.layers.mosquitto_lines()
        );
        let mut command = Command::new(program);
        command.arg("-c").arg(self.written("mosquitto.conf", &text)?);
        Ok(command)
    }
}

/// Whether a build of our server has a flag: earlier ones may be measured.
pub(super) fn knows_flag(server: &Path, flag: &str) -> Result<bool> {
    let help = output_of(Command::new(server).args(["run", "--help"]));
    let help = help.with_context(|| format!("{} does not tell its flags", server.display()))?;
    Ok(help.contains(flag))
}

/// A server that serves.
#[derive(Debug)]
pub(super) struct Broker {
    child: Child,
    mqtt: SocketAddr,
    http: Option<SocketAddr>,
    /// Dropped after the child has ended.
    data: Option<DataDirectory>,
}

impl Broker {
    /// Starts a command that serves at these addresses, with its log in `folder`, and waits until
    /// it serves.
    pub(super) fn launch(
        name: &'static str,
        command: &mut Command,
        folder: &Path,
        (mqtt, http): (SocketAddr, Option<SocketAddr>),
        within: Duration,
        interrupt: &Interrupt,
    ) -> Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let log = folder.join(format!("{name}.log"));
        let child = Child::start(name, command, &log)?;
        let mut broker = Self { child, mqtt, http, data: None };
        broker.wait_until_ready(within, interrupt)?;
        Ok(broker)
    }

    /// Removes this directory once the server has ended.
    pub(super) fn with_data(mut self, data: DataDirectory) -> Self {
        self.data = Some(data);
        self
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// Where clients connect.
    pub(super) fn mqtt(&self) -> SocketAddr {
        self.mqtt
    }

    /// The command as one would type it.
    pub(super) fn line(&self) -> &str {
        self.child.line()
    }

    /// An error if it has ended.
    pub(super) fn check_alive(&mut self) -> Result<()> {
        self.child.check_alive()
    }

    /// Its counters; `None` for mosquitto, which has none over HTTP.
    pub(super) fn metrics(&self) -> Result<Option<Metrics>> {
        let Some(http) = self.http else { return Ok(None) };
        let (status, body) = http_request(http, "/metrics")?;
        if status != 200 {
            bail!("http://{http}/metrics answers {status}");
        }
        Ok(Some(Metrics(body)))
    }

    /// Ends it in order.
    pub(super) fn end(mut self) -> Result<()> {
        let status = self.child.end()?;
        if !status.success() {
            bail!("`{}` ended with {status}{}", self.child.line(), self.child.last_words());
        }
        Ok(())
    }

    /// Ends it like a crash.
    pub(super) fn kill(mut self) -> Result<()> {
        self.child.kill()
    }

    fn wait_until_ready(&mut self, within: Duration, interrupt: &Interrupt) -> Result<()> {
        let until = Instant::now() + within;
        loop {
            self.child.check_alive()?;
            let is_ready = match self.http {
                Some(http) => http_request(http, "/readyz").is_ok_and(|(status, _)| status == 200),
                None => TcpStream::connect_timeout(&self.mqtt, HTTP_WITHIN).is_ok(),
            };
            if is_ready {
                return Ok(());
            }
            if Instant::now() > until {
                let seconds = within.as_secs();
                let words = self.child.last_words();
                bail!("`{}` does not serve after {seconds} s{words}", self.child.line());
            }
            interrupt.sleep(READY_TICK)?;
        }
    }
}

/// Counters in Prometheus' text form.
#[derive(Debug)]
pub(super) struct Metrics(String);

impl Metrics {
    /// The sample with that name and those labels, spelled as the server spells them.
    pub(super) fn value(&self, sample: &str) -> Option<f64> {
        self.0.lines().find_map(|line| {
            let rest = line.strip_prefix(sample)?;
            // The value follows a space, and perhaps a time follows that.
            rest.strip_prefix(' ')?.split(' ').next()?.parse().ok()
        })
    }

    /// Why the kernel left connections or segments to user space so far, with counts.
    pub(super) fn declined(&self) -> BTreeMap<String, u64> {
        let sample = |line: &str| {
            let rest = line.strip_prefix("push_kernel_path_declined_total{reason=\"")?;
            let (reason, value) = rest.split_once("\"} ")?;
            Some((reason.to_owned(), value.split(' ').next()?.parse().ok()?))
        };
        self.0.lines().filter_map(sample).collect()
    }

    /// Pings answered so far.
    pub(super) fn pings(&self) -> Result<Pings> {
        let count = |path: &str| {
            let sample = format!("push_pings_total{{path=\"{path}\"}}");
            self.value(&sample).with_context(|| format!("the server does not count {sample}"))
        };
        Ok(Pings { kernel: count("kernel")?, user: count("user")? })
    }
}

/// Pings answered, by path.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Pings {
    pub(super) kernel: f64,
    pub(super) user: f64,
}

impl Pings {
    /// The kernel's share of those answered since `before`; `None`: there were none.
    pub(super) fn kernel_share_since(self, before: Self) -> Option<f64> {
        let (kernel, user) = (self.kernel - before.kernel, self.user - before.user);
        (kernel + user > 0.0).then(|| kernel / (kernel + user))
    }
}

/// The reasons why the kernel declined between two readings, most frequent first: `unacked 812,
/// retransmit 3`.
pub(super) fn declined_text(
    before: &BTreeMap<String, u64>,
    after: &BTreeMap<String, u64>,
) -> String {
    let since = |(reason, &count): (&String, &u64)| {
        (count.saturating_sub(before.get(reason).copied().unwrap_or(0)), reason.clone())
    };
    let mut reasons: Vec<(u64, String)> = after.iter().map(since).collect();
    reasons.retain(|&(count, _)| count > 0);
    if reasons.is_empty() {
        return "nothing".to_owned();
    }
    reasons.sort_by(|one, other| other.cmp(one));
    let words: Vec<String> =
        reasons.iter().map(|(count, reason)| format!("{reason} {count}")).collect();
    words.join(", ")
}

/// The commit that is checked out, followed by `+` if files differ from it.
pub(super) fn git_commit(root: &Path) -> Option<String> {
    let git = |arguments: &[&str]| output_of(Command::new("git").current_dir(root).args(arguments));
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let is_changed = git(&["status", "--porcelain"]).is_none_or(|files| !files.trim().is_empty());
    Some(format!("{}{}", commit.trim(), if is_changed { "+" } else { "" }))
}

/// Ports that nobody listens on at this moment, all different.
pub(super) fn free_ports<const COUNT: usize>() -> Result<[SocketAddr; COUNT]> {
    let any = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port on loopback");
    // All are held until all are found.
    let held = (0..COUNT).map(|_| any()).collect::<Result<Vec<_>>>()?;
    let ports = held.iter().map(TcpListener::local_addr).collect::<Result<Vec<_>, _>>()?;
    ports.try_into().ok().context("as many ports as listeners")
}

fn http_request(address: SocketAddr, path: &str) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&address, HTTP_WITHIN)?;
    stream.set_read_timeout(Some(HTTP_WITHIN))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    parse_http(&answer).with_context(|| format!("http://{address}{path} does not speak HTTP"))
}

fn parse_http(answer: &str) -> Option<(u16, String)> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}

#[cfg(test)]
mod tests;

//! `cargo xtask run`: the README's first command. Builds, then becomes the server; with `--demo` it
//! stays beside the server, starts our own devices once that is ready, and ends both in order.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::build::{self, Profile};
use crate::certificates;
use crate::setup;
use crate::workspace::{Workspace, command_line, output_of, say};

/// The default listen address of the server.
const MQTT_DEFAULT: &str = "127.0.0.1:1883";
const HTTP_DEFAULT: &str = "127.0.0.1:9880";
/// The address for TLS by custom.
const TLS_DEFAULT: &str = "127.0.0.1:8883";
/// The value of `--http` that switches HTTP off.
const HTTP_OFF: &str = "off";
/// The default data directory, in the target folder.
const DATA_DIR: &str = "data";
/// The folder of certificates made for a run, there too.
const CERTIFICATES_DIR: &str = "certificates";

/// How often each device of the demonstration pings, in milliseconds.
const DEMO_INTERVAL_MS: u32 = 2_000;

/// Longest time for the server to be ready for the demonstration.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// How long a child may take to end in order before it is killed. The server promises 5 s.
const END_WITHIN: Duration = Duration::from_secs(10);

/// Time between two looks at children and signals.
const TICK: Duration = Duration::from_millis(50);

/// Longest time for one request to `/readyz`.
const PROBE_WITHIN: Duration = Duration::from_millis(500);

#[derive(Args, Debug)]
pub(crate) struct RunArguments {
    /// Also connect this many devices of our own, each pinging every 2 s
    #[arg(long, value_name = "DEVICES")]
    demo: Option<u32>,
    /// Also listen for TLS, at 127.0.0.1:8883, with a certificate made for it below target/; the devices
    /// of --demo connect there
    #[arg(long)]
    tls: bool,
    /// Flags of `push-server run`, for example `-- --listen 127.0.0.1:2883`
    #[arg(last = true, value_name = "SERVER FLAGS")]
    flags: Vec<String>,
}

fn has_data_dir(arguments: &RunArguments) -> bool {
    // A settings file may name it, too.
    flag_value(&arguments.flags, "--data-dir").is_some()
        || flag_value(&arguments.flags, "--config").is_some()
}

pub(crate) fn run(workspace: &Workspace, arguments: &RunArguments) -> Result<ExitCode> {
    let tools = setup::build_needs(workspace)?;
    let object = build::ebpf_object(workspace, &tools)?;
    let (server, generator) = if arguments.demo.is_none() && !arguments.tls {
        (build::server(workspace, &object, Profile::Release)?, None)
    } else {
        let [server, generator] = build::server_and_load_generator(workspace, &object)?;
        (server, Some(generator))
    };
    let mut command = Command::new(&server);
    command.current_dir(workspace.root()).args(["run", "--status"]);
    if !has_data_dir(arguments) {
        // The server's own default is an installed server's, which only root may make.
        command.arg("--data-dir").arg(workspace.target().join(DATA_DIR));
    }
    let mut flags = arguments.flags.clone();
    let mut authority = None;
    if let Some(generator) = generator.as_ref().filter(|_| arguments.tls) {
        let folder = workspace.target().join(CERTIFICATES_DIR);
        certificates::make(generator, &folder)?;
        flags.extend(tls_flags(&flags, &folder));
        authority = Some(folder.join("ca.pem"));
    }
    command.args(&flags);
    let (Some(generator), Some(clients)) = (generator, arguments.demo) else {
        say(format_args!("$ {}", command_line(&command)));
        // From here on the signals and the exit code are the server's.
        return Err(command.exec()).context("cannot start the server");
    };
    let addresses = Addresses::of(&server, &flags, arguments.tls);
    let devices = Devices { generator, clients, authority };
    demonstrate(command, &devices, &addresses)
}

/// The flags for TLS that are missing in `flags`.
fn tls_flags(flags: &[String], folder: &Path) -> Vec<String> {
    let mut more = Vec::new();
    let mut say = |flag: &str, value: String| more.extend([flag.to_owned(), value]);
    if flag_value(flags, "--tls-listen").is_none() {
        say("--tls-listen", TLS_DEFAULT.to_owned());
    }
    if flag_value(flags, "--tls-cert").is_none() {
        say("--tls-cert", folder.join("server.pem").display().to_string());
        say("--tls-key", folder.join("server.key").display().to_string());
    }
    more
}

/// The devices of a demonstration.
#[derive(Debug)]
struct Devices {
    generator: PathBuf,
    clients: u32,
    /// The file of the certificates that they trust, if they use TLS.
    authority: Option<PathBuf>,
}

/// The addresses of a demonstration's server.
#[derive(Debug, PartialEq, Eq)]
struct Addresses {
    /// The address that devices connect to.
    mqtt: String,
    /// The address of `/readyz`; `off`: none.
    http: String,
}

impl Addresses {
    /// From the flags, else the settings file, else the defaults.
    fn of(server: &Path, flags: &[String], is_tls: bool) -> Self {
        let settings = match flag_value(flags, "--config") {
            Some(file) => {
                let mut check = Command::new(server);
                check.arg("check-config").arg(file);
                // The server itself reports what is wrong with the file.
                output_of(&mut check).unwrap_or_default()
            }
            None => String::new(),
        };
        let find = |flag: &str, key: &str, default: &str| {
            let said = flag_value(flags, flag).or_else(|| first_value(&settings, key));
            said.unwrap_or(default).to_owned()
        };
        Self {
            mqtt: if is_tls {
                find("--tls-listen", "tls-listen", TLS_DEFAULT)
            } else {
                find("--listen", "listen", MQTT_DEFAULT)
            },
            http: find("--http", "http", HTTP_DEFAULT),
        }
    }

    /// Whether it serves, as far as it can be asked.
    fn are_ready(&self) -> bool {
        if self.http == HTTP_OFF { connect(&self.mqtt).is_some() } else { is_ready(&self.http) }
    }
}

/// The first text of a key in the output of `check-config`.
fn first_value<'a>(settings: &'a str, key: &str) -> Option<&'a str> {
    let value = |line: &'a str| line.strip_prefix(key)?.strip_prefix(" = ");
    settings.lines().find_map(value)?.split('"').nth(1)
}

/// Server and devices side by side, until a signal or the server's end.
fn demonstrate(mut server: Command, wanted: &Devices, addresses: &Addresses) -> Result<ExitCode> {
    let mut signals = Signals::new([SIGINT, SIGTERM]).context("cannot wait for signals")?;
    say(format_args!("$ {}", command_line(&server)));
    // In process groups of their own, so that Ctrl-C reaches only us, and the children end in
    // order.
    let mut server = server.process_group(0).spawn().context("cannot start the server")?;
    let mut devices = None;
    let ready_until = Instant::now() + READY_WITHIN;
    let mut waiting = true;
    let status = loop {
        if let Some(status) = server.try_wait()? {
            break status;
        }
        if signals.pending().next().is_some() {
            stop_devices(devices.take())?;
            break stop_server(&mut server)?;
        }
        if waiting && addresses.are_ready() {
            devices = Some(start_devices(wanted, &addresses.mqtt)?);
            waiting = false;
        } else if waiting && Instant::now() > ready_until {
            let Addresses { mqtt, http } = addresses;
            say(format_args!("no devices are started: no answer at {mqtt}, http {http}"));
            waiting = false;
        }
        if let Some(ended) = devices.as_mut().and_then(|child| child.try_wait().transpose()) {
            say(format_args!("the devices ended ({}); the server goes on", ended?));
            devices = None;
        }
        thread::sleep(TICK);
    };
    stop_devices(devices)?;
    Ok(exit_code(status))
}

fn start_devices(wanted: &Devices, target: &str) -> Result<Child> {
    let mut command = Command::new(&wanted.generator);
    command.args(["demo", "--clients", &wanted.clients.to_string()]);
    command.args(["--interval-ms", &DEMO_INTERVAL_MS.to_string(), "--target", target]);
    if let Some(authority) = &wanted.authority {
        command.arg("--tls").arg(authority);
    }
    say(format_args!("$ {}", command_line(&command)));
    // The devices live as long as this pipe, so they never outlive us.
    command.process_group(0).stdin(Stdio::piped());
    // Their lines for people are on stderr; stdout has the same as JSON, for programs.
    command.stdout(Stdio::null());
    command.spawn().context("cannot start the devices")
}

/// Closes the devices' stdin and waits for their end.
fn stop_devices(devices: Option<Child>) -> Result<()> {
    let Some(mut devices) = devices else { return Ok(()) };
    drop(devices.stdin.take());
    wait_or_kill(&mut devices, "the devices")?;
    Ok(())
}

fn stop_server(server: &mut Child) -> Result<ExitStatus> {
    if let Some(pid) = Pid::from_raw(i32::try_from(server.id())?) {
        kill_process(pid, Signal::INT).context("cannot signal the server")?;
    }
    wait_or_kill(server, "the server")
}

fn wait_or_kill(child: &mut Child, name: &str) -> Result<ExitStatus> {
    let until = Instant::now() + END_WITHIN;
    while Instant::now() < until {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        thread::sleep(TICK);
    }
    say(format_args!("{name} did not end within {} s: killing it", END_WITHIN.as_secs()));
    child.kill()?;
    Ok(child.wait()?)
}

/// Whether `GET /readyz` answers 200.
fn is_ready(http: &str) -> bool {
    let ask = || -> Option<bool> {
        let mut stream = connect(http)?;
        stream.set_read_timeout(Some(PROBE_WITHIN)).ok()?;
        stream.write_all(b"GET /readyz HTTP/1.0\r\n\r\n").ok()?;
        let mut status_line = [0; 12];
        stream.read_exact(&mut status_line).ok()?;
        Some(status_line.starts_with(b"HTTP/1.") && status_line.ends_with(b" 200"))
    };
    ask().unwrap_or(false)
}

fn connect(address: &str) -> Option<TcpStream> {
    let address: SocketAddr = address.parse().ok()?;
    TcpStream::connect_timeout(&address, PROBE_WITHIN).ok()
}

/// The first value of a flag, given as `--flag value` or `--flag=value`.
fn flag_value<'a>(flags: &'a [String], name: &str) -> Option<&'a str> {
    flags.iter().enumerate().find_map(|(at, flag)| {
        let rest = flag.strip_prefix(name)?;
        match rest.strip_prefix('=') {
            Some(value) => Some(value),
            None if rest.is_empty() => flags.get(at + 1).map(String::as_str),
            None => None,
        }
    })
}

/// The child's exit code, or a shell's code for a signal.
fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from)
}

#[cfg(test)]
mod tests;

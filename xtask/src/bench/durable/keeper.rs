//! Starts the servers to compare, each with its way of storing messages, on a data directory.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::super::brokers::{Broker, free_ports, knows_flag};
use super::super::data_directory::DataDirectory;
use super::super::rig::Bench;
use super::arguments::{DurableArguments, Mode};
use crate::workspace::say;

/// How long a server may take until it serves, including the time to read a large directory.
const READY_WITHIN: Duration = Duration::from_secs(300);

/// Connections that a server must have room for beside those measured.
const CONNECTIONS_SPARE: u32 = 100;

/// The limit of messages in an outbox: more than any run sends, so that none is dropped.
const OUTBOX_MESSAGES_MAX: &str = "1000000000";
const OUTBOX_BYTES_MAX: &str = "1000000000000";

/// Starts servers.
#[derive(Debug)]
pub(super) struct Keeper {
    server: PathBuf,
    /// The build of `--before`.
    before: Option<PathBuf>,
    mosquitto: Option<PathBuf>,
    /// The folder for logs and configurations.
    folder: PathBuf,
    /// The folder for data directories.
    below: PathBuf,
    shards: u16,
    connections: u32,
    /// Whether our server knows `--durability`.
    is_durable: bool,
}

impl Keeper {
    pub(super) fn new(bench: &Bench, arguments: &DurableArguments, below: PathBuf) -> Result<Self> {
        let server = bench.brokers.server.clone();
        let is_durable = knows_flag(&server, "--durability")?;
        if !is_durable {
            say("this push-server has no --durability: it is measured as `off` only");
        }
        Ok(Self {
            server,
            before: arguments.before.clone(),
            mosquitto: bench.brokers.mosquitto.clone(),
            folder: bench.results.clone(),
            below,
            shards: arguments.shards,
            connections: arguments.sessions + arguments.publishers + CONNECTIONS_SPARE,
            is_durable,
        })
    }

    /// The modes to measure whose programs exist.
    pub(super) fn modes(&self, only: &[Mode]) -> Vec<Mode> {
        let is_measured = |mode: &Mode| {
            let is_there = match mode {
                Mode::Fsync | Mode::Os => self.is_durable,
                Mode::Off => true,
                Mode::BeforeFsync => self.is_durable && self.before.is_some(),
                Mode::BeforeOff => self.before.is_some(),
                Mode::Mosquitto => self.mosquitto.is_some(),
            };
            is_there && (only.is_empty() || only.contains(mode))
        };
        Mode::ALL.into_iter().filter(is_measured).collect()
    }

    /// A new data directory.
    pub(super) fn directory(&self) -> Result<DataDirectory> {
        DataDirectory::below(&self.below)
    }

    /// Starts a server on a data directory and waits until it serves.
    pub(super) fn start(&self, bench: &Bench, mode: Mode, data: &Path) -> Result<Broker> {
        let [mqtt, http] = free_ports()?;
        let (name, mut command, http) = match mode.durability() {
            None => ("mosquitto", self.mosquitto(mqtt, data)?, None),
            Some(durability) => {
                let server = if mode.is_before() { self.before()? } else { &self.server };
                let name = if mode.is_before() { "push-server-before" } else { "push-server" };
                (name, self.own(server, durability, (mqtt, http), data), Some(http))
            }
        };
        let addresses = (mqtt, http);
        let (folder, interrupt) = (&self.folder, &bench.interrupt);
        Broker::launch(name, &mut command, folder, addresses, READY_WITHIN, interrupt)
    }

    /// The kernel path is off, since heartbeats are not measured.
    fn own(
        &self,
        server: &Path,
        durability: &str,
        (mqtt, http): (SocketAddr, SocketAddr),
        data: &Path,
    ) -> Command {
        let mut command = Command::new(server);
        command.args(["run", "--listen", &mqtt.to_string(), "--http", &http.to_string()]);
        command.args(["--kernel-path", "off", "--shards", &self.shards.to_string()]);
        command.args(["--max-connections", &self.connections.to_string(), "--log", "warn"]);
        command.args(["--outbox-messages-max", OUTBOX_MESSAGES_MAX]);
        command.args(["--outbox-bytes-max", OUTBOX_BYTES_MAX]);
        command.arg("--data-dir").arg(data);
        if self.is_durable {
            command.args(["--durability", durability]);
        }
        command
    }

    fn before(&self) -> Result<&Path> {
        self.before.as_deref().context("no build is given with --before")
    }

    fn mosquitto(&self, mqtt: SocketAddr, data: &Path) -> Result<Command> {
        let program = self.mosquitto.as_ref().context("mosquitto is not installed")?;
        let file = self.folder.join("mosquitto-durable.conf");
        let text = format!(
            "listener {} {}\nallow_anonymous true\nuser root\npersistence true\n\
             persistence_location {}/\nautosave_interval 1\nmax_queued_messages 0\n\
             max_queued_bytes 0\nmax_inflight_messages 0\nlog_dest stderr\nlog_type error\n\
             log_type warning\n",
            mqtt.port(),
            mqtt.ip(),
            data.display()
        );
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        let mut command = Command::new(program);
        command.arg("-c").arg(file);
        Ok(command)
    }
}

#[cfg(test)]
mod tests;

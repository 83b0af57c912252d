//! Starts the servers to compare, each with its way of storing messages, on a data directory.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::super::brokers::{Broker, Brokers, free_ports, knows_flag, lift_connect_limits};
use super::super::data_directory::DataDirectory;
use super::super::rig::Bench;
use super::arguments::Mode;
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
pub(super) struct Keeper<'a> {
    brokers: &'a Brokers,
    /// The folder for data directories.
    below: PathBuf,
    /// Whether our server knows `--durability`.
    is_durable: bool,
    /// Whether the build of `--before` does.
    before_is_durable: bool,
}

impl<'a> Keeper<'a> {
    pub(super) fn new(brokers: &'a Brokers, below: PathBuf) -> Result<Self> {
        let is_durable = |server: &Path| {
            let is_durable = knows_flag(server, "--durability")?;
            if !is_durable {
                let server = server.display();
                say(format_args!("{server} has no --durability: it is measured as `off` only"));
            }
            anyhow::Ok(is_durable)
        };
        Ok(Self {
            brokers,
            below,
            is_durable: is_durable(&brokers.server)?,
            before_is_durable: brokers.before.as_deref().map_or(Ok(false), is_durable)?,
        })
    }

    /// The modes to measure whose programs exist.
    pub(super) fn modes(&self, only: &[Mode]) -> Vec<Mode> {
        let is_measured = |mode: &Mode| {
            let is_there = match mode {
                Mode::Fsync | Mode::Os => self.is_durable,
                Mode::Off => true,
                Mode::BeforeFsync => self.before_is_durable,
                Mode::BeforeOff => self.brokers.before.is_some(),
                Mode::Mosquitto => self.brokers.mosquitto.is_some(),
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
                let (name, server, is_durable) = if mode.is_before() {
                    ("push-server-before", self.brokers.before()?, self.before_is_durable)
                } else {
                    ("push-server", &*self.brokers.server, self.is_durable)
                };
                let mut command = self.own(server, (mqtt, http), data)?;
                if is_durable {
                    command.args(["--durability", durability]);
                }
                (name, command, Some(http))
            }
        };
        let addresses = (mqtt, http);
        let (folder, interrupt) = (&self.brokers.folder, &bench.interrupt);
        Broker::launch(name, &mut command, folder, addresses, READY_WITHIN, interrupt)
    }

    /// The kernel path is off, since heartbeats are not measured.
    fn own(
        &self,
        server: &Path,
        (mqtt, http): (SocketAddr, SocketAddr),
        data: &Path,
    ) -> Result<Command> {
        let connections = (self.brokers.clients + CONNECTIONS_SPARE).to_string();
        let mut command = Command::new(server);
        command.args(["run", "--listen", &mqtt.to_string(), "--http", &http.to_string()]);
        command.args(["--kernel-path", "off", "--shards", &self.brokers.shards.to_string()]);
        command.args(["--max-connections", &connections, "--log", "warn"]);
        lift_connect_limits(&mut command, server)?;
        command.args(["--outbox-messages-max", OUTBOX_MESSAGES_MAX]);
        command.args(["--outbox-bytes-max", OUTBOX_BYTES_MAX]);
        command.arg("--data-dir").arg(data);
        Ok(command)
    }

    fn mosquitto(&self, mqtt: SocketAddr, data: &Path) -> Result<Command> {
        let program = self.brokers.mosquitto.as_ref().context("mosquitto is not installed")?;
        let file = self.brokers.folder.join("mosquitto-durable.conf");
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

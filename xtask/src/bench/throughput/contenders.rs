//! The servers to measure: ours, mosquitto, and any broker that `--peer` names.

use std::path::Path;
use std::process::Command;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Result, bail};

use super::super::brokers::{Broker, Variant, free_ports};
use super::super::data_directory::DataDirectory;
use super::super::rig::Bench;

/// How long a peer may take until it serves.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// Stands for the port in a peer's command.
const PORT: &str = "{port}";

/// Stands for an empty directory in it.
const DATA: &str = "{data}";

/// The same for the files of the server's certificate and its key, if there is TLS.
const CERTIFICATE: &str = "{cert}";
const KEY: &str = "{key}";

/// Another broker, from `--peer NAME=COMMAND`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Peer {
    name: String,
    /// The program and its arguments, with places for the port and the data.
    words: Vec<String>,
}

impl FromStr for Peer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, command) = text.split_once('=').ok_or("write NAME=COMMAND")?;
        let words: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
        if name.is_empty() || words.is_empty() {
            return Err("write NAME=COMMAND".to_owned());
        }
        if !words.iter().any(|word| word.contains(PORT)) {
            return Err(format!("the command of {name} does not say where {PORT} goes"));
        }
        Ok(Self { name: name.to_owned(), words })
    }
}

impl Peer {
    fn command(&self, port: u16, data: &Path, [certificate, key]: &[String; 2]) -> Command {
        let (port, data) = (port.to_string(), data.to_string_lossy());
        let places = [(PORT, &*port), (DATA, &data), (CERTIFICATE, certificate), (KEY, key)];
        let filled = |word: &String| {
            places.iter().fold(word.clone(), |word, (place, text)| word.replace(place, text))
        };
        let mut words = self.words.iter().map(filled);
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words);
        command
    }
}

/// A column of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Contender {
    Known(Variant),
    Peer(Peer),
}

impl Contender {
    /// In the order of the columns.
    pub(super) fn all(bench: &Bench, peers: &[Peer]) -> Result<Vec<Self>> {
        let known = bench.brokers.variants().into_iter().map(Self::Known);
        let all: Vec<Self> = known.chain(peers.iter().cloned().map(Self::Peer)).collect();
        check_names(&all)?;
        Ok(all)
    }

    pub(super) fn name(&self) -> String {
        match self {
            Self::Known(variant) => variant.to_string(),
            Self::Peer(peer) => peer.name.clone(),
        }
    }

    /// Whether it is a build of our server.
    pub(super) fn is_ours(&self) -> bool {
        let theirs = [Variant::Mosquitto, Variant::MosquittoRules];
        !matches!(self, Self::Peer(_)) && !theirs.iter().any(|one| *self == Self::Known(*one))
    }

    /// Starts it, on an empty data directory, and waits until it serves.
    pub(super) fn start(&self, bench: &Bench) -> Result<Broker> {
        match self {
            Self::Known(variant) => bench.brokers.start(*variant, &bench.interrupt),
            Self::Peer(peer) => {
                let [mqtt] = free_ports()?;
                let data = DataDirectory::below(&bench.results)?;
                let mut command =
                    peer.command(mqtt.port(), data.path(), &bench.brokers.layers.certificate());
                let (folder, interrupt) = (&bench.results, &bench.interrupt);
                let addresses = (mqtt, None);
                let broker = Broker::launch(
                    "peer",
                    &mut command,
                    folder,
                    addresses,
                    READY_WITHIN,
                    interrupt,
                )?;
                Ok(broker.with_data(data))
            }
        }
    }

    /// Ends it. A peer may react to SIGTERM as it likes.
    pub(super) fn end(&self, broker: Broker) -> Result<()> {
        match self {
            Self::Known(_) => broker.end(),
            Self::Peer(_) => {
                drop(broker);
                Ok(())
            }
        }
    }
}

fn check_names(contenders: &[Contender]) -> Result<()> {
    for (at, contender) in contenders.iter().enumerate() {
        let name = contender.name();
        if contenders[..at].iter().any(|other| other.name() == name) {
            bail!("two columns have the name {name:?}: give the --peer another one");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;

//! A server that lives several times on one data directory.

use std::path::Path;
use std::time::Duration;

use push_tests::clients::{Client, Connect};
use push_tests::durable;
use push_tests::server::{PingPath, Server, ServerBuilder};
use push_tests::skip::Skip;
use push_tests::stand_in;
use push_tests::wire::{Packet, Publish, VERSIONS, Version};
use rustix::process::Signal;
use tempfile::TempDir;

/// How a life ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Stop,
    Crash,
}

const ENDINGS: [Ending; 2] = [Ending::Stop, Ending::Crash];

/// A data directory, and how the next life on it ends.
#[derive(Debug)]
pub(crate) struct Lives {
    data: TempDir,
    pub(crate) ending: Ending,
    pub(crate) version: Version,
    server: Option<Server>,
}

/// Both endings with both versions, a new directory each.
pub(crate) fn all() -> Result<Vec<Lives>, Skip> {
    durable::need()?;
    let mut lives = Vec::new();
    // mosquitto keeps what it has when it is stopped.
    let endings = if stand_in::binary().is_some() { &ENDINGS[..1] } else { &ENDINGS };
    for &ending in endings {
        for version in VERSIONS {
            lives.push(Lives::begin(ending, version)?);
        }
    }
    Ok(lives)
}

/// Those that end by a crash.
pub(crate) fn all_crashing() -> Result<Vec<Lives>, Skip> {
    stand_in::not_for("is not killed here")?;
    Ok(all()?.into_iter().filter(|lives| lives.ending == Ending::Crash).collect())
}

/// Those of MQTT 5.
pub(crate) fn all_v5() -> Result<Vec<Lives>, Skip> {
    Ok(all()?.into_iter().filter(|lives| lives.version == Version::V5).collect())
}

/// A server that syncs, on a directory.
pub(crate) fn builder(data: &Path) -> ServerBuilder {
    Server::with(PingPath::User)
        .data_dir(data)
        .flag("--shards", 2)
        .flag("--durability", "fsync")
        .flag("--outbox-messages-max", 1_000_000)
        .flag("--outbox-bytes-max", 1_u64 << 32)
}

impl Lives {
    fn begin(ending: Ending, version: Version) -> Result<Self, Skip> {
        let data = TempDir::new().expect("make a data directory");
        let server = Some(builder(data.path()).start()?);
        Ok(Self { data, ending, version, server })
    }

    pub(crate) fn server(&self) -> &Server {
        self.server.as_ref().expect("it runs")
    }

    /// Ends this life and begins the next after `down`.
    #[track_caller]
    pub(crate) fn restart(&mut self, down: Duration) -> Result<(), Skip> {
        self.end();
        std::thread::sleep(down);
        self.server = Some(builder(self.data.path()).start()?);
        Ok(())
    }

    /// Ends this life; the directory it leaves.
    #[track_caller]
    pub(crate) fn finish(mut self) -> TempDir {
        self.end();
        self.data
    }

    /// Waits until it is written that clients have gone: DISCONNECT has no answer that would say so,
    /// but a CONNACK that waits for the disk comes behind it.
    #[track_caller]
    pub(crate) fn settle(&self) {
        self.server().wait_metric("push_connections", |count| count == 0);
        self.persistent("barrier").0.disconnect();
    }

    fn end(&mut self) {
        let mut server = self.server.take().expect("it runs");
        end(&mut server, self.ending);
    }

    /// Connects with a session that outlives the connection; whether it was there already.
    #[track_caller]
    pub(crate) fn persistent(&self, client_id: &str) -> (Client, bool) {
        self.connect(&Connect::new(self.version, client_id).persistent())
    }

    #[track_caller]
    pub(crate) fn connect(&self, connect: &Connect) -> (Client, bool) {
        let client = Client::connect(self.server().target(), connect);
        let present = client.connack.session_present;
        (client, present)
    }

    /// A client without a past or a future.
    #[track_caller]
    pub(crate) fn passing(&self, client_id: &str) -> Client {
        Client::connect(self.server().target(), &Connect::new(self.version, client_id))
    }
}

/// Ends a server.
#[track_caller]
pub(crate) fn end(server: &mut Server, ending: Ending) {
    server.signal(if ending == Ending::Stop { Signal::TERM } else { Signal::KILL });
    let (status, _) = server.wait_exit();
    assert!(ending == Ending::Crash || status.success(), "the server ended with {status}");
    assert!(!server.log().contains("panicked at"), "{}", server.log());
}

/// The next message, not acknowledged.
#[track_caller]
pub(crate) fn take(client: &mut Client) -> Publish {
    client.expect("a PUBLISH", |packet| match packet {
        Packet::Publish(publish) => Some(publish.clone()),
        _ => None,
    })
}

/// The next acknowledgement of that type and packet id.
#[track_caller]
pub(crate) fn expect_ack(client: &mut Client, wanted: u8, id: u16) -> u8 {
    client.expect("an acknowledgement", |packet| match packet {
        Packet::Ack { kind, packet_id, reason } if *kind == wanted && *packet_id == id => {
            Some(*reason)
        }
        _ => None,
    })
}

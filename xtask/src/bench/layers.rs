//! The layers around MQTT in a benchmark: how servers are told to have them, and how the generator is.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use rustix::process::geteuid;
use serde::Serialize;

use crate::certificates;

/// Arguments of the benchmarks whose servers may have layers.
#[derive(Args, Clone, Debug, Default, Serialize)]
pub(super) struct LayerArguments {
    /// Measure over TLS, with certificates made for it (ECDSA P-256)
    #[arg(long)]
    pub(super) tls: bool,
    /// Measure over WebSocket; with --tls inside TLS
    #[arg(long)]
    pub(super) ws: bool,
    /// The only version of TLS that clients offer, 1.2 or 1.3 (default: both)
    #[arg(long, value_name = "VERSION", requires = "tls")]
    pub(super) tls_version: Option<String>,
    /// The only cipher suite that clients offer, as rustls calls it
    #[arg(long, value_name = "SUITE", requires = "tls")]
    pub(super) tls_suite: Option<String>,
    /// Clients show a certificate, and servers ask for it
    #[arg(long, requires = "tls")]
    pub(super) tls_client_cert: bool,
}

impl LayerArguments {
    pub(super) fn are_none(&self) -> bool {
        !self.tls && !self.ws
    }

    /// Whether the kernel answers by records that are sealed ahead: in TLS, but for WebSocket inside it.
    pub(super) fn are_answered_sealed(&self) -> bool {
        self.tls && !self.ws
    }

    /// What the name of a benchmark's report gets, so that one does not replace another's.
    pub(super) fn suffix(&self) -> &'static str {
        match (self.tls, self.ws) {
            (false, false) => "",
            (true, false) => "-tls",
            (false, true) => "-ws",
            (true, true) => "-wss",
        }
    }

    /// For below a table; begins with a blank.
    pub(super) fn text(&self) -> String {
        let mut text = match (self.tls, self.ws) {
            (false, false) => return String::new(),
            (true, false) => " over TLS".to_owned(),
            (false, true) => return " over WebSocket".to_owned(),
            (true, true) => " over WebSocket inside TLS".to_owned(),
        };
        for word in [&self.tls_version, &self.tls_suite].into_iter().flatten() {
            text.push(' ');
            text.push_str(word);
        }
        if self.tls_client_cert {
            text.push_str(" with client certificates");
        }
        text
    }
}

/// The layers of a run, with the files that they need.
#[derive(Clone, Debug)]
pub(super) struct Layers {
    arguments: LayerArguments,
    /// The folder of the certificates.
    folder: PathBuf,
}

impl Layers {
    /// Makes certificates below `results` if there is TLS.
    pub(super) fn prepare(
        arguments: &LayerArguments,
        generator: &Path,
        results: &Path,
    ) -> Result<Self> {
        let folder = results.join("certificates");
        if arguments.tls {
            certificates::make(generator, &folder)?;
        }
        Ok(Self { arguments: arguments.clone(), folder })
    }

    /// None.
    #[cfg(test)]
    pub(super) fn none() -> Self {
        Self { arguments: LayerArguments::default(), folder: PathBuf::new() }
    }

    pub(super) fn arguments(&self) -> &LayerArguments {
        &self.arguments
    }

    /// Our server's flag for an address that clients connect to.
    pub(super) fn listen_flag(&self) -> &'static str {
        match (self.arguments.tls, self.arguments.ws) {
            (false, false) => "--listen",
            (true, false) => "--tls-listen",
            (false, true) => "--ws-listen",
            (true, true) => "--wss-listen",
        }
    }

    /// The flags of our server beside it.
    pub(super) fn server_words(&self) -> Vec<String> {
        let mut words = Vec::new();
        let mut say = |flag: &str, value: String| words.extend([flag.to_owned(), value]);
        if self.arguments.tls {
            say("--tls-cert", self.file("server.pem"));
            say("--tls-key", self.file("server.key"));
        }
        if self.arguments.tls_client_cert {
            say("--tls-client-auth", "required".to_owned());
            say("--tls-client-ca", self.file("ca.pem"));
        }
        words
    }

    /// Lines of mosquitto's configuration, below its `listener`.
    pub(super) fn mosquitto_lines(&self) -> String {
        let mut text = String::new();
        if self.arguments.ws {
            text.push_str("protocol websockets\n");
        }
        if self.arguments.tls {
            for (key, name) in [("certfile", "server.pem"), ("keyfile", "server.key")] {
                text.push_str(&format!("{key} {}\n", self.file(name)));
            }
            if self.arguments.tls_client_cert {
                text.push_str(&format!("cafile {}\n", self.file("ca.pem")));
                text.push_str("require_certificate true\n");
            }
            if geteuid().is_root() {
                // It reads keys after it has changed its user, and ours are root's.
                text.push_str("user root\n");
            }
        }
        text
    }

    /// The generator's flags.
    pub(super) fn generator_words(&self) -> Vec<String> {
        let LayerArguments { tls, ws, tls_version, tls_suite, tls_client_cert } = &self.arguments;
        let mut words = Vec::new();
        let mut say = |flag: &str, value: String| words.extend([flag.to_owned(), value]);
        if *tls {
            say("--tls", self.file("ca.pem"));
        }
        if let Some(version) = tls_version {
            say("--tls-version", version.clone());
        }
        if let Some(suite) = tls_suite {
            say("--tls-suite", suite.clone());
        }
        if *tls_client_cert {
            say("--tls-cert", self.file("client.pem"));
            say("--tls-key", self.file("client.key"));
        }
        if *ws {
            words.push("--ws".to_owned());
        }
        words
    }

    /// The server's certificate and key, for a command that names them.
    pub(super) fn certificate(&self) -> [String; 2] {
        ["server.pem", "server.key"].map(|name| self.file(name))
    }

    fn file(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }
}

#[cfg(test)]
mod tests;

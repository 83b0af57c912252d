//! The proxies whose word about a client's address counts (`--trusted-proxies`): who they are, and whom of a chain of
//! them to believe.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::config::TrustedProxy;

/// Those that are trusted.
#[derive(Debug, Default)]
pub(super) struct Proxies {
    networks: Vec<IpNet>,
    /// Whoever comes by a Unix socket is one.
    unix: bool,
}

impl Proxies {
    /// Those that the settings name.
    pub(super) fn new(trusted: &[TrustedProxy]) -> Self {
        let network = |proxy: &TrustedProxy| match proxy {
            TrustedProxy::Network(network) => Some(*network),
            TrustedProxy::Unix => None,
        };
        Self {
            networks: trusted.iter().filter_map(network).collect(),
            unix: trusted.contains(&TrustedProxy::Unix),
        }
    }

    /// The client of a chain of proxies that have each added the address of the one before: the first that is no
    /// trusted proxy, seen from here. `added`: the last one's first; `None`: none has added any.
    pub(super) fn client_of(&self, added: &[IpAddr]) -> Option<IpAddr> {
        let client = added.iter().find(|address| !self.trust(Some(**address)));
        client.or(added.last()).copied()
    }

    /// Whether a peer is one of them; `None`: it comes by a Unix socket.
    pub(super) fn trust(&self, peer: Option<IpAddr>) -> bool {
        let Some(peer) = peer.map(|peer| peer.to_canonical()) else { return self.unix };
        self.networks.iter().any(|network| network.contains(&peer))
    }
}

#[cfg(test)]
mod tests;

//! Proxies whose word about a client's address counts.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use serde::de::{Deserialize, Deserializer, Error as _};

use super::values::{Expected, deserialize_from_str};

/// Stands for all that come by a Unix socket.
const UNIX: &str = "unix";

/// Where trusted proxies connect from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrustedProxy {
    /// A network, or one address.
    Network(IpNet),
    /// Unix sockets: their permissions say who may connect.
    Unix,
}

impl FromStr for TrustedProxy {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        if text == UNIX {
            return Ok(Self::Unix);
        }
        let network = text.parse::<IpNet>().ok();
        let network = network.or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
        network.map(|network| Self::Network(network.trunc())).ok_or_else(|| {
            Expected(format!("a network or an address, as 10.0.0.0/8 or 2001:db8::1, or {UNIX}"))
        })
    }
}

impl fmt::Display for TrustedProxy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(network) => network.fmt(formatter),
            Self::Unix => formatter.write_str(UNIX),
        }
    }
}

deserialize_from_str!(TrustedProxy);

#[cfg(test)]
mod tests;

//! Binds the listeners of all shards. The start has waited until the addresses are free.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use socket2::{Domain, Socket, Type};

use crate::config::{Config, ListenerKind};
use crate::ring::{self, Keepalive};
use crate::transport::Kind;

/// Connections that the system may hold for a listener before a shard accepts them
/// (capped by `net.core.somaxconn`).
const LISTEN_BACKLOG: i32 = 4_096;

/// An address that clients connect to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listening {
    /// The layers of its connections.
    pub listener: ListenerKind,
    /// The address, its port filled in.
    pub address: SocketAddr,
}

/// Adds one listener per address to each shard's: the system spreads connections over them
/// (`SO_REUSEPORT`). Returns the addresses; on an error, which of them failed.
pub(super) fn bind_all(
    config: &Config,
    keepalive: Option<Keepalive>,
    by_shard: &mut [Vec<(OwnedFd, Kind)>],
) -> Result<Vec<Listening>, (Listening, io::Error)> {
    let mut bound = Vec::new();
    for listener in ListenerKind::ALL {
        for &address in config.addresses_of(listener) {
            let (actual, sockets) = bind_each(address, by_shard.len(), keepalive)
                .map_err(|error| (Listening { listener, address }, error))?;
            for (listeners, socket) in by_shard.iter_mut().zip(sockets) {
                listeners.push((socket, kind_of(listener)));
            }
            bound.push(Listening { listener, address: actual });
        }
    }
    Ok(bound)
}

fn kind_of(listener: ListenerKind) -> Kind {
    match listener {
        ListenerKind::Mqtt => Kind::Plain,
        ListenerKind::Tls => Kind::Tls,
        ListenerKind::WebSocket => Kind::WebSocket,
        ListenerKind::TlsWebSocket => Kind::TlsWebSocket,
    }
}

/// Binds one listener a shard, or none: on an error the sockets bound so far are closed.
fn bind_each(
    address: SocketAddr,
    shards: usize,
    keepalive: Option<Keepalive>,
) -> io::Result<(SocketAddr, Vec<OwnedFd>)> {
    let mut actual = address;
    // SO_REUSEPORT lets a second server of the same user bind the same address and take half of
    // the connections. A plain bind first finds that out.
    if address.port() != 0 {
        probe_bind(address)?;
    }
    let mut sockets = Vec::with_capacity(shards);
    for _ in 0..shards {
        let socket = ring::listen(actual, LISTEN_BACKLOG, keepalive)?;
        if actual.port() == 0 {
            actual = SocketAddr::try_from(rustix::net::getsockname(&socket)?)?;
        }
        sockets.push(socket);
    }
    Ok((actual, sockets))
}

/// Binds and closes again, without `SO_REUSEPORT`: an error says that another process holds
/// `address`, or that this machine lacks it.
///
/// # Errors
/// What the system says.
pub fn probe_bind(address: SocketAddr) -> io::Result<()> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())
}

#[cfg(test)]
mod tests;

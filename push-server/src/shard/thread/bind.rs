//! Binds the listeners of all shards. The start has waited until the addresses are free.

mod unix;

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use socket2::{Domain, Socket, Type};

use crate::config::{Config, ListenAddress, Listener, UnixAddress};
use crate::ring::{self, Keepalive};

pub use unix::{SocketFile, probe_unix};

/// Connections that the system may hold for a listener before a shard accepts them
/// (capped by `net.core.somaxconn`).
const LISTEN_BACKLOG: i32 = 4_096;

/// The same of a socket for operators.
const OPERATORS_BACKLOG: i32 = 16;

/// A listener that clients can connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listening {
    /// As it is set.
    pub listener: Listener,
    /// Its address, the port filled in.
    pub address: ListenAddress,
}

/// What was bound.
#[derive(Debug)]
pub(super) struct Bound {
    /// The listeners, in the order of the settings.
    pub(super) listening: Vec<Listening>,
    /// The files of Unix sockets, which are removed with it.
    pub(super) files: Vec<SocketFile>,
}

/// Adds each listener to each shard's. At an address and port every shard has a socket of its own,
/// and the system spreads connections over them (`SO_REUSEPORT`). At a Unix socket they share one:
/// the system wakes one of them for each connection. On an error returns which listener failed.
pub(super) fn bind_all(
    config: &Config,
    keepalive: Option<Keepalive>,
    by_shard: &mut [Vec<OwnedFd>],
) -> Result<Bound, (Listener, io::Error)> {
    let mut bound = Bound { listening: Vec::new(), files: Vec::new() };
    for listener in config.listeners() {
        let sockets = match &listener.address {
            &ListenAddress::Tcp(address) => {
                let dual = config.listen_dual;
                bind_each(address, dual, by_shard.len(), keepalive).map(|(address, sockets)| {
                    bound.listening.push(Listening {
                        listener: listener.clone(),
                        address: ListenAddress::Tcp(address),
                    });
                    sockets
                })
            }
            ListenAddress::Unix(address) => unix::bind(address, LISTEN_BACKLOG, by_shard.len())
                .map(|(file, sockets)| {
                    bound.files.push(file);
                    let address = listener.address.clone();
                    bound.listening.push(Listening { listener: listener.clone(), address });
                    sockets
                }),
        };
        let sockets = sockets.map_err(|error| (listener, error))?;
        for (listeners, socket) in by_shard.iter_mut().zip(sockets) {
            listeners.push(socket);
        }
    }
    Ok(bound)
}

/// Listens at a Unix socket for others than clients. The file is removed with the first of what is returned.
///
/// # Errors
/// Somebody listens there, or what the system says.
pub fn listen_unix(address: &UnixAddress) -> io::Result<(SocketFile, OwnedFd)> {
    let (file, sockets) = unix::bind(address, OPERATORS_BACKLOG, 1)?;
    let socket = sockets.into_iter().next().ok_or(io::ErrorKind::NotConnected)?;
    Ok((file, socket))
}

/// Binds one listener a shard, or none: on an error the sockets bound so far are closed.
fn bind_each(
    address: SocketAddr,
    dual: bool,
    shards: usize,
    keepalive: Option<Keepalive>,
) -> io::Result<(SocketAddr, Vec<OwnedFd>)> {
    let mut actual = address;
    // SO_REUSEPORT lets a second server of the same user bind the same address and take half of
    // the connections. A plain bind first finds that out.
    if address.port() != 0 {
        probe_bind(address, dual)?;
    }
    let mut sockets = Vec::with_capacity(shards);
    for _ in 0..shards {
        let socket = ring::listen(actual, is_v6_only(actual, dual), LISTEN_BACKLOG, keepalive)?;
        if actual.port() == 0 {
            actual = SocketAddr::try_from(rustix::net::getsockname(&socket)?)?;
        }
        sockets.push(socket);
    }
    Ok((actual, sockets))
}

/// Binds and closes again, without `SO_REUSEPORT`: an error says that another process holds
/// `address`, or that this machine lacks it. `dual`: `[::]` is for IPv4, too.
///
/// # Errors
/// What the system says.
pub fn probe_bind(address: SocketAddr, dual: bool) -> io::Result<()> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(is_v6_only(address, dual))?;
    }
    socket.bind(&address.into())
}

/// Whether an IPv6 address is for IPv6 alone: all but `[::]`, and that, too, unless it is `dual`.
fn is_v6_only(address: SocketAddr, dual: bool) -> bool {
    !(dual && address.ip().is_unspecified())
}

#[cfg(test)]
mod tests;

//! Binds the listeners of all shards. An address that is in use may be held by a server that has
//! just been killed: its sockets go a little later than its process does (the system tears its rings
//! down in the background), so binding waits for them. It does not wait for a server that lives.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use super::ShardError;
use super::accept::Transport;
use super::holder::{Holder, holder_of};
use crate::config::Config;
use crate::ring::{self, Keepalive};

/// How long a start waits for an address that nobody alive is seen to hold. A dead server's listeners
/// go within some 10 ms, or within seconds where it had very many connections.
pub const BIND_WAIT_MAX: Duration = Duration::from_secs(5);

/// Between two tries.
const RETRY_PERIOD: Duration = Duration::from_millis(10);

/// The tries before anybody is asked who holds the address: a process that is being killed looks alive.
const UNASKED_TRIES: u32 = 25;

/// After so many tries each, who holds the address is asked again: that reads much of `/proc`.
const ASK_EVERY: u32 = 25;

/// Connections that the system may hold for a listener before a shard accepts them
/// (capped by `net.core.somaxconn`).
const LISTEN_BACKLOG: i32 = 4_096;

/// The flags that name addresses.
pub(super) const LISTEN_FLAG: &str = "--listen";
pub(super) const WS_LISTEN_FLAG: &str = "--ws-listen";

/// Why an address cannot be bound.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// A process that lives listens there.
    #[error("address already in use by {name} (process {pid}); stop it")]
    Held {
        /// Its name.
        name: String,
        /// Its number.
        pid: u32,
    },
    /// Nobody is seen to hold it, and it stays in use.
    #[error(
        "{0}, and was so for {secs} s; `ss -ltnp`, as root, names who holds it",
        secs = BIND_WAIT_MAX.as_secs()
    )]
    InUse(#[source] io::Error),
    /// Something else.
    #[error(transparent)]
    Io(io::Error),
}

/// Waits until nobody holds an address of the settings; port 0 is free by itself. To be called while the
/// process has the rights to see who holds one.
///
/// # Errors
/// The address that cannot be bound.
pub fn wait_for_addresses(config: &Config) -> Result<(), ShardError> {
    let named = [(&config.listen, LISTEN_FLAG), (&config.ws_listen, WS_LISTEN_FLAG)];
    for (addresses, flag) in named {
        for &address in addresses.iter().filter(|address| address.port() != 0) {
            bind_patiently(address, || probe_bind(address))
                .map_err(|source| ShardError::Listen { address, flag, source })?;
        }
    }
    Ok(())
}

/// Adds one listener per address to each shard's: the system spreads connections over them
/// (`SO_REUSEPORT`). Returns the addresses, ports filled in; on an error, which of them failed.
pub(super) fn bind_all(
    addresses: &[SocketAddr],
    transport: Transport,
    keepalive: Option<Keepalive>,
    by_shard: &mut [Vec<(OwnedFd, Transport)>],
) -> Result<Vec<SocketAddr>, (SocketAddr, BindError)> {
    let mut bound = Vec::new();
    for &address in addresses {
        let bind = || bind_each(address, by_shard.len(), keepalive);
        let (actual, sockets) = bind_patiently(address, bind).map_err(|error| (address, error))?;
        for (listeners, socket) in by_shard.iter_mut().zip(sockets) {
            listeners.push((socket, transport));
        }
        bound.push(actual);
    }
    Ok(bound)
}

/// Binds by `bind`, and waits while `address` is held by nobody who lives.
pub fn bind_patiently<T>(
    address: SocketAddr,
    bind: impl FnMut() -> io::Result<T>,
) -> Result<T, BindError> {
    retry(address, bind, || holder_of(address), std::thread::sleep)
}

fn retry<T>(
    address: SocketAddr,
    mut bind: impl FnMut() -> io::Result<T>,
    ask: impl Fn() -> Option<Holder>,
    wait: impl Fn(Duration),
) -> Result<T, BindError> {
    let mut waited = Duration::ZERO;
    for tries in 0.. {
        let error = match bind() {
            Ok(bound) => return Ok(bound),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => error,
            Err(error) => return Err(BindError::Io(error)),
        };
        if tries == 0 {
            let secs = BIND_WAIT_MAX.as_secs();
            tracing::info!(
                "{address} is in use: waiting up to {secs} s for a server that has ended"
            );
        }
        if tries >= UNASKED_TRIES
            && tries % ASK_EVERY == 0
            && let Some(Holder { pid, name }) = ask()
        {
            return Err(BindError::Held { name, pid });
        }
        if waited >= BIND_WAIT_MAX {
            return Err(BindError::InUse(error));
        }
        wait(RETRY_PERIOD);
        waited += RETRY_PERIOD;
    }
    unreachable!("it waits only so long")
}

/// One listener a shard. All of them or none: the sockets bound so far go with an error.
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

/// Binds and lets go again, without `SO_REUSEPORT`.
fn probe_bind(address: SocketAddr) -> io::Result<()> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::net::TcpListener;

    use super::*;

    const ADDRESS: &str = "127.0.0.1:1883";

    /// In use for the first `busy` tries; the outcome, and how long was waited.
    fn bound_after(busy: u32, holder: Option<&str>) -> (Result<u32, BindError>, Duration) {
        let (tries, waited) = (Cell::new(0), Cell::new(Duration::ZERO));
        let bind = || {
            tries.set(tries.get() + 1);
            if tries.get() > busy { Ok(tries.get()) } else { Err(io::ErrorKind::AddrInUse.into()) }
        };
        let ask = || holder.map(|name| Holder { pid: 77, name: name.to_owned() });
        let wait = |time| waited.set(waited.get() + time);
        (retry(ADDRESS.parse().expect("address"), bind, ask, wait), waited.get())
    }

    #[test]
    fn what_a_dead_server_held_is_bound_once_it_is_let_go() {
        for busy in [0, 1, 24, 200] {
            let (bound, waited) = bound_after(busy, None);
            assert_eq!(bound.expect("bound"), busy + 1);
            assert_eq!(waited, RETRY_PERIOD * busy);
        }
    }

    #[test]
    fn a_server_that_lives_is_named_without_waiting_long() {
        let (bound, waited) = bound_after(u32::MAX, Some("mosquitto"));
        let said = bound.expect_err("in use").to_string();
        assert_eq!(said, "address already in use by mosquitto (process 77); stop it");
        assert!(waited < Duration::from_secs(1), "{waited:?}");
    }

    #[test]
    fn a_process_that_is_seen_while_it_is_being_killed_is_waited_for() {
        assert!(bound_after(UNASKED_TRIES, Some("push-server")).0.is_ok());
    }

    #[test]
    fn waiting_for_nobody_ends_and_says_how_to_find_out() {
        let (bound, waited) = bound_after(u32::MAX, None);
        let said = bound.expect_err("in use").to_string();
        assert!(said.contains("in use") && said.contains("5 s; `ss -ltnp`"), "{said}");
        assert_eq!(waited, BIND_WAIT_MAX);
    }

    #[test]
    fn other_errors_are_told_at_once() {
        let bind = || Err::<(), _>(io::ErrorKind::AddrNotAvailable.into());
        let wait = |_| panic!("waited");
        let error = retry(ADDRESS.parse().expect("address"), bind, || None, wait);
        assert!(matches!(error, Err(BindError::Io(_))), "{error:?}");
    }

    #[test]
    fn a_listener_of_this_process_is_found_to_be_its_own() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let address = listener.local_addr().expect("address");
        let bind = || bind_each(address, 1, None);
        let error = retry(address, bind, || holder_of(address), |_| ()).expect_err("in use");
        assert!(
            matches!(error, BindError::Held { pid, .. } if pid == std::process::id()),
            "{error}"
        );
    }
}

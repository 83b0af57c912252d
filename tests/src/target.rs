//! Where a server listens, and from where its clients connect.

use std::ffi::OsString;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::Arc;

use crate::expectations::PATIENCE;
use crate::netns::{CLIENT_INTERFACE, Veth};

/// An address, and the namespace to connect from.
#[derive(Clone, Debug)]
pub struct Target {
    /// Where the server listens.
    pub address: SocketAddr,
    pub(crate) veth: Option<Arc<Veth>>,
}

impl Target {
    /// An address to connect to from the caller's namespace.
    pub fn at(address: SocketAddr) -> Self {
        Self { address, veth: None }
    }

    /// Another address of the same server.
    pub fn with_address(&self, address: SocketAddr) -> Self {
        Self { address, veth: self.veth.clone() }
    }

    /// Connects from the clients' namespace. `receive_buffer_bytes` is set before connecting, so
    /// that the window never grows beyond it.
    pub fn connect(&self, receive_buffer_bytes: Option<usize>) -> io::Result<TcpStream> {
        let connect = || {
            let domain = socket2::Domain::for_address(self.address);
            let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None)?;
            if let Some(bytes) = receive_buffer_bytes {
                socket.set_recv_buffer_size(bytes)?;
            }
            socket.set_tcp_nodelay(true)?;
            socket.connect_timeout(&self.address.into(), PATIENCE)?;
            Ok(TcpStream::from(socket))
        };
        match &self.veth {
            Some(veth) => veth.client.run(connect),
            None => connect(),
        }
    }

    /// A command that runs in the clients' namespace.
    pub fn command(&self, program: impl Into<OsString>) -> Command {
        match &self.veth {
            Some(veth) => in_namespace(veth.client.name(), program),
            None => Command::new(program.into()),
        }
    }

    /// The same address, to connect to from the caller's namespace.
    pub fn from_here(&self) -> Self {
        Self { address: self.address, veth: None }
    }

    /// Runs `work` in the clients' namespace.
    pub fn run_at_client<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        match &self.veth {
            Some(veth) => veth.client.run(work),
            None => work(),
        }
    }

    /// Runs `work` in the server's namespace.
    pub fn run_at_server<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        match &self.veth {
            Some(veth) => veth.server.run(work),
            None => work(),
        }
    }

    /// The name of the clients' interface.
    pub fn client_interface(&self) -> &'static str {
        if self.veth.is_some() { CLIENT_INTERFACE } else { "lo" }
    }
}

/// A command inside a namespace. `ip netns exec` becomes the program, so the process id is its own.
pub(crate) fn in_namespace(namespace: &str, program: impl Into<OsString>) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", namespace]).arg(program.into());
    command
}

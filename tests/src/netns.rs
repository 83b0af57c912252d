//! Network namespaces for a test, and the veth pair between two of them. They end when dropped,
//! even by a panic.

use std::cell::Cell;
use std::fs::File;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fd::AsFd;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::skip::{Skip, need_root};

/// Name of the server's end of a [`Veth`].
pub const SERVER_INTERFACE: &str = "srv0";
/// Name of the clients' end of a [`Veth`].
pub const CLIENT_INTERFACE: &str = "cli0";

/// IPv4 address of the server's end.
pub const SERVER_V4: &str = "10.77.0.1";
/// IPv6 address of the server's end.
pub const SERVER_V6: &str = "fd77::1";
/// IPv4 address of the clients' end.
pub const CLIENT_V4: &str = "10.77.0.2";
/// IPv6 address of the clients' end.
pub const CLIENT_V6: &str = "fd77::2";

/// A network namespace.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes one with its loopback up. Its name ends with `role`.
    pub fn create(role: &str) -> Result<Self, Skip> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        need_root()?;
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("push-{}-{number}-{role}", std::process::id());
        ip(&["netns", "add", &name])?;
        let namespace = Self { name };
        ip(&["-n", &namespace.name, "link", "set", "lo", "up"])?;
        Ok(namespace)
    }

    /// Its name, as `ip netns` knows it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs `ip` on it with these words.
    pub fn ip(&self, words: &str) -> Result<(), Skip> {
        let words: Vec<&str> = ["-n", &self.name].into_iter().chain(words.split(' ')).collect();
        ip(&words)
    }

    /// Runs `work` inside. Sockets made there stay there, wherever they are used.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        // In a thread of its own, because a thread cannot move back.
        std::thread::scope(|scope| {
            let inside = scope.spawn(move || {
                self.enter();
                work()
            });
            inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Moves the calling thread in, for good.
    fn enter(&self) {
        let path = PathBuf::from("/var/run/netns").join(&self.name);
        let file = File::open(&path).expect("open the namespace");
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
            .expect("move into the namespace");
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = ip(&["netns", "delete", &self.name]);
    }
}

/// Moves the calling thread into a namespace with nothing but a loopback, unless it is in one already.
/// What the thread begins from then on, servers and clients, is there too. The namespace has no name and
/// ends with the last of them.
pub fn enter_own_loopback() -> Result<(), Skip> {
    thread_local! {
        static IS_INSIDE: Cell<bool> = const { Cell::new(false) };
    }
    if !IS_INSIDE.get() {
        Namespace::create("lo")?.enter();
        IS_INSIDE.set(true);
    }
    Ok(())
}

/// Two namespaces with a veth pair between them, IPv4 and IPv6. (Or with another pair of Ethernet
/// interfaces that has the same names and addresses: see [`crate::link`].)
#[derive(Debug)]
pub struct Veth {
    /// Where the server runs.
    pub server: Namespace,
    /// Where the clients run.
    pub client: Namespace,
}

impl Veth {
    /// Makes both, with addresses, up.
    pub fn create() -> Result<Self, Skip> {
        let veth = Self::apart()?;
        veth.join()?;
        Ok(veth)
    }

    /// Makes the pair, with addresses, up; also again after it was deleted.
    pub fn join(&self) -> Result<(), Skip> {
        let client = self.client.name();
        self.server.ip(&format!(
            "link add {SERVER_INTERFACE} type veth peer name {CLIENT_INTERFACE} netns {client}"
        ))?;
        self.configure()
    }

    /// A second pair, `srv1` and `cli1`, with the addresses 10.78.0.1 and 10.78.0.2.
    pub fn join_again(&self) -> Result<(), Skip> {
        let client = self.client.name();
        self.server.ip(&format!("link add srv1 type veth peer name cli1 netns {client}"))?;
        for (namespace, interface, last) in [(&self.server, "srv1", 1), (&self.client, "cli1", 2)] {
            namespace.ip(&format!("address add 10.78.0.{last}/24 dev {interface}"))?;
            namespace.ip(&format!("link set {interface} up"))?;
        }
        Ok(())
    }

    /// Makes both, with no interfaces yet.
    pub(crate) fn apart() -> Result<Self, Skip> {
        Ok(Self { server: Namespace::create("s")?, client: Namespace::create("c")? })
    }

    /// Gives the interfaces their addresses and sets them up.
    pub(crate) fn configure(&self) -> Result<(), Skip> {
        for (namespace, interface, v4, v6) in [
            (self.server.name(), SERVER_INTERFACE, SERVER_V4, SERVER_V6),
            (self.client.name(), CLIENT_INTERFACE, CLIENT_V4, CLIENT_V6),
        ] {
            let (v4, v6) = (format!("{v4}/24"), format!("{v6}/64"));
            ip(&["-n", namespace, "address", "add", &v4, "dev", interface])?;
            ip(&["-n", namespace, "address", "add", &v6, "dev", interface, "nodad"])?;
            ip(&["-n", namespace, "link", "set", interface, "up"])?;
        }
        Ok(())
    }
}

/// Runs `ip`. If that fails, the test is skipped (no privilege, no such tool, no such kernel).
fn ip(arguments: &[&str]) -> Result<(), Skip> {
    let output = Command::new("ip")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| Skip::kernel_path(format!("cannot run `ip`: {error}")))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Skip::kernel_path(format!("`ip {}`: {}", arguments.join(" "), said.trim())))
}

#[cfg(test)]
mod tests;

//! Network namespaces of the tests' own, by `ip netns`; needs root.

use std::fs::File;
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

/// A veth pair between two network namespaces of our own; removed when dropped.
pub(crate) struct Veth {
    pub(crate) server: String,
    pub(crate) client: String,
}

impl Veth {
    pub(crate) const SERVER_IFACE: &str = "pushs0";

    /// `tag` tells the namespaces of concurrent tests apart. The server gets 10.88.0.1 and
    /// fd88::1, the client the addresses after them.
    pub(crate) fn new(tag: &str) -> Self {
        let id = std::process::id();
        let veth = Self { server: format!("push{tag}s{id}"), client: format!("push{tag}c{id}") };
        let Self { server, client } = &veth;
        ip(&format!("netns add {server}"));
        ip(&format!("netns add {client}"));
        ip(&format!(
            "-n {server} link add {} type veth peer name pushc0 netns {client}",
            Self::SERVER_IFACE
        ));
        for (space, iface, last) in [(server, Self::SERVER_IFACE, 1), (client, "pushc0", 2)] {
            ip(&format!("-n {space} addr add 10.88.0.{last}/24 dev {iface}"));
            ip(&format!("-n {space} addr add fd88::{last}/64 dev {iface} nodad"));
            ip(&format!("-n {space} link set {iface} up"));
        }
        veth
    }

    /// Runs `work` on a thread inside a namespace.
    pub(crate) fn inside<T: Send + 'static>(
        space: &str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        let file = File::open(format!("/run/netns/{space}")).expect("namespace");
        let thread = thread::spawn(move || {
            enter(&file);
            work()
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Drop for Veth {
    fn drop(&mut self) {
        for space in [&self.server, &self.client] {
            let _ = Command::new("ip").args(["netns", "del", space]).status();
        }
    }
}

pub(crate) fn ip(arguments: &str) {
    let output = Command::new("ip").args(arguments.split(' ')).output().expect("ip runs");
    assert!(output.status.success(), "ip {arguments}: {output:?}");
}

/// Moves this thread to a new namespace with lo up and nothing else.
pub(crate) fn private_lo() {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let space = format!("pushlo{}n{count}", std::process::id());
    ip(&format!("netns add {space}"));
    let file = File::open(format!("/run/netns/{space}")).expect("namespace");
    enter(&file);
    // Without its name the namespace goes with its last thread; children of this one inherit it.
    ip(&format!("netns del {space}"));
    ip("link set lo up");
}

fn enter(namespace: &File) {
    let kind = Some(rustix::thread::LinkNameSpaceType::Network);
    rustix::thread::move_into_link_name_space(namespace.as_fd(), kind).expect("setns");
}

//! The kernel path that a test loads: on which interface, and what its counters tell.

use std::time::Duration;

use push_common::clock::Monotonic;
use push_server::kernel::{KernelPath, KernelPathOptions};
use push_tests::skip::{Skip, need_kernel_path_kernel, report};

use super::namespace::private_lo;

/// No step of these tests takes longer; a read that does has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn now() -> Monotonic {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Monotonic(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}

/// Room for 64 connections on these interfaces.
pub(crate) fn options(interfaces: &[&str]) -> KernelPathOptions {
    KernelPathOptions {
        interfaces: interfaces.iter().map(|&name| name.to_owned()).collect(),
        connections_max: 64,
        tables: 1,
        shards: 1,
        ping_burst: 1,
        place_seed: 1,
    }
}

/// Loads the programs on `interface`; `None`, reported as skipped, where this machine cannot.
pub(crate) fn load(test: &str, interface: &str) -> Option<KernelPath> {
    load_with(test, &options(&[interface]))
}

/// The same with these options.
pub(crate) fn load_with(test: &str, options: &KernelPathOptions) -> Option<KernelPath> {
    if let Err(skip) = need_kernel_path_kernel() {
        report(test, Err(skip));
        return None;
    }
    match KernelPath::load(options) {
        Ok(path) => Some(path),
        Err(error) if rustix::process::geteuid().is_root() => panic!("{test}: {error:?}"),
        Err(error) => {
            report(test, Err(Skip::kernel_path(error.to_string())));
            None
        }
    }
}

/// Loads the programs on the lo of a network namespace of this thread's own, where no other server
/// and no other test is; `None`, with the reason on stderr, without root.
pub(crate) fn load_on_private_lo(test: &str) -> Option<KernelPath> {
    load_on_private_lo_with(test, |_| {})
}

/// The same with options changed.
pub(crate) fn load_on_private_lo_with(
    test: &str,
    change: impl FnOnce(&mut KernelPathOptions),
) -> Option<KernelPath> {
    if !rustix::process::geteuid().is_root() {
        report(test, Err(Skip::kernel_path("network namespaces need root")));
        return None;
    }
    private_lo();
    let mut options = options(&["lo"]);
    change(&mut options);
    load_with(test, &options)
}

pub(crate) fn counter(path: &KernelPath, name: &str) -> u64 {
    path.counters().iter().find(|counter| counter.name == name).expect("a counter's name").value
}

/// Every counter that has counted.
pub(crate) fn counted(path: &KernelPath) -> Vec<(&'static str, u64)> {
    let all = path.counters().into_iter();
    all.filter(|counter| counter.value > 0).map(|counter| (counter.name, counter.value)).collect()
}

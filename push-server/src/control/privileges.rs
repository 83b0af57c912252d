//! Capabilities: what the process keeps after start-up, and why.
//!
//! The start first makes every permitted capability effective ([`raise_permitted`]): with `setcap
//! ...+p`, and with some supervisors, the program has to do that itself.
//!
//! Linux keeps capabilities for each thread, and a new thread inherits those of its creator. The
//! main thread drops them in two steps:
//!
//! 1. [`drop_after_load`], when the kernel path is loaded and HTTP is bound, and before the first
//!    shard thread exists: drops everything, `CAP_NET_ADMIN`, `CAP_PERFMON` and `CAP_SYS_ADMIN`
//!    included, but the two capabilities that shards need to start.
//! 2. [`drop_after_start`], when every shard serves: the main thread, which handles signals and
//!    HTTP, drops these two as well. The shards' threads keep them, since one thread cannot change another's;
//!    they only allow low ports and locked memory.
//!
//! A process without capabilities has nothing to drop, and serves as well.

use caps::{CapSet, Capability, CapsHashSet};
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use tracing::{debug, warn};

/// Capabilities needed to serve: none. `kernel.unprivileged_bpf_disabled` forbids creating maps and
/// programs, not using open ones (Linux 6.0, `__sys_bpf`; tested by
/// `connections_come_and_go_without_any_capability`).
pub const RUN_CAPABILITIES: &[Capability] = &[];
/// Capabilities that shards need to start: for ports below 1024, and for registered buffers beyond
/// `RLIMIT_MEMLOCK`.
pub const START_CAPABILITIES: &[Capability] =
    &[Capability::CAP_NET_BIND_SERVICE, Capability::CAP_IPC_LOCK];

/// Makes every permitted capability effective. Call it first.
pub fn raise_permitted() {
    if let Err(error) = try_raise_permitted() {
        warn!("cannot make permitted capabilities effective: {error}");
    }
}

fn try_raise_permitted() -> Result<(), caps::errors::CapsError> {
    let permitted = caps::read(None, CapSet::Permitted)?;
    if caps::read(None, CapSet::Effective)? != permitted {
        caps::set(None, CapSet::Effective, &permitted)?;
        debug!("capabilities made effective: {permitted:?}");
    }
    Ok(())
}

/// Step 1 of the module's description. Both steps also set `no_new_privs`.
pub fn drop_after_load() {
    keep_only(&[RUN_CAPABILITIES, START_CAPABILITIES].concat());
}

/// Step 2 of the module's description.
pub fn drop_after_start() {
    keep_only(RUN_CAPABILITIES);
}

/// Lets no one read the process's memory but who may read any: from now on the system writes no core of
/// it, and lets other processes of the same user neither trace nor read it. Its memory has private keys,
/// those of tickets, and what clients say. For a process with capabilities from its file this is so from
/// the start.
pub fn forbid_core_dumps() {
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        warn!("a crash may write private keys to a core file: {error}");
    }
}

/// Drops every capability of the calling thread.
pub fn drop_all() {
    keep_only(&[]);
}

fn keep_only(kept: &[Capability]) {
    if let Err(error) = rustix::thread::set_no_new_privs(true) {
        warn!("cannot set no_new_privs: {error}");
    }
    if let Err(error) = try_keep_only(kept) {
        warn!("cannot drop capabilities, serving with more than needed: {error}");
    }
}

fn try_keep_only(kept: &[Capability]) -> Result<(), caps::errors::CapsError> {
    let held = caps::read(None, CapSet::Permitted)?;
    let kept: CapsHashSet = held.iter().filter(|held| kept.contains(held)).copied().collect();
    if kept == held {
        return Ok(());
    }
    // First, because lowering the bounding set needs CAP_SETPCAP, which is dropped below. It only
    // matters to execve, which this process never calls, so a failure is harmless.
    if let Err(error) = narrow_bounding_set(&kept) {
        debug!("the bounding set of capabilities stays: {error}");
    }
    // Effective must never exceed permitted; ambient shrinks with permitted.
    caps::set(None, CapSet::Inheritable, &CapsHashSet::new())?;
    caps::set(None, CapSet::Effective, &kept)?;
    caps::set(None, CapSet::Permitted, &kept)?;
    debug!("capabilities kept: {kept:?}");
    Ok(())
}

fn narrow_bounding_set(kept: &CapsHashSet) -> Result<(), caps::errors::CapsError> {
    for capability in caps::read(None, CapSet::Bounding)?.difference(kept) {
        caps::drop(None, CapSet::Bounding, *capability)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;

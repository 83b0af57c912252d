//! Capabilities: what the process keeps after start-up, and why.
//!
//! At the start what is permitted becomes effective ([`raise_permitted`]): a file with capabilities
//! marked `+p`, or a supervisor, may leave that to the program.
//!
//! On Linux capabilities belong to threads, and a new thread inherits its creator's. So they are
//! dropped in two steps, both by the main thread:
//!
//! 1. [`drop_after_load`], once the kernel path is loaded and HTTP is bound, before the first shard
//!    thread exists: `CAP_NET_ADMIN`, `CAP_PERFMON`, `CAP_SYS_ADMIN` and all that a root process has
//!    are gone for good, for every thread to come. What shards still need to start stays.
//! 2. [`drop_after_start`], when every shard serves: the main thread, which from then on reads
//!    signals and HTTP, keeps only what running needs. A shard's thread cannot be changed from
//!    outside, so it keeps the two of step 1; neither opens more than a low port or locked memory.
//!
//! A process that never had them drops nothing and runs the same.

use caps::{CapSet, Capability, CapsHashSet};
use tracing::{debug, warn};

/// Needed while serving: none. `kernel.unprivileged_bpf_disabled` bars making maps and programs,
/// not the use of those at hand (Linux 6.0, `__sys_bpf`; the test
/// `connections_come_and_go_without_any_capability` shows it).
pub const RUN_CAPABILITIES: &[Capability] = &[];
/// Needed by shards to start: binding ports below 1024, and registering buffers beyond
/// `RLIMIT_MEMLOCK`.
pub const START_CAPABILITIES: &[Capability] =
    &[Capability::CAP_NET_BIND_SERVICE, Capability::CAP_IPC_LOCK];

/// Has every capability that this process may use be in force. First of all: what is not needed goes
/// later.
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

/// Step 1; see the module. Each step sets `no_new_privs`, too: nothing that the thread runs gains
/// anything.
pub fn drop_after_load() {
    keep_only(&[RUN_CAPABILITIES, START_CAPABILITIES].concat());
}

/// Step 2; see the module.
pub fn drop_after_start() {
    keep_only(RUN_CAPABILITIES);
}

/// For a thread that needs none, before the others may drop theirs.
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
    // The bounding set first: lowering it takes CAP_SETPCAP, which goes with the others. It only
    // matters to an execve, which this process never does, so a refusal is no failure.
    if let Err(error) = narrow_bounding_set(&kept) {
        debug!("the bounding set of capabilities stays: {error}");
    }
    // Effective must stay within permitted at every step; ambient shrinks with permitted.
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
mod tests {
    use super::*;

    #[test]
    fn what_is_permitted_becomes_effective_and_nothing_else_is_permitted() {
        std::thread::spawn(|| {
            let permitted = caps::read(None, CapSet::Permitted).expect("permitted set");
            caps::clear(None, CapSet::Effective).expect("a set made smaller");
            raise_permitted();
            assert_eq!(caps::read(None, CapSet::Effective).expect("effective set"), permitted);
            assert_eq!(caps::read(None, CapSet::Permitted).expect("permitted set"), permitted);
        })
        .join()
        .expect("thread");
    }

    #[test]
    fn a_thread_that_needs_none_has_none() {
        let held = || {
            drop_all();
            caps::read(None, CapSet::Permitted).expect("permitted set")
        };
        assert!(std::thread::spawn(held).join().expect("thread").is_empty());
    }

    /// In a thread of its own: capabilities are per thread, and the other tests keep theirs.
    #[test]
    fn each_step_leaves_only_its_list_and_never_adds() {
        let before = caps::read(None, CapSet::Permitted).expect("permitted set");
        let (loaded, started, is_sealed) = std::thread::spawn(|| {
            drop_after_load();
            let loaded = caps::read(None, CapSet::Permitted).expect("permitted set");
            drop_after_start();
            let started = caps::read(None, CapSet::Permitted).expect("permitted set");
            assert_eq!(caps::read(None, CapSet::Effective).expect("effective set"), started);
            (loaded, started, rustix::thread::no_new_privs().expect("no_new_privs"))
        })
        .join()
        .expect("thread");
        let first = [RUN_CAPABILITIES, START_CAPABILITIES].concat();
        assert_eq!(loaded, before.iter().filter(|held| first.contains(held)).copied().collect());
        let second = RUN_CAPABILITIES;
        assert_eq!(started, before.iter().filter(|held| second.contains(held)).copied().collect());
        assert!(is_sealed, "no_new_privs");
        assert_eq!(caps::read(None, CapSet::Permitted).expect("permitted set"), before);
        if before.is_empty() {
            eprintln!("skipped the dropping itself: this process holds no capability");
        }
    }
}

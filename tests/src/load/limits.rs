//! Raises the limit of descriptors to what the clients need.

use anyhow::bail;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors beside the clients': standard streams, epoll, wakers, signals.
const OTHER_DESCRIPTORS: u64 = 64;

/// Raises `RLIMIT_NOFILE` as far as `clients` and `threads` need.
pub(super) fn raise(clients: u64, threads: u64) -> anyhow::Result<()> {
    let needed = clients + OTHER_DESCRIPTORS + 4 * threads;
    let found = getrlimit(Resource::Nofile);
    let allows = |limit: Option<u64>| limit.is_none_or(|limit| limit >= needed);
    if allows(found.current) {
        return Ok(());
    }
    if allows(found.maximum) {
        setrlimit(Resource::Nofile, Rlimit { current: found.maximum, maximum: found.maximum })?;
        return Ok(());
    }
    // Root may raise the hard limit, too, unless something above forbids it.
    let wished = Rlimit { current: Some(needed), maximum: Some(needed) };
    if setrlimit(Resource::Nofile, wished).is_err() {
        let maximum = found.maximum.unwrap_or(u64::MAX);
        bail!(
            "{clients} clients need {needed} descriptors, and RLIMIT_NOFILE cannot be raised above \
             {maximum}: ask for at most {} clients, or raise the hard limit (`ulimit -Hn {needed}` \
             as root, LimitNOFILE= in a unit)",
            maximum.saturating_sub(OTHER_DESCRIPTORS + 4 * threads)
        );
    }
    Ok(())
}

//! The resource limits of the process: raises and logs them, and computes how many connections the
//! descriptors allow.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::{info, warn};

use crate::config::{CONNECTIONS_DEFAULT_MAX, CONNECTIONS_MAX, Config, DurabilityMode};
use crate::shard::PARKED_MAX;
use crate::store;

/// Descriptors reserved for everything but clients, HTTP and the store: standard streams, the tokio
/// runtime, the kernel path's maps, programs and links, and files that are read now and then.
pub(crate) const DESCRIPTORS_RESERVED: u64 = 96;
/// Descriptors reserved for each shard: its ring, its event descriptor, and sockets beyond the
/// limit of connections, which wait for a place.
pub(crate) const DESCRIPTORS_RESERVED_PER_SHARD: u64 = 4 + PARKED_MAX as u64;

/// The resource limits in force; `None`: unlimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProcessLimits {
    /// `RLIMIT_NOFILE`, soft, after it was raised to the hard limit.
    pub descriptors: Option<u64>,
    /// `RLIMIT_MEMLOCK`, soft, in bytes: registered buffers of a ring count against it unless
    /// `CAP_IPC_LOCK` is held.
    pub locked_bytes: Option<u64>,
    /// Bytes of memory of the machine, or of the control group that the server runs in.
    pub memory_bytes: u64,
}

/// Too few descriptors to serve any client.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "{descriptors} descriptors are too few: {reserved} are needed before the first connection; \
     raise the hard limit (`ulimit -Hn`, systemd: LimitNOFILE=)"
)]
pub struct TooFewDescriptors {
    descriptors: u64,
    reserved: u64,
}

impl ProcessLimits {
    /// Raises the descriptors to their hard limit and reads both limits.
    pub(crate) fn raised() -> Self {
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        if current != maximum
            && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
        {
            warn!("RLIMIT_NOFILE stays at {}: {error}", text(current));
        }
        Self {
            descriptors: getrlimit(Resource::Nofile).current,
            locked_bytes: getrlimit(Resource::Memlock).current,
            memory_bytes: memory_bytes(Path::new("/")),
        }
    }

    /// Most connections to serve: as many as the settings ask for and the descriptors allow.
    pub(crate) fn connections_max(&self, config: &Config) -> Result<u32, TooFewDescriptors> {
        let reserved = reserved(config);
        let descriptors = self.descriptors.unwrap_or(u64::MAX);
        let allowed = descriptors.saturating_sub(reserved).min(CONNECTIONS_MAX);
        let allowed = u32::try_from(allowed).unwrap_or(u32::MAX);
        if allowed == 0 {
            return Err(TooFewDescriptors { descriptors, reserved });
        }
        Ok(config.connections_max.unwrap_or(CONNECTIONS_DEFAULT_MAX).min(allowed))
    }

    /// Logs the limits and what follows from them.
    pub(crate) fn log(&self, config: &Config, connections_max: u32) {
        let reserved = reserved(config);
        info!(
            "limits: RLIMIT_NOFILE {} less {reserved} reserved, RLIMIT_MEMLOCK {} bytes; \
             up to {connections_max} connections",
            text(self.descriptors),
            text(self.locked_bytes),
        );
        let totals = config.totals.named().map(|(name, bytes)| format!("{name} {}", mib(bytes)));
        info!(
            "limits: of {} memory, sessions take up to: {}",
            mib(self.memory_bytes),
            totals.join(", ")
        );
        if let Some(asked) = config.connections_max.filter(|&asked| asked > connections_max) {
            warn!(
                "max-connections = {asked} is more than the descriptors allow: serving up to \
                 {connections_max}; raise the hard limit to {} (`ulimit -Hn`, systemd: LimitNOFILE=)",
                u64::from(asked) + reserved,
            );
        }
    }
}

fn reserved(config: &Config) -> u64 {
    let listeners = config.listeners();
    // Each has a socket for each shard, and one at a path its file.
    let sockets = DESCRIPTORS_RESERVED_PER_SHARD + listeners.len() as u64;
    let shards = u64::from(config.shards) * sockets;
    let files = listeners.iter().filter(|listener| listener.address.path().is_some()).count();
    let store = match config.durability {
        DurabilityMode::Fsync | DurabilityMode::Os => store::embedded::DESCRIPTORS_MAX,
        DurabilityMode::Off => 0,
    };
    // One more is accepted before another gives way.
    let http = config.http.map_or(0, |_| u64::from(config.http_connections_max) + 1);
    DESCRIPTORS_RESERVED + http + store + shards + files as u64
}

/// Bytes of memory to assume if the machine does not tell.
const MEMORY_BYTES_UNKNOWN: u64 = 1 << 30;

/// Bytes of memory, according to the files below `root`: the machine's, or the least that a control
/// group of this process allows.
fn memory_bytes(root: &Path) -> u64 {
    let read = |path: &Path| fs::read_to_string(root.join(path)).ok();
    let meminfo = read(Path::new("proc/meminfo")).unwrap_or_default();
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let total = total.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    let machine = total.map_or(MEMORY_BYTES_UNKNOWN, |kib| kib.saturating_mul(1024));
    let groups = read(Path::new("proc/self/cgroup")).unwrap_or_default();
    let files = groups.lines().flat_map(limit_files);
    let limits = files.filter_map(|path| read(&path)?.trim().parse::<u64>().ok());
    limits.fold(machine, u64::min)
}

/// The files that may limit memory for a line of `/proc/self/cgroup`: those of the group and of all
/// groups around it.
fn limit_files(line: &str) -> Vec<PathBuf> {
    let mut fields = line.splitn(3, ':').skip(1);
    let (Some(controllers), Some(group)) = (fields.next(), fields.next()) else {
        return Vec::new();
    };
    let (mount, file) = match controllers {
        "" => ("sys/fs/cgroup", "memory.max"),
        _ if controllers.split(',').any(|name| name == "memory") => {
            ("sys/fs/cgroup/memory", "memory.limit_in_bytes")
        }
        _ => return Vec::new(),
    };
    let group = Path::new(group.trim_start_matches('/'));
    group.ancestors().map(|group| Path::new(mount).join(group).join(file)).collect()
}

fn mib(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

fn text(limit: Option<u64>) -> String {
    limit.map_or_else(|| "unlimited".into(), |limit| limit.to_string())
}

#[cfg(test)]
mod tests;

//! The flow map from user space: inserts and removes, never rewrites. A flow's numbers belong to
//! the programs.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use std::{fmt, io};

use aya::maps::{HashMap, MapData, MapError};
use push_common::flow::{Flow, FlowKey, LockedFlow};

use super::unarmed::Unarmed;

/// How long a flow outlives its socket (rule 10) and the last sign of life of what the stack still
/// does for it: FIN, RST and TIME_WAIT are translated so long. Longer than TCP ever waits before it
/// says the same once more (Linux: `TCP_RTO_MAX`, two minutes).
pub(super) const FLOW_LINGER: Duration = Duration::from_secs(125);

/// Inserts or replaces (`BPF_ANY`).
const ANY: u64 = 0;

type FlowMap = HashMap<MapData, FlowKey, LockedFlow<u32>>;

/// The flow map, shared by the shards' handles.
///
/// The kernel has no "delete if unchanged", so looking, comparing and deleting is one step against
/// inserts of this process: that is what the mutex is for. A connection's begin and end take it
/// for a system call each; nothing takes it for a message or a ping.
pub(super) struct Flows {
    map: Mutex<FlowMap>,
}

impl fmt::Debug for Flows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flows").finish_non_exhaustive()
    }
}

impl Flows {
    pub(super) fn new(map: FlowMap) -> Self {
        Self { map: Mutex::new(map) }
    }

    /// Inserts the flow of a connection that has sent nothing yet. An old flow of the same
    /// addresses is replaced: its socket cannot exist beside this one.
    pub(super) fn insert(&self, key: &FlowKey, flow: Flow) -> Result<(), Unarmed> {
        let mut map = self.map.lock().unwrap_or_else(PoisonError::into_inner);
        map.insert(key, LockedFlow { lock: 0, flow }, ANY).map_err(|error| {
            tracing::debug!(%error, "flow not inserted");
            Unarmed::FlowMap
        })
    }

    /// A look at the flow of this slot; `None` when it is gone, or another's.
    pub(super) fn look(&self, key: &FlowKey, slot: u32, generation: u32) -> Option<Flow> {
        let map = self.map.lock().unwrap_or_else(PoisonError::into_inner);
        let flow = map.get(key, 0).ok()?.flow;
        (flow.slot == slot && flow.generation == generation).then_some(flow)
    }

    /// Removes the flow of this slot, and no newer one of the same addresses.
    pub(super) fn remove(&self, key: &FlowKey, slot: u32, generation: u32) {
        let mut map = self.map.lock().unwrap_or_else(PoisonError::into_inner);
        let Ok(LockedFlow { flow, .. }) = map.get(key, 0) else { return };
        if flow.slot != slot || flow.generation != generation {
            return;
        }
        match map.remove(key) {
            Ok(()) => {}
            // An egress SYN-ACK was faster (rule 10).
            Err(MapError::SyscallError(error))
                if error.io_error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => tracing::warn!(%error, "flow not removed"),
        }
    }
}

/// The key of a connection; IPv4 mapped into IPv6, so a v4-mapped peer of a listener on `[::]`
/// comes out the same. `None` for addresses that do not tell a connection by themselves:
/// unspecified ones, and link-local ones, which mean another host on each link.
pub(super) fn key_of(local: SocketAddr, peer: SocketAddr) -> Option<FlowKey> {
    Some(FlowKey {
        local: octets(local.ip())?,
        peer: octets(peer.ip())?,
        local_port: local.port().to_be_bytes(),
        peer_port: peer.port().to_be_bytes(),
    })
}

fn octets(address: IpAddr) -> Option<[u8; 16]> {
    let address = match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    };
    let ambiguous = address.is_unspecified() || address.is_unicast_link_local();
    (!ambiguous).then(|| address.octets())
}

#[cfg(test)]
mod tests;

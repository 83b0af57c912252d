//! The flow map from user space: inserts and removes flows, and never changes one. A flow's numbers
//! belong to the programs.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use std::{fmt, io};

use aya::maps::{HashMap, MapData, MapError};
use push_common::flow::{Flow, FlowKey, LockedFlow};

use super::unarmed::Unarmed;

/// How long a flow outlives its socket (rule 10) and the stack's last segment for it: until then
/// FIN, RST and TIME_WAIT are translated. 125 s: longer than TCP waits between two retransmissions
/// (Linux: `TCP_RTO_MAX`, two minutes).
pub(super) const FLOW_LINGER: Duration = Duration::from_secs(125);

/// Insert or replace (`BPF_ANY`).
const ANY: u64 = 0;

type FlowMap = HashMap<MapData, FlowKey, LockedFlow<u32>>;

/// The flow map, which the shards' handles share.
///
/// The kernel has no "delete if unchanged", so the mutex makes looking, comparing and deleting one
/// step as regards inserts of this process. A connection takes it at its begin and end for one
/// system call each; no message or ping takes it.
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

    /// Inserts the flow of a connection of which no byte is on its way to the socket
    /// ([`Flow::new`]). An old flow with the same addresses is replaced: its socket cannot exist
    /// beside this one.
    pub(super) fn insert(&self, key: &FlowKey, flow: Flow) -> Result<(), Unarmed> {
        let mut map = self.map.lock().unwrap_or_else(PoisonError::into_inner);
        map.insert(key, LockedFlow { lock: 0, flow }, ANY).map_err(|error| {
            tracing::debug!(%error, "flow not inserted");
            Unarmed::FlowMap
        })
    }

    /// Reads the flow of this slot; `None`: it is gone, or another connection's.
    pub(super) fn look(&self, key: &FlowKey, slot: u32, generation: u32) -> Option<Flow> {
        let map = self.map.lock().unwrap_or_else(PoisonError::into_inner);
        let flow = map.get(key, 0).ok()?.flow;
        (flow.slot == slot && flow.generation == generation).then_some(flow)
    }

    /// Removes the flow of this slot, but no newer one with the same addresses.
    pub(super) fn remove(&self, key: &FlowKey, slot: u32, generation: u32) {
        let mut map = self.map.lock().unwrap_or_else(PoisonError::into_inner);
        let Ok(LockedFlow { flow, .. }) = map.get(key, 0) else { return };
        if flow.slot != slot || flow.generation != generation {
            return;
        }
        match map.remove(key) {
            Ok(()) => {}
            // The SYN-ACK of a new connection removed it first (rule 10).
            Err(MapError::SyscallError(error))
                if error.io_error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => tracing::warn!(%error, "flow not removed"),
        }
    }
}

/// The key of a connection. IPv4 is mapped into IPv6, so that a v4-mapped peer of a listener on
/// `[::]` gets the same key. `None`: the addresses do not identify a connection, because one is
/// unspecified, or link-local, which means another host on each link.
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

//! How fast clients may connect, and how many at one address.

use push_common::rate::Rate;

/// Limits of those who have not connected yet, and of addresses. 0: no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admission {
    /// `--connect-rate`, `--connect-burst`: sockets let in, of all addresses.
    pub connect_rate: Rate,
    /// `--address-waiting-max`: sockets of an address before CONNACK.
    pub address_waiting_max: u32,
    /// `--address-connections-max`.
    pub address_connections_max: u32,
    /// `--auth-failures`: a minute, of one name at one address.
    pub auth_failures: u32,
}

impl Default for Admission {
    fn default() -> Self {
        Self {
            connect_rate: Rate { per_sec: 2_000, burst: 10_000 },
            address_waiting_max: 256,
            address_connections_max: 0,
            auth_failures: 10,
        }
    }
}

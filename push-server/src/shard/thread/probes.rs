//! TCP's own probes. They find vanished clients that have no keep alive (MQTT 3.1.1 with 0).

use std::io;
use std::time::Duration;

use rustix::io::Errno;

use crate::ring::Keepalive;

/// Probes without an answer after which a client is gone.
const PROBES: u32 = 5;

/// Probes are a tenth of the first wait apart, and at most this.
const INTERVAL_SECS_MAX: u16 = 60;

/// The probes that `--tcp-keepalive-secs` asks for; 0: none.
pub(super) fn keepalive(secs: u16) -> Option<Keepalive> {
    let interval_secs = (secs / 10).clamp(1, INTERVAL_SECS_MAX);
    (secs != 0).then(|| Keepalive {
        idle: Duration::from_secs(secs.into()),
        interval: Duration::from_secs(interval_secs.into()),
        probes: PROBES,
    })
}

/// Whether a socket failed because the peer answered no more: neither probes nor what was sent to it.
pub(super) fn is_unanswered(error: &io::Error) -> bool {
    let gone = [Errno::TIMEDOUT, Errno::HOSTUNREACH, Errno::NETUNREACH];
    Errno::from_io_error(error).is_some_and(|errno| gone.contains(&errno))
}

#[cfg(test)]
mod tests;

//! Connection tracking on this host: how long it remembers a silent connection.
//!
//! It sees what the stack sends and receives, and no ping that a program answers before the stack.
//! So a firewall that accepts established connections would drop the next message of a client that
//! only pings. Therefore one ping now and then is left to the stack (rule 12); this file computes
//! how often. Connection tracking on other machines sees the pings themselves.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;
use std::{fs, thread};

use push_common::slot::ShardLine;
use push_common::splice::SILENCE_SECS_MAX;

use super::slots::Lines;

/// Seconds of silence after which this network namespace forgets an established connection. The
/// file exists while the module `nf_conntrack` is loaded, which may come and go.
const TIMEOUT: &str = "/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_established";

/// Time between two readings.
const READ_EVERY: Duration = Duration::from_secs(10);

/// Parts that the timeout is divided into. Pings go to the stack when one part has passed; three,
/// because a ping just before that is answered here, and the next may come a part later.
const PARTS: u64 = 3;

/// Tells the programs how long the stack may be silent.
#[derive(Debug)]
pub(super) struct Conntrack {
    lines: Weak<Lines<ShardLine>>,
    shards: u16,
    /// What the programs were told last, in seconds; 0: nothing yet.
    told: AtomicU64,
}

impl Conntrack {
    pub(super) fn new(lines: &Arc<Lines<ShardLine>>, shards: u16) -> Self {
        Self { lines: Arc::downgrade(lines), shards, told: AtomicU64::new(0) }
    }

    /// Reads the timeout and passes it on. Returns whether the programs still exist.
    pub(super) fn tell(&self) -> bool {
        let Some(lines) = self.lines.upgrade() else { return false };
        let timeout = read(TIMEOUT);
        let silence_secs_max = silence_secs_max(timeout);
        if self.told.swap(silence_secs_max, Ordering::Relaxed) == silence_secs_max {
            return true;
        }
        for shard in 0..self.shards {
            lines.silence_secs_max(shard).store(silence_secs_max, Ordering::Release);
        }
        match timeout {
            Some(timeout) if silence_secs_max < SILENCE_SECS_MAX.into() => tracing::info!(
                "connection tracking on this host forgets a silent connection after {timeout} s: the \
                 kernel leaves one ping in {silence_secs_max} s to the stack"
            ),
            _ => tracing::debug!("connection tracking asks for no more than one ping a day"),
        }
        true
    }

    /// Starts a thread that repeats this while the programs exist.
    pub(super) fn keep_telling(self: &Arc<Self>) {
        let conntrack = Arc::clone(self);
        let work = move || {
            while conntrack.tell() {
                thread::sleep(READ_EVERY);
            }
        };
        if let Err(error) = thread::Builder::new().name("push-conntrack".into()).spawn(work) {
            tracing::warn!("changes of connection tracking's timeout are not noticed: {error}");
        }
    }
}

/// How long the stack may be silent, in seconds, if connection tracking forgets after
/// `timeout_secs`.
fn silence_secs_max(timeout_secs: Option<u64>) -> u64 {
    let most = u64::from(SILENCE_SECS_MAX);
    timeout_secs.map_or(most, |timeout| (timeout / PARTS).clamp(1, most))
}

/// The number in a file of `/proc/sys`; `None`: there is no such file, or no number in it.
fn read(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests;

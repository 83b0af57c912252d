//! Handshakes of TLS by what they have led to.

use crate::shard::counters::{Counter, ShardCounters};

type Pick = fn(&ShardCounters) -> &Counter;

/// Name, without `_total`.
pub(super) const NAME: &str = "push_tls_handshakes";

pub(super) const HELP: &str =
    "Handshakes of TLS by their result, whether a ticket was used, and the version";

/// Of each sample.
pub(super) const LABELS: [&str; 3] = ["result", "resumed", "version"];

/// The values of the labels; the version is empty where none was chosen, or it does not matter.
pub(super) const SAMPLES: &[([&str; 3], Pick)] = &[
    (["completed", "no", "1.2"], |shard| &shard.tls_12_full),
    (["completed", "yes", "1.2"], |shard| &shard.tls_12_resumed),
    (["completed", "no", "1.3"], |shard| &shard.tls_13_full),
    (["completed", "yes", "1.3"], |shard| &shard.tls_13_resumed),
    (["failed", "no", ""], |shard| &shard.tls_failed),
    (["failed", "no", "1.2"], |shard| &shard.tls_12_failed),
    (["failed", "no", "1.3"], |shard| &shard.tls_13_failed),
    (["left", "no", ""], |shard| &shard.tls_left),
    (["timeout", "no", ""], |shard| &shard.tls_timed_out),
    (["gave_way", "no", ""], |shard| &shard.tls_gave_way),
];

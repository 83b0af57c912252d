//! What clients asked for and may have or not, by what it was.

use crate::shard::counters::{Counter, ShardCounters};

type Pick = fn(&ShardCounters) -> &Counter;

/// Name, without `_total`.
pub(super) const NAME: &str = "push_authorizations";
pub(super) const HELP: &str =
    "What clients asked for that rules were asked about, and what was denied, by what it was";
pub(super) const LABELS: [&str; 2] = ["action", "result"];

pub(super) const SAMPLES: &[([&str; 2], Pick)] = &[
    (["publish", "allowed"], |shard| &shard.authorized_publish),
    (["publish", "denied"], |shard| &shard.unauthorized_publish),
    (["subscribe", "allowed"], |shard| &shard.authorized_subscribe),
    (["subscribe", "denied"], |shard| &shard.unauthorized_subscribe),
    (["will", "allowed"], |shard| &shard.authorized_will),
    (["will", "denied"], |shard| &shard.unauthorized_will),
    (["receive", "allowed"], |shard| &shard.authorized_receive),
    (["receive", "denied"], |shard| &shard.unauthorized_receive),
];

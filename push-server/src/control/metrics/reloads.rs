//! What reloads have done, and until when certificates are valid.

use std::fmt;

use super::out::Out;
use crate::control::observed::Observed;
use crate::shard::counters::{Counter, ShardCounters};

type Pick = fn(&ShardCounters) -> &Counter;

/// Name, without `_total`.
pub(super) const NAME: &str = "push_reload_disconnects";
pub(super) const HELP: &str =
    "Clients that a reload has sent away, by what they do not have any more";
pub(super) const LABEL: &str = "reason";

pub(super) const SAMPLES: &[(&str, Pick)] = &[
    ("anonymous", |shard| &shard.withdrawn_anonymous),
    ("user", |shard| &shard.withdrawn_user),
    ("password", |shard| &shard.withdrawn_password),
    ("certificate", |shard| &shard.withdrawn_certificate),
    ("subscription", |shard| &shard.withdrawn_subscription),
];

/// How reloads went, and the certificates that they have read.
pub(super) fn reloads(out: &mut Out<'_>, observed: &Observed) -> fmt::Result {
    let status = &observed.facts.reload;
    let help =
        "Whether the last reload has put everything into force; without one the start counts";
    out.gauge("push_reload_last_success", help, status.is_success().into())?;
    let help = "When a reload, or the start, has last done so, in seconds since 1970";
    out.gauge("push_reload_last_success_timestamp_seconds", help, status.succeeded_at())?;
    let Some(tls) = &observed.facts.tls else { return Ok(()) };
    let help = "Times that the files of TLS were read again, by what came of it";
    out.counters("push_tls_reloads", help, Some("result"), tls.reloads())?;
    let expiries = tls.expiries();
    let help = "Until when all certificates that a listener shows are valid, in seconds since 1970";
    let first = expiries.iter().map(|(_, secs)| *secs).min().unwrap_or_default();
    let listeners = observed.facts.listening.iter().map(|listening| &listening.listener);
    let listeners = listeners.filter(|listener| listener.kind.has_tls());
    let by_listener = listeners.map(|listener| (&*listener.name, first));
    out.gauges("push_certificate_expiry_timestamp_seconds", help, "listener", by_listener)?;
    let help =
        "Until when each file of --tls-cert is valid, its chain included, in seconds since 1970";
    let by_file = expiries.iter().map(|(file, secs)| (file.as_str(), *secs));
    out.gauges("push_certificate_file_expiry_timestamp_seconds", help, "certificate", by_file)
}

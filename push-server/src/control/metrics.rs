//! `/metrics`: the counters of shards and kernel path as OpenMetrics text, read at each scrape.
//!
//! Names of counters lack `_total` here; the text form adds it.

mod authentication;
mod authorizations;
mod handshakes;
mod out;
mod reloads;
mod store;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, text};
use prometheus_client::registry::Registry;
use push_common::counter::Class;

use super::admin::ADMIN_CONNECTIONS_MAX;
use super::http_limits::HTTP_HEAD_TIMEOUT;
use super::observed::{Observed, PingPath, pings_kernel};
use super::tls::TLS_FILE_BYTES_MAX;
use crate::config::Config;
use crate::kernel::KernelCounter;
use crate::shard::counters::{Counter, ShardCounters};
use crate::shard::door::{DOOR_FOLLOWED_MAX, DOOR_MESSAGES_MAX, DOORS_MAX};
use crate::shard::{
    ADDRESSES_MAX, CHANGES_MAX, LETTERS_MAX, MAILBOX_MESSAGES_MAX, OWNERS_MAX,
    STORE_BACKLOG_BYTES_MAX, UNPUBLISHED_WILL_BYTES_MAX, UNREMOVED_FILTER_BYTES_MAX, UNREMOVED_MAX,
    WAITING_ROOM_MAX, WITHDRAWALS_PER_SEC_MAX,
};
use crate::store::embedded::SHARED_MESSAGES_MAX;
use crate::transport::{HANDSHAKE_INPUT_BYTES_MAX, PROXY_HEADER_BYTES_MAX, UPGRADE_HEAD_BYTES_MAX};
use out::Out;

/// The media type of the text form.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Pick = fn(&ShardCounters) -> &Counter;

/// Gauges of the shards: name, help.
const GAUGES: &[(&str, &str, Pick)] = &[
    ("push_connections", "Open connections, those before CONNECT included", |shard| {
        &shard.connections
    }),
    ("push_sessions", "Sessions, those without connection included", |shard| &shard.sessions),
    ("push_subscriptions", "Subscriptions of all sessions", |shard| &shard.subscriptions),
    ("push_connections_armed", "Connections whose heartbeats the kernel answers", |shard| {
        &shard.armed
    }),
];

/// Counters of the shards without labels: name, help.
const COUNTERS: &[(&str, &str, Pick)] = &[
    ("push_sessions_expired", "Connections expired by their keep alive", |shard| &shard.expired),
    (
        "push_authentications_expired",
        "Clients closed because what had proved who they are expired, as a token",
        |shard| &shard.authentications_expired,
    ),
    ("push_connects_bridge", "Bridges of other brokers accepted", |shard| &shard.connects_bridge),
    ("push_websocket_origins_refused", "Requests of pages that may not connect", |shard| {
        &shard.origins_refused
    }),
    ("push_connections_unanswered", "Connections whose peer answered TCP no more", |shard| {
        &shard.unanswered
    }),
    ("push_publishes_received", "PUBLISH packets from clients", |shard| &shard.publishes_received),
    ("push_door_publishes", "Messages from other parts of the server", |shard| {
        &shard.door_publishes
    }),
    ("push_publishes_sent", "PUBLISH packets to clients", |shard| &shard.publishes_sent),
    (
        "push_kernel_path_tables_filled",
        "Answer tables of TLS connections that ran low, and were filled up",
        |shard| &shard.tables_filled,
    ),
    ("push_publishes_cut", "Messages done in steps, for the many they go to", |shard| {
        &shard.publishes_cut
    }),
    ("push_turns_ended", "Sessions' turns that ended with work of theirs left", |shard| {
        &shard.turns_ended
    }),
    ("push_shared_passed_on", "Messages owed to a member of a group that left", |shard| {
        &shard.shared_passed_on
    }),
    (
        "push_store_removals_retried",
        "Ends of sessions and filters, not at the first try",
        |shard| &shard.removals_retried,
    ),
    ("push_stale_completions", "Completions of operations whose connection was gone", |shard| {
        &shard.stale_completions
    }),
];

/// A counter of the shards with one label.
struct Family {
    name: &'static str,
    help: &'static str,
    label: &'static str,
    samples: &'static [(&'static str, Pick)],
}

const LIMITS_HIT: &str = "push_limits_hit";
const PUBLISHES_DROPPED: &str = "push_publishes_dropped";

const FAMILIES: &[Family] = &[
    Family {
        name: "push_connects",
        help: "CONNECT attempts by their result",
        label: "result",
        samples: &[
            ("accepted", |shard| &shard.connects_accepted),
            ("refused", |shard| &shard.connects_refused),
            ("malformed", |shard| &shard.connects_malformed),
            ("timeout", |shard| &shard.connects_timeout),
        ],
    },
    Family {
        name: "push_connects_accepted",
        help: "Clients accepted, by the protocol that they speak",
        label: "version",
        samples: &[
            ("3.1", |shard| &shard.connects_v31),
            ("3.1.1", |shard| &shard.connects_v311),
            ("5", |shard| &shard.connects_v5),
        ],
    },
    Family {
        name: "push_authentications",
        help: "Authentications by their result, those of clients that are connected included",
        label: "result",
        samples: &[
            ("accepted", |shard| &shard.authentications_accepted),
            ("refused", |shard| &shard.authentications_refused),
        ],
    },
    Family {
        name: "push_authentications_refused",
        help: "Authentications refused, by what was wrong",
        label: "reason",
        samples: &[
            ("no_proof", |shard| &shard.denied_no_proof),
            ("unknown_method", |shard| &shard.denied_unknown_method),
            ("invalid_proof", |shard| &shard.denied_invalid_proof),
            ("unknown_user", |shard| &shard.denied_unknown_user),
            ("wrong_password", |shard| &shard.denied_wrong_password),
            ("other_user", |shard| &shard.denied_other_user),
            ("certificate", |shard| &shard.denied_certificate),
            ("token", |shard| &shard.denied_token),
            ("expired_token", |shard| &shard.denied_expired_token),
            ("no_user", |shard| &shard.denied_no_user),
            ("other_name", |shard| &shard.denied_other_name),
            ("busy", |shard| &shard.denied_busy),
            ("hook_denied", |shard| &shard.denied_by_hook),
            ("hook_failed", |shard| &shard.denied_hook_failed),
            ("hook_busy", |shard| &shard.denied_hook_busy),
            ("banned", |shard| &shard.denied_banned),
            ("tokens_busy", |shard| &shard.denied_tokens_busy),
            ("unanswered", |shard| &shard.denied_unanswered),
        ],
    },
    Family {
        name: PUBLISHES_DROPPED,
        help: "Messages not delivered to a subscriber, by the reason",
        label: "reason",
        samples: &[
            ("outbox_full", |shard| &shard.dropped_outbox_full),
            ("absent", |shard| &shard.dropped_absent),
            ("expired", |shard| &shard.dropped_expired),
            ("too_large", |shard| &shard.dropped_too_large),
            ("session_ended", |shard| &shard.dropped_session_ended),
            ("stale", |shard| &shard.dropped_stale),
            ("store", |shard| &shard.dropped_store),
            ("no_member", |shard| &shard.dropped_no_member),
            ("reserved_topic", |shard| &shard.dropped_reserved_topic),
            ("topic_levels", |shard| &shard.dropped_topic_levels),
            ("topic_bytes", |shard| &shard.dropped_topic_bytes),
            ("denied", |shard| &shard.dropped_denied),
        ],
    },
    Family {
        name: LIMITS_HIT,
        help: "Times that a limit was reached, by the limit",
        label: "limit",
        samples: &[
            ("descriptors", |shard| &shard.limit_descriptors),
            ("max_connections", |shard| &shard.limit_connections),
            ("listener_connections", |shard| &shard.limit_listener_connections),
            ("receive_buffers", |shard| &shard.limit_receive_buffers),
            ("mailbox", |shard| &shard.limit_mailbox),
            ("letters", |shard| &shard.limit_letters),
            ("owners", |shard| &shard.limit_owners),
            ("store", |shard| &shard.limit_store),
            ("removals", |shard| &shard.limit_removals),
            ("changes", |shard| &shard.limit_changes),
            ("filter_removals", |shard| &shard.limit_filter_removals),
            ("wills", |shard| &shard.limit_wills),
            ("outbox", |shard| &shard.limit_outbox),
            ("outbox_refused", |shard| &shard.limit_outbox_refused),
            ("subscriptions", |shard| &shard.limit_subscriptions),
            ("subscription_bytes", |shard| &shard.limit_subscription_bytes),
            ("subscription_bytes_total", |shard| &shard.limit_subscription_bytes_total),
            ("subscriptions_share", |shard| &shard.limit_subscriptions_share),
            ("session_bytes_total", |shard| &shard.limit_session_bytes_total),
            ("will_bytes_total", |shard| &shard.limit_will_bytes_total),
            ("wills_share", |shard| &shard.limit_wills_share),
            ("inflight_bytes_total", |shard| &shard.limit_inflight_bytes_total),
            ("inflight_share", |shard| &shard.limit_inflight_share),
            ("queue_bytes", |shard| &shard.limit_queue_bytes),
            ("sending_bytes_total", |shard| &shard.limit_sending_bytes_total),
            ("sessions_left_out", |shard| &shard.limit_sessions_left_out),
            ("connect_rate", |shard| &shard.limit_connect_rate),
            ("address_waiting", |shard| &shard.limit_address_waiting),
            ("address_connections", |shard| &shard.limit_address_connections),
            ("user_connections", |shard| &shard.limit_user_connections),
            ("auth_failures", |shard| &shard.limit_auth_failures),
            ("publish_rate", |shard| &shard.limit_publish_rate),
            ("publish_rate_closed", |shard| &shard.limit_publish_rate_closed),
            ("subscribe_rate", |shard| &shard.limit_subscribe_rate),
            ("topic_bytes", |shard| &shard.limit_topic_bytes),
            ("connect_bytes", |shard| &shard.limit_connect_bytes),
            ("client_id_bytes", |shard| &shard.limit_client_id_bytes),
            ("auth_queue", |shard| &shard.limit_auth_queue),
            ("auth_hook", |shard| &shard.limit_auth_hook),
            ("reload_disconnects", |shard| &shard.limit_withdrawals),
            ("auth_tokens", |shard| &shard.limit_auth_tokens),
            ("retained", |shard| &shard.limit_retained),
            ("retained_backlog", |shard| &shard.limit_backlog),
            ("answers", |shard| &shard.limit_answers),
            ("packet_bytes", |shard| &shard.limit_packet_bytes),
            ("input_bytes", |shard| &shard.limit_input_bytes),
            ("packet_rate", |shard| &shard.limit_packet_rate),
            ("ping_rate", |shard| &shard.limit_ping_rate),
            ("share_tries", |shard| &shard.limit_share_tries),
            ("sessions", |shard| &shard.limit_sessions),
            ("sessions_share", |shard| &shard.limit_sessions_share),
            ("sessions_unused", |shard| &shard.limit_sessions_unused),
            ("upgrade_head", |shard| &shard.limit_upgrade_head),
            ("proxy_header", |shard| &shard.limit_proxy_header),
            ("tls_handshakes", |shard| &shard.limit_tls_handshakes),
            ("tls_handshake_input", |shard| &shard.limit_tls_handshake_input),
        ],
    },
    Family {
        name: "push_strangers",
        help: "Connections closed that spoke another protocol than their address, by that protocol",
        label: "protocol",
        samples: &[
            ("tls", |shard| &shard.strangers_tls),
            ("http", |shard| &shard.strangers_http),
            ("mqtt", |shard| &shard.strangers_mqtt),
            ("proxy", |shard| &shard.strangers_proxy),
        ],
    },
    Family {
        name: "push_proxied_connections",
        help: "Connections to listeners for proxies, by what their PROXY header has said",
        label: "result",
        samples: &[
            ("told", |shard| &shard.proxied_told),
            ("local", |shard| &shard.proxied_local),
            ("faulty", |shard| &shard.proxied_faulty),
            ("untrusted", |shard| &shard.proxied_untrusted),
        ],
    },
    Family {
        name: "push_session_moves",
        help: "Sessions that were to move to another shard, by what came of it",
        label: "result",
        samples: &[
            ("moved", |shard| &shard.sessions_moved),
            ("stayed", |shard| &shard.moves_refused),
        ],
    },
    Family {
        name: "push_turns_cut",
        help: "Shards' turns that left some of this to the next one, by what",
        label: "by",
        samples: &[
            ("timers", |shard| &shard.cut_timers),
            ("completions", |shard| &shard.cut_completions),
            ("discards", |shard| &shard.cut_discards),
            ("tls", |shard| &shard.cut_tls_steps),
            ("tables", |shard| &shard.cut_tables),
        ],
    },
    Family {
        name: "push_ring_faults",
        help: "What went wrong in the shards' rings: completions of no operation, wakes of another \
               shard and watches that failed, and times that the submission queue was full",
        label: "kind",
        samples: &[
            ("stale", |shard| &shard.ring_stale),
            ("wake_failed", |shard| &shard.ring_wake_failed),
            ("watch_failed", |shard| &shard.ring_watch_failed),
            ("queue_full", |shard| &shard.ring_queue_full),
        ],
    },
];

/// Reasons why user space serves a connection, counted by the shards.
const UNARMED: &[(&str, Pick)] = &[
    ("no_slot", |shard| &shard.unarmed_no_slot),
    ("no_table", |shard| &shard.unarmed_no_table),
    ("flow_map", |shard| &shard.unarmed_flow_map),
    ("out_of_order", |shard| &shard.unarmed_out_of_order),
    ("early_fragment", |shard| &shard.unarmed_early_fragment),
    ("fine_timestamps", |shard| &shard.unarmed_fine_timestamps),
    ("uncovered_interface", |shard| &shard.unarmed_interface),
    ("socket", |shard| &shard.unarmed_socket),
    ("unix_socket", |shard| &shard.unarmed_unix),
    ("layers", |shard| &shard.unarmed_layers),
];

/// All metrics of the server.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
}

impl Metrics {
    /// Metrics that read `observed` at each scrape.
    pub(crate) fn new(observed: Arc<Observed>) -> Self {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Scrape(observed)));
        Self { registry }
    }

    /// The text form.
    pub(crate) fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// The limits and how often each was reached, by their labels.
pub(super) fn limits_hit(observed: &Observed) -> Vec<(&'static str, u64)> {
    let of_shards = samples(observed, LIMITS_HIT);
    let of_http = [
        ("http_connections", observed.http.gave_way()),
        ("http_head_timeout", observed.http.timed_out()),
        ("admin_connections", observed.admin.gave_way()),
        ("admin_head_timeout", observed.admin.timed_out()),
    ];
    let of_start = [("generations", observed.facts.generations.limit_hit())];
    let doors = &observed.facts.door_counts;
    let of_doors = [("door", doors.full()), ("door_followed", doors.unfollowed())];
    let of_passwords = [
        ("passwords_remembered", observed.facts.authentication.forgotten_early()),
        ("tokens_remembered", observed.facts.authentication.tokens_forgotten_early()),
        ("hook_remembered", observed.facts.authentication.hook().forgotten_early()),
    ];
    of_shards.chain(of_http).chain(of_start).chain(of_doors).chain(of_passwords).collect()
}

/// Messages not delivered to a subscriber, for any reason.
pub(super) fn publishes_dropped(observed: &Observed) -> u64 {
    samples(observed, PUBLISHES_DROPPED).map(|(_, count)| count).sum()
}

fn samples<'a>(
    observed: &'a Observed,
    family: &'static str,
) -> impl Iterator<Item = (&'static str, u64)> + use<'a> {
    let families = FAMILIES.iter().filter(move |found| found.name == family);
    let samples = families.flat_map(|family| family.samples);
    samples.map(|(value, pick)| (*value, observed.sum(pick)))
}

#[derive(Debug)]
struct Scrape(Arc<Observed>);

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let observed = &*self.0;
        let kernel = observed.kernel_counters();
        let mut out = Out(encoder);
        for (name, help, pick) in GAUGES {
            out.gauge(name, help, observed.sum(pick))?;
        }
        for (name, help, pick) in COUNTERS {
            out.counters(name, help, None, [("", observed.sum(pick))])?;
        }
        for Family { name, help, label, samples } in FAMILIES {
            if *name == LIMITS_HIT {
                out.counters(name, help, Some(label), limits_hit(observed))?;
                continue;
            }
            let samples = samples.iter().map(|(value, pick)| (*value, observed.sum(pick)));
            out.counters(name, help, Some(label), samples)?;
        }
        let counts = handshakes::SAMPLES.iter().map(|(values, pick)| (*values, observed.sum(pick)));
        out.counters_by(handshakes::NAME, handshakes::HELP, handshakes::LABELS, counts)?;
        let counts =
            authorizations::SAMPLES.iter().map(|(values, pick)| (*values, observed.sum(pick)));
        let (name, help) = (authorizations::NAME, authorizations::HELP);
        out.counters_by(name, help, authorizations::LABELS, counts)?;
        let counts = reloads::SAMPLES.iter().map(|(value, pick)| (*value, observed.sum(pick)));
        out.counters(reloads::NAME, reloads::HELP, Some(reloads::LABEL), counts)?;
        let pings =
            [("kernel", pings_kernel(&kernel)), ("user", observed.sum(|shard| &shard.pings_user))];
        out.counters("push_pings", "Heartbeats answered, by who answered", Some("path"), pings)?;
        authentication::write(&mut out, &observed.facts.authentication)?;
        kernel_path(&mut out, observed, &kernel)?;
        turns(&mut out, observed)?;
        if let Some(view) = &observed.facts.store {
            store::store(&mut out, view)?;
        }
        reloads::reloads(&mut out, observed)?;
        process(&mut out, observed)
    }
}

/// How long turns take, and the longest wait for one.
fn turns(out: &mut Out<'_>, observed: &Observed) -> fmt::Result {
    let (buckets, sum_secs) = observed.turn_times();
    let help = "How long a shard worked between two waits";
    out.histogram("push_shard_turn_seconds", help, sum_secs, &buckets)?;
    let help =
        "How long the session has waited whose work waits longest, in ms; counted once a second";
    out.gauge("push_work_wait_ms_max", help, observed.longest_wait().1.as_millis() as u64)
}

/// Whether the kernel answers pings, and why user space serves the other connections.
fn kernel_path(out: &mut Out<'_>, observed: &Observed, kernel: &[KernelCounter]) -> fmt::Result {
    let mut declined: BTreeMap<&str, u64> =
        UNARMED.iter().map(|(reason, pick)| (*reason, observed.sum(pick))).collect();
    let mut events = BTreeMap::new();
    for counter in kernel {
        let family = match counter.class {
            Class::Declined => &mut declined,
            Class::Answered | Class::Step | Class::Dropped => &mut events,
        };
        *family.entry(counter.name).or_default() += counter.value;
    }
    let help = "Connections and heartbeats left to user space, by the reason";
    out.counters("push_kernel_path_declined", help, Some("reason"), declined)?;
    let help = "Events counted by the kernel path's programs";
    out.counters("push_kernel_path_events", help, Some("event"), events)?;
    let (active, reason) = match &observed.facts.path {
        PingPath::Kernel { .. } => (1, ""),
        PingPath::User { reason } => (0, reason.as_str()),
    };
    let help = "1 if the kernel answers heartbeats, else 0 and the reason";
    out.gauges("push_kernel_path_active", help, "reason", [(reason, active)])?;
    if let PingPath::Kernel { doubt, .. } = &observed.facts.path {
        let help =
            "1 if the programs outlive a crash, else 0 and the reason: connections are reset";
        let durable = [(doubt.as_deref().unwrap_or_default(), doubt.is_none().into())];
        out.gauges("push_kernel_path_durable", help, "reason", durable)?;
    }
    let help = "Servers that died whose sockets still need their programs";
    let generations = observed.facts.generations.left();
    out.gauge("push_kernel_path_generations", help, generations as u64)
}

/// The process, and the limits whose reaching `push_limits_hit` counts.
fn process(out: &mut Out<'_>, observed: &Observed) -> fmt::Result {
    let version = [(env!("CARGO_PKG_VERSION"), 1)];
    out.gauges("push_build_info", "The version that runs", "version", version)?;
    let started = observed.facts.started.duration_since(SystemTime::UNIX_EPOCH);
    let started = started.map_or(0, |since| since.as_secs());
    let help = "When the process began to serve, in seconds since 1970";
    out.gauge("process_start_time_seconds", help, started)?;
    out.gauge(
        "push_shards",
        "Threads that serve connections",
        observed.facts.config.shards.into(),
    )?;
    let help = "How long the start waited for what an ended server still held, in ms";
    out.gauges("push_start_waited_ms", help, "for", observed.facts.waited.by_label())?;
    out.gauge("push_http_connections", "Open HTTP connections", observed.http.connections())?;
    let help = "HTTP requests whose heads came whole";
    out.counters("push_http_requests", help, None, [("", observed.http.requests())])?;
    let help = "Lines of the log and the status dropped because they could not be written";
    out.counters("push_log_lines_lost", help, None, [("", observed.facts.lines_lost.count())])?;
    let help = "The limits in force; labels as in push_limits_hit where they are the same";
    let limits = limits(&observed.facts.config, observed.facts.connections_max);
    let totals = observed.facts.config.totals.named();
    out.gauges(
        "push_limit",
        help,
        "limit",
        limits.into_iter().chain(authentication::limits()).chain(totals),
    )?;
    let help = "Memory that sessions and sends take, by what it is for; the limits are the `..._bytes_total`";
    let used = observed.facts.memory.kinds().map(|(kind, budget)| (kind, budget.used_bytes()));
    out.gauges("push_session_memory_bytes", help, "kind", used)
}

fn limits(config: &Config, connections_max: u32) -> Vec<(&'static str, u64)> {
    let limits = &config.limits;
    vec![
        ("max_connections", connections_max.into()),
        ("start_wait_secs", config.start_wait_secs.into()),
        ("generations", config.generations_max.into()),
        ("http_connections", config.http_connections_max.into()),
        ("http_head_timeout", HTTP_HEAD_TIMEOUT.as_secs()),
        ("admin_connections", ADMIN_CONNECTIONS_MAX as u64),
        ("admin_head_timeout", HTTP_HEAD_TIMEOUT.as_secs()),
        ("reload_disconnects", WITHDRAWALS_PER_SEC_MAX),
        ("sessions", config.sessions_max.into()),
        ("sessions_share_percent", config.sessions_share_percent.into()),
        ("share_tries", config.share_tries_max.into()),
        ("retained_messages", config.retained_messages_max as u64),
        ("retained_bytes", config.retained_bytes_max as u64),
        ("tls_handshakes", config.tls.handshakes_max.into()),
        ("tls_file_bytes", TLS_FILE_BYTES_MAX),
        ("connect_timeout_secs", config.connect_timeout_secs.into()),
        ("keep_alive_secs", limits.keep_alive_max_secs.into()),
        ("keep_alive_default_secs", limits.keep_alive_default_secs.into()),
        ("tcp_keepalive_secs", config.tcp_keepalive_secs.into()),
        ("session_expiry_secs", limits.session_expiry_max_secs.into()),
        ("input_bytes", config.input_bytes_max),
        ("packet_rate", config.packet_rate_min.into()),
        ("packet_bytes", limits.packet_bytes_max.into()),
        ("receive_maximum", limits.receive_max.into()),
        ("inflight", limits.inflight_max.into()),
        ("outbox_messages", limits.outbox_messages_max.into()),
        ("outbox_bytes", limits.outbox_bytes_max),
        ("outbox_age_secs", config.outbox_age_max_secs.into()),
        ("mailbox", MAILBOX_MESSAGES_MAX as u64),
        ("letters", LETTERS_MAX as u64),
        ("owners", OWNERS_MAX as u64),
        ("doors", DOORS_MAX as u64),
        ("door", DOOR_MESSAGES_MAX as u64),
        ("door_followed", DOOR_FOLLOWED_MAX as u64),
        ("store", STORE_BACKLOG_BYTES_MAX),
        ("store_shared_messages", SHARED_MESSAGES_MAX as u64),
        ("removals", UNREMOVED_MAX as u64),
        ("changes", CHANGES_MAX as u64),
        ("filter_removals", UNREMOVED_FILTER_BYTES_MAX as u64),
        ("wills", UNPUBLISHED_WILL_BYTES_MAX as u64),
        ("answers", limits.answers_bytes_max.into()),
        ("topic_aliases", limits.topic_alias_max.into()),
        ("topic_aliases_sent", limits.topic_alias_send_max.into()),
        ("subscriptions", limits.subscriptions_max.into()),
        ("subscription_bytes", limits.subscription_bytes_max.into()),
        ("client_id_bytes", limits.client_id_bytes_max.into()),
        ("ping_rate", limits.ping_rate.per_sec.into()),
        ("ping_burst", limits.ping_rate.burst.into()),
        ("topic_levels", limits.topic_levels_max.into()),
        ("topic_bytes", limits.topic_bytes_max.into()),
        ("connect_rate", config.admission.connect_rate.per_sec.into()),
        ("connect_burst", config.admission.connect_rate.burst.into()),
        ("connect_room", WAITING_ROOM_MAX as u64),
        ("address_waiting", config.admission.address_waiting_max.into()),
        ("address_connections", config.admission.address_connections_max.into()),
        ("addresses", ADDRESSES_MAX as u64),
        ("auth_failures", config.admission.auth_failures.into()),
        ("user_connections", config.client_limits.user_connections_max.into()),
        ("publish_rate", config.client_limits.publish.per_sec.into()),
        ("publish_burst", config.client_limits.publish.burst.into()),
        ("publish_bytes_rate", config.client_limits.publish_bytes.per_sec.into()),
        ("publish_bytes_burst", config.client_limits.publish_bytes.burst.into()),
        ("subscribe_rate", config.client_limits.subscribe.per_sec.into()),
        ("subscribe_burst", config.client_limits.subscribe.burst.into()),
        ("connect_bytes", limits.connect_bytes_max.into()),
        ("upgrade_head", UPGRADE_HEAD_BYTES_MAX as u64),
        ("proxy_header", PROXY_HEADER_BYTES_MAX as u64),
        ("tls_handshake_input", HANDSHAKE_INPUT_BYTES_MAX as u64),
    ]
}

#[cfg(test)]
mod tests;

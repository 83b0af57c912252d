//! A shard's counters: written by the shard alone (relaxed), read by `control`.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::ports::WireFaults;

/// A counter or gauge with one writer.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds. There is one writer only, so a load and a store do.
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// Subtracts; for gauges.
    pub fn sub(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_sub(n), Ordering::Relaxed);
    }

    /// Sets; for gauges.
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// The value now.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How long turns took: a histogram with one writer.
#[derive(Default)]
pub struct TurnTimes {
    buckets: [Counter; TURN_BUCKETS.len() + 1],
    sum_nanos: Counter,
}

/// Upper ends of the histogram's buckets, in seconds, without the last bucket, which has none.
pub const TURN_BUCKETS: [f64; 10] =
    [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1, 1.0];

impl TurnTimes {
    /// A turn took so long.
    pub(crate) fn record(&self, took: Duration) {
        let secs = took.as_secs_f64();
        let bucket = TURN_BUCKETS.iter().position(|end| secs <= *end);
        self.buckets[bucket.unwrap_or(TURN_BUCKETS.len())].add(1);
        self.sum_nanos.add(took.as_nanos() as u64);
    }

    /// How many turns each bucket has.
    pub fn buckets(&self) -> [u64; TURN_BUCKETS.len() + 1] {
        std::array::from_fn(|bucket| self.buckets[bucket].value())
    }

    /// The sum of all turns, in seconds.
    pub fn sum_secs(&self) -> f64 {
        Duration::from_nanos(self.sum_nanos.value()).as_secs_f64()
    }
}

impl fmt::Debug for TurnTimes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.buckets()).finish()
    }
}

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// The counters of one shard.
        #[derive(Debug, Default)]
        #[repr(align(128))]
        pub struct ShardCounters {
            $($(#[doc = $doc])+ pub $name: Counter,)+
            /// `push_shard_turn_seconds`: from the end of a wait to the next one.
            pub turn_times: TurnTimes,
        }
    };
}

counters! {
    /// Gauge: open sockets, from accept on (`push_connections`).
    connections,
    /// Gauge: sessions, with a connection or without (`push_sessions`).
    sessions,
    /// Gauge: subscriptions.
    subscriptions,
    /// Gauge: connections that the kernel answers for (armed slots).
    armed,
    /// Pings answered in user space (`push_pings_total{path="user"}`).
    pings_user,
    /// Sessions (connections) expired by keep alive (`push_sessions_expired_total`).
    expired,
    /// `push_connections_unanswered_total`: TCP gave up on the peer, which had answered neither probes
    /// nor what was sent.
    unanswered,
    /// `push_connects_total{result="accepted"}`.
    connects_accepted,
    /// `push_connects_accepted_total{version="3.1"}`.
    connects_v31,
    /// `push_connects_accepted_total{version="3.1.1"}`.
    connects_v311,
    /// `push_connects_accepted_total{version="5"}`.
    connects_v5,
    /// `push_connects_bridge_total`: accepted bridges of other brokers.
    connects_bridge,
    /// `push_connects_total{result="refused"}`: a CONNACK with a reason.
    connects_refused,
    /// `push_connects_total{result="malformed"}`: closed without CONNACK.
    connects_malformed,
    /// `push_connects_total{result="timeout"}`: no CONNECT in time.
    connects_timeout,
    /// `push_authentications_total{result="accepted"}`: re-authentications included.
    authentications_accepted,
    /// `push_authentications_total{result="refused"}`: clients without credentials included.
    authentications_refused,
    /// `push_authentications_expired_total`: closed when what had proved who they are expired.
    authentications_expired,
    /// `push_authentications_refused_total{reason="no_proof"}`: the client did not ask to authenticate, and has to.
    denied_no_proof,
    /// `push_authentications_refused_total{reason="unknown_method"}`.
    denied_unknown_method,
    /// `push_authentications_refused_total{reason="invalid_proof"}`: no message of the method.
    denied_invalid_proof,
    /// `push_authentications_refused_total{reason="unknown_user"}`.
    denied_unknown_user,
    /// `push_authentications_refused_total{reason="wrong_password"}`.
    denied_wrong_password,
    /// `push_authentications_refused_total{reason="other_user"}`: re-authentication as another user.
    denied_other_user,
    /// `push_authentications_refused_total{reason="certificate"}`: it names no user.
    denied_certificate,
    /// `push_authentications_refused_total{reason="token"}`: it is none, or does not count.
    denied_token,
    /// `push_authentications_refused_total{reason="expired_token"}`.
    denied_expired_token,
    /// `push_authentications_refused_total{reason="no_user"}`: its user's name would be its client id.
    denied_no_user,
    /// `push_authentications_refused_total{reason="other_name"}`: CONNECT has another name than what proves the user.
    denied_other_name,
    /// `push_authentications_refused_total{reason="busy"}`: too many wait for an answer.
    denied_busy,
    /// `push_authentications_refused_total{reason="hook_denied"}`.
    denied_by_hook,
    /// `push_authentications_refused_total{reason="hook_failed"}`: no valid answer in time, or it rests.
    denied_hook_failed,
    /// `push_authentications_refused_total{reason="hook_busy"}`: too many wait for it.
    denied_hook_busy,
    /// `push_authentications_refused_total{reason="banned"}`: after too many failures.
    denied_banned,
    /// `push_authentications_refused_total{reason="tokens_busy"}`: too many tokens wait to be checked.
    denied_tokens_busy,
    /// `push_authentications_refused_total{reason="unanswered"}`: no answer in time, or none at all.
    denied_unanswered,
    /// `push_authorizations_total{action="publish",result="allowed"}`: publishes that the client's rules have.
    authorized_publish,
    /// `push_authorizations_total{action="publish",result="denied"}`.
    unauthorized_publish,
    /// `push_authorizations_total{action="subscribe",result="allowed"}`: filters that the client's rules have.
    authorized_subscribe,
    /// `push_authorizations_total{action="subscribe",result="denied"}`.
    unauthorized_subscribe,
    /// `push_authorizations_total{action="will",result="allowed"}`: wills, at CONNECT and when they are published that the client's rules have.
    authorized_will,
    /// `push_authorizations_total{action="will",result="denied"}`.
    unauthorized_will,
    /// `push_authorizations_total{action="receive",result="allowed"}`: messages for a client that the client's rules have.
    authorized_receive,
    /// `push_authorizations_total{action="receive",result="denied"}`.
    unauthorized_receive,
    /// `push_publishes_received_total`.
    publishes_received,
    /// `push_door_publishes_total`: messages that came in from outside the shards.
    door_publishes,
    /// `push_publishes_cut_total`: publishes that needed more than one turn of their session.
    publishes_cut,
    /// `push_turns_ended_total`: a session's turn that ended with work left.
    turns_ended,
    /// `push_turns_cut_total{by="timers"}`: turns that left due timers to the next one.
    cut_timers,
    /// `push_turns_cut_total{by="completions"}`: turns that left completions of the store to the next one.
    cut_completions,
    /// `push_turns_cut_total{by="discards"}`: turns that left memory of ended connections to the next one.
    cut_discards,
    /// `push_turns_cut_total{by="tls"}`: turns that left steps of handshakes to the next one.
    cut_tls_steps,
    /// `push_turns_cut_total{by="tables"}`: turns that left answer tables that run low to the next one.
    cut_tables,
    /// `push_kernel_path_tables_filled_total`.
    tables_filled,
    /// Gauge: how long the longest-waiting session has waited, in ms (`push_work_wait_ms_max`).
    longest_wait_millis,
    /// `push_publishes_sent_total`.
    publishes_sent,
    /// `push_publishes_dropped_total{reason="outbox_full"}`.
    dropped_outbox_full,
    /// `push_publishes_dropped_total{reason="absent"}`: QoS 0 for a session without connection.
    dropped_absent,
    /// `push_publishes_dropped_total{reason="expired"}`: message expiry interval.
    dropped_expired,
    /// `push_publishes_dropped_total{reason="too_large"}`: above the client's maximum packet size.
    dropped_too_large,
    /// `push_publishes_dropped_total{reason="stale"}`: older than `--outbox-age-max-secs`.
    dropped_stale,
    /// `push_publishes_dropped_total{reason="store"}`: the store failed.
    dropped_store,
    /// `push_publishes_dropped_total{reason="session_ended"}`: owed to a session that ended.
    dropped_session_ended,
    /// `push_publishes_dropped_total{reason="no_member"}`: no member of a group could take it.
    dropped_no_member,
    /// `push_publishes_dropped_total{reason="reserved_topic"}`: published to a topic that begins with `$`.
    dropped_reserved_topic,
    /// `push_publishes_dropped_total{reason="topic_levels"}`: more levels than `--topic-levels-max`.
    dropped_topic_levels,
    /// `push_publishes_dropped_total{reason="topic_bytes"}`: a topic longer than `--topic-bytes-max`.
    dropped_topic_bytes,
    /// `push_publishes_dropped_total{reason="denied"}`: the policy does not let the publisher publish it, or the
    /// receiver have it.
    dropped_denied,
    /// `push_shared_passed_on_total`: messages that a member has handed on to another.
    shared_passed_on,
    /// `push_store_removals_retried_total`: removals of sessions, filters and acknowledged messages that worked,
    /// though not at the first try.
    removals_retried,
    /// `push_limits_hit_total{limit="descriptors"}`: accept paused.
    limit_descriptors,
    /// `push_limits_hit_total{limit="max_connections"}`: accept paused.
    limit_connections,
    /// `push_limits_hit_total{limit="listener_connections"}`: accept paused at one listener.
    limit_listener_connections,
    /// `push_limits_hit_total{limit="receive_buffers"}`.
    limit_receive_buffers,
    /// `push_limits_hit_total{limit="mailbox"}`: publishers paused.
    limit_mailbox,
    /// `push_limits_hit_total{limit="letters"}`: publisher paused.
    limit_letters,
    /// `push_limits_hit_total{limit="owners"}`: a session stays where it is.
    limit_owners,
    /// `push_limits_hit_total{limit="store"}`: publishers paused.
    limit_store,
    /// `push_limits_hit_total{limit="removals"}`: a session that ended may be back after a restart.
    limit_removals,
    /// `push_limits_hit_total{limit="changes"}`: a message that was acknowledged while the disk failed may come
    /// again after a restart.
    limit_changes,
    /// `push_limits_hit_total{limit="filter_removals"}`: a filter that was unsubscribed from may be back after a
    /// restart.
    limit_filter_removals,
    /// `push_limits_hit_total{limit="wills"}`: a will that could not be stored is not published again.
    limit_wills,
    /// `push_limits_hit_total{limit="outbox"}`: slow consumer disconnected.
    limit_outbox,
    /// `push_limits_hit_total{limit="outbox_refused"}`: publisher told, by `--outbox-full refuse`.
    limit_outbox_refused,
    /// `push_limits_hit_total{limit="subscriptions"}`.
    limit_subscriptions,
    /// `push_limits_hit_total{limit="subscription_bytes"}`.
    limit_subscription_bytes,
    /// `push_limits_hit_total{limit="subscription_bytes_total"}`: of all sessions.
    limit_subscription_bytes_total,
    /// `push_limits_hit_total{limit="subscriptions_share"}`: of a network or user.
    limit_subscriptions_share,
    /// `push_limits_hit_total{limit="session_bytes_total"}`: client refused.
    limit_session_bytes_total,
    /// `push_limits_hit_total{limit="will_bytes_total"}`: client refused.
    limit_will_bytes_total,
    /// `push_limits_hit_total{limit="wills_share"}`: client refused.
    limit_wills_share,
    /// `push_limits_hit_total{limit="inflight_bytes_total"}`: not delivered, or publish refused.
    limit_inflight_bytes_total,
    /// `push_limits_hit_total{limit="inflight_share"}`: the same for a network or user.
    limit_inflight_share,
    /// `push_limits_hit_total{limit="queue_bytes"}`: messages not taken because all outboxes together are
    /// full.
    limit_queue_bytes,
    /// `push_limits_hit_total{limit="sending_bytes_total"}`: sends cut short because all sends together are at
    /// their limit.
    limit_sending_bytes_total,
    /// `push_limits_hit_total{limit="sessions_left_out"}`: client refused, whose session is on disk alone.
    limit_sessions_left_out,
    /// `push_limits_hit_total{limit="auth_queue"}`: client refused.
    limit_auth_queue,
    /// `push_limits_hit_total{limit="auth_hook"}`: client refused.
    limit_auth_hook,
    /// `push_limits_hit_total{limit="reload_disconnects"}`: a client that has to go waits for others.
    limit_withdrawals,
    /// `push_limits_hit_total{limit="connect_rate"}`: a socket waits.
    limit_connect_rate,
    /// `push_limits_hit_total{limit="address_waiting"}`: socket closed.
    limit_address_waiting,
    /// `push_limits_hit_total{limit="address_connections"}`: client refused.
    limit_address_connections,
    /// `push_limits_hit_total{limit="user_connections"}`: client refused.
    limit_user_connections,
    /// `push_limits_hit_total{limit="auth_failures"}`: client refused unheard.
    limit_auth_failures,
    /// `push_limits_hit_total{limit="publish_rate"}`: reading pauses.
    limit_publish_rate,
    /// `push_limits_hit_total{limit="publish_rate_closed"}`: client disconnected.
    limit_publish_rate_closed,
    /// `push_limits_hit_total{limit="subscribe_rate"}`: filters refused.
    limit_subscribe_rate,
    /// `push_limits_hit_total{limit="topic_bytes"}`: publish dropped, or filter refused.
    limit_topic_bytes,
    /// `push_limits_hit_total{limit="connect_bytes"}`: connection closed.
    limit_connect_bytes,
    /// `push_limits_hit_total{limit="auth_tokens"}`: client refused.
    limit_auth_tokens,
    /// `push_limits_hit_total{limit="client_id_bytes"}`: client refused.
    limit_client_id_bytes,
    /// `push_limits_hit_total{limit="retained"}`.
    limit_retained,
    /// `push_limits_hit_total{limit="retained_backlog"}`: a client subscribes on and on, and takes nothing.
    limit_backlog,
    /// `push_limits_hit_total{limit="answers"}`: a client sends on and on, and reads no answers.
    limit_answers,
    /// `push_limits_hit_total{limit="ping_rate"}`: client disconnected.
    limit_ping_rate,
    /// `push_limits_hit_total{limit="packet_bytes"}`.
    limit_packet_bytes,
    /// `push_limits_hit_total{limit="input_bytes"}`: client disconnected.
    limit_input_bytes,
    /// `push_limits_hit_total{limit="packet_rate"}`: client disconnected.
    limit_packet_rate,
    /// `push_limits_hit_total{limit="share_tries"}`: members of a group were not asked.
    limit_share_tries,
    /// `push_limits_hit_total{limit="sessions"}`.
    limit_sessions,
    /// `push_limits_hit_total{limit="sessions_share"}`: client refused.
    limit_sessions_share,
    /// `push_limits_hit_total{limit="sessions_unused"}`: an unused session has ended for a new one.
    limit_sessions_unused,
    /// `push_limits_hit_total{limit="upgrade_head"}`: request for WebSocket refused.
    limit_upgrade_head,
    /// `push_limits_hit_total{limit="proxy_header"}`.
    limit_proxy_header,
    /// `push_limits_hit_total{limit="tls_handshakes"}`: a handshake waits.
    limit_tls_handshakes,
    /// `push_limits_hit_total{limit="tls_handshake_input"}`: connection closed.
    limit_tls_handshake_input,
    /// `push_kernel_path_declined_total{reason="no_slot"}`: connection served in user space.
    unarmed_no_slot,
    /// `push_kernel_path_declined_total{reason="no_table"}`.
    unarmed_no_table,
    /// `push_kernel_path_declined_total{reason="flow_map"}`.
    unarmed_flow_map,
    /// `push_kernel_path_declined_total{reason="out_of_order"}`.
    unarmed_out_of_order,
    /// `push_kernel_path_declined_total{reason="early_fragment"}`.
    unarmed_early_fragment,
    /// `push_kernel_path_declined_total{reason="fine_timestamps"}`.
    unarmed_fine_timestamps,
    /// `push_kernel_path_declined_total{reason="uncovered_interface"}`.
    unarmed_interface,
    /// `push_kernel_path_declined_total{reason="socket"}`.
    unarmed_socket,
    /// `push_kernel_path_declined_total{reason="unix_socket"}`.
    unarmed_unix,
    /// `push_kernel_path_declined_total{reason="layers"}`.
    unarmed_layers,
    /// `push_tls_handshakes_total{result="completed",resumed="no",version="1.2"}`.
    tls_12_full,
    /// `push_tls_handshakes_total{result="completed",resumed="yes",version="1.2"}`.
    tls_12_resumed,
    /// `push_tls_handshakes_total{result="completed",resumed="no",version="1.3"}`.
    tls_13_full,
    /// `push_tls_handshakes_total{result="completed",resumed="yes",version="1.3"}`.
    tls_13_resumed,
    /// `push_tls_handshakes_total{result="failed"}`, before a version was chosen.
    tls_failed,
    /// `push_tls_handshakes_total{result="failed",version="1.2"}`.
    tls_12_failed,
    /// `push_tls_handshakes_total{result="failed",version="1.3"}`.
    tls_13_failed,
    /// `push_tls_handshakes_total{result="left"}`: the client has gone, or given up.
    tls_left,
    /// `push_tls_handshakes_total{result="timeout"}`.
    tls_timed_out,
    /// `push_tls_handshakes_total{result="gave_way"}`: the client was silent, and others waited.
    tls_gave_way,
    /// `push_strangers_total{protocol="tls"}`: TLS at an address without.
    strangers_tls,
    /// `push_strangers_total{protocol="http"}`: HTTP at an address for MQTT.
    strangers_http,
    /// `push_strangers_total{protocol="mqtt"}`: bare MQTT at an address for TLS or WebSocket.
    strangers_mqtt,
    /// `push_strangers_total{protocol="proxy"}`: a PROXY header at a listener without.
    strangers_proxy,
    /// `push_websocket_origins_refused_total`: requests of pages that may not connect.
    origins_refused,
    /// `push_proxied_connections_total{result="told"}`: a proxy has named its client.
    proxied_told,
    /// `push_proxied_connections_total{result="local"}`: a proxy for itself, or for whom it does not know.
    proxied_local,
    /// `push_proxied_connections_total{result="faulty"}`: no header, a wrong one, or none in time.
    proxied_faulty,
    /// `push_proxied_connections_total{result="untrusted"}`: no proxy of `--trusted-proxies`.
    proxied_untrusted,
    /// `push_session_moves_total{result="moved"}`: to another shard.
    sessions_moved,
    /// `push_session_moves_total{result="stayed"}`.
    moves_refused,
    /// `push_reload_disconnects_total{reason="anonymous"}`: clients that nobody knows may not connect any more.
    withdrawn_anonymous,
    /// `push_reload_disconnects_total{reason="user"}`: the user is gone.
    withdrawn_user,
    /// `push_reload_disconnects_total{reason="password"}`: the user has another one.
    withdrawn_password,
    /// `push_reload_disconnects_total{reason="certificate"}`: revoked, or its signer is not trusted any more.
    withdrawn_certificate,
    /// `push_reload_disconnects_total{reason="subscription"}`: it is not allowed any more.
    withdrawn_subscription,
    /// Completions of operations whose connection is gone.
    stale_completions,
    /// `push_ring_faults_total{kind="stale"}`, from `WireFaults`, like the next three.
    ring_stale,
    /// `push_ring_faults_total{kind="wake_failed"}`.
    ring_wake_failed,
    /// `push_ring_faults_total{kind="watch_failed"}`.
    ring_watch_failed,
    /// `push_ring_faults_total{kind="queue_full"}`.
    ring_queue_full,
    /// Turns of the shard's loop, at least one a second: `/healthz` fails while this stands still.
    loop_turns,
}

impl ShardCounters {
    /// Copies the counts of the shard's wire.
    pub(super) fn set_ring_faults(&self, faults: WireFaults) {
        let WireFaults { stale, wake_failed, watch_failed, queue_full } = faults;
        self.ring_stale.set(stale);
        self.ring_wake_failed.set(wake_failed);
        self.ring_watch_failed.set(watch_failed);
        self.ring_queue_full.set(queue_full);
    }
}

use std::time::{Duration, Instant};

use super::super::observed::tests::{kernel_path, observed, user_path};
use super::*;

#[test]
fn metric_names_are_exactly_those_promised() {
    let kernel = vec![
        KernelCounter { name: "answered", class: Class::Answered, value: 41 },
        KernelCounter { name: "flow_map", class: Class::Declined, value: 2 },
        KernelCounter { name: "pending", class: Class::Declined, value: 3 },
        KernelCounter { name: "absorbed", class: Class::Step, value: 50 },
    ];
    let (observed, counters) = observed(kernel_path(kernel), Instant::now());
    counters[0].connections.add(7);
    counters[1].connections.add(1);
    counters[0].sessions.add(9);
    counters[1].pings_user.add(5);
    counters[0].expired.add(6);
    counters[0].connects_accepted.add(11);
    counters[0].publishes_received.add(12);
    counters[0].publishes_sent.add(13);
    counters[0].dropped_outbox_full.add(14);
    counters[0].limit_descriptors.add(15);
    observed.facts.memory.wills.add(700);
    counters[0].unarmed_flow_map.add(1);
    for micros in [90, 900, 2_000_000] {
        counters[0].turn_times.record(Duration::from_micros(micros));
    }
    counters[0].longest_wait_millis.set(7);
    counters[1].longest_wait_millis.set(40);
    let text = Metrics::new(Arc::new(observed)).text().expect("text");
    for line in [
        "push_connections 8",
        "push_reload_last_success 1",
        r#"push_reload_disconnects_total{reason="certificate"} 0"#,
        r#"push_limits_hit_total{limit="reload_disconnects"} 0"#,
        r#"push_limit{limit="reload_disconnects"} 1000"#,
        "push_sessions 9",
        r#"push_pings_total{path="kernel"} 41"#,
        r#"push_pings_total{path="user"} 5"#,
        r#"push_kernel_path_declined_total{reason="flow_map"} 3"#,
        r#"push_kernel_path_declined_total{reason="pending"} 3"#,
        r#"push_kernel_path_declined_total{reason="no_slot"} 0"#,
        r#"push_kernel_path_events_total{event="absorbed"} 50"#,
        r#"push_kernel_path_active{reason=""} 1"#,
        "push_sessions_expired_total 6",
        r#"push_connects_total{result="accepted"} 11"#,
        "push_publishes_received_total 12",
        "push_publishes_sent_total 13",
        r#"push_publishes_dropped_total{reason="outbox_full"} 14"#,
        r#"push_limits_hit_total{limit="descriptors"} 15"#,
        r#"push_limits_hit_total{limit="generations"} 0"#,
        r#"push_limit{limit="generations"} 8"#,
        r#"push_limit{limit="start_wait_secs"} 10"#,
        r#"push_start_waited_ms{for="data_dir"} 0"#,
        r#"push_limit{limit="max_connections"} 19000"#,
        r#"push_limit{limit="will_bytes_total"} 33554432"#,
        r#"push_session_memory_bytes{kind="wills"} 700"#,
        r#"push_limit{limit="packet_bytes"} 16777216"#,
        "process_start_time_seconds 1700000000",
        concat!(r#"push_build_info{version=""#, env!("CARGO_PKG_VERSION"), r#""} 1"#),
        "# TYPE push_connections gauge",
        "# TYPE push_pings counter",
        "# TYPE push_shard_turn_seconds histogram",
        r#"push_shard_turn_seconds_bucket{le="0.001"} 2"#,
        r#"push_shard_turn_seconds_bucket{le="+Inf"} 3"#,
        "push_shard_turn_seconds_count 3",
        "push_work_wait_ms_max 40",
        "# EOF",
    ] {
        assert!(text.lines().any(|found| found == line), "no `{line}` in:\n{text}");
    }
}

#[test]
fn the_user_path_gives_its_reason() {
    let (observed, _) = observed(user_path(), Instant::now());
    let text = Metrics::new(Arc::new(observed)).text().expect("text");
    assert!(text.contains("push_kernel_path_active{reason=\"CAP_BPF is missing\"} 0\n"), "{text}");
    assert!(text.contains("push_pings_total{path=\"kernel\"} 0\n"), "{text}");
}

#[test]
fn every_counter_of_a_shard_reaches_the_text() {
    let (observed, counters) = observed(user_path(), Instant::now());
    let all = GAUGES.iter().chain(COUNTERS).map(|(_, _, pick)| pick);
    let all = all.chain(FAMILIES.iter().flat_map(|family| family.samples).map(|(_, pick)| pick));
    let all = all.chain(UNARMED.iter().map(|(_, pick)| pick));
    let all = all.chain(handshakes::SAMPLES.iter().map(|(_, pick)| pick));
    let all = all.chain(authorizations::SAMPLES.iter().map(|(_, pick)| pick));
    let all = all.chain(reloads::SAMPLES.iter().map(|(_, pick)| pick));
    for pick in all {
        pick(&counters[0]).add(1_000_003);
    }
    counters[0].pings_user.add(1_000_003);
    counters[0].longest_wait_millis.set(1_000_003);
    // `Debug` names every field: those still zero are counters that no metric reads.
    let unread = format!("{:?}", counters[0]);
    assert_eq!(unread.matches("Counter(0)").count(), 1, "only loop_turns: {unread}");
    let text = Metrics::new(Arc::new(observed)).text().expect("text");
    let fields = unread.matches("Counter(").count() - 1;
    assert_eq!(text.matches(" 1000003\n").count(), fields, "{text}");
}

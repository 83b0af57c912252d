//! The HTTP port: `/metrics`, `/healthz`, `/readyz`.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use push_tests::both_paths;
use push_tests::clients::{Client, Connect};
use push_tests::server::{PingPath, Server};
use push_tests::skip::TestResult;
use push_tests::stand_in;
use push_tests::wire::Version;

/// The names of the issue, to be kept.
const NAMES: [&str; 10] = [
    "push_connections",
    "push_sessions",
    "push_pings_total",
    "push_kernel_path_declined_total",
    "push_sessions_expired_total",
    "push_connects_total",
    "push_publishes_received_total",
    "push_publishes_sent_total",
    "push_publishes_dropped_total",
    "push_limits_hit_total",
];

both_paths! {
    metrics_have_every_name_from_the_start,
    counters_follow_what_happens,
    pings_are_counted_once_on_their_path,
    health_and_readiness_are_told,
    the_start_up_log_names_the_path_and_the_limits,
    silent_http_connections_keep_no_probe_out,
}

fn metrics_have_every_name_from_the_start(path: PingPath) -> TestResult {
    stand_in::not_for("has no HTTP port")?;
    let server = Server::with(path).start()?;
    let metrics = server.metrics();
    for name in NAMES {
        assert!(metrics.has_name(name), "{name} is missing:\n{}", metrics.text());
    }
    for label in ["kernel", "user"] {
        let sample = format!("push_pings_total{{path=\"{label}\"}}");
        assert_eq!(metrics.find(&sample), Some(0), "{}", metrics.text());
    }
    let answer = server.http("/metrics").expect("metrics");
    assert!(answer.head.to_lowercase().contains("content-type: "), "{}", answer.head);
    server.finish();
    Ok(())
}

fn counters_follow_what_happens(path: PingPath) -> TestResult {
    stand_in::not_for("has no HTTP port")?;
    let server = Server::with(path).start()?;
    let target = server.target();
    let mut subscriber = Client::connect(target, &Connect::new(Version::V5, "subscriber"));
    subscriber.subscribe(&[("count", 0)]);
    let sleeper = Connect::new(Version::V5, "sleeper").persistent();
    Client::connect(target, &sleeper).disconnect();
    let mut publisher = Client::connect(target, &Connect::new(Version::V5, "publisher"));
    for _ in 0..7 {
        publisher.publish("count", b"1", 1);
        subscriber.message();
    }
    server.wait_metric("push_publishes_sent_total", |count| count == 7);
    let metrics = server.metrics();
    assert_eq!(metrics.value("push_publishes_received_total"), 7);
    assert_eq!(metrics.value("push_connects_total{result=\"accepted\"}"), 3);
    server.wait_metric("push_connections", |count| count == 2);
    assert_eq!(server.metrics().value("push_sessions"), 3);
    server.finish();
    Ok(())
}

fn pings_are_counted_once_on_their_path(path: PingPath) -> TestResult {
    stand_in::not_for("has no HTTP port")?;
    const PINGS: u64 = 10;
    let server = Server::with(path).start()?;
    let mut client = Client::connect(server.target(), &Connect::new(Version::V311, "pinger"));
    for _ in 0..PINGS {
        std::thread::sleep(std::time::Duration::from_millis(100));
        client.ping();
    }
    server.expect_pings(PINGS);
    server.finish();
    Ok(())
}

fn health_and_readiness_are_told(path: PingPath) -> TestResult {
    stand_in::not_for("has no HTTP port")?;
    let server = Server::with(path).start()?;
    for page in ["/healthz", "/readyz"] {
        assert_eq!(server.http(page).expect(page).status, 200, "{page}");
    }
    let root = server.http("/").expect("an answer");
    assert_eq!(root.status, 200);
    for page in ["/healthz", "/readyz", "/metrics"] {
        assert!(root.body.contains(page), "{page} is not listed: {}", root.body);
    }
    assert_eq!(server.http("/nothing-here").expect("an answer").status, 404);
    server.finish();
    Ok(())
}

fn the_start_up_log_names_the_path_and_the_limits(path: PingPath) -> TestResult {
    stand_in::not_for("has no HTTP port")?;
    let server = Server::with(path).start()?;
    server.wait_log(match path {
        PingPath::Kernel => "answered by the kernel",
        PingPath::User => "answered in user space",
    });
    for limit in ["RLIMIT_NOFILE", "RLIMIT_MEMLOCK"] {
        server.wait_log(limit);
    }
    server.finish();
    Ok(())
}

fn silent_http_connections_keep_no_probe_out(path: PingPath) -> TestResult {
    stand_in::not_for("has no HTTP port")?;
    // Three times the places, and the listen queue of 128 as well.
    const SILENT: u64 = 193;
    const PLACES: u64 = 64;
    let server = Server::with(path).start()?;
    let mut silent: Vec<TcpStream> = (0..SILENT)
        .map(|_| {
            let mut stream = TcpStream::connect(server.http_address()).expect("connect");
            stream.write_all(b"GET /healthz HT").expect("send a part of a request");
            stream
        })
        .collect();
    assert_eq!(server.http("/healthz").expect("a probe's answer").status, 200);
    let gave_way = "push_limits_hit_total{limit=\"http_connections\"}";
    server.wait_metric(gave_way, |count| count > SILENT - PLACES);
    // Those that were silent the longest.
    let mut rest = Vec::new();
    let ended = silent[0].read_to_end(&mut rest);
    assert!(ended.is_err() || rest.is_empty(), "{rest:?}");
    server.wait_metric("push_limits_hit_total{limit=\"http_head_timeout\"}", |count| count > 0);
    server.finish();
    Ok(())
}

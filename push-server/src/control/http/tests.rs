use std::io::{Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use super::super::http_limits::{HTTP_HEAD_BYTES_MAX, HTTP_HEADERS_MAX};
use super::super::observed::tests::{observed, user_path};
use super::super::observed::{SHARD_STALL_MAX, WORK_WAIT_MAX};
use super::*;

async fn served(observed: Arc<Observed>, limits: HttpLimits) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let address = listener.local_addr().expect("address");
    tokio::spawn(serve(listener, observed, limits));
    address
}

/// Sends `request` and reads until the server closes.
async fn answer(address: SocketAddr, request: impl Into<Vec<u8>>) -> String {
    let request = request.into();
    let client = move || {
        let mut stream = std::net::TcpStream::connect(address).expect("connect");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("timeout");
        // The server may close before it has read everything.
        let _ = stream.write_all(&request);
        let mut answer = Vec::new();
        let mut chunk = [0; 4096];
        while let Ok(read @ 1..) = stream.read(&mut chunk) {
            answer.extend_from_slice(&chunk[..read]);
        }
        String::from_utf8_lossy(&answer).into_owned()
    };
    tokio::task::spawn_blocking(client).await.expect("client")
}

async fn get(address: SocketAddr, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nhost: push\r\nconnection: close\r\n\r\n");
    answer(address, request).await
}

#[tokio::test]
async fn metrics_are_open_metrics_text() {
    let (observed, counters) = observed(user_path(), Instant::now());
    let address = served(Arc::new(observed), HttpLimits::new(64)).await;
    counters[0].connections.add(3);
    let answer = get(address, "/metrics").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains(CONTENT_TYPE), "{answer}");
    assert!(answer.contains("\npush_connections 3\n"), "{answer}");
    assert!(answer.ends_with("# EOF\n"), "{answer}");
}

#[tokio::test]
async fn a_stopping_server_is_healthy_and_not_ready() {
    let (observed, _) = observed(user_path(), Instant::now());
    let observed = Arc::new(observed);
    let address = served(Arc::clone(&observed), HttpLimits::new(64)).await;
    assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 200"));
    observed.set_stopping();
    let answer = get(address, "/readyz").await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.ends_with("stopping\n"), "{answer}");
    assert!(get(address, "/healthz").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_shard_that_stands_still_fails_both_probes_by_name() {
    let long_ago = Instant::now().checked_sub(SHARD_STALL_MAX * 2).expect("uptime");
    let (observed, counters) = observed(user_path(), long_ago);
    counters[0].loop_turns.add(1);
    let address = served(Arc::new(observed), HttpLimits::new(64)).await;
    for path in ["/healthz", "/readyz"] {
        let answer = get(address, path).await;
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        assert!(answer.contains("shard 1 stands still for 10 s"), "{answer}");
    }
}

#[tokio::test]
async fn a_shard_that_starves_a_client_fails_both_probes_by_name() {
    let (observed, counters) = observed(user_path(), Instant::now());
    let address = served(Arc::new(observed), HttpLimits::new(64)).await;
    counters[1].longest_wait_millis.set(WORK_WAIT_MAX.as_millis() as u64);
    assert!(get(address, "/healthz").await.starts_with("HTTP/1.1 200"));
    counters[1].longest_wait_millis.set(7_000);
    for path in ["/healthz", "/readyz"] {
        let answer = get(address, path).await;
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        assert!(answer.contains("shard 1 has kept a client waiting for 7 s"), "{answer}");
    }
}

#[tokio::test]
async fn the_root_lists_what_there_is_and_the_rest_is_refused() {
    let (observed, _) = observed(user_path(), Instant::now());
    let address = served(Arc::new(observed), HttpLimits::new(64)).await;
    let root = get(address, "/").await;
    assert!(root.starts_with("HTTP/1.1 200"), "{root}");
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert!(root.contains(path), "no {path}: {root}");
    }
    assert!(get(address, "/nothing").await.starts_with("HTTP/1.1 404"));
    let post = "POST /metrics HTTP/1.1\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    assert!(answer(address, post).await.starts_with("HTTP/1.1 405"));
}

#[tokio::test]
async fn a_head_beyond_its_limits_is_refused() {
    let (observed, _) = observed(user_path(), Instant::now());
    let address = served(Arc::new(observed), HttpLimits::new(64)).await;
    let long = format!("GET /metrics HTTP/1.1\r\nx: {}", "x".repeat(HTTP_HEAD_BYTES_MAX * 2));
    let answered = answer(address, long).await;
    assert!(answered.is_empty() || answered.starts_with("HTTP/1.1 431"), "{answered}");
    let fields = "x: x\r\n".repeat(HTTP_HEADERS_MAX + 1);
    let many = format!("GET /metrics HTTP/1.1\r\n{fields}\r\n");
    let answered = answer(address, many).await;
    assert!(answered.starts_with("HTTP/1.1 431"), "{answered}");
}

#[tokio::test]
async fn a_client_that_says_nothing_makes_room_for_the_next() {
    let (observed, _) = observed(user_path(), Instant::now());
    let limits = HttpLimits {
        connections: 1,
        head_timeout: Duration::from_millis(100),
        ..HttpLimits::new(64)
    };
    let address = served(Arc::new(observed), limits).await;
    let silent = std::net::TcpStream::connect(address).expect("connect");
    assert!(get(address, "/healthz").await.starts_with("HTTP/1.1 200"));
    drop(silent);
}

#[tokio::test]
async fn a_connection_ends_even_when_its_client_keeps_asking() {
    let (observed, _) = observed(user_path(), Instant::now());
    let limits =
        HttpLimits { connection_timeout: Duration::from_millis(200), ..HttpLimits::new(64) };
    let address = served(Arc::new(observed), limits).await;
    let answers = answer(address, "GET /healthz HTTP/1.1\r\nhost: push\r\n\r\n").await;
    assert!(answers.starts_with("HTTP/1.1 200"), "closed by the server: {answers}");
}

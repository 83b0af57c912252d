//! Thousands of clients that only ping: every ping is answered, and by whom is counted.

use std::process::{Output, Stdio};

use push_tests::both_paths;
use push_tests::certificates::{Folder, LOCAL_NAMES};
use push_tests::server::{PingPath, Place, Server, Target, find_binary, raise_descriptor_limit};
use push_tests::skip::{Skip, TestResult};
use tempfile::TempDir;

/// Clients of the great run.
const CLIENTS: u64 = 2_000;
/// Between two pings of one client.
const INTERVAL_MS: u64 = 2_000;
/// How long they ping: the minute with `PUSH_LONG=1`, else enough for every client to ping
/// several times.
const SECONDS: u64 = 10;
const SECONDS_LONG: u64 = 60;

/// Share of pings that the kernel must answer on its path, in percent.
const KERNEL_SHARE_PERCENT_MIN: u64 = 95;

both_paths! {
    two_thousand_clients_get_every_ping_answered,
    clients_over_ipv6_loopback_get_every_ping_answered,
    clients_over_veth_get_every_ping_answered,
    clients_over_ipv6_veth_get_every_ping_answered,
    clients_over_tls_1_3_get_every_ping_answered,
    clients_over_tls_1_2_get_every_ping_answered,
    clients_over_tls_1_2_with_chacha20_get_every_ping_answered,
}

fn two_thousand_clients_get_every_ping_answered(path: PingPath) -> TestResult {
    raise_descriptor_limit();
    let server = Server::with(path).start()?;
    every_ping_is_answered(&server, CLIENTS, None)?;
    server.finish();
    Ok(())
}

fn clients_over_ipv6_loopback_get_every_ping_answered(path: PingPath) -> TestResult {
    let server = Server::with(path).place(Place::LoopbackV6).start()?;
    every_ping_is_answered(&server, 50, None)?;
    server.finish();
    Ok(())
}

fn clients_over_veth_get_every_ping_answered(path: PingPath) -> TestResult {
    let server = Server::with(path).place(Place::VethV4).start()?;
    every_ping_is_answered(&server, 50, None)?;
    server.finish();
    Ok(())
}

fn clients_over_ipv6_veth_get_every_ping_answered(path: PingPath) -> TestResult {
    let server = Server::with(path).place(Place::VethV6).start()?;
    every_ping_is_answered(&server, 50, None)?;
    server.finish();
    Ok(())
}

fn clients_over_tls_1_3_get_every_ping_answered(path: PingPath) -> TestResult {
    over_tls(path, &["--tls-version", "1.3"])
}

fn clients_over_tls_1_2_get_every_ping_answered(path: PingPath) -> TestResult {
    over_tls(path, &["--tls-version", "1.2"])
}

fn clients_over_tls_1_2_with_chacha20_get_every_ping_answered(path: PingPath) -> TestResult {
    let suite = "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256";
    over_tls(path, &["--tls-version", "1.2", "--tls-suite", suite])
}

fn over_tls(path: PingPath, tls: &[&str]) -> TestResult {
    let directory = TempDir::new().expect("make a directory");
    let folder = Folder::make(directory.path(), &LOCAL_NAMES).expect("make certificates");
    let server = Server::with(path).tls(&folder).start()?;
    every_ping_is_answered(&server, 200, Some((&folder, tls)))?;
    server.finish();
    Ok(())
}

/// By TCP, or with a folder's certificates and these words by TLS.
fn every_ping_is_answered(
    server: &Server,
    clients: u64,
    tls: Option<(&Folder, &[&str])>,
) -> Result<(), Skip> {
    // Whether a client of TLS 1.2 with AES-GCM counts its explicit nonces or mixes them, is seen where both part for the
    // first time. If that is a ping, it is left to user space.
    let is_gcm_12 = tls.is_some_and(|(_, words)| words == ["--tls-version", "1.2"]);
    let foretold_after = if is_gcm_12 { clients } else { 0 };
    let long = std::env::var("PUSH_LONG").is_ok_and(|value| value == "1");
    let seconds = if long { SECONDS_LONG } else { SECONDS };
    let report = match tls {
        None => push_load(server.target(), clients, seconds, &[])?,
        Some((folder, words)) => {
            let ca = folder.ca();
            let ca = ca.to_str().expect("a path in UTF-8");
            push_load(&server.tls(), clients, seconds, &[&["--tls", ca], words].concat())?
        }
    };
    let count = |key: &str| {
        report[key].as_u64().unwrap_or_else(|| panic!("push-load reports no {key}: {report}"))
    };
    let sent = count("sent");
    // Each client pings every interval; the first of them may come after an interval.
    let sent_min = clients * (seconds * 1_000 / INTERVAL_MS - 1);
    assert!(sent >= sent_min, "only {sent} pings sent of at least {sent_min}");
    assert_eq!(count("answered"), sent, "{report}");
    assert_eq!(count("missing"), 0, "{report}");
    for fault in ["skipped", "closed", "bad"] {
        assert_eq!(count(fault), 0, "{fault}: {report}");
    }

    let metrics = server.metrics();
    let (kernel, user) = (metrics.kernel_pings(), metrics.user_pings());
    // Each is counted once, on one path. While the last clients still connect the first ones ping
    // already, at most once each, and push-load does not count these.
    let counted = kernel + user;
    assert!((sent..=sent + clients).contains(&counted), "{counted} pings counted, {sent} sent");
    match server.path() {
        PingPath::User => assert_eq!(kernel, 0),
        PingPath::Kernel => assert!(
            kernel * 100 >= (counted - foretold_after) * KERNEL_SHARE_PERCENT_MIN,
            "the kernel answered {kernel} of {counted}; metrics:\n{}",
            metrics.text()
        ),
    }
    assert_eq!(metrics.value("push_sessions_expired_total"), 0, "a pinging client expired");
    Ok(())
}

/// Runs `push-load ping` to its end; the JSON object it ends with.
fn push_load(
    target: &Target,
    clients: u64,
    seconds: u64,
    more: &[&str],
) -> Result<serde_json::Value, Skip> {
    let binary = find_binary("PUSH_LOAD_BIN", "push-load")?;
    let Output { status, stdout, stderr } = target
        .command(binary)
        .args(["ping", "--target", &target.address.to_string()])
        .args(["--clients", &clients.to_string()])
        .args(["--interval-ms", &INTERVAL_MS.to_string()])
        .args(["--seconds", &seconds.to_string()])
        .args(more)
        .stdin(Stdio::null())
        .output()
        .expect("run push-load");
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "push-load ended with {status}:\n{stdout}{stderr}");
    // Events, a line each; the last one is the result.
    let report = serde_json::from_str(stdout.trim().lines().last().unwrap_or_default());
    Ok(report.unwrap_or_else(|error| panic!("push-load reports no JSON ({error}):\n{stdout}")))
}

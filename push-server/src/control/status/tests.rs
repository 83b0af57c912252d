use super::super::observed::tests::{kernel_path, listening, observed, user_path};
use super::super::status_text::COLUMNS;
use super::*;
use crate::config::Config;

#[test]
fn a_line_shows_rates_over_the_time_that_passed_and_totals() {
    let before = StatusCounts { pings_kernel: 1_000, publishes_in: 5, ..StatusCounts::default() };
    let now = StatusCounts {
        connections: 12_345,
        pings_kernel: 3_001,
        pings_user: 4,
        publishes_in: 25,
        publishes_out: 2_000_000,
    };
    assert_eq!(
        now.line_since(&before, Duration::from_secs(2)),
        "12.3k connected | pings/s 1,001 kernel 2 user | msgs/s 10 in 1.00M out"
    );
}

#[test]
fn a_line_survives_no_time_and_counters_that_go_back() {
    let before = StatusCounts { pings_kernel: 10, ..StatusCounts::default() };
    let line = StatusCounts::default().line_since(&before, Duration::ZERO);
    assert!(line.starts_with("0 connected | pings/s 0 kernel"), "{line}");
}

#[test]
fn welcome_says_where_to_connect_who_answers_and_what_to_try() {
    let (kernel, _) = observed(kernel_path(Vec::new()), Instant::now());
    let screen = welcome(&kernel.facts);
    for part in [
        "127.0.0.1:1883  [::1]:1883",
        "answered by the kernel on lo, eth0",
        "up to 19,000 connections",
        "http://127.0.0.1:9880/metrics",
        "mosquitto_sub -h 127.0.0.1 -p 1883 -k 5 -t 'hello/#' -v",
        "mosquitto_pub -h 127.0.0.1 -p 1883 -t hello/world -m hi",
    ] {
        assert!(screen.contains(part), "no `{part}` in:\n{screen}");
    }
    assert!(!screen.contains("ws://"), "{screen}");
    let (mut user, _) = observed(user_path(), Instant::now());
    let address = vec!["127.0.0.1:9001".parse().expect("address")];
    let others = Config {
        listen: Vec::new(),
        ws_listen: address.clone(),
        wss_listen: address.clone(),
        tls_listen: address,
        unix_listen: vec!["/run/mqtt.sock".parse().expect("a path")],
        ..Config::default()
    };
    user.facts.listening.extend(listening(&others));
    let screen = welcome(&user.facts);
    assert!(screen.contains("answered in user space: CAP_BPF is missing"), "{screen}");
    for target in [
        "ws://127.0.0.1:9001/mqtt",
        "wss://127.0.0.1:9001/mqtt",
        "mqtts://127.0.0.1:9001",
        "/run/mqtt.sock",
    ] {
        assert!(screen.contains(&format!("  {target}")), "no `{target}` in:\n{screen}");
    }
    user.facts.http = None;
    assert!(welcome(&user.facts).contains("  http        off\n"));
}

#[test]
fn lines_fit_a_narrow_terminal_whatever_the_numbers() {
    let now = StatusCounts {
        connections: 88_888_888,
        pings_kernel: 8_888_888,
        pings_user: 8_888_888,
        publishes_in: 8_888_888,
        publishes_out: 8_888_888,
    };
    let line = now.line_since(&StatusCounts::default(), Duration::from_secs(1));
    assert!(line.len() <= COLUMNS, "{} columns: {line}", line.len());
    let (mut user, _) = observed(user_path(), Instant::now());
    let address = "[2001:db8:1:2:3:4:5:6]:1883".parse().expect("address");
    user.facts.listening = listening(&Config { listen: vec![address; 7], ..Config::default() });
    user.facts.path = PingPath::User { reason: "no program can be attached ".repeat(9) };
    for line in welcome(&user.facts).lines().filter(|line| !line.contains("mosquitto")) {
        assert!(line.len() <= COLUMNS, "{} columns: {line}", line.len());
    }
}

#[test]
fn troubles_are_named_above_zero_in_lines_that_fit() {
    let (observed, counters) = observed(user_path(), Instant::now());
    assert_eq!(Troubles::read(&observed).lines(), Vec::<String>::new());
    counters[0].connects_refused.add(12);
    counters[1].dropped_absent.add(3);
    counters[0].dropped_stale.add(4);
    counters[1].limit_outbox.add(50_000);
    let lines = Troubles::read(&observed).lines();
    assert_eq!(lines, ["  since start: 12 refused | 7 dropped | 50.0k limit outbox"]);
    for counter in [&counters[0].limit_answers, &counters[0].limit_subscription_bytes] {
        counter.add(1_234_567);
    }
    let lines = Troubles::read(&observed).lines();
    assert!(lines.len() == 2 && lines.iter().all(|line| line.len() <= COLUMNS), "{lines:?}");
}

#[test]
fn troubles_stay_above_the_line_that_is_redrawn() {
    assert_eq!(above(&["x".into(), "y".into()], true), "\r\x1b[Kx\n\r\x1b[Ky\n");
    assert_eq!(above(&["x".into()], false), "x\n");
}

#[test]
fn what_to_try_connects_by_loopback_where_the_server_listens_on_any_address() {
    let address = "[::]:2883".parse().expect("address");
    assert_eq!(reachable(address).to_string(), "[::1]:2883");
    let address = "0.0.0.0:2883".parse().expect("address");
    assert_eq!(reachable(address).to_string(), "127.0.0.1:2883");
}

#[test]
fn a_terminal_line_is_redrawn_and_the_last_one_stays() {
    assert_eq!(framed("x", true, false), "\r\x1b[K\x1b[?7lx\x1b[?7h");
    assert_eq!(framed("x", true, true), "\r\x1b[K\x1b[?7lx\x1b[?7h\nstopped\n");
    assert_eq!(framed("x", false, false), "x\n");
}

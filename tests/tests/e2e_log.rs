//! What the server says: that nobody who listens badly, or no longer, can stop it, and that a client
//! which is turned away or ended is named.

use std::io::{self, PipeWriter, Read as _, Write as _};
use std::net::SocketAddr;
use std::os::fd::AsFd as _;

use push_tests::clients::{Client, Connect};
use push_tests::expectations::wait_for;
use push_tests::server::{PingPath, Server};
use push_tests::skip::{Skip, TestResult};
use push_tests::stand_in;
use push_tests::wire::{Version, frame};
use push_tests::{both_paths, claims};
use rustix::io::{Errno, ioctl_fionbio};

both_paths! {
    a_log_whose_reader_has_gone_ends_neither_the_start_nor_the_stop,
    a_log_that_nobody_reads_stalls_neither_clients_nor_the_stop,
    the_start_says_where_it_listens_and_that_it_is_ready,
}

claims! {
    a_refused_client_is_named_with_address_and_reason,
    a_client_id_brings_neither_lines_nor_terminal_codes_into_the_log,
    what_the_server_ends_is_logged_with_client_address_and_reason,
    a_flood_of_refusals_is_ten_lines_a_second_and_a_count,
    status_in_a_file_is_narrow_plain_text_and_names_trouble,
}

fn a_log_whose_reader_has_gone_ends_neither_the_start_nor_the_stop(path: PingPath) -> TestResult {
    stand_in::not_for("has no metrics")?;
    let (reader, writer) = io::pipe().expect("a pipe");
    drop(reader);
    serves_and_stops(path, writer)
}

fn a_log_that_nobody_reads_stalls_neither_clients_nor_the_stop(path: PingPath) -> TestResult {
    stand_in::not_for("has no metrics")?;
    let (_reader, writer) = io::pipe().expect("a pipe");
    fill(&writer);
    serves_and_stops(path, writer)
}

/// With both outputs being `writer`. Few status lines wait, so one is lost soon in any case.
fn serves_and_stops(path: PingPath, writer: PipeWriter) -> TestResult {
    let server = Server::with(path).outputs_to(writer).switch("--status");
    let mut server = server.start()?;
    let mut client = Client::connect(server.target(), &Connect::new(Version::V5, "client"));
    client.subscribe(&[("a", 1)]);
    for _ in 0..100 {
        client.publish("a", b"1", 1);
        client.message();
    }
    client.ping();
    server.wait_metric("push_log_lines_lost_total", |lost| lost > 0);
    server.prove_path();
    server.terminate();
    let (status, _) = server.wait_exit();
    assert!(status.success(), "the server ended with {status}");
    assert!(server.pins().links().is_empty(), "the programs are left");
    Ok(())
}

fn the_start_says_where_it_listens_and_that_it_is_ready(path: PingPath) -> TestResult {
    stand_in::not_for("logs otherwise")?;
    let server = Server::with(path).flag("--ws-listen", "127.0.0.1:0").start()?;
    let log = wait_for("the server to say that it is ready", || {
        Some(server.log()).filter(|log| log.lines().any(|line| line.ends_with(": ready")))
    });
    let listening: Vec<&str> = log.lines().filter(|line| line.contains(" listening ")).collect();
    assert_eq!(listening.len(), 3, "{log}");
    let answers = match path {
        PingPath::Kernel => "heartbeats=\"kernel on lo\"",
        PingPath::User => "heartbeats=\"user space: --kernel-path off\"",
    };
    let address = server.target().address;
    let mqtt =
        format!("listening address={address} listener={address} protocol=\"MQTT\" {answers}");
    assert!(listening[0].ends_with(&mqtt), "no `{mqtt}`: {log}");
    let websocket = format!("protocol=\"MQTT over WebSocket\" {answers}");
    assert!(listening[1].ends_with(&websocket), "{log}");
    assert!(listening[2].ends_with("protocol=\"HTTP\""), "{log}");
    let last = log.lines().rfind(|line| line.contains("push_server::control::"));
    assert!(last.is_some_and(|line| line.ends_with(": ready")), "{log}");
    server.finish();
    Ok(())
}

/// A server that lets nobody in.
fn refusing() -> Result<(Server, tempfile::NamedTempFile), Skip> {
    stand_in::not_for("logs otherwise")?;
    let users = tempfile::NamedTempFile::new().expect("a file of users");
    let path = users.path().to_str().expect("a path of ours").to_owned();
    let server = Server::with(PingPath::User).flag("--users", &*path).switch("--status");
    Ok((server.switch("--scram-required").start()?, users))
}

fn status_in_a_file_is_narrow_plain_text_and_names_trouble() -> TestResult {
    let (server, _users) = refusing()?;
    ask_to_come_in(&server, "sensor-1");
    let log = wait_for("the trouble and a status line", || {
        Some(server.log()).filter(|log| log.contains("since start: 1 refused"))
    });
    assert!(!log.contains('\u{1b}'), "{log}");
    let is_logged = |line: &&str| line.contains("push_server::");
    for line in log.lines().filter(|line| !is_logged(line)) {
        assert!(line.chars().count() <= 80, "{line}");
    }
    assert!(log.lines().any(|line| line.starts_with("0 connected | pings/s ")), "{log}");
    Ok(())
}

/// A CONNECT of 3.1.1 with a password, and where it came from.
fn ask_to_come_in(server: &Server, client_id: &str) -> SocketAddr {
    let mut stream = server.target().connect(None).expect("connect");
    let mut body = b"\x00\x04MQTT\x04\xc2\x00\x3c".to_vec();
    for text in [client_id, "user", "a-secret-word"] {
        body.extend_from_slice(&u16::try_from(text.len()).expect("short").to_be_bytes());
        body.extend_from_slice(text.as_bytes());
    }
    stream.write_all(&frame(0x10, &body)).expect("send");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    stream.local_addr().expect("an address")
}

fn a_refused_client_is_named_with_address_and_reason() -> TestResult {
    let (server, _users) = refusing()?;
    let address = ask_to_come_in(&server, "sensor-1");
    let listener = server.target().address;
    let line = format!(
        "client refused client=\"sensor-1\" address={address} listener={listener} \
         reason=not authorized"
    );
    wait_for("the refusal in the log", || server.log().contains(&line).then_some(()));
    assert!(!server.log().contains("secret"), "a password is logged: {}", server.log());
    Ok(())
}

fn a_client_id_brings_neither_lines_nor_terminal_codes_into_the_log() -> TestResult {
    let (server, _users) = refusing()?;
    ask_to_come_in(&server, "x\n2026-11-28 ERROR the disk is full\u{1b}[2J\u{202e}");
    let log = wait_for("the refusal in the log", || {
        Some(server.log()).filter(|log| log.contains("client refused"))
    });
    assert!(!log.lines().any(|line| line.starts_with("2026-11-28 ERROR")), "{log}");
    assert!(!log.contains(['\u{1b}', '\u{202e}']), "{log}");
    Ok(())
}

fn what_the_server_ends_is_logged_with_client_address_and_reason() -> TestResult {
    stand_in::not_for("logs otherwise")?;
    let server = Server::with(PingPath::User).start()?;
    let connect = |id| Client::connect(server.target(), &Connect::new(Version::V5, id));
    let address = |client: &Client| client.stream().local_addr().expect("an address");
    let first = connect("twice");
    let second = connect("twice");
    // A PUBLISH of QoS 3.
    let mut wrong = connect("wrong");
    wrong.send(b"\x36\x05\x00\x01a\x00\x01");
    let silent =
        Client::connect(server.target(), &Connect::new(Version::V5, "silent").keep_alive(1));
    let mut stranger = server.target().connect(None).expect("connect");
    stranger.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("send");
    let no_mqtt = stranger.local_addr().expect("an address");
    let listener = server.target().address;
    let said = |words: &str, id: &str, address: SocketAddr, reason: &str| {
        format!("{words} client=\"{id}\" address={address} listener={listener} reason={reason}")
    };
    for line in [
        said("client taken over", "twice", address(&first), "session taken over"),
        said("client disconnected for its fault", "wrong", address(&wrong), "malformed packet"),
        said("client expired", "silent", address(&silent), "keep alive timeout"),
        format!(
            "another protocol than the address is for address={no_mqtt} \
             listener={listener} reason=it sent an HTTP request to an address for MQTT"
        ),
    ] {
        wait_for(&line, || server.log().contains(&line).then_some(()));
    }
    drop(second);
    server.finish();
    Ok(())
}

fn a_flood_of_refusals_is_ten_lines_a_second_and_a_count() -> TestResult {
    const CLIENTS: usize = 200;
    let (server, _users) = refusing()?;
    std::thread::scope(|scope| {
        for thread in 0..10 {
            let server = &server;
            scope.spawn(move || {
                for client in 0..CLIENTS / 10 {
                    ask_to_come_in(server, &format!("flood-{thread}-{client}"));
                }
            });
        }
    });
    let held_back = |log: &str| -> usize {
        let counts = log.lines().filter_map(|line| line.strip_suffix(" more of this kind"));
        counts
            .map(|line| line.rsplit(' ').next().expect("a word").parse::<usize>().expect("N"))
            .sum()
    };
    let said = |log: &str| log.matches("client refused client=\"flood-").count();
    wait_for("every refusal to be said or counted", || {
        let log = server.log();
        (said(&log) + held_back(&log) == CLIENTS).then_some(())
    });
    assert!(said(&server.log()) >= 10, "{}", server.log());
    Ok(())
}

/// Writes until there is no room.
fn fill(writer: &PipeWriter) {
    ioctl_fionbio(writer, true).expect("a pipe that does not block");
    for chunk in [4_096, 1] {
        while rustix::io::write(writer.as_fd(), &vec![b'x'; chunk]) != Err(Errno::AGAIN) {}
    }
    ioctl_fionbio(writer, false).expect("a pipe that blocks");
}

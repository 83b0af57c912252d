//! Unix sockets: clients of others, who may connect, and what a start and an end do with the file.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use push_tests::both_paths;
use push_tests::claims;
use push_tests::clients::Connect;
use push_tests::expectations::PATIENCE;
use push_tests::foreign::{By, Subscriber, mosquitto_pub, need_mosquitto_clients, paho_by};
use push_tests::server::{PingPath, Server};
use push_tests::skip::TestResult;
use push_tests::websocket::connect_packet;
use push_tests::wire::{self, VERSIONS, Version};
use tempfile::TempDir;

both_paths! {
    clients_by_a_unix_socket_are_clients_like_others,
    pings_by_a_unix_socket_are_answered_in_user_space,
}

claims! {
    who_may_connect_is_said_by_the_mode,
    a_stop_removes_the_file_and_a_start_replaces_that_of_a_killed_server,
    a_second_server_leaves_the_socket_to_the_first,
}

/// A folder for a socket, and the socket's path.
fn socket() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("make a directory");
    let path = directory.path().join("mqtt.sock");
    (directory, path)
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

fn clients_by_a_unix_socket_are_clients_like_others(path: PingPath) -> TestResult {
    need_mosquitto_clients()?;
    let (_directory, socket) = socket();
    let server =
        Server::with(path).flag("--shards", 2).flag("--unix-listen", text(&socket)).start()?;
    let by_unix = ["--unix", text(&socket)];
    for version in VERSIONS {
        let subscriber = Subscriber::start(
            server.target(),
            version,
            "%t %p",
            &[&by_unix[..], &["-t", "to/unix", "-q", "1"]].concat(),
        );
        mosquitto_pub(server.target(), version, &["-t", "to/unix", "-q", "1", "-m", "from tcp"]);
        assert_eq!(subscriber.message(), "to/unix from tcp");
        let arguments = [&by_unix[..], &["-t", "to/unix", "-q", "2", "-m", "from unix"]].concat();
        mosquitto_pub(server.target(), version, &arguments);
        assert_eq!(subscriber.message(), "to/unix from unix");
        for case in ["qos", "large", "offline", "will", "take-over"] {
            paho_by(By::Unix(&socket), server.target(), version, case)?;
        }
    }
    server.finish();
    Ok(())
}

fn pings_by_a_unix_socket_are_answered_in_user_space(path: PingPath) -> TestResult {
    const DECLINED: &str = "push_kernel_path_declined_total{reason=\"unix_socket\"}";
    let (_directory, socket) = socket();
    let server = Server::with(path).flag("--unix-listen", text(&socket)).start()?;
    let mut stream = connect(&socket, "by-unix");
    let before = server.metrics();
    for _ in 0..5 {
        stream.write_all(&wire::PINGREQ).expect("send");
        let mut answer = [0; 2];
        stream.read_exact(&mut answer).expect("an answer");
        assert_eq!(answer, [0xD0, 0]);
    }
    let after = server.metrics();
    assert_eq!(after.user_pings() - before.user_pings(), 5);
    assert_eq!(after.kernel_pings(), before.kernel_pings());
    if path == PingPath::Kernel {
        assert_eq!(after.value(DECLINED), 1);
        assert_eq!(after.value("push_connections_armed"), 0);
    }
    server.finish();
    Ok(())
}

/// A client of 3.1.1 that is accepted.
fn connect(socket: &Path, client_id: &str) -> UnixStream {
    let mut stream = UnixStream::connect(socket).expect("connect to the server");
    stream.set_read_timeout(Some(PATIENCE)).expect("set a timeout");
    let connect = Connect::new(Version::V311, client_id);
    stream.write_all(&connect_packet(&connect)).expect("send");
    let mut connack = [0; 4];
    stream.read_exact(&mut connack).expect("a CONNACK");
    assert_eq!(connack, [0x20, 2, 0, 0]);
    stream
}

fn who_may_connect_is_said_by_the_mode() -> TestResult {
    let (directory, socket) = socket();
    let all = directory.path().join("all.sock");
    let for_all = format!("{},mode=0666", all.display());
    let server = Server::with(PingPath::User)
        .flag("--unix-listen", text(&socket))
        .flag("--unix-listen", &*for_all)
        .start()?;
    for (path, expected) in [(&socket, 0o660), (&all, 0o666)] {
        let mode = std::fs::metadata(path).expect("a socket").permissions().mode();
        assert_eq!(mode & 0o777, expected, "{}", path.display());
        connect(path, "anybody");
    }
    server.finish();
    Ok(())
}

fn a_stop_removes_the_file_and_a_start_replaces_that_of_a_killed_server() -> TestResult {
    let (_directory, socket) = socket();
    let with_socket = || Server::with(PingPath::User).flag("--unix-listen", text(&socket));
    let killed = with_socket().start()?;
    connect(&socket, "first");
    drop(killed);
    assert!(socket.exists(), "nobody was there to remove it");
    let server = with_socket().start()?;
    connect(&socket, "second");
    server.finish();
    assert!(!socket.exists());
    Ok(())
}

fn a_second_server_leaves_the_socket_to_the_first() -> TestResult {
    let (_directory, socket) = socket();
    let with_socket = || Server::with(PingPath::User).flag("--unix-listen", text(&socket));
    let server = with_socket().start()?;
    let mut second = with_socket().launch()?;
    let log = second.wait_ready().expect_err("the socket is taken");
    let holder = format!("push-server (process {})", server.pid());
    for part in [text(&socket), &holder, "choose another by --unix-listen"] {
        assert!(log.contains(part), "no `{part}`: {log}");
    }
    connect(&socket, "first");
    server.finish();
    Ok(())
}

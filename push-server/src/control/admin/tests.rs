//! Tests of where the socket is, and of who has it.

use std::os::unix::net::UnixStream;

use super::*;

/// Without patience.
fn listen_at(path: &Path) -> Result<AdminListener, String> {
    let socket = AdminSocket::At(UnixAddress { path: path.to_owned(), mode: UNIX_MODE_DEFAULT });
    let listener = listen(&socket, &mut Patience::new(0)).map_err(|error| error.to_string())?;
    Ok(listener.expect("asked for"))
}

#[test]
fn a_dead_servers_socket_is_replaced_and_a_living_ones_is_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("admin.sock");
    // A killed process leaves its file.
    drop(StdListener::bind(&path).expect("a socket"));
    assert!(path.exists());
    let first = listen_at(&path).expect("nobody listens");
    UnixStream::connect(&path).expect("it listens");
    let mode = fs::metadata(&path).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    let error = listen_at(&path).expect_err("somebody listens");
    assert!(error.contains("in use") && error.contains("--admin-socket"), "{error}");
    drop(first);
    assert!(!path.exists());
}

#[test]
fn a_file_that_is_no_socket_stays() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("notes");
    fs::write(&path, "mine").expect("a file");
    listen_at(&path).expect_err("no socket");
    assert_eq!(fs::read_to_string(&path).expect("still there"), "mine");
}

use std::os::unix::net::{UnixListener, UnixStream};

use super::*;

fn address(folder: &tempfile::TempDir, mode: u32) -> UnixAddress {
    UnixAddress { path: folder.path().join("mqtt.sock"), mode }
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a directory")
}

#[test]
fn every_shard_has_the_socket_and_its_file_has_the_mode_and_goes_with_it() {
    let folder = folder();
    let address = address(&folder, 0o606);
    let (file, sockets) = bind(&address, 8, 3).expect("free");
    assert_eq!(sockets.len(), 3);
    let mode = fs::metadata(&address.path).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o606);
    UnixStream::connect(&address.path).expect("somebody listens");
    drop((file, sockets));
    assert!(!address.path.exists());
}

#[test]
fn the_socket_of_a_dead_process_is_replaced_and_that_of_a_living_one_is_not() {
    let folder = folder();
    let address = address(&folder, 0o660);
    let living = UnixListener::bind(&address.path).expect("free");
    for taken in [probe_unix(&address.path), bind(&address, 8, 1).map(drop)] {
        assert_eq!(taken.expect_err("taken").kind(), io::ErrorKind::AddrInUse);
    }
    drop(living);
    assert!(address.path.exists(), "as a process that was killed leaves it");
    probe_unix(&address.path).expect("nobody listens");
    let (_file, _sockets) = bind(&address, 8, 1).expect("nobody listens");
    UnixStream::connect(&address.path).expect("somebody listens");
}

#[test]
fn a_file_that_is_no_socket_stays() {
    let folder = folder();
    let address = address(&folder, 0o660);
    fs::write(&address.path, "precious").expect("written");
    for refused in [probe_unix(&address.path), bind(&address, 8, 1).map(drop)] {
        assert_eq!(refused.expect_err("refused").to_string(), "a file that is no socket");
    }
    assert_eq!(fs::read(&address.path).expect("there"), b"precious");
}

#[test]
fn a_file_that_another_process_has_put_there_stays_when_the_socket_goes() {
    let folder = folder();
    let address = address(&folder, 0o660);
    let (first, sockets) = bind(&address, 8, 1).expect("free");
    drop(sockets);
    let (second, _sockets) = bind(&address, 8, 1).expect("nobody listens any more");
    drop(first);
    UnixStream::connect(&address.path).expect("the second one listens");
    drop(second);
    assert!(!address.path.exists());
}

#[test]
fn a_folder_that_is_missing_is_found_before_the_start() {
    let error = probe_unix(Path::new("/nowhere/mqtt.sock")).expect_err("no such folder");
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
}

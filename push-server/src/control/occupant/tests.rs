use super::*;

/// As a little-endian machine prints it.
const TABLE: &str = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:075B 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 111 1 0
   1: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 222 1 0
   2: 0100007F:075B 0100007F:A000 01 00000000:00000000 00:00000000 00000000     0        0 333 1 0
";

#[cfg(target_endian = "little")]
#[test]
fn listeners_in_the_way_are_found_and_connections_are_not() {
    let found = |address: &str| -> Vec<&str> {
        listening(TABLE, address.parse().expect("address")).collect()
    };
    assert_eq!(found("127.0.0.1:1883"), ["111"]);
    assert_eq!(found("0.0.0.0:1883"), ["111"]);
    assert_eq!(found("192.0.2.1:8080"), ["222"]);
    assert!(found("192.0.2.1:1883").is_empty());
    assert!(found("127.0.0.1:1884").is_empty());
}

#[cfg(target_endian = "little")]
#[test]
fn addresses_of_both_families_are_read() {
    assert_eq!(parsed("0100007F:075B"), Some("127.0.0.1:1883".parse().expect("address")));
    let v6 = parsed("00000000000000000000000001000000:075B");
    assert_eq!(v6, Some("[::1]:1883".parse().expect("address")));
    assert_eq!(parsed("0100:075B"), None);
}

const UNIX: &str = "\
Num       RefCount Protocol Flags    Type St Inode Path
00000000b43ad2ac: 00000003 00000000 00000000 0001 03  1469
00000000202284b4: 00000002 00000000 00010000 0001 01 55 /run/mqtt.sock
00000000202284b5: 00000003 00000000 00000000 0001 03 66 /run/mqtt.sock
00000000668540ad: 00000002 00000000 00010000 0001 01 77 /run/with blank.sock
";

#[test]
fn who_listens_at_a_path_is_found_and_who_is_connected_is_not() {
    let found = |path| -> Vec<&str> { listening_at(UNIX, path).collect() };
    assert_eq!(found("/run/mqtt.sock"), ["55"]);
    assert_eq!(found("/run/with blank.sock"), ["77"]);
    assert!(found("/run/mqtt").is_empty());
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("a.sock");
    let _listener = std::os::unix::net::UnixListener::bind(&path).expect("free");
    let own = listener_at_path(&path).map(|occupant| occupant.pid);
    assert_eq!(own, Some(std::process::id()));
}

const LOCKS: &str = "\
1: FLOCK  ADVISORY  WRITE 712 00:1f:4711 0 EOF
1: -> FLOCK  ADVISORY  WRITE 713 00:1f:4711 0 EOF
2: POSIX  ADVISORY  READ 714 fe:00:4711 128 128
3: FLOCK  ADVISORY  WRITE 715 fe:00:14711 0 EOF
4: FLOCK  ADVISORY  WRITE nonsense
";

#[test]
fn who_has_locked_a_file_is_found_and_who_waits_is_not() {
    assert_eq!(lockers(LOCKS, 4711).collect::<Vec<_>>(), [712]);
    assert_eq!(lockers(LOCKS, 1).count(), 0);
}

#[test]
fn a_lock_of_this_process_is_found_to_be_its_own() {
    let dir = tempfile::tempdir().expect("a directory");
    assert_eq!(locker_of(dir.path()), None);
    let locked = fs::File::open(dir.path()).expect("open it");
    locked.lock().expect("lock it");
    assert_eq!(locker_of(dir.path()).map(|occupant| occupant.pid), Some(std::process::id()));
}

#[test]
fn a_process_that_is_dead_or_exiting_holds_nothing() {
    let stat = |state, flags| format!("7 (a (b) c) {state} 1 7 7 0 -1 {flags} 0 0 0 0 1 2");
    assert_eq!(living(&stat("S", 4_194_560)), Some("a (b) c".to_owned()));
    assert_eq!(living(&stat("R", 4_194_564)), None);
    assert_eq!(living(&stat("Z", 4_194_560)), None);
    assert_eq!(living("nonsense"), None);
}

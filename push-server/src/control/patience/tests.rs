use std::cell::Cell;
use std::net::TcpListener;
use std::path::PathBuf;

use super::*;

const SECS: u16 = 5;

struct Outcome {
    had: Result<u32, NotHad<io::Error>>,
    slept: Duration,
    waited: Waited,
}

/// In use for the first `busy` tries.
fn had_after(busy: u32, occupant: Option<&str>, waits_for_the_living: bool) -> Outcome {
    let (tries, slept) = (Cell::new(0), Cell::new(Duration::ZERO));
    let attempt = || {
        tries.set(tries.get() + 1);
        if tries.get() > busy { Ok(tries.get()) } else { Err(io::ErrorKind::AddrInUse.into()) }
    };
    let ask = || occupant.map(|name| Occupant { pid: 77, name: name.to_owned() });
    let sleep = |time| slept.set(slept.get() + time);
    let is_in_use = |error: &io::Error| error.kind() == io::ErrorKind::AddrInUse;
    let waits_for = |_: &Occupant| waits_for_the_living;
    let request = Wait { wanted: Wanted::DataDir, name: &"it", is_in_use, waits_for: &waits_for };
    let mut patience = Patience::new(SECS);
    let had = patience.wait(&request, attempt, ask, sleep);
    Outcome { had, slept: slept.get(), waited: patience.waited() }
}

#[test]
fn what_a_dead_server_held_is_had_once_it_is_let_go() {
    for busy in [0, 1, 24, 200] {
        let Outcome { had, slept, waited } = had_after(busy, None, false);
        assert_eq!(had.expect("had"), busy + 1);
        assert_eq!(slept, RETRY_PERIOD * busy);
        let millis = u64::from(busy) * 10;
        assert_eq!(waited, Waited([0, 0, millis, 0]));
        assert!(waited.by_label().any(|waited| waited == ("data_dir", millis)));
    }
}

#[test]
fn a_listener_that_lives_is_named_without_waiting_long() {
    let Outcome { had, slept, .. } = had_after(u32::MAX, Some("mosquitto"), false);
    let occupant = had.expect_err("in use").occupant.expect("an occupant");
    assert_eq!(
        AddressError::Held(occupant).to_string(),
        "address already in use by mosquitto (process 77); stop it"
    );
    assert!(slept < Duration::from_secs(1), "{slept:?}");
}

#[test]
fn a_process_that_is_seen_while_it_is_being_killed_is_waited_for() {
    assert!(had_after(UNASKED_TRIES, Some("push-server"), false).had.is_ok());
}

#[test]
fn who_has_locked_a_directory_may_be_stopping_and_is_waited_for() {
    assert!(had_after(400, Some("push-server"), true).had.is_ok());
    let Outcome { had, slept, .. } = had_after(u32::MAX, Some("push-server"), true);
    assert_eq!(had.expect_err("in use").occupant.map(|occupant| occupant.pid), Some(77));
    assert_eq!(slept, Duration::from_secs(SECS.into()));
}

#[test]
fn waiting_for_nobody_ends_and_says_how_to_find_out() {
    let Outcome { had, slept, .. } = had_after(u32::MAX, None, false);
    let NotHad { error: source, occupant, waited } = had.expect_err("in use");
    assert_eq!(occupant, None);
    assert_eq!((waited, slept), (slept, Duration::from_secs(SECS.into())));
    let said = AddressError::InUse { source, waited }.to_string();
    assert!(said.contains("in use") && said.contains("5 s (--start-wait-secs); `ss"), "{said}");
}

#[test]
fn a_start_without_patience_tries_once_and_names_the_holder() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = listener.local_addr().expect("address");
    let tries = Cell::new(0);
    let bind = || {
        tries.set(tries.get() + 1);
        TcpListener::bind(address)
    };
    let error = Patience::new(0).for_address(Wanted::Http, address, bind).expect_err("in use");
    assert!(
        matches!(&error, AddressError::Held(occupant) if occupant.pid == std::process::id()),
        "{error}"
    );
    assert_eq!(tries.get(), 1);
}

#[test]
fn of_those_who_live_a_push_server_alone_is_waited_for_and_by_http_alone() {
    let occupant = |name: &str| Occupant { pid: 1, name: name.to_owned() };
    for (wanted, name, waits) in [
        (Wanted::Http, "push-server", true),
        (Wanted::Http, "prometheus", false),
        (Wanted::Listen, "push-server", false),
    ] {
        assert_eq!(may_let_go(wanted, &occupant(name)), waits, "{wanted:?} of {name}");
    }
}

#[test]
fn other_errors_are_told_at_once() {
    let address = "127.0.0.1:1883".parse().expect("address");
    let mut patience = Patience::new(SECS);
    let bind = || Err::<(), _>(io::ErrorKind::AddrNotAvailable.into());
    let error = patience.for_address(Wanted::Http, address, bind).expect_err("an error");
    assert!(matches!(error, AddressError::Io(_)), "{error:?}");
    assert_eq!(patience.waited(), Waited::default());
}

#[derive(Debug, thiserror::Error)]
enum LockError {
    #[error("{} is another's", .0.display())]
    InUse(PathBuf),
    #[error("no such place")]
    NoPlace,
}

#[test]
fn a_directory_that_cannot_be_had_says_who_holds_it_and_how_long_the_start_waited() {
    let dir = tempfile::tempdir().expect("a directory");
    let locked = std::fs::File::open(dir.path()).expect("open it");
    locked.lock().expect("lock it");
    let lock = |error: LockError| {
        let is_in_use = |error: &LockError| matches!(error, LockError::InUse(_));
        let mut error = Some(error);
        let lock = || Err::<(), _>(error.take().expect("one try"));
        let mut patience = Patience::new(0);
        patience.for_directory(Wanted::BpfDir, dir.path(), lock, is_in_use).expect_err("held")
    };
    let said = lock(LockError::InUse("/pins".into())).to_string();
    let by = format!("(process {}) has held it for the 0 s", std::process::id());
    assert!(said.starts_with("/pins is another's; ") && said.contains(&by), "{said}");
    assert!(matches!(lock(LockError::NoPlace), DirectoryError::Other(LockError::NoPlace)));
}

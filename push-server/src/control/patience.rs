//! What a start wants and finds in use. A server that has just been killed holds its addresses and
//! directories a little longer than its process seems to live (the system tears its rings and memory
//! down in the background), and one that is being stopped holds its directories until its end. So a
//! start tries again for a while, and then says who is in the way.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use super::occupant::{Occupant, listener_at, locker_of};

/// Between two tries.
const RETRY_PERIOD: Duration = Duration::from_millis(10);

/// The tries before anybody is asked who holds it: a process that is being killed looks alive.
const UNASKED_TRIES: u32 = 25;

/// After so many tries each, who holds it is asked again: that reads much of `/proc`.
const ASK_EVERY: u32 = 25;

/// Names the occupant of a directory if `/proc` does not show it.
const UNSEEN: &str = "a process that cannot be seen from here";

/// What a start may have to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// A listen address, by its flag.
    Listen(&'static str),
    /// The HTTP address.
    Http,
    /// `--data-dir`.
    DataDir,
    /// `--bpf-dir`.
    BpfDir,
}

impl Wanted {
    /// Every label.
    const LABELS: [&str; 4] = ["listen", "http", "data_dir", "bpf_dir"];

    fn place(self) -> usize {
        match self {
            Self::Listen(_) => 0,
            Self::Http => 1,
            Self::DataDir => 2,
            Self::BpfDir => 3,
        }
    }
}

/// How long a start has waited, in milliseconds, by what for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waited([u64; Wanted::LABELS.len()]);

impl Waited {
    /// Labels and milliseconds.
    pub fn by_label(self) -> impl Iterator<Item = (&'static str, u64)> {
        Wanted::LABELS.into_iter().zip(self.0)
    }
}

/// What could not be had, though it was waited for if somebody held it.
#[derive(Debug)]
pub struct NotHad<E> {
    /// What the last try said.
    pub error: E,
    /// The process that holds it, if `/proc` shows it.
    pub occupant: Option<Occupant>,
    /// How long the start waited.
    pub waited: Duration,
}

/// Why a directory cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError<E: std::error::Error + 'static> {
    /// Somebody holds it.
    #[error(
        "{error}; {by} has held it for the {secs} s that the start waited (--start-wait-secs)",
        secs = waited.as_secs()
    )]
    Held {
        /// What the last try said.
        error: E,
        /// Who.
        by: String,
        /// How long the start waited.
        waited: Duration,
    },
    /// Something else.
    #[error(transparent)]
    Other(E),
}

/// Why an address cannot be bound.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// A process that lives listens there.
    #[error("address already in use by {0}; stop it")]
    Held(Occupant),
    /// Nobody is seen to hold it, and it stays in use.
    #[error(
        "{source}, and was so for {secs} s (--start-wait-secs); `ss -ltnp`, as root, names who \
         holds it", secs = waited.as_secs()
    )]
    InUse {
        /// What the system said.
        source: io::Error,
        /// How long the start waited.
        waited: Duration,
    },
    /// Something else.
    #[error(transparent)]
    Io(io::Error),
}

/// A start's patience: it waits for each thing so long.
#[derive(Debug)]
pub struct Patience {
    max: Duration,
    waited: Waited,
}

impl Patience {
    /// As `--start-wait-secs` says.
    pub fn new(secs: u16) -> Self {
        Self { max: Duration::from_secs(secs.into()), waited: Waited::default() }
    }

    /// How long the start has waited so far.
    pub fn waited(&self) -> Waited {
        self.waited
    }

    /// Binds `address` by `bind`. A process that lives is not waited for: it listens there for good. But
    /// a server that is being stopped answers for itself by HTTP to its end.
    pub fn for_address<T>(
        &mut self,
        wanted: Wanted,
        address: SocketAddr,
        bind: impl FnMut() -> io::Result<T>,
    ) -> Result<T, AddressError> {
        let is_in_use = |error: &io::Error| error.kind() == io::ErrorKind::AddrInUse;
        let waits_for = |occupant: &Occupant| may_let_go(wanted, occupant);
        let request = Request { wanted, name: &address, is_in_use, waits_for: &waits_for };
        let found = self.wait(&request, bind, || listener_at(address), std::thread::sleep);
        found.map_err(|NotHad { error, occupant, waited }| match occupant {
            Some(occupant) => AddressError::Held(occupant),
            None if is_in_use(&error) => AddressError::InUse { source: error, waited },
            None => AddressError::Io(error),
        })
    }

    /// Locks `dir` by `lock`. A process that lives is waited for: it may be stopping.
    pub fn for_directory<T, E: std::error::Error + 'static>(
        &mut self,
        wanted: Wanted,
        dir: &Path,
        lock: impl FnMut() -> Result<T, E>,
        is_in_use: impl Fn(&E) -> bool,
    ) -> Result<T, DirectoryError<E>> {
        let name = dir.display();
        let request = Request { wanted, name: &name, is_in_use: &is_in_use, waits_for: &|_| true };
        let found = self.wait(&request, lock, || locker_of(dir), std::thread::sleep);
        found.map_err(|NotHad { error, occupant, waited }| match occupant {
            _ if !is_in_use(&error) => DirectoryError::Other(error),
            Some(occupant) => DirectoryError::Held { error, by: occupant.to_string(), waited },
            None => DirectoryError::Held { error, by: UNSEEN.to_owned(), waited },
        })
    }

    fn wait<T, E, F: Fn(&E) -> bool>(
        &mut self,
        request: &Request<'_, F>,
        mut attempt: impl FnMut() -> Result<T, E>,
        ask: impl Fn() -> Option<Occupant>,
        sleep: impl Fn(Duration),
    ) -> Result<T, NotHad<E>> {
        let Request { wanted, name, is_in_use, waits_for } = request;
        let (mut waited, mut occupant) = (Duration::ZERO, None);
        for tries in 0.. {
            let error = match attempt() {
                Ok(had) => return Ok(had),
                Err(error) if is_in_use(&error) => error,
                Err(error) => return Err(NotHad { error, occupant: None, waited }),
            };
            let is_late = waited >= self.max;
            if is_late || (tries >= UNASKED_TRIES && tries % ASK_EVERY == 0) {
                occupant = ask();
            }
            if is_late || occupant.as_ref().is_some_and(|occupant| !waits_for(occupant)) {
                return Err(NotHad { error, occupant, waited });
            }
            if tries == 0 {
                let secs = self.max.as_secs();
                tracing::info!("{name} is in use: waiting up to {secs} s for a server that ends");
            }
            sleep(RETRY_PERIOD);
            waited += RETRY_PERIOD;
            self.waited.0[wanted.place()] += RETRY_PERIOD.as_millis() as u64;
        }
        unreachable!("it waits only so long")
    }
}

/// Whether a process that lives may let go of an address.
fn may_let_go(wanted: Wanted, occupant: &Occupant) -> bool {
    wanted == Wanted::Http && occupant.is_push_server()
}

/// What is waited for.
struct Request<'a, F> {
    wanted: Wanted,
    name: &'a dyn fmt::Display,
    is_in_use: F,
    /// Whether it may be let go by a process that lives.
    waits_for: &'a dyn Fn(&Occupant) -> bool,
}

#[cfg(test)]
mod tests {
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
        let request =
            Request { wanted: Wanted::DataDir, name: &"it", is_in_use, waits_for: &waits_for };
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
            (Wanted::Listen("--listen"), "push-server", false),
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
}

//! Waits for addresses and directories that are in use when the server starts. A server that was
//! just killed holds its addresses and directories a little longer than its process seems to live
//! (the system frees its rings and memory in the background), and one that is stopping holds its
//! directories until its end. So a start tries for a while, and then names the process in the way.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use super::occupant::{Occupant, listener_at, listener_at_path, locker_of};

/// Pause between two tries.
const RETRY_PERIOD: Duration = Duration::from_millis(10);

/// Tries before the start looks for the process: one that is being killed still looks alive.
const UNASKED_TRIES: u32 = 25;

/// Tries between two such looks, because each reads much of `/proc`.
const ASK_EVERY: u32 = 25;

/// Stands for a process that `/proc` does not show.
const UNSEEN: &str = "a process that cannot be seen from here";

/// A thing that a start may have to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// A listen address.
    Listen,
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
            Self::Listen => 0,
            Self::Http => 1,
            Self::DataDir => 2,
            Self::BpfDir => 3,
        }
    }
}

/// How long a start has waited for each thing, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waited([u64; Wanted::LABELS.len()]);

impl Waited {
    /// Labels and milliseconds.
    pub fn by_label(self) -> impl Iterator<Item = (&'static str, u64)> {
        Wanted::LABELS.into_iter().zip(self.0)
    }
}

/// An address or directory that was still in use after the wait.
#[derive(Debug)]
pub(crate) struct NotHad<E> {
    /// The error of the last try.
    pub error: E,
    /// The process that holds it, if `/proc` shows it.
    pub occupant: Option<Occupant>,
    /// How long the start waited.
    pub waited: Duration,
}

/// Why a directory cannot be locked.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError<E: std::error::Error + 'static> {
    /// Another process holds it.
    #[error(
        "{error}; {by} has held it for the {secs} s that the start waited (--start-wait-secs)",
        secs = waited.as_secs()
    )]
    Held {
        /// The error of the last try.
        error: E,
        /// The process that holds it.
        by: String,
        /// How long the start waited.
        waited: Duration,
    },
    /// Another error.
    #[error(transparent)]
    Other(E),
}

/// Why an address cannot be bound.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// A living process listens there.
    #[error("address already in use by {0}; stop it")]
    Held(Occupant),
    /// It stays in use, and no process is seen to hold it.
    #[error(
        "{source}, and was so for {secs} s (--start-wait-secs); `ss -lnp`, as root, names who \
         holds it", secs = waited.as_secs()
    )]
    InUse {
        /// The system's error.
        source: io::Error,
        /// How long the start waited.
        waited: Duration,
    },
    /// Another error.
    #[error(transparent)]
    Io(io::Error),
}

/// How long a start may wait for each thing, and how long it has waited.
#[derive(Debug)]
pub(crate) struct Patience {
    max: Duration,
    waited: Waited,
}

impl Patience {
    /// For `--start-wait-secs`.
    pub(crate) fn new(secs: u16) -> Self {
        Self { max: Duration::from_secs(secs.into()), waited: Waited::default() }
    }

    /// How long the start has waited so far.
    pub(crate) fn waited(&self) -> Waited {
        self.waited
    }

    /// Binds `address` by `bind`. Does not wait for a living process, which listens there for good;
    /// but waits for the HTTP address of a stopping server, which answers until its end.
    pub(crate) fn for_address<T>(
        &mut self,
        wanted: Wanted,
        address: SocketAddr,
        bind: impl FnMut() -> io::Result<T>,
    ) -> Result<T, AddressError> {
        self.for_listener(wanted, &address, bind, || listener_at(address))
    }

    /// The same for the path of a Unix socket.
    pub(crate) fn for_path(
        &mut self,
        wanted: Wanted,
        path: &Path,
        probe: impl FnMut() -> io::Result<()>,
    ) -> Result<(), AddressError> {
        self.for_listener(wanted, &path.display(), probe, || listener_at_path(path))
    }

    fn for_listener<T>(
        &mut self,
        wanted: Wanted,
        name: &dyn fmt::Display,
        bind: impl FnMut() -> io::Result<T>,
        occupant: impl Fn() -> Option<Occupant>,
    ) -> Result<T, AddressError> {
        let is_in_use = |error: &io::Error| error.kind() == io::ErrorKind::AddrInUse;
        let waits_for = |occupant: &Occupant| may_let_go(wanted, occupant);
        let request = Wait { wanted, name, is_in_use, waits_for: &waits_for };
        let found = self.wait(&request, bind, occupant, std::thread::sleep);
        found.map_err(|NotHad { error, occupant, waited }| match occupant {
            Some(occupant) => AddressError::Held(occupant),
            None if is_in_use(&error) => AddressError::InUse { source: error, waited },
            None => AddressError::Io(error),
        })
    }

    /// Locks `dir` by `lock`. Waits even for a living process, since it may be stopping.
    pub(crate) fn for_directory<T, E: std::error::Error + 'static>(
        &mut self,
        wanted: Wanted,
        dir: &Path,
        lock: impl FnMut() -> Result<T, E>,
        is_in_use: impl Fn(&E) -> bool,
    ) -> Result<T, DirectoryError<E>> {
        let name = dir.display();
        let request = Wait { wanted, name: &name, is_in_use: &is_in_use, waits_for: &|_| true };
        let found = self.wait(&request, lock, || locker_of(dir), std::thread::sleep);
        found.map_err(|NotHad { error, occupant, waited }| match occupant {
            _ if !is_in_use(&error) => DirectoryError::Other(error),
            Some(occupant) => DirectoryError::Held { error, by: occupant.to_string(), waited },
            None => DirectoryError::Held { error, by: UNSEEN.to_owned(), waited },
        })
    }

    fn wait<T, E, F: Fn(&E) -> bool>(
        &mut self,
        request: &Wait<'_, F>,
        mut attempt: impl FnMut() -> Result<T, E>,
        ask: impl Fn() -> Option<Occupant>,
        sleep: impl Fn(Duration),
    ) -> Result<T, NotHad<E>> {
        let Wait { wanted, name, is_in_use, waits_for } = request;
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

/// Whether a living process may release an address soon.
fn may_let_go(wanted: Wanted, occupant: &Occupant) -> bool {
    wanted == Wanted::Http && occupant.is_push_server()
}

/// One wait.
struct Wait<'a, F> {
    wanted: Wanted,
    name: &'a dyn fmt::Display,
    is_in_use: F,
    /// Whether to wait for this living process.
    waits_for: &'a dyn Fn(&Occupant) -> bool,
}

#[cfg(test)]
mod tests;

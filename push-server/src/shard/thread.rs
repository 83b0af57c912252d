//! The shards of a process: binds their listeners, opens the store, and runs one thread a shard on the
//! ports of this machine. Nothing else in the room sees the ring, the kernel path, the machine's clocks
//! or its randomness.

mod bind;
mod machine;
mod probes;
mod wire;

use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Weak, mpsc};
use std::thread::JoinHandle;
use std::time::Instant;

use push_common::clock::Monotonic;

use super::counters::ShardCounters;
use super::door::Doors;
use super::entrance::EntranceSetup;
#[cfg(any(test, feature = "simulation"))]
use super::journal::Done;
use super::journal::{Completions, OpenRequests, StoreSink};
use super::listeners::Listeners;
use super::ports::Waker;
use super::post::{Mail, Mailbox};
use super::reviews::Scope;
use super::sessions::RecoveredPart;
use super::turn::{Shard, ShardSetup};
use super::{Answerer, ShardStore, Shared, SharedSetup, SharedTls};
use crate::broker::{Retained, SessionMemory};
use crate::config::{Config, DurabilityMode, ListenAddress, Listener, ListenerForm};
use crate::kernel::{self, KernelPath, ShardPath};
use crate::ring::{RingError, RingHandle};
#[cfg(any(test, feature = "simulation"))]
use crate::store::Outcome;
use crate::store::embedded::{
    self, ClockReading, DirectoryLock, Durability, StoreError, StoreOptions,
};
use crate::store::{Clocks, Opening, Recovered, StoreCounters};
use bind::{Bound, bind_all};
use machine::{Machine, MachineClock, SystemRandomness};
use wire::{RingWire, WakeUp};

pub use bind::{Listening, SocketFile, listen_unix, probe_bind, probe_unix};

/// Why shards could not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum ShardError {
    /// A listen address could not be bound.
    #[error("cannot listen on {address}: {source}; choose another by {form}")]
    Listen {
        /// The address.
        address: ListenAddress,
        /// The setting that named it.
        form: ListenerForm,
        /// The system's reason.
        source: io::Error,
    },
    /// The system gave no event descriptor or thread.
    #[error("cannot start shard {shard}: {source}")]
    Start {
        /// The shard's number.
        shard: u16,
        /// The system's reason.
        source: io::Error,
    },
    /// A shard's ring could not be set up, or broke.
    #[error("shard {shard}: {source}")]
    Ring {
        /// The shard's number.
        shard: u16,
        /// The system's reason.
        source: RingError,
    },
    /// The data directory cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A shard's thread ended by a panic: a bug.
    #[error("shard {shard} ended by a panic; please report the message above")]
    Panicked {
        /// The shard's number.
        shard: u16,
    },
}

/// The running shards.
#[derive(Debug)]
pub struct Shards {
    shared: Arc<Shared>,
    listening: Vec<Listening>,
    /// Removed with it.
    _files: Vec<SocketFile>,
    counters: Vec<Arc<ShardCounters>>,
    wake_ups: Vec<WakeUp>,
    threads: Vec<JoinHandle<Result<(), ShardError>>>,
    doors: Arc<Doors>,
}

/// The store, for code that only reads its figures.
#[derive(Clone, Debug)]
pub struct StoreView(Arc<ShardStore>);

impl StoreView {
    /// Its counters.
    pub fn counters(&self) -> &StoreCounters {
        self.0.counters()
    }

    /// How many bytes wait to be stored.
    pub fn backlog_bytes(&self) -> u64 {
        self.0.backlog_bytes()
    }

    /// Whether the disk works.
    pub fn is_serving(&self) -> bool {
        self.0.is_serving()
    }
}

/// Has all shards look at their clients again.
#[derive(Debug)]
pub struct Reviewer {
    /// Not kept alive by this.
    shared: Weak<Shared>,
    wake_ups: Vec<WakeUp>,
}

impl Reviewer {
    /// Every shard is to look whether its clients may still be here by what the files say now; and, with
    /// `certificates`, whether theirs are still accepted. Call it once the new rules are in force.
    pub fn review(&self, certificates: bool) {
        let Some(shared) = self.shared.upgrade() else { return };
        shared.entrance.reviews().begin(Scope { certificates });
        for wake_up in &self.wake_ups {
            wake_up.wake();
        }
    }
}

impl Shards {
    /// Binds the listeners, opens the store and starts one thread a shard. Returns when all of them serve. `answerer`
    /// says who clients are. `lock`: of the data directory; none with `--durability off`.
    ///
    /// # Errors
    /// An address that cannot be bound; a data directory that cannot be used; a ring that cannot be set
    /// up (the message names the knob).
    pub fn start(
        config: &Arc<Config>,
        answerer: Arc<dyn Answerer>,
        tls: Arc<SharedTls>,
        connections_max: u32,
        mut kernel: Option<&mut KernelPath>,
        lock: Option<DirectoryLock>,
    ) -> Result<Self, ShardError> {
        let mut listeners: Vec<Vec<_>> = (0..config.shards).map(|_| Vec::new()).collect();
        let keepalive = probes::keepalive(config.tcp_keepalive_secs);
        let Bound { listening, files } =
            bind_all(config, keepalive, &mut listeners).map_err(|(refused, source)| {
                let Listener { address, form, .. } = refused;
                ShardError::Listen { address, form, source }
            })?;
        let start_error = |shard| move |source| ShardError::Start { shard, source };
        let wake_ups = (0..config.shards)
            .map(|shard| WakeUp::new().map_err(start_error(shard)))
            .collect::<Result<Vec<_>, _>>()?;
        let completions = wake_ups.iter().zip(0..).map(|(wake_up, shard)| {
            let waker = wake_up.try_clone().map_err(start_error(shard))?;
            Ok(Completions::new(Box::new(waker)))
        });
        let completions = Arc::new(completions.collect::<Result<Vec<_>, ShardError>>()?);
        let clocks = Clocks::now();
        let retained = Retained::new(config.retained_messages_max, config.retained_bytes_max);
        let retained = Arc::new(retained);
        let memory = SessionMemory::with_shares(
            config.totals.into(),
            config.sessions_share_percent,
            config.limits.subscription_bytes_max.into(),
        );
        let open_requests = OpenRequests::default();
        let (store, recovered) = match lock {
            Some(lock) => {
                let sink = StoreSink::new(Arc::clone(&completions), open_requests.clone());
                open_store(lock, config, clocks, &retained, &memory, sink)?
            }
            None => (None, Recovered { clocks, ..Recovered::default() }),
        };
        let setup = SharedSetup {
            config: Arc::clone(config),
            entrance: EntranceSetup { connections_max, listeners: Listeners::new(config), tls },
            answerer,
            retained,
            memory,
            store,
            open_requests,
            completions,
            hash_seed: rand::random(),
            networks_seed: rand::random(),
        };
        let (shared, mut recovered) = Shared::new(setup, recovered);
        let mailboxes: Arc<[_]> = (0..config.shards).map(|_| Mailbox::new()).collect();
        let mut shards = Self {
            shared: Arc::clone(&shared),
            listening,
            _files: files,
            counters: Vec::new(),
            wake_ups,
            threads: Vec::new(),
            doors: Doors::new(config, shared.journal.all_completions()),
        };
        let (ready_tx, ready_rx) = mpsc::channel();
        let mut peer_txs = Vec::new();
        for shard in 0..config.shards {
            let counters = Arc::new(ShardCounters::default());
            let wake_up = shards.wake_ups[usize::from(shard)].try_clone();
            let setup = ThreadSetup {
                index: shard,
                shared: Arc::clone(&shared),
                mailboxes: Arc::clone(&mailboxes),
                listeners: listeners.pop().unwrap_or_default(),
                wake_up: wake_up.map_err(start_error(shard))?,
                path: kernel.as_mut().map(|kernel| kernel.shard(shard)),
                counters: Arc::clone(&counters),
                recovered: std::mem::take(&mut recovered[usize::from(shard)]),
            };
            shards.counters.push(counters);
            let (peers_tx, peers_rx) = mpsc::channel();
            peer_txs.push(peers_tx);
            let ready_tx = ready_tx.clone();
            let body = move || run_shard(setup, &ready_tx, &peers_rx);
            let thread = std::thread::Builder::new().name(format!("shard-{shard}")).spawn(body);
            shards.threads.push(thread.map_err(start_error(shard))?);
        }
        drop(ready_tx);
        let mut handles: Vec<Option<RingHandle>> = vec![None; usize::from(config.shards)];
        for _ in 0..config.shards {
            match ready_rx.recv() {
                Ok((shard, handle)) => handles[usize::from(shard)] = Some(handle),
                // A shard ended before it was ready: dropping `peer_txs` ends the others, and
                // joining tells why.
                Err(mpsc::RecvError) => break,
            }
        }
        let handles: Vec<RingHandle> = handles.into_iter().flatten().collect();
        if handles.len() == usize::from(config.shards) {
            for peers in &peer_txs {
                // If the receiver is gone, `join` says why.
                let _ = peers.send(handles.clone());
            }
            return Ok(shards);
        }
        drop(peer_txs);
        match shards.join() {
            Err(error) => Err(error),
            Ok(()) => Err(ShardError::Panicked { shard: 0 }),
        }
    }

    /// The addresses bound (ports filled in where 0 was asked).
    pub fn listening(&self) -> &[Listening] {
        &self.listening
    }

    /// Every shard's counters.
    pub fn counters(&self) -> &[Arc<ShardCounters>] {
        &self.counters
    }

    /// How much memory sessions take.
    pub fn memory(&self) -> &Arc<SessionMemory> {
        &self.shared.memory
    }

    /// The store's figures; none with `--durability off`.
    pub fn store(&self) -> Option<StoreView> {
        self.shared.store.clone().map(StoreView)
    }

    /// The wall clock was set: the store notes that, so that its times are right after a crash, too.
    pub fn clock_was_set(&self) {
        if let Some(store) = &self.shared.store {
            store.clock_was_set();
        }
    }

    /// The settings they were started with.
    pub fn config(&self) -> &Arc<Config> {
        &self.shared.config
    }

    /// The ways in from outside the shards.
    pub fn doors(&self) -> &Arc<Doors> {
        &self.doors
    }

    /// Asks that a client's session move to a shard, with its connection, if it can. Only tests ask so far.
    #[cfg(any(test, feature = "simulation"))]
    pub fn move_session(&self, client_id: &str, to: u16) {
        let asked = (Done::Move { client_id: client_id.into(), to }, Outcome::Committed);
        let home = self.shared.home_of(client_id);
        self.shared.journal.completions(home).push(&mut vec![asked]);
    }

    /// Whether every shard's thread runs. One that has ended before `stop` has failed: `join` tells.
    pub fn is_whole(&self) -> bool {
        !self.threads.iter().any(JoinHandle::is_finished)
    }

    /// Has clients looked at again after a reload, from any thread.
    ///
    /// # Errors
    /// The system has no descriptor left.
    pub fn reviewer(&self) -> io::Result<Reviewer> {
        let wake_ups = self.wake_ups.iter().map(WakeUp::try_clone).collect::<io::Result<_>>()?;
        Ok(Reviewer { shared: Arc::downgrade(&self.shared), wake_ups })
    }

    /// Begins the orderly stop: no more accepts, DISCONNECT 0x8B, close. From any thread.
    pub fn stop(&self) {
        self.shared.entrance.stop();
        for wake_up in &self.wake_ups {
            wake_up.wake();
        }
    }

    /// Waits until every shard has stopped (at most about 4 s after `stop`).
    ///
    /// # Errors
    /// The first shard that went down otherwise than by `stop`.
    pub fn join(self) -> Result<(), ShardError> {
        let mut result = Ok(());
        for (shard, thread) in (0u16..).zip(self.threads) {
            let ended = thread.join().unwrap_or(Err(ShardError::Panicked { shard }));
            result = result.and(ended);
        }
        self.doors.close();
        self.shared.notices.tell_held_back(Monotonic(u64::MAX));
        result
    }
}

/// Opens the data directory.
fn open_store(
    lock: DirectoryLock,
    config: &Config,
    clocks: Clocks,
    retained: &Arc<Retained>,
    memory: &Arc<SessionMemory>,
    sink: StoreSink,
) -> Result<(Option<Arc<ShardStore>>, Recovered), ShardError> {
    let durability = match config.durability {
        DurabilityMode::Off | DurabilityMode::Os => Durability::Os,
        DurabilityMode::Fsync => Durability::Fsync,
    };
    let opening = Opening {
        clocks,
        inflight_max: config.limits.inflight_max,
        memory: Arc::clone(memory),
        sessions_max: config.sessions_max,
    };
    let clock = Some(read_clocks as fn() -> ClockReading);
    let options = StoreOptions::new(&config.data_dir, durability);
    let options = StoreOptions { opening, clock, ..options };
    let begun = Instant::now();
    let (store, recovered) = embedded::open_locked(lock, options, Arc::clone(retained), sink)?;
    tracing::info!(
        sessions = recovered.sessions.len(),
        retained = retained.len(),
        took_ms = begun.elapsed().as_millis() as u64,
        "sessions and retained messages are kept in {}",
        config.data_dir.display()
    );
    let left_out = recovered.left_out.sessions();
    if left_out > 0 {
        tracing::warn!(
            left_out,
            "sessions on disk exceed --max-sessions or the totals of memory, and are left there: \
             their clients are refused (0x97) until a start with more --max-sessions, \
             --session-bytes-total, --subscription-bytes-total or --will-bytes-total takes them up"
        );
    }
    if recovered.wills_left_out > 0 {
        tracing::warn!(
            left_out = recovered.wills_left_out,
            "wills that were being published exceed --will-bytes-total, and are left on disk: a \
             start with room for them publishes them"
        );
    }
    Ok((Some(Arc::new(store)), recovered))
}

fn read_clocks() -> ClockReading {
    ClockReading { clocks: Clocks::now(), is_synchronised: kernel::is_wall_clock_kept() }
}

/// What a shard's thread starts from.
#[derive(Debug)]
struct ThreadSetup {
    index: u16,
    shared: Arc<Shared>,
    mailboxes: Arc<[Mailbox<Mail<Machine>>]>,
    listeners: Vec<OwnedFd>,
    wake_up: WakeUp,
    path: Option<ShardPath>,
    counters: Arc<ShardCounters>,
    recovered: RecoveredPart,
}

fn run_shard(
    setup: ThreadSetup,
    ready: &mpsc::Sender<(u16, RingHandle)>,
    peers: &mpsc::Receiver<Vec<RingHandle>>,
) -> Result<(), ShardError> {
    let index = setup.index;
    let ring_error = |source| ShardError::Ring { shard: index, source };
    let wire = RingWire::new(setup.listeners, setup.wake_up).map_err(ring_error)?;
    let handle = wire.handle();
    let mut shard = Shard::<Machine>::new(ShardSetup {
        index,
        shared: setup.shared,
        mailboxes: setup.mailboxes,
        wire,
        path: setup.path,
        clock: MachineClock,
        randomness: SystemRandomness,
        counters: setup.counters,
        recovered: setup.recovered,
    });
    // The starter may be gone; then there are no peers either.
    let _ = ready.send((index, handle));
    let Ok(handles) = peers.recv() else { return Ok(()) };
    shard.wire.join(handles);
    let ended = shard.run().map_err(ring_error);
    // Freeing millions of messages one by one would take longer than a stop may.
    shard.leave_memory();
    ended
}

#[cfg(test)]
mod tests;

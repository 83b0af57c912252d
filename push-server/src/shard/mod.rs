//! The loop that joins ring, websocket, mqtt, broker and kernel: one thread a shard, with its ring,
//! its connections and its sessions.
//!
//! A client's session lives with the shard that its client id hashes to. Any shard accepts; it reads
//! no further than CONNECT, then hands socket and request to the session's shard. So a session and
//! its connection are always together, and a take-over is a local matter. Messages travel between
//! shards by mailbox, only to shards with a subscriber; of a group that shares a subscription, to the
//! shard of the one member whose turn it is.

mod absence;
mod accept;
mod backlog;
mod bind;
mod client;
mod connect_order;
pub mod counters;
mod deliver;
mod durable;
mod fair_queue;
mod fanout;
mod fresh;
mod input;
mod input_budget;
mod introduce;
mod leaving;
mod mailbox;
mod notices;
mod postage;
mod probes;
mod recovery;
mod remains;
mod retry;
mod serve;
mod session_shares;
mod sessions;
mod share;
mod shared_access;
mod strays;
mod subscribe;
mod ticket;
mod turn;
mod unremoved;
mod unused;
mod websocket;
mod wheel;
mod wills;
mod worker;

pub(crate) use accept::PARKED_MAX;
pub use bind::{LISTEN_FLAG, WS_LISTEN_FLAG, probe_bind};
pub(crate) use durable::STORE_BACKLOG_BYTES_MAX;
pub(crate) use mailbox::MAILBOX_MESSAGES_MAX;
pub(crate) use postage::LETTERS_MAX;
pub(crate) use retry::UNREMOVED_MAX;
pub use shared_access::SharedAccess;
pub(crate) use unremoved::UNREMOVED_FILTER_BYTES_MAX;
pub(crate) use wills::UNPUBLISHED_WILL_BYTES_MAX;

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Instant;

use push_common::clock::Monotonic;
use rustix::event::{EventfdFlags, eventfd};

use crate::broker::{Holders, Retained, Routing, SessionMemory, Shares};
use crate::config::{Config, DurabilityMode};
use crate::kernel::{self, KernelPath};
use crate::mqtt::Access;
use crate::ring::{RingError, RingHandle};
use crate::store::{
    self, Claim, ClockReading, Clocks, Durability, LeftOut, Recovered, Store, StoreCounters,
    StoreError, StoreOptions,
};
use accept::Transport;
use bind::bind_all;
use connect_order::ConnectOrder;
use counters::ShardCounters;
use input_budget::InputBudget;
use mailbox::Mailbox;
use notices::Notices;
use recovery::RecoveredPart;
use remains::RemainsBytes;
use session_shares::SessionShares;
use ticket::{Completions, StoreSink, Waiting, Wholes};
use unused::UnusedCounts;
use worker::{Worker, WorkerSetup};

/// Why shards could not start or went down.
#[derive(Debug, thiserror::Error)]
pub enum ShardError {
    /// A listen address could not be bound.
    #[error("cannot listen on {address}: {source}; choose another by {flag}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// The flag that says so.
        flag: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The system gave no event descriptor or thread.
    #[error("cannot start shard {shard}: {source}")]
    Start {
        /// Which.
        shard: u16,
        /// Why.
        source: io::Error,
    },
    /// A shard's ring could not be set up, or broke.
    #[error("shard {shard}: {source}")]
    Ring {
        /// Which.
        shard: u16,
        /// Why.
        source: RingError,
    },
    /// What must outlive the process cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A shard's thread ended by a panic: a bug.
    #[error("shard {shard} ended by a panic; please report the message above")]
    Panicked {
        /// Which.
        shard: u16,
    },
}

/// What every shard sees of the whole.
#[derive(Debug)]
pub(crate) struct Shared {
    config: Arc<Config>,
    access: Arc<SharedAccess>,
    connections_max: u32,
    routing: Routing,
    shares: Shares,
    retained: Arc<Retained>,
    wholes: Wholes,
    input_budget: Arc<InputBudget>,
    memory: Arc<SessionMemory>,
    /// Of it, what filters of ended sessions take.
    remains_bytes: RemainsBytes,
    /// Sessions that the start has left on disk.
    left_out: LeftOut,
    notices: Notices,
    mailboxes: Vec<Mailbox>,
    /// Durable sessions; none with `--durability off`.
    store: Option<Arc<ShardStore>>,
    /// What the store and other shards have done for each shard.
    completions: Arc<Vec<Completions>>,
    /// The next durable session's.
    next_number: AtomicU64,
    /// For what the store keeps by the wall clock.
    clocks: Clocks,
    /// Which connection of a client is the later one.
    connect_order: ConnectOrder,
    /// Open sockets of all shards.
    open: AtomicU32,
    /// Tells networks and users apart.
    holders: Holders,
    /// Sessions of all shards, and whose they are.
    session_shares: SessionShares,
    /// How many sessions of each shard nobody uses.
    unused_counts: UnusedCounts,
    stopping: AtomicBool,
    /// Random per process, so that clients cannot choose colliding ids.
    hash_seed: u64,
}

/// The store, as shards see it.
pub(crate) type ShardStore = dyn Store<Waiting>;

/// The running shards.
#[derive(Debug)]
pub struct Shards {
    shared: Arc<Shared>,
    listening: Vec<SocketAddr>,
    websocket_listening: Vec<SocketAddr>,
    counters: Vec<Arc<ShardCounters>>,
    wake_ups: Vec<OwnedFd>,
    threads: Vec<JoinHandle<Result<(), ShardError>>>,
}

/// The store, for those who only look at it.
#[derive(Clone, Debug)]
pub struct StoreView(Arc<ShardStore>);

impl StoreView {
    /// What it did so far.
    pub fn counters(&self) -> &StoreCounters {
        self.0.counters()
    }

    /// What waits to be stored, in bytes.
    pub fn backlog_bytes(&self) -> u64 {
        self.0.backlog_bytes()
    }

    /// Whether the disk works.
    pub fn is_serving(&self) -> bool {
        self.0.is_serving()
    }
}

impl Shards {
    /// Binds the listeners, opens the store and starts one thread a shard. Returns when all of them
    /// serve. `claim`: of the data directory, if anything is to be kept.
    ///
    /// # Errors
    /// An address that cannot be bound; a data directory that cannot be used; a ring that cannot be set
    /// up (the message names the knob).
    pub fn start(
        config: &Arc<Config>,
        access: Access,
        connections_max: u32,
        mut kernel: Option<&mut KernelPath>,
        claim: Option<Claim>,
    ) -> Result<Self, ShardError> {
        let mut listeners: Vec<Vec<_>> = (0..config.shards).map(|_| Vec::new()).collect();
        let keepalive = probes::keepalive(config.tcp_keepalive_secs);
        let listen_error =
            |flag| move |(address, source)| ShardError::Listen { address, flag, source };
        let listening = bind_all(&config.listen, Transport::Tcp, keepalive, &mut listeners)
            .map_err(listen_error(LISTEN_FLAG))?;
        let websocket_listening =
            bind_all(&config.ws_listen, Transport::WebSocket, keepalive, &mut listeners)
                .map_err(listen_error(WS_LISTEN_FLAG))?;
        let wake_ups = (0..config.shards).map(event_descriptor).collect::<Result<Vec<_>, _>>()?;
        let completions = wake_ups
            .iter()
            .zip(0..)
            .map(|(wake_up, shard)| Ok(Completions::new(duplicate(wake_up, shard)?)));
        let completions = Arc::new(completions.collect::<Result<Vec<_>, ShardError>>()?);
        let clocks = Clocks::now();
        let retained = Retained::new(config.retained_messages_max, config.retained_bytes_max);
        let retained = Arc::new(retained);
        let memory = SessionMemory::with_shares(
            config.totals.into(),
            config.sessions_share_percent,
            config.limits.subscription_bytes_max.into(),
        );
        let (store, mut recovered) = match claim {
            Some(claim) => open_store(claim, config, clocks, &retained, &memory, &completions)?,
            None => (None, Recovered { clocks, ..Recovered::default() }),
        };
        let shared = Arc::new(Shared {
            config: Arc::clone(config),
            access: Arc::new(SharedAccess::new(access)),
            connections_max,
            routing: Routing::default(),
            shares: Shares::default(),
            retained,
            wholes: Wholes::default(),
            input_budget: InputBudget::new(config.input_bytes_max),
            memory,
            remains_bytes: RemainsBytes::default(),
            left_out: std::mem::take(&mut recovered.left_out),
            notices: Notices::default(),
            mailboxes: (0..config.shards).map(|_| Mailbox::new()).collect(),
            connect_order: ConnectOrder::default(),
            open: AtomicU32::new(0),
            holders: Holders::new(rand::random()),
            session_shares: SessionShares::new(config.sessions_max, config.sessions_share_percent),
            unused_counts: UnusedCounts::new(config.shards),
            stopping: AtomicBool::new(false),
            hash_seed: rand::random(),
            store,
            completions,
            next_number: AtomicU64::new(recovered.next_number.0),
            clocks: recovered.clocks,
        });
        let mut recovered = shared.sort_by_home(recovered);
        let mut shards = Self {
            shared: Arc::clone(&shared),
            listening,
            websocket_listening,
            counters: Vec::new(),
            wake_ups,
            threads: Vec::new(),
        };
        let (ready_tx, ready_rx) = mpsc::channel();
        let mut peer_txs = Vec::new();
        for shard in 0..config.shards {
            let start_error = |source: io::Error| ShardError::Start { shard, source };
            let counters = Arc::new(ShardCounters::default());
            let setup = WorkerSetup {
                index: shard,
                shared: Arc::clone(&shared),
                listeners: listeners.pop().unwrap_or_default(),
                wake_up: duplicate(&shards.wake_ups[usize::from(shard)], shard)?,
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
            shards.threads.push(thread.map_err(start_error)?);
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
                // A receiver that is gone shows at `join`.
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
    pub fn listening(&self) -> &[SocketAddr] {
        &self.listening
    }

    /// The same of the listeners for WebSocket.
    pub fn websocket_listening(&self) -> &[SocketAddr] {
        &self.websocket_listening
    }

    /// Every shard's counters.
    pub fn counters(&self) -> &[Arc<ShardCounters>] {
        &self.counters
    }

    /// What sessions take of memory.
    pub fn memory(&self) -> &Arc<SessionMemory> {
        &self.shared.memory
    }

    /// What the store did so far; `None` where nothing is kept.
    pub fn store(&self) -> Option<StoreView> {
        self.shared.store.clone().map(StoreView)
    }

    /// The wall clock was set: what the store keeps by it is to be right after a crash, too.
    pub fn clock_was_set(&self) {
        if let Some(store) = &self.shared.store {
            store.clock_was_set();
        }
    }

    /// The settings they were started with.
    pub fn config(&self) -> &Arc<Config> {
        &self.shared.config
    }

    /// Who may connect.
    pub fn access(&self) -> &Arc<SharedAccess> {
        &self.shared.access
    }

    /// Whether every shard's thread runs. One that has ended before `stop` has failed: `join` tells.
    pub fn is_whole(&self) -> bool {
        !self.threads.iter().any(JoinHandle::is_finished)
    }

    /// Begins the orderly stop: no more accepts, DISCONNECT 0x8B, close. From any thread.
    pub fn stop(&self) {
        self.shared.stopping.store(true, Ordering::Release);
        for wake_up in &self.wake_ups {
            if let Err(errno) = rustix::io::write(wake_up, &1u64.to_ne_bytes()) {
                tracing::warn!(%errno, "cannot wake a shard; it looks at its mailbox within 1 s");
            }
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
        self.shared.notices.tell_held_back(Monotonic(u64::MAX));
        result
    }
}

impl Shared {
    /// What was found on disk, by the shard that it lives with from now on.
    fn sort_by_home(&self, recovered: Recovered) -> Vec<RecoveredPart> {
        let Recovered { sessions, wills, .. } = recovered;
        let mut by_shard: Vec<_> =
            self.mailboxes.iter().map(|_| RecoveredPart::default()).collect();
        for will in wills {
            // They are in the order of their numbers. A will whose session is gone goes to any.
            let found = sessions.binary_search_by_key(&will.session, |session| session.number);
            let home = found.map_or(0, |at| self.home_of(&sessions[at].record.client_id));
            by_shard[usize::from(home)].wills.push(will);
        }
        for session in sessions {
            by_shard[usize::from(self.home_of(&session.record.client_id))].sessions.push(session);
        }
        by_shard
    }

    /// The shard that a client's session lives with.
    fn home_of(&self, client_id: &str) -> u16 {
        use std::hash::BuildHasher;
        // Not the seed of the shards' own index: there the ids of one shard must spread again.
        let hasher = foldhash::fast::FixedState::with_seed(self.hash_seed ^ 0x5EED);
        let shards = self.mailboxes.len() as u64;
        // At most 64 shards, so the remainder fits.
        (hasher.hash_one(client_id) % shards) as u16
    }
}

fn event_descriptor(shard: u16) -> Result<OwnedFd, ShardError> {
    eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
        .map_err(|errno| ShardError::Start { shard, source: errno.into() })
}

fn duplicate(wake_up: &OwnedFd, shard: u16) -> Result<OwnedFd, ShardError> {
    wake_up.try_clone().map_err(|source| ShardError::Start { shard, source })
}

/// Opens the data directory.
fn open_store(
    claim: Claim,
    config: &Config,
    clocks: Clocks,
    retained: &Arc<Retained>,
    memory: &Arc<SessionMemory>,
    completions: &Arc<Vec<Completions>>,
) -> Result<(Option<Arc<ShardStore>>, Recovered), ShardError> {
    let durability = match config.durability {
        DurabilityMode::Off | DurabilityMode::Os => Durability::Os,
        DurabilityMode::Fsync => Durability::Fsync,
    };
    let inflight_max = config.limits.inflight_max;
    let options = StoreOptions::new(&config.data_dir, durability);
    let memory = Arc::clone(memory);
    let clock = Some(read_clocks as fn() -> ClockReading);
    let sessions_max = config.sessions_max;
    let options = StoreOptions { clocks, clock, inflight_max, memory, sessions_max, ..options };
    let begun = Instant::now();
    let sink = StoreSink::new(Arc::clone(completions));
    let (store, recovered) = store::open_claimed(claim, options, Arc::clone(retained), sink)?;
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

fn run_shard(
    setup: WorkerSetup,
    ready: &mpsc::Sender<(u16, RingHandle)>,
    peers: &mpsc::Receiver<Vec<RingHandle>>,
) -> Result<(), ShardError> {
    let shard = setup.index;
    let mut worker = Worker::new(setup).map_err(|source| ShardError::Ring { shard, source })?;
    // The starter may be gone; then there are no peers either.
    let _ = ready.send((shard, worker.ring_handle()));
    let Ok(handles) = peers.recv() else { return Ok(()) };
    let ended = worker.run(handles).map_err(|source| ShardError::Ring { shard, source });
    // Freeing millions of messages one by one would outlast the time that a stop has.
    worker.leave_memory();
    ended
}

//! What all clients of a run share: the ledger, where the server is, and what phase it is.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use push_tests::server::Target;
use rand::SeedableRng as _;
use rand::rngs::StdRng;

use push_tests::ledger::Ledger;

/// How long a client waits before it looks again for a server.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// What clients do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Publish, subscribe, come and go.
    Load,
    /// Publish nothing new, finish what is under way, stay connected.
    Drain,
    /// End.
    Stop,
}

/// See above.
#[derive(Debug)]
pub(crate) struct World {
    seed: u64,
    ledger: Mutex<Ledger>,
    server: Mutex<Whereabouts>,
    phase: AtomicU32,
    /// Clients that have nothing under way, since `Drain`.
    idle: AtomicU32,
    /// PUBREL packets sent again.
    pub(crate) releases_resent: AtomicU64,
}

/// Where the server is.
#[derive(Clone, Debug, Default)]
struct Whereabouts {
    target: Option<Target>,
    era: Era,
}

/// What a connection lasts within.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Era {
    /// Lives that the server has had before.
    pub(crate) life: u32,
    /// How often all connections have been cut at once.
    cuts: u32,
}

impl World {
    pub(crate) fn new(seed: u64, subscribers: &[&str]) -> Self {
        Self {
            seed,
            ledger: Mutex::new(Ledger::new(subscribers)),
            server: Mutex::default(),
            phase: AtomicU32::new(Phase::Load as u32),
            idle: AtomicU32::new(0),
            releases_resent: AtomicU64::new(0),
        }
    }

    /// The history; a client that panicked with it in hand has not made it worse.
    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::SeqCst) {
            load if load == Phase::Load as u32 => Phase::Load,
            drain if drain == Phase::Drain as u32 => Phase::Drain,
            _ => Phase::Stop,
        }
    }

    pub(crate) fn set_phase(&self, phase: Phase) {
        self.phase.store(phase as u32, Ordering::SeqCst);
    }

    /// The server serves.
    pub(crate) fn begin_life(&self, target: Target) {
        self.whereabouts().target = Some(target);
    }

    /// The server is about to go: what it does to connections from now on is no fault.
    pub(crate) fn end_life(&self) {
        let mut server = self.whereabouts();
        server.target = None;
        server.era.life += 1;
    }

    /// All clients are to break off their connections, wherever they are.
    pub(crate) fn cut(&self) {
        self.whereabouts().era.cuts += 1;
    }

    /// Whether connections of that era are to go on.
    pub(crate) fn is_in(&self, era: Era) -> bool {
        self.whereabouts().era == era
    }

    /// A client's connection is lost. So must be the server of that era, or all connections.
    pub(crate) fn lost(&self, client: &str, era: Era) {
        if self.is_in(era) {
            self.ledger().fault(format_args!("{client}: the server ended the connection"));
        }
    }

    /// Where the server is, and in which era; `None` after some waiting: nowhere.
    pub(crate) fn server(&self) -> Option<(Target, Era)> {
        let Whereabouts { target, era } = self.whereabouts().clone();
        if target.is_none() {
            std::thread::sleep(LOOK_AGAIN);
        }
        target.map(|target| (target, era))
    }

    fn whereabouts(&self) -> MutexGuard<'_, Whereabouts> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A client has come to rest (`true`) or begins something.
    pub(crate) fn rest(&self, rests: bool, rested: &mut bool) {
        if rests && !*rested {
            self.idle.fetch_add(1, Ordering::SeqCst);
        } else if !rests && *rested {
            self.idle.fetch_sub(1, Ordering::SeqCst);
        }
        *rested = rests;
    }

    /// Clients at rest.
    pub(crate) fn at_rest(&self) -> u32 {
        self.idle.load(Ordering::SeqCst)
    }

    /// Chance of a client's own, the same in every run with the same seed.
    pub(crate) fn chance(&self, client: u64) -> StdRng {
        StdRng::seed_from_u64(self.seed ^ (client + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }
}

//! Says who clients are: at once from memory, or once a thread of its own has hashed a password. Shards only compare
//! keys of passwords that were right not long ago.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use push_common::clock::Monotonic;

use crate::access::{
    Access, Credentials, Hasher, Judgement, Key, PasswordCheck, Verdict, VerifiedPasswords,
};
use crate::config::Config;
use crate::shard::{Answerer, Asker, SharedAccess};

/// The answerer of all shards.
pub(crate) struct Authenticator {
    inner: Arc<Inner>,
    threads: Vec<JoinHandle<()>>,
}

/// What shards and the hashing threads share.
struct Inner {
    access: Arc<SharedAccess>,
    verified: Mutex<VerifiedPasswords>,
    /// Of the keys of verified passwords.
    secret: Key,
    queue: Queue,
    /// How long a question is worth an answer: then its client was refused.
    patience: Duration,
    /// From when on `verified` counts.
    started: Instant,
    counts: Arc<AuthenticationCounts>,
}

/// Passwords that wait to be hashed. `QUESTIONS_MAX` of the shards bounds how many.
#[derive(Default)]
struct Queue {
    state: Mutex<QueueState>,
    changed: Condvar,
}

#[derive(Default)]
struct QueueState {
    waiting: VecDeque<Waiting>,
    is_closed: bool,
}

struct Waiting {
    check: PasswordCheck,
    asker: Asker,
    since: Instant,
}

/// What the answerer has done.
#[derive(Debug, Default)]
pub(crate) struct AuthenticationCounts {
    accepted_scram: AtomicU64,
    accepted_users: AtomicU64,
    accepted_anonymous: AtomicU64,
    hashed: AtomicU64,
    remembered: AtomicU64,
    /// How many are in the memory.
    in_memory: AtomicU64,
    forgotten_early: AtomicU64,
    waiting: AtomicU64,
}

impl AuthenticationCounts {
    /// Clients let in, by the source that knew them.
    pub(crate) fn accepted(&self) -> [(&'static str, u64); 3] {
        [
            ("scram", read(&self.accepted_scram)),
            ("users", read(&self.accepted_users)),
            ("anonymous", read(&self.accepted_anonymous)),
        ]
    }

    /// Passwords checked, by how.
    pub(crate) fn checked(&self) -> [(&'static str, u64); 2] {
        [("hash", read(&self.hashed)), ("memory", read(&self.remembered))]
    }

    /// Passwords that are remembered.
    pub(crate) fn in_memory(&self) -> u64 {
        read(&self.in_memory)
    }

    /// Passwords forgotten for another one, before their time.
    pub(crate) fn forgotten_early(&self) -> u64 {
        read(&self.forgotten_early)
    }

    /// Passwords that wait to be hashed.
    pub(crate) fn waiting(&self) -> u64 {
        read(&self.waiting)
    }
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Authenticator {
    /// Starts the threads that hash.
    ///
    /// # Errors
    /// A thread cannot be started.
    pub(crate) fn start(config: &Config, access: &Arc<SharedAccess>) -> io::Result<Self> {
        let inner = Arc::new(Inner {
            access: Arc::clone(access),
            verified: Mutex::default(),
            secret: rand::random(),
            queue: Queue::default(),
            patience: Duration::from_secs(config.connect_timeout_secs.into()),
            started: Instant::now(),
            counts: Arc::default(),
        });
        let settings = &config.authentication;
        let start = |number| {
            let inner = Arc::clone(&inner);
            let thread = std::thread::Builder::new().name(format!("auth-{number}"));
            thread.spawn(move || inner.hash())
        };
        // Also while there are no users: a reload may bring some.
        let threads = (0..settings.threads).map(start).collect::<io::Result<_>>()?;
        Ok(Self { inner, threads })
    }

    /// What it has done.
    pub(crate) fn counts(&self) -> &Arc<AuthenticationCounts> {
        &self.inner.counts
    }

    /// Whether each of its threads runs. None ends by itself but by a panic.
    pub(crate) fn is_whole(&self) -> bool {
        !self.threads.iter().any(JoinHandle::is_finished)
    }
}

impl Drop for Authenticator {
    /// Questions that wait are answered by their end: nobody said who it is.
    fn drop(&mut self) {
        let mut state = self.inner.queue.lock();
        state.is_closed = true;
        state.waiting.clear();
        drop(state);
        self.inner.queue.changed.notify_all();
    }
}

impl fmt::Debug for Authenticator {
    /// Without the secret.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let threads = self.threads.len();
        formatter.debug_struct("Authenticator").field("threads", &threads).finish_non_exhaustive()
    }
}

impl Answerer for Authenticator {
    fn asks_for_address(&self) -> bool {
        false
    }

    fn access(&self) -> Arc<Access> {
        self.inner.access.current()
    }

    fn judge(&self, credentials: &Credentials) -> Option<Verdict> {
        let inner = &*self.inner;
        match inner.access.current().judge(credentials) {
            Judgement::Now(verdict) => {
                inner.counts.of(&verdict);
                Some(verdict)
            }
            Judgement::Check(check) => inner.remembered(&check),
        }
    }

    fn ask(&self, credentials: Credentials, asker: Asker) {
        match self.inner.access.current().judge(&credentials) {
            // The users have changed meanwhile.
            Judgement::Now(verdict) => {
                self.inner.counts.of(&verdict);
                asker.answer(verdict);
            }
            Judgement::Check(check) => {
                // Before a thread can take it.
                count(&self.inner.counts.waiting);
                self.inner.queue.push(Waiting { check, asker, since: Instant::now() });
            }
        }
    }
}

impl AuthenticationCounts {
    /// Counts a verdict that needed no password.
    fn of(&self, verdict: &Verdict) {
        match verdict {
            Verdict::Allowed(identity, _) if identity.user().is_some() => {
                count(&self.accepted_scram);
            }
            Verdict::Allowed(..) => count(&self.accepted_anonymous),
            Verdict::Continue(..) | Verdict::Refused(_) => {}
        }
    }
}

impl Inner {
    /// The verdict on a password that was right not long ago.
    fn remembered(&self, check: &PasswordCheck) -> Option<Verdict> {
        let key = check.key(&self.secret);
        let mut verified = self.verified();
        let is_remembered = verified.contains(key, self.now());
        self.counts.in_memory.store(verified.len() as u64, Ordering::Relaxed);
        drop(verified);
        if !is_remembered {
            return None;
        }
        count(&self.counts.remembered);
        count(&self.counts.accepted_users);
        Some(check.passed())
    }

    /// Hashes passwords, until the answerer is dropped.
    fn hash(&self) {
        let mut hasher = Hasher::default();
        while let Some(Waiting { check, asker, since }) = self.queue.next() {
            self.counts.waiting.fetch_sub(1, Ordering::Relaxed);
            // Nobody waits for it: the asker tells so when it is dropped.
            if since.elapsed() >= self.patience {
                continue;
            }
            // The same password may have been in the queue before.
            if let Some(verdict) = self.remembered(&check) {
                asker.answer(verdict);
                continue;
            }
            let verdict = check.run(&mut hasher);
            count(&self.counts.hashed);
            if let Verdict::Allowed(..) = verdict {
                count(&self.counts.accepted_users);
                self.remember(&check);
            }
            asker.answer(verdict);
        }
    }

    fn remember(&self, check: &PasswordCheck) {
        let key = check.key(&self.secret);
        let mut verified = self.verified();
        if verified.add(key, self.now()) {
            count(&self.counts.forgotten_early);
        }
        self.counts.in_memory.store(verified.len() as u64, Ordering::Relaxed);
    }

    fn verified(&self) -> MutexGuard<'_, VerifiedPasswords> {
        self.verified.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Monotonic {
        Monotonic::default().after(self.started.elapsed())
    }
}

impl Queue {
    fn push(&self, waiting: Waiting) {
        self.lock().waiting.push_back(waiting);
        self.changed.notify_one();
    }

    /// Waits for the next one. `None`: there will be none.
    fn next(&self) -> Option<Waiting> {
        let is_idle = |state: &mut QueueState| state.waiting.is_empty() && !state.is_closed;
        let state = self.changed.wait_while(self.lock(), is_idle);
        state.unwrap_or_else(PoisonError::into_inner).waiting.pop_front()
    }

    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

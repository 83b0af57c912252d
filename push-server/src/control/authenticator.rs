//! Says who clients are: at once from memory, or once a thread of its own has hashed a password, checked the
//! signature of a token, or asked the hook. Shards only compare keys of what was right not long ago.
//!
//! Tokens have a thread of their own: a signature takes less than a hundredth of what a hash does, and should not wait
//! behind hashes.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use push_common::clock::Monotonic;

use super::hook::{Hook, HookCounts, HookFiles, NoAnswer};
use super::tally::{add, count, discount, read, set};
use super::wall_clock::since_1970;
use crate::access::{
    Access, Credentials, Denial, Hasher, HookAnswer, HookQuestion, Judgement, Key, PASSWORD_BYTES,
    PasswordCheck, Source, TokenCheck, Verdict, Verified, VerifiedToken,
};
use crate::config::Config;
use crate::shard::{Answerer, Asker, Queue, SharedAccess};

/// The answerer of all shards.
pub(crate) struct Authenticator {
    inner: Arc<Inner>,
    threads: Vec<JoinHandle<()>>,
    hook: Option<Hook>,
}

/// What shards and the threads that check share.
struct Inner {
    access: Arc<SharedAccess>,
    verified_passwords: Mutex<Verified<()>>,
    verified_tokens: Mutex<Verified<VerifiedToken>>,
    /// Of the keys of what was verified.
    secret: Key,
    passwords: Checks<PasswordCheck>,
    tokens: Checks<TokenCheck>,
    /// How long a question is worth an answer: then its client was refused.
    patience: Duration,
    /// From when on `verified` counts.
    started: Instant,
    counts: Arc<AuthenticationCounts>,
}

/// What waits to be checked. The shards bound how much, by `QUESTIONS_MAX` and `TOKEN_QUESTIONS_MAX`.
struct Checks<C> {
    state: Mutex<ChecksState<C>>,
    changed: Condvar,
}

struct ChecksState<C> {
    waiting: VecDeque<Waiting<C>>,
    is_closed: bool,
}

struct Waiting<C> {
    check: C,
    asker: Asker,
    since: Instant,
}

/// What the answerer has done.
#[derive(Debug, Default)]
pub(crate) struct AuthenticationCounts {
    accepted_certificate: AtomicU64,
    accepted_scram: AtomicU64,
    accepted_jwt: AtomicU64,
    accepted_users: AtomicU64,
    accepted_hook: AtomicU64,
    accepted_anonymous: AtomicU64,
    hashed: AtomicU64,
    remembered: AtomicU64,
    /// How many are in the memory.
    in_memory: AtomicU64,
    forgotten_early: AtomicU64,
    waiting: AtomicU64,
    tokens_verified: AtomicU64,
    tokens_remembered: AtomicU64,
    tokens_in_memory: AtomicU64,
    tokens_forgotten_early: AtomicU64,
    tokens_waiting: AtomicU64,
    hook: Arc<HookCounts>,
}

impl AuthenticationCounts {
    /// Clients let in, by the source that knew them.
    pub(crate) fn accepted(&self) -> [(&'static str, u64); 6] {
        [
            ("certificate", read(&self.accepted_certificate)),
            ("scram", read(&self.accepted_scram)),
            ("jwt", read(&self.accepted_jwt)),
            ("users", read(&self.accepted_users)),
            ("hook", read(&self.accepted_hook)),
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

    /// Tokens checked, by how.
    pub(crate) fn tokens_checked(&self) -> [(&'static str, u64); 2] {
        let (signature, memory) = (&self.tokens_verified, &self.tokens_remembered);
        [("signature", read(signature)), ("memory", read(memory))]
    }

    /// Tokens that are remembered.
    pub(crate) fn tokens_in_memory(&self) -> u64 {
        read(&self.tokens_in_memory)
    }

    /// Tokens forgotten for another one, before their time.
    pub(crate) fn tokens_forgotten_early(&self) -> u64 {
        read(&self.tokens_forgotten_early)
    }

    /// Tokens that wait to be checked.
    pub(crate) fn tokens_waiting(&self) -> u64 {
        read(&self.tokens_waiting)
    }

    /// What the hook was asked.
    pub(crate) fn hook(&self) -> &HookCounts {
        &self.hook
    }
}

impl Authenticator {
    /// Starts the threads that hash and check, also while there is nothing for them to do: a reload may bring users
    /// and keys.
    ///
    /// # Errors
    /// A thread cannot be started.
    pub(crate) fn start(
        config: &Config,
        access: &Arc<SharedAccess>,
        hook: Option<HookFiles>,
    ) -> io::Result<Self> {
        let inner = Arc::new(Inner {
            access: Arc::clone(access),
            verified_passwords: Mutex::default(),
            verified_tokens: Mutex::default(),
            secret: rand::random(),
            passwords: Checks::new(),
            tokens: Checks::new(),
            patience: Duration::from_secs(config.connect_timeout_secs.into()),
            started: Instant::now(),
            counts: Arc::default(),
        });
        let settings = &config.authentication;
        let start = |name: String, work: fn(&Inner)| {
            let inner = Arc::clone(&inner);
            std::thread::Builder::new().name(name).spawn(move || work(&inner))
        };
        let threads =
            (0..settings.threads).map(|number| start(format!("auth-{number}"), Inner::hash));
        let mut threads = threads.collect::<io::Result<Vec<_>>>()?;
        threads.push(start("auth-jwt".to_owned(), Inner::check_tokens)?);
        let (patience, counts) = (inner.patience, &inner.counts.hook);
        let hook =
            hook.map(|files| Hook::start(&settings.hook, files, patience, Arc::clone(counts)));
        Ok(Self { hook: hook.transpose()?, inner, threads })
    }

    /// Asks the hook by these files from now on, and forgets what it has answered.
    pub(crate) fn change_hook(&self, files: HookFiles) {
        if let Some(hook) = &self.hook {
            hook.change(files);
        }
    }

    /// What it has done.
    pub(crate) fn counts(&self) -> &Arc<AuthenticationCounts> {
        &self.inner.counts
    }

    /// Whether each of its threads runs. None ends by itself but by a panic.
    pub(crate) fn is_whole(&self) -> bool {
        let hook_is_whole = self.hook.as_ref().is_none_or(Hook::is_whole);
        hook_is_whole && !self.threads.iter().any(JoinHandle::is_finished)
    }
}

impl Drop for Authenticator {
    /// Questions that wait are answered by their end: nobody said who it is.
    fn drop(&mut self) {
        self.inner.passwords.close();
        self.inner.tokens.close();
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
        self.hook.is_some()
    }

    fn access(&self) -> Arc<Access> {
        self.inner.access.current()
    }

    fn judge(&self, credentials: &Credentials) -> Result<Verdict, Queue> {
        let judgement = self.inner.access.current().judge(credentials);
        let judgement = match (&judgement, &self.hook) {
            (Judgement::Hook, Some(hook)) => {
                let answer = hook.judge(&HookQuestion::of(credentials)).ok_or(Queue::Hook)?;
                self.inner.told_by_hook(credentials, answer)
            }
            _ => judgement,
        };
        self.inner.known(judgement)
    }

    fn ask(&self, credentials: Credentials, asker: Asker) {
        let judgement = self.inner.access.current().judge(&credentials);
        match (&judgement, &self.hook) {
            (Judgement::Hook, Some(hook)) => {
                let inner = Arc::clone(&self.inner);
                let question = HookQuestion::of(&credentials);
                hook.ask(
                    question,
                    Box::new(move |answer| {
                        let judgement = inner.told_by_hook(&credentials, answer);
                        inner.answer(judgement, asker);
                    }),
                );
            }
            _ => self.inner.answer(judgement, asker),
        }
    }
}

impl AuthenticationCounts {
    /// Counts a client that a source let in at once.
    fn of(&self, source: Option<Source>, verdict: &Verdict) {
        let Verdict::Allowed(..) = verdict else { return };
        match source {
            Some(Source::Scram) => count(&self.accepted_scram),
            Some(Source::Users) => count(&self.accepted_users),
            Some(Source::Anonymous) => count(&self.accepted_anonymous),
            Some(Source::Certificate) => count(&self.accepted_certificate),
            Some(Source::Token) => count(&self.accepted_jwt),
            Some(Source::Hook) => count(&self.accepted_hook),
            None => {}
        }
    }
}

impl Inner {
    /// What is to be done about a client that the hook was asked about.
    fn told_by_hook(
        &self,
        credentials: &Credentials,
        answer: Result<HookAnswer, NoAnswer>,
    ) -> Judgement {
        let verdict = match answer {
            Ok(HookAnswer::Ignore) => {
                return self.access.current().judge_without_hook(credentials);
            }
            Ok(HookAnswer::Allow(identity, expires_in)) => {
                Verdict::Allowed(identity.lasting(since_1970(), expires_in), None)
            }
            Ok(HookAnswer::Deny) => Verdict::Refused(Denial::HookDenied),
            Err(NoAnswer) => Verdict::Refused(Denial::HookFailed),
        };
        Judgement::Now(Some(Source::Hook), verdict)
    }

    /// The verdict, if it is known at once.
    fn known(&self, judgement: Judgement) -> Result<Verdict, Queue> {
        match judgement {
            Judgement::Now(source, verdict) => {
                self.counts.of(source, &verdict);
                Ok(verdict)
            }
            Judgement::Check(check) => self.remembered(&check).ok_or(Queue::Passwords),
            Judgement::Token(check) => self.remembered_token(&check).ok_or(Queue::Tokens),
            Judgement::Hook => Err(Queue::Hook),
        }
    }

    /// Answers, or has it done by those who can.
    fn answer(&self, judgement: Judgement, asker: Asker) {
        match judgement {
            Judgement::Now(source, verdict) => {
                self.counts.of(source, &verdict);
                asker.answer(verdict);
            }
            Judgement::Check(check) => {
                // Before a thread can take it.
                count(&self.counts.waiting);
                self.passwords.push(check, asker);
            }
            Judgement::Token(check) => {
                count(&self.counts.tokens_waiting);
                self.tokens.push(check, asker);
            }
            // There is none. Dropped, the question is answered: nobody says who it is.
            Judgement::Hook => drop(asker),
        }
    }

    /// The verdict on a password that was right not long ago.
    fn remembered(&self, check: &PasswordCheck) -> Option<Verdict> {
        let key = check.key(&self.secret);
        let mut verified = lock(&self.verified_passwords);
        let is_remembered = verified.get(key, self.now()).is_some();
        set(&self.counts.in_memory, verified.len() as u64);
        drop(verified);
        if !is_remembered {
            return None;
        }
        count(&self.counts.remembered);
        count(&self.counts.accepted_users);
        Some(check.passed())
    }

    /// Does checks, until the answerer is dropped. `waiting` counts those that wait.
    fn work<C>(
        &self,
        checks: &Checks<C>,
        waiting: &AtomicU64,
        remembered: impl Fn(&C) -> Option<Verdict>,
        mut run: impl FnMut(&C) -> Verdict,
    ) {
        while let Some(Waiting { check, asker, since }) = checks.next() {
            discount(waiting);
            // Nobody waits for it: the asker tells so when it is dropped.
            if since.elapsed() >= self.patience {
                continue;
            }
            // The same may have been in the queue before.
            let verdict = remembered(&check).unwrap_or_else(|| run(&check));
            asker.answer(verdict);
        }
    }

    /// Hashes passwords, until the answerer is dropped.
    fn hash(&self) {
        let mut hasher = Hasher::default();
        let run = |check: &PasswordCheck| {
            let verdict = check.run(&mut hasher);
            count(&self.counts.hashed);
            if let Verdict::Allowed(..) = verdict {
                count(&self.counts.accepted_users);
                self.remember(check);
            }
            verdict
        };
        self.work(&self.passwords, &self.counts.waiting, |check| self.remembered(check), run);
    }

    fn remember(&self, check: &PasswordCheck) {
        let key = check.key(&self.secret);
        let mut verified = lock(&self.verified_passwords);
        let forgotten = verified.add(key, (), PASSWORD_BYTES, self.now());
        add(&self.counts.forgotten_early, forgotten);
        set(&self.counts.in_memory, verified.len() as u64);
    }

    /// The verdict on a token whose signature was right not long ago. Its times are looked at again.
    fn remembered_token(&self, check: &TokenCheck) -> Option<Verdict> {
        let key = check.key(&self.secret);
        let mut verified = lock(&self.verified_tokens);
        let token = verified.get(key, self.now()).cloned();
        set(&self.counts.tokens_in_memory, verified.len() as u64);
        drop(verified);
        let verdict = check.passed(&token?, since_1970().as_secs());
        count(&self.counts.tokens_remembered);
        self.counts.of(Some(Source::Token), &verdict);
        Some(verdict)
    }

    /// Checks tokens, until the answerer is dropped.
    fn check_tokens(&self) {
        let run = |check: &TokenCheck| {
            count(&self.counts.tokens_verified);
            let verdict = match check.run() {
                Ok(token) => {
                    let verdict = check.passed(&token, since_1970().as_secs());
                    self.remember_token(check, token);
                    verdict
                }
                Err(denial) => Verdict::Refused(denial),
            };
            self.counts.of(Some(Source::Token), &verdict);
            verdict
        };
        let waiting = &self.counts.tokens_waiting;
        self.work(&self.tokens, waiting, |check| self.remembered_token(check), run);
    }

    fn remember_token(&self, check: &TokenCheck, token: VerifiedToken) {
        let key = check.key(&self.secret);
        let mut verified = lock(&self.verified_tokens);
        let forgotten = verified.add(key, token, check.weight_bytes(), self.now());
        add(&self.counts.tokens_forgotten_early, forgotten);
        set(&self.counts.tokens_in_memory, verified.len() as u64);
    }

    fn now(&self) -> Monotonic {
        Monotonic::default().after(self.started.elapsed())
    }
}

/// Whatever panicked, what is behind these locks is whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<C> Checks<C> {
    fn new() -> Self {
        let state = ChecksState { waiting: VecDeque::new(), is_closed: false };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    fn push(&self, check: C, asker: Asker) {
        lock(&self.state).waiting.push_back(Waiting { check, asker, since: Instant::now() });
        self.changed.notify_one();
    }

    /// Waits for the next one. `None`: there will be none.
    fn next(&self) -> Option<Waiting<C>> {
        let is_idle = |state: &mut ChecksState<C>| state.waiting.is_empty() && !state.is_closed;
        let state = self.changed.wait_while(lock(&self.state), is_idle);
        state.unwrap_or_else(PoisonError::into_inner).waiting.pop_front()
    }

    fn close(&self) {
        let mut state = lock(&self.state);
        state.is_closed = true;
        state.waiting.clear();
        drop(state);
        self.changed.notify_all();
    }
}

//! Asks an HTTP server who clients are: from a thread of its own, so that neither shards nor passwords that are
//! hashed wait for it. Answers are remembered (`memory`); a server that fails rests (`access::HookRest`).

mod client;
mod counts;
mod memory;

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use push_common::clock::Monotonic;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tracing::{info, warn};

use super::privileges;
use super::tally::{count, discount, set};
use crate::access::{
    HOOK_FAILURES_MAX, HOOK_REST, HookAnswer, HookAttempt, HookQuestion, HookRest,
};
use crate::config::HookSettings;
use crate::shard::HOOK_UNDER_WAY_MAX;
use client::{HookClient, HookFailure};
use memory::Memory;

pub(crate) use client::HOOK_TIMEOUT;
pub(crate) use client::HookError;
pub(crate) use counts::HookCounts;
pub(crate) use memory::HOOK_REMEMBERED_MAX;

/// Threads that look up the hook's address. A lookup may take longer than a request.
const RESOLVERS_MAX: usize = 4;

/// Shortest time between two lines of the log about failures.
const FAILURES_TOLD_EVERY: Duration = Duration::from_secs(1);

/// The hook did not say who a client is: it gave no valid answer in time, or rests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoAnswer;

/// Takes the answer about a client. Dropped: nobody will say.
pub(crate) type Reply = Box<dyn FnOnce(Result<HookAnswer, NoAnswer>) + Send>;

/// The hook, and the thread that asks it.
pub(crate) struct Hook {
    inner: Arc<Inner>,
    questions: mpsc::UnboundedSender<Waiting>,
    /// Dropped, it ends the thread.
    _ends: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

struct Inner {
    place: String,
    client: RwLock<Arc<HookClient>>,
    memory: Memory,
    rest: Mutex<HookRest>,
    /// How long a question is worth an answer: then its client was refused.
    patience: Duration,
    /// From when on `Monotonic` counts.
    started: Instant,
    /// When the log last told of a failure.
    told: Mutex<Option<Instant>>,
    counts: Arc<HookCounts>,
}

struct Waiting {
    question: HookQuestion,
    reply: Reply,
    since: Instant,
}

/// A request under way. Dropped before it has an outcome, it has failed.
struct UnderWay<'a> {
    inner: &'a Inner,
    attempt: Option<HookAttempt>,
}

/// What the settings' files say, read and not in force yet.
#[derive(Debug)]
pub(crate) struct HookFiles(HookClient);

impl HookFiles {
    /// Reads them. `None`: there is no hook.
    ///
    /// # Errors
    /// A file cannot be read, or does not have what it should.
    pub(crate) fn read(settings: &HookSettings) -> Result<Option<Self>, HookError> {
        Ok(HookClient::load(settings)?.map(Self))
    }
}

impl Hook {
    /// Starts the thread that asks. A client's question is worth an answer for `patience`.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub(crate) fn start(
        settings: &HookSettings,
        files: HookFiles,
        patience: Duration,
        counts: Arc<HookCounts>,
    ) -> io::Result<Self> {
        let place = settings.url.as_ref().map(|url| url.place()).unwrap_or_default();
        if let Some(url) = settings.url.as_ref().filter(|url| !url.has_tls() && !url.is_local()) {
            warn!(
                "clients' passwords go to {} as they are: https:// would encrypt them",
                url.place()
            );
        }
        info!("who clients are, {place} is asked");
        let inner = Arc::new(Inner {
            place,
            client: RwLock::new(Arc::new(files.0)),
            memory: Memory::new(Arc::clone(&counts)),
            rest: Mutex::default(),
            patience,
            started: Instant::now(),
            told: Mutex::default(),
            counts,
        });
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(RESOLVERS_MAX)
            .build()?;
        let (questions, asked) = mpsc::unbounded_channel();
        let (_ends, ended) = oneshot::channel();
        let served = Arc::clone(&inner);
        let thread = std::thread::Builder::new().name("auth-hook".into()).spawn(move || {
            // It needs no port below 1024 and no locked memory.
            privileges::drop_all();
            runtime.block_on(serve(served, asked, ended));
            // A lookup may take longer than anybody waits.
            runtime.shutdown_background();
        })?;
        Ok(Self { inner, questions, _ends, thread })
    }

    /// The answer, if it is known without asking: it is remembered, or the hook rests.
    pub(crate) fn judge(&self, question: &HookQuestion) -> Option<Result<HookAnswer, NoAnswer>> {
        let now = self.inner.now();
        if let Some(answer) = self.inner.memory.answer(question, now) {
            return Some(Ok(answer));
        }
        let may_ask = self.inner.rest().may_ask(now);
        (!may_ask).then(|| {
            count(&self.inner.counts.refused_resting);
            Err(NoAnswer)
        })
    }

    /// Asks when it is this question's turn. Never waits.
    pub(crate) fn ask(&self, question: HookQuestion, reply: Reply) {
        // Before the thread can take it.
        count(&self.inner.counts.waiting);
        // Of a thread that has ended the server learns by `is_whole`.
        let _ = self.questions.send(Waiting { question, reply, since: Instant::now() });
    }

    /// Asks by other files from now on, and forgets what it was told before.
    pub(crate) fn change(&self, files: HookFiles) {
        let client = Arc::new(files.0);
        *self.inner.client.write().unwrap_or_else(PoisonError::into_inner) = client;
        self.inner.memory.forget_all();
    }

    /// Whether its thread runs. It does not end by itself but by a panic.
    pub(crate) fn is_whole(&self) -> bool {
        !self.thread.is_finished()
    }
}

impl fmt::Debug for Hook {
    /// Without secrets.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Hook").field("place", &self.inner.place).finish_non_exhaustive()
    }
}

/// Asks the questions that come, in their order, until the hook is dropped.
async fn serve(
    inner: Arc<Inner>,
    mut asked: mpsc::UnboundedReceiver<Waiting>,
    mut ended: oneshot::Receiver<()>,
) {
    let places = Arc::new(Semaphore::new(HOOK_UNDER_WAY_MAX as usize));
    let next = async {
        while let Some(waiting) = asked.recv().await {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            discount(&inner.counts.waiting);
            let inner = Arc::clone(&inner);
            tokio::spawn(async move {
                inner.answer(waiting).await;
                drop(place);
            });
        }
    };
    tokio::select! {
        () = next => {}
        // It is never sent, only dropped.
        _ = &mut ended => {}
    }
}

impl Inner {
    /// Finds the answer to a question whose turn has come.
    async fn answer(&self, waiting: Waiting) {
        let Waiting { question, reply, since } = waiting;
        // Nobody waits for it: the reply tells so when it is dropped.
        if since.elapsed() >= self.patience {
            return;
        }
        // Others may have asked the same since.
        if let Some(answer) = self.memory.answer(&question, self.now()) {
            return reply(Ok(answer));
        }
        let attempt = self.rest().ask(self.now());
        let Some(attempt) = attempt else {
            count(&self.counts.refused_resting);
            return reply(Err(NoAnswer));
        };
        let under_way = UnderWay::new(self, attempt);
        let client = Arc::clone(&self.client.read().unwrap_or_else(PoisonError::into_inner));
        let result = client.ask(&question).await;
        self.counts.of(&result);
        match result {
            Ok(answer) => {
                under_way.has_answered();
                self.memory.add(&question, answer.clone(), self.now());
                reply(Ok(answer));
            }
            Err(failure) => {
                under_way.has_failed(&failure);
                reply(Err(NoAnswer));
            }
        }
    }

    fn rest(&self) -> MutexGuard<'_, HookRest> {
        self.rest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Monotonic {
        Monotonic::default().after(self.started.elapsed())
    }

    /// Tells of a failure, unless it has just told of another.
    fn tell(&self, failure: &HookFailure) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_some_and(|told| told.elapsed() < FAILURES_TOLD_EVERY) {
            return;
        }
        *told = Some(Instant::now());
        warn!("{} did not say who a client is, which is refused: {failure}", self.place);
    }
}

impl<'a> UnderWay<'a> {
    fn new(inner: &'a Inner, attempt: HookAttempt) -> Self {
        count(&inner.counts.under_way);
        Self { inner, attempt: Some(attempt) }
    }

    fn has_answered(mut self) {
        let Some(attempt) = self.attempt.take() else { return };
        if self.inner.rest().has_answered(attempt) {
            set(&self.inner.counts.is_resting, 0);
            info!("{} answers again", self.inner.place);
        }
    }

    fn has_failed(mut self, failure: &HookFailure) {
        if !self.settle_as_failed() {
            self.inner.tell(failure);
            return;
        }
        warn!(
            "{} has failed {HOOK_FAILURES_MAX} times in a row, or again after a rest, and rests for {} s; clients that \
             it would be asked about are refused. The last time: {failure}",
            self.inner.place,
            HOOK_REST.as_secs()
        );
    }

    /// Returns whether it rests from now on.
    fn settle_as_failed(&mut self) -> bool {
        let Some(attempt) = self.attempt.take() else { return false };
        let begins = self.inner.rest().has_failed(attempt, self.inner.now());
        if begins {
            count(&self.inner.counts.rests);
            set(&self.inner.counts.is_resting, 1);
        }
        begins
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        discount(&self.inner.counts.under_way);
        self.settle_as_failed();
    }
}

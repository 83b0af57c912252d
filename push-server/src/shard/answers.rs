//! Questions about who a client is, and the answers to them. Some answers are known at once. Others come later,
//! from any thread; the client's handshake waits for them until its time to connect is over.
//!
//! Each question is answered once: an [`Asker`] is used up by its answer, and answers by itself when it is dropped.
//! An answer that finds no client, or one that waits for another answer by now, is dropped.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::journal::{Completions, Done};
use super::ports::Token;
use super::shared_access::SharedAccess;
use crate::access::{Access, Credentials, Denial, Judgement, Verdict};
use crate::store::Outcome;

/// How many questions of all shards may wait for a password to be hashed. A further one is answered at once: the
/// server is busy.
pub(crate) const QUESTIONS_MAX: u32 = 1_024;

/// The same for the signature of a token to be checked.
pub(crate) const TOKEN_QUESTIONS_MAX: u32 = 1_024;

/// Most requests to the hook under way.
pub(crate) const HOOK_UNDER_WAY_MAX: u32 = 64;

/// The same as `QUESTIONS_MAX` for the hook: of those that it is asked, and of 1,024 that wait until it is.
pub(crate) const HOOK_QUESTIONS_MAX: u32 = HOOK_UNDER_WAY_MAX + 1_024;

/// What a question waits for. Each has a limit of its own: where one is slow, the others go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queue {
    /// A thread that hashes passwords.
    Passwords,
    /// The thread that checks tokens.
    Tokens,
    /// The hook.
    Hook,
}

impl Queue {
    /// Most questions that wait for it.
    fn questions_max(self) -> u32 {
        match self {
            Self::Passwords => QUESTIONS_MAX,
            Self::Tokens => TOKEN_QUESTIONS_MAX,
            Self::Hook => HOOK_QUESTIONS_MAX,
        }
    }

    /// What a client is told if it is full.
    fn is_full(self) -> Denial {
        match self {
            Self::Passwords => Denial::Busy,
            Self::Tokens => Denial::TokensBusy,
            Self::Hook => Denial::HookBusy,
        }
    }
}

/// Judges the credentials of clients. Shards call it and wait, so it must not block.
pub trait Answerer: fmt::Debug + Send + Sync {
    /// Whether it looks at the client's address, which costs a system call.
    fn asks_for_address(&self) -> bool {
        true
    }

    /// The rules that are in memory now. They also say what a client may do.
    fn access(&self) -> Arc<Access>;

    /// Returns the verdict, if it is known at once.
    ///
    /// # Errors
    /// What has to be waited for.
    fn judge(&self, credentials: &Credentials) -> Result<Verdict, Queue>;

    /// Takes credentials that could not be judged at once, and answers later.
    fn ask(&self, credentials: Credentials, asker: Asker);
}

/// Hashes passwords on the shard, so it is for tests whose users have none. A server's answerer is `control`'s, and
/// hashes on threads of its own.
impl Answerer for SharedAccess {
    fn asks_for_address(&self) -> bool {
        false
    }

    fn access(&self) -> Arc<Access> {
        self.current()
    }

    fn judge(&self, credentials: &Credentials) -> Result<Verdict, Queue> {
        match self.current().judge(credentials) {
            Judgement::Now(_, verdict) => Ok(verdict),
            Judgement::Check(_) => Err(Queue::Passwords),
            Judgement::Token(_) => Err(Queue::Tokens),
            Judgement::Hook => Err(Queue::Hook),
        }
    }

    fn ask(&self, credentials: Credentials, asker: Asker) {
        asker.answer(self.current().verdict(&credentials));
    }
}

/// The questions of all shards, and the way that answers come back.
#[derive(Debug)]
pub(super) struct Questions {
    answerer: Arc<dyn Answerer>,
    waiting: Arc<OpenQuestions>,
}

#[derive(Debug)]
struct OpenQuestions {
    of_passwords: AtomicU32,
    of_tokens: AtomicU32,
    of_hook: AtomicU32,
    shards: Arc<Vec<Completions>>,
}

/// The client that asks, and the number of its question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Questioner {
    pub(super) shard: u16,
    pub(super) client: Token,
    pub(super) number: u32,
}

/// A question that waits for its answer. Dropped, it answers that the client could not be judged.
#[derive(Debug)]
pub struct Asker {
    waiting: Arc<OpenQuestions>,
    queue: Queue,
    who: Questioner,
    verdict: Option<Verdict>,
}

impl Questions {
    pub(super) fn new(answerer: Arc<dyn Answerer>, shards: Arc<Vec<Completions>>) -> Self {
        let waiting = OpenQuestions {
            of_passwords: AtomicU32::new(0),
            of_tokens: AtomicU32::new(0),
            of_hook: AtomicU32::new(0),
            shards,
        };
        Self { answerer, waiting: Arc::new(waiting) }
    }

    /// The rules that are in memory now.
    pub(super) fn access(&self) -> Arc<Access> {
        self.answerer.access()
    }

    /// Whether credentials have to name the client's address.
    pub(super) fn ask_for_address(&self) -> bool {
        self.answerer.asks_for_address()
    }

    /// Asks for a verdict on credentials. `None`: it comes later.
    pub(super) fn judge(&self, credentials: Credentials, who: Questioner) -> Option<Verdict> {
        let queue = match self.answerer.judge(&credentials) {
            Ok(verdict) => return Some(verdict),
            Err(queue) => queue,
        };
        let count = self.waiting.of(queue);
        if count.fetch_add(1, Ordering::Relaxed) >= queue.questions_max() {
            count.fetch_sub(1, Ordering::Relaxed);
            return Some(Verdict::Refused(queue.is_full()));
        }
        let waiting = Arc::clone(&self.waiting);
        self.answerer.ask(credentials, Asker { waiting, queue, who, verdict: None });
        None
    }

    /// How many questions wait for an answer.
    #[cfg(any(test, feature = "simulation"))]
    pub(super) fn waiting(&self) -> u32 {
        let counts =
            [Queue::Passwords, Queue::Tokens, Queue::Hook].map(|queue| self.waiting.of(queue));
        counts.into_iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }
}

impl OpenQuestions {
    fn of(&self, queue: Queue) -> &AtomicU32 {
        match queue {
            Queue::Passwords => &self.of_passwords,
            Queue::Tokens => &self.of_tokens,
            Queue::Hook => &self.of_hook,
        }
    }
}

impl Asker {
    /// Answers.
    pub fn answer(mut self, verdict: Verdict) {
        self.verdict = Some(verdict);
    }

    /// The same question once more. An answerer cannot have it; a test does, to see what a second answer does.
    #[cfg(any(test, feature = "simulation"))]
    pub(super) fn twin(&self) -> Self {
        self.waiting.of(self.queue).fetch_add(1, Ordering::Relaxed);
        Self { waiting: Arc::clone(&self.waiting), queue: self.queue, who: self.who, verdict: None }
    }
}

impl Drop for Asker {
    fn drop(&mut self) {
        let verdict = self.verdict.take().unwrap_or(Verdict::Refused(Denial::Unanswered));
        let Questioner { shard, client, number } = self.who;
        self.waiting.of(self.queue).fetch_sub(1, Ordering::Relaxed);
        let answer = Done::Answered { client, number, verdict: Box::new(verdict) };
        self.waiting.shards[usize::from(shard)].push(&mut vec![(answer, Outcome::Committed)]);
    }
}

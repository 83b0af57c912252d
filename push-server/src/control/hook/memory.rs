//! Remembers what the hook has answered. `access` says for how long; here is how much, and nothing of it is a
//! password: a question is remembered by its name, made by HMAC with a secret of the process.

use std::fmt;
use std::sync::Arc;

use moka::notification::RemovalCause;
use moka::sync::Cache;
use push_common::clock::Monotonic;

use super::super::tally::{count, set};
use super::counts::HookCounts;
use crate::access::{HOOK_ALLOWED_FOR, HookAnswer, HookKey, HookQuestion, Key};

/// Most answers remembered. One that is asked for often stays longer than others.
pub(crate) const HOOK_REMEMBERED_MAX: u64 = 100_000;

/// An answer counts once for each so many bytes of it: some 300 bytes of each are not the answer's own.
const BYTES_OF_ONE: usize = 1 << 10;

/// The answers that are remembered.
pub(super) struct Memory {
    answers: Cache<HookKey, Remembered>,
    /// Of the questions' names.
    secret: Key,
    counts: Arc<HookCounts>,
}

#[derive(Clone)]
struct Remembered {
    answer: HookAnswer,
    since: Monotonic,
}

impl Memory {
    pub(super) fn new(counts: Arc<HookCounts>) -> Self {
        let forgotten = Arc::clone(&counts);
        let answers = Cache::builder()
            .max_capacity(HOOK_REMEMBERED_MAX)
            .weigher(|_, one: &Remembered| weight(&one.answer))
            // Whether an answer still holds is decided where it is read; this gives its memory back.
            .time_to_live(HOOK_ALLOWED_FOR)
            .eviction_listener(move |_, _, cause| {
                if cause == RemovalCause::Size {
                    count(&forgotten.forgotten_early);
                }
            })
            .build();
        Self { answers, secret: rand::random(), counts }
    }

    /// The answer to a question, if it was given not long before `now`.
    pub(super) fn answer(&self, question: &HookQuestion, now: Monotonic) -> Option<HookAnswer> {
        let Remembered { answer, since } = self.answers.get(&question.key(&self.secret))?;
        if now >= answer.is_remembered_until(since) {
            return None;
        }
        count(&self.counts.from_memory);
        Some(answer.after(now.since(since)))
    }

    /// Remembers an answer that came `now`.
    pub(super) fn add(&self, question: &HookQuestion, answer: HookAnswer, now: Monotonic) {
        self.answers.insert(question.key(&self.secret), Remembered { answer, since: now });
        self.count();
    }

    pub(super) fn forget_all(&self) {
        self.answers.invalidate_all();
        self.count();
    }

    fn count(&self) {
        self.answers.run_pending_tasks();
        set(&self.counts.in_memory, self.answers.entry_count());
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} answers", self.answers.entry_count())
    }
}

fn weight(answer: &HookAnswer) -> u32 {
    u32::try_from(1 + answer.bytes() / BYTES_OF_ONE).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;

//! Whoever says who clients are, in the hands of a test: it answers when the test says so, or never, or twice.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use crate::access::{Access, Credentials, Verdict};
use crate::shard::answers::{Answerer, Asker, Queue};

/// Clients that come with a user name wait for the test to answer; others are judged at once, as by a server without
/// users.
#[derive(Clone, Debug, Default)]
pub struct LateAnswerer(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    questions: Mutex<Vec<Question>>,
    /// The rules that are in memory.
    access: RwLock<Arc<Access>>,
}

/// A question that the test has not answered.
#[derive(Debug)]
pub struct Question {
    credentials: Credentials,
    asker: Asker,
}

impl LateAnswerer {
    /// Takes the questions that have come since, in their order.
    pub fn take(&self) -> Vec<Question> {
        std::mem::take(&mut *self.lock())
    }

    /// The rules that are in memory from now on.
    pub fn set_access(&self, access: Access) {
        *self.0.access.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(access);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Question>> {
        self.0.questions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Answerer for LateAnswerer {
    fn access(&self) -> Arc<Access> {
        Arc::clone(&self.0.access.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn judge(&self, credentials: &Credentials) -> Result<Verdict, Queue> {
        match credentials.user_name.is_some() || credentials.proof.is_some() {
            true => Err(Queue::Passwords),
            false => Ok(self.access().verdict(credentials)),
        }
    }

    fn ask(&self, credentials: Credentials, asker: Asker) {
        self.lock().push(Question { credentials, asker });
    }
}

impl Question {
    /// What the client offers.
    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// Answers it.
    pub fn answer(self, verdict: Verdict) {
        self.asker.answer(verdict);
    }

    /// Answers it, and it can be answered again: no answerer can do that.
    pub fn answer_first(&self, verdict: Verdict) {
        self.asker.twin().answer(verdict);
    }
}

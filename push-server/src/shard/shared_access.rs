//! Who may connect, as all shards see it and `control` changes it.

use std::sync::{Arc, Mutex, PoisonError, RwLock};

use super::answers::{Answerer, Asker};
use crate::access::{Access, Credentials, Verdict};

/// Who may connect.
#[derive(Debug)]
pub struct SharedAccess {
    /// Held for a pointer's copy only.
    current: RwLock<Arc<Access>>,
    /// Held through a change, however long that takes: a later one must not be overtaken.
    change: Mutex<()>,
}

impl SharedAccess {
    /// Who may connect at the start.
    pub fn new(access: Access) -> Self {
        Self { current: RwLock::new(Arc::new(access)), change: Mutex::new(()) }
    }

    /// As it is now.
    pub fn current(&self) -> Arc<Access> {
        // The lock holds one pointer, whole whatever panicked.
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on others may connect; those that are connected stay. With an error all stays as it
    /// was. Changes come one at a time.
    pub fn change<E>(&self, change: impl FnOnce(&Access) -> Result<Access, E>) -> Result<(), E> {
        let _changing = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = Arc::new(change(&self.current())?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = changed;
        Ok(())
    }
}

/// Everything that it knows is in memory.
impl Answerer for SharedAccess {
    fn judge(&self, credentials: &Credentials) -> Option<Verdict> {
        Some(self.current().judge(credentials))
    }

    /// Not called: everything is judged at once. An asker that is dropped is told that nobody answers.
    fn ask(&self, _: Credentials, _: Asker) {}
}

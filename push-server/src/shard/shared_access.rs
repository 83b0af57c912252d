//! Who may connect, as all shards see it and `control` changes it.

use std::sync::{Arc, Mutex, PoisonError, RwLock};

use crate::access::Access;

/// Who may connect.
#[derive(Debug)]
pub struct SharedAccess {
    /// Locked only while a pointer is copied.
    current: RwLock<Arc<Access>>,
    /// Locked through a change, however long that takes: changes must not overtake each other.
    change: Mutex<()>,
}

impl SharedAccess {
    /// Who may connect at the start.
    pub fn new(access: Access) -> Self {
        Self { current: RwLock::new(Arc::new(access)), change: Mutex::new(()) }
    }

    /// The rules now.
    pub fn current(&self) -> Arc<Access> {
        // The lock holds one pointer, whole whatever panicked.
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes who may connect; clients that are connected stay. On an error nothing changes.
    pub fn change<E>(&self, change: impl FnOnce(&Access) -> Result<Access, E>) -> Result<(), E> {
        let _changing = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = Arc::new(change(&self.current())?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = changed;
        Ok(())
    }
}

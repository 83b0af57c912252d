//! Who may connect, as all shards see it and `control` changes it.

use std::sync::{Arc, PoisonError, RwLock};

use crate::access::Access;

/// Who may connect.
#[derive(Debug)]
pub struct SharedAccess {
    /// Locked only while a pointer is copied.
    current: RwLock<Arc<Access>>,
}

impl SharedAccess {
    /// Who may connect at the start.
    pub fn new(access: Access) -> Self {
        Self { current: RwLock::new(Arc::new(access)) }
    }

    /// The rules now.
    pub fn current(&self) -> Arc<Access> {
        // The lock holds one pointer, whole whatever panicked.
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes who may connect. Then have shards look at the clients that are connected.
    pub fn replace(&self, access: Access) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(access);
    }
}

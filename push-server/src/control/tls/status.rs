//! What metrics show of TLS.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

/// What came of reading the files again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reload {
    /// New clients are served with what is new.
    Changed,
    /// The files say what they said before.
    Unchanged,
    /// Something is wrong with them: nothing changes.
    Refused,
}

/// Counts reloads, and knows when certificates end.
#[derive(Debug, Default)]
pub struct TlsStatus {
    changed: AtomicU64,
    unchanged: AtomicU64,
    refused: AtomicU64,
    /// Of each file of `--tls-cert`, in seconds since 1970.
    valid_until: RwLock<Vec<(PathBuf, u64)>>,
}

impl TlsStatus {
    /// Reloads by their results.
    pub(crate) fn reloads(&self) -> [(&'static str, u64); 3] {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        [
            ("changed", read(&self.changed)),
            ("unchanged", read(&self.unchanged)),
            ("refused", read(&self.refused)),
        ]
    }

    /// Files of `--tls-cert`, and the second since 1970 until when all of their certificates are valid.
    pub(crate) fn expiries(&self) -> Vec<(String, u64)> {
        let valid_until = self.valid_until.read().unwrap_or_else(PoisonError::into_inner);
        valid_until.iter().map(|(file, secs)| (file.display().to_string(), *secs)).collect()
    }

    pub(super) fn count(&self, reload: Reload) {
        let counter = match reload {
            Reload::Changed => &self.changed,
            Reload::Unchanged => &self.unchanged,
            Reload::Refused => &self.refused,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn set_expiries(&self, valid_until: Vec<(PathBuf, u64)>) {
        *self.valid_until.write().unwrap_or_else(PoisonError::into_inner) = valid_until;
    }
}

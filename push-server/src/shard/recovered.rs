//! What a restart has found on disk, by the shard that it lives with from now on.

use crate::store::{RecoveredSession, RecoveredWill};

/// A shard's part of what was found.
#[derive(Debug, Default)]
pub(super) struct RecoveredPart {
    pub(super) sessions: Vec<RecoveredSession>,
    pub(super) wills: Vec<RecoveredWill>,
}

//! What a restart has found on disk, by the shard that it lives with from now on.

use crate::store::{RecoveredSession, RecoveredWill};

/// A shard's part of what was found.
#[derive(Debug, Default)]
pub(crate) struct RecoveredPart {
    pub(crate) sessions: Vec<RecoveredSession>,
    pub(crate) wills: Vec<RecoveredWill>,
}

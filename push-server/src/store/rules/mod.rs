//! What every store keeps to, whatever it keeps things in: which promises wait for a session's own
//! record, and what a start takes up.

pub(super) mod room;
pub(crate) mod unsaved;

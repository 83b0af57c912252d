//! What every store keeps to, whatever it keeps things in: which promises wait for a session's own
//! record, what a start takes up, and what the store's time is then.

pub(crate) mod clock_watch;
pub(super) mod room;
pub(crate) mod unsaved;

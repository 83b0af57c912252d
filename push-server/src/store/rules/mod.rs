//! Rules of every store, whatever it stores in: which promises wait for a session's own record,
//! what a start returns, and the store's time after it.

pub(crate) mod clock_watch;
pub(super) mod room;
pub(crate) mod unsaved;

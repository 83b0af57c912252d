//! What the store calls sessions, wills and places in outboxes by: numbers that its caller gives out.

/// A persistent session, as the store knows it. Given out by the caller, counting up from
/// [`super::Recovered::next_number`], and never used for a second session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionNumber(pub u64);

/// A will that is being published. Given out by the caller, counting up together with the numbers of
/// sessions, and never used for a second will.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WillNumber(pub u64);

/// A message's place in its session's outbox. Given out by the caller, counting up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

impl Position {
    /// The place behind this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

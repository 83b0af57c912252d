//! Numbers by which the store knows sessions, wills and places in outboxes. The caller assigns
//! them.

/// A persistent session. The caller counts up from [`super::Recovered::next_number`], and never
/// uses a number for a second session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionNumber(pub u64);

/// A will that is being published. The caller counts these together with the numbers of sessions,
/// and never uses a number for a second will.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WillNumber(pub u64);

/// A message's place in its session's outbox. The caller counts up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

impl Position {
    /// The next position.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

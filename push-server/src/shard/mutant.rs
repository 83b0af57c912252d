//! Rules of a shard that the simulator may leave out, one at a time, to see that it notices: a test that
//! cannot fail proves nothing. Exists for tests only (feature `simulation`); without the feature every rule
//! holds, and the compiler sees a constant.

/// A rule that can be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// A start publishes a will that it finds on its way.
    FoundWill,
    /// The will of a session that ends with its connection is on disk before CONNACK.
    WillOfBriefSession,
    /// A will waits for its delay.
    WillDelay,
    /// An expired session is not resumed, even before its timer fires.
    ExpiredSession,
    /// Of two connections of a client the one whose CONNECT was read later stays.
    LaterConnect,
    /// PUBACK and PUBREC wait until the message is safe.
    PublishWaits,
    /// CONNACK waits until the session is safe.
    ConnackWaits,
    /// PUBREL and PUBCOMP wait until the flow's next state is safe.
    AnswerWaits,
    /// Packet ids of QoS 2 publishes that were taken outlive the server.
    ExactlyOnceFound,
    /// A filter that was unsubscribed from leaves the disk.
    FilterRemoved,
    /// A session that has ended leaves the disk.
    SessionRemoved,
    /// A session's time goes on while there is no server.
    TimeWithoutServer,
    /// What a socket has not taken goes along with a client that moves.
    UnsentMoves,
    /// A CONNECT goes to the shard that a session has moved to.
    OwnerAsked,
    /// The subscriptions of a session go along with it to another shard.
    SubscriptionsMove,
    /// What a member leaves goes to others of its group.
    HandedOn,
    /// The kernel answers no pings of clients whose packets are in frames.
    FramedUnarmed,
    /// A door is told that a message is taken when the message is safe.
    DoorWaits,
    /// A door is told of a receiver's acknowledgement when that has come.
    SlipWaits,
    /// A receiver that is away when a message comes is followed as others are.
    SlipOfAbsent,
    /// An answer about who a client is counts for the question that it answers, and for no later one.
    AnswerToItsQuestion,
}

impl Rule {
    /// Every rule. The simulation's test of this list has each of them noticed.
    pub const ALL: &[Self] = &[
        Self::FoundWill,
        Self::WillOfBriefSession,
        Self::WillDelay,
        Self::ExpiredSession,
        Self::LaterConnect,
        Self::PublishWaits,
        Self::ConnackWaits,
        Self::AnswerWaits,
        Self::ExactlyOnceFound,
        Self::FilterRemoved,
        Self::SessionRemoved,
        Self::UnsentMoves,
        Self::OwnerAsked,
        Self::SubscriptionsMove,
        Self::HandedOn,
        Self::FramedUnarmed,
        Self::DoorWaits,
        Self::SlipWaits,
        Self::SlipOfAbsent,
        Self::TimeWithoutServer,
        Self::AnswerToItsQuestion,
    ];
}

#[cfg(feature = "simulation")]
std::thread_local! {
    static LEFT_OUT: std::cell::Cell<Option<Rule>> = const { std::cell::Cell::new(None) };
}

/// From now on this thread leaves this rule out, and no other.
#[cfg(feature = "simulation")]
pub fn leave_out(rule: Option<Rule>) {
    LEFT_OUT.set(rule);
}

#[cfg(feature = "simulation")]
pub(super) fn is_left_out(rule: Rule) -> bool {
    LEFT_OUT.get() == Some(rule)
}

#[cfg(not(feature = "simulation"))]
#[inline(always)]
pub(super) const fn is_left_out(_rule: Rule) -> bool {
    false
}

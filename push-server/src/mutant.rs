//! Rules of `shard` and `mqtt` that the simulator may leave out, one at a time, to see that it notices: a test that
//! cannot fail proves nothing. It is no room's, so that a rule stands where it is kept. Exists for tests only
//! (feature `simulation`); without the feature every rule holds, and the compiler sees a constant.

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
    /// A client that has been silent for one and a half keep alives is gone.
    SilentExpires,
    /// A client whose pings the kernel has answered was not silent.
    KernelHears,
    /// No more publishes are unacknowledged towards a client than it takes.
    ReceiveMaximum,
    /// A packet is no larger than its client takes.
    PacketBytesMax,
    /// What is sent again goes in the order in which it went first.
    RetryOrder,
    /// What is sent again says so.
    RetryIsDup,
    /// A QoS 2 publish is known by its packet id until PUBREL.
    PacketIdKept,
    /// A message whose interval has passed before it was sent is not sent.
    ExpiredUnsent,
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
        Self::AnswerWaits,
        Self::ExactlyOnceFound,
        Self::FilterRemoved,
        Self::SessionRemoved,
        Self::UnsentMoves,
        Self::HandedOn,
        Self::FramedUnarmed,
        Self::DoorWaits,
        Self::SlipWaits,
        Self::SlipOfAbsent,
        Self::SilentExpires,
        Self::KernelHears,
        Self::ReceiveMaximum,
        Self::PacketBytesMax,
        Self::RetryOrder,
        Self::RetryIsDup,
        Self::PacketIdKept,
        Self::ExpiredUnsent,
        Self::ConnackWaits,
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
pub(crate) fn is_left_out(rule: Rule) -> bool {
    LEFT_OUT.get() == Some(rule)
}

#[cfg(not(feature = "simulation"))]
#[inline(always)]
pub(crate) const fn is_left_out(_rule: Rule) -> bool {
    false
}

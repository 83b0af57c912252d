//! Rules of `shard` and `mqtt` that the simulator may leave out, one at a time, to check that it
//! notices: a test that cannot fail proves nothing. This file belongs to no room, so that each rule
//! can stand in the file that keeps it. Only with feature `simulation`; without it every rule
//! holds, and the compiler sees a constant.

/// A rule that can be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// A start publishes a will that was being published.
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
    /// Packet ids of a client's QoS 2 publishes outlive the server.
    ExactlyOnceFound,
    /// A filter that was unsubscribed from leaves the disk.
    FilterRemoved,
    /// A session that has ended leaves the disk.
    SessionRemoved,
    /// A session's time goes on while no server runs.
    TimeWithoutServer,
    /// Bytes that a socket has not taken move along with their client.
    UnsentMoves,
    /// A CONNECT goes to the shard that a session has moved to.
    OwnerAsked,
    /// The subscriptions of a session go along with it to another shard.
    SubscriptionsMove,
    /// Messages that a member hands on go to others of its group.
    HandedOn,
    /// A door learns that a message is accepted once the message is safe.
    DoorWaits,
    /// A door learns of a receiver's acknowledgement once that has come.
    SlipWaits,
    /// A receiver that is absent when a message comes is followed like others.
    SlipOfAbsent,
    /// An answer about a client counts for its own question, and for no later one.
    AnswerToItsQuestion,
    /// A client that has been silent for one and a half keep alives expires.
    SilentExpires,
    /// A client whose pings the kernel has answered was not silent.
    KernelHears,
    /// A client never has more publishes unacknowledged than its Receive Maximum.
    ReceiveMaximum,
    /// No packet exceeds its client's Maximum Packet Size.
    PacketBytesMax,
    /// Messages are sent again in their first order.
    RetryOrder,
    /// A message that is sent again has DUP.
    RetryIsDup,
    /// The packet id of a QoS 2 publish is known until PUBREL.
    PacketIdKept,
    /// A message that expired before it was sent is not sent.
    ExpiredUnsent,
}

impl Rule {
    /// Every rule. A test of the simulation checks that leaving out each is noticed.
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
        Self::OwnerAsked,
        Self::SubscriptionsMove,
        Self::HandedOn,
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

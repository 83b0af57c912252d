//! Rules that a test may leave out, to check that the test notices: a rig that cannot fail proves
//! nothing. Only with feature `mutants`; without it every rule holds, and the compiler sees a
//! constant.

/// A part of the rules that can be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Rule 1: no timestamp older than what was taken before (PAWS); of every segment that is believed.
    ClientTimestamp,
    /// Rule 3: the ping is next behind all that was passed to the stack.
    ClientInOrder,
    /// Rule 3: user space has parsed all that was passed.
    ClientParsed,
    /// Rule 4: the ping acknowledges all that ever left.
    ServerAcknowledged,
    /// Rule 4: what left is whole frames.
    ServerWhole,
    /// Rule 4: the stack has been shown that acknowledgement.
    ServerShown,
    /// Rule 5: answers go to whom the stack sends.
    NextHop,
    /// Rule 6: a bare ACK leaves as the pending PINGRESP.
    Resend,
    /// Rule 7: a client that misses the PINGRESP gets it again.
    Refill,
    /// Rule 8: no stale bytes behind a pending PINGRESP.
    StaleBytes,
    /// Rule 12: the stack is not silent for longer than it may be.
    StackSilent,
    /// Rule 15: sequence numbers that ICMP errors quote are translated.
    QuotedNumber,
    /// Rule 16: a fragment counts as the longest datagram.
    FragmentLength,
    /// Rule 16: who sent a fragment before there was a flow is not answered.
    EarlyFragment,
    /// Rule 17: a PINGREQ is compared with the entry of its own number only.
    RequestTag,
    /// Rule 17: an answer is taken only if it was sealed for the number.
    AnswerTag,
    /// Rule 18: programs answer nothing while user space holds the word.
    Held,
    /// Rule 18: the word is compared with its number, not by its bit alone.
    NumberInWord,
    /// Rule 18: the word is compared when it is exchanged.
    Exchange,
    /// Rule 18: the look at the word acquires.
    LookAcquires,
    /// Rule 18: the receive word goes on by one with each answer.
    ReceiveWordMoved,
    /// Rule 19: an answer is erased before its number is sealed by.
    EraseBeforeSealing,
    /// Rule 19: `tx` is not published before TCP has all that was sealed.
    HandedToTcp,
    /// Rule 19: the word is not released before `tx` is published.
    TxPublished,
    /// Rule 19: the store that releases the word releases.
    ReleaseReleases,
    /// Rule 20: a claim that gives the word back as it was writes nothing that a program may be reading.
    UnchangedClaimFills,
    /// Rule 21: rules 6 to 8 resend the bytes that left.
    KeptAnswer,
    /// Rule 22: numbers of another key have another epoch.
    Epoch,
    /// Rule 23: the stack's segments echo the newest timestamp that was taken.
    Echo,
}

impl Part {
    /// Every part.
    pub const ALL: &[Self] = &[
        Self::ClientTimestamp,
        Self::ClientInOrder,
        Self::ClientParsed,
        Self::ServerAcknowledged,
        Self::ServerWhole,
        Self::ServerShown,
        Self::NextHop,
        Self::Resend,
        Self::Refill,
        Self::StaleBytes,
        Self::StackSilent,
        Self::QuotedNumber,
        Self::FragmentLength,
        Self::EarlyFragment,
        Self::RequestTag,
        Self::AnswerTag,
        Self::Held,
        Self::NumberInWord,
        Self::Exchange,
        Self::LookAcquires,
        Self::ReceiveWordMoved,
        Self::EraseBeforeSealing,
        Self::HandedToTcp,
        Self::TxPublished,
        Self::ReleaseReleases,
        Self::UnchangedClaimFills,
        Self::KeptAnswer,
        Self::Epoch,
        Self::Echo,
    ];
}

#[cfg(feature = "mutants")]
std::thread_local! {
    static LEFT_OUT: core::cell::Cell<Option<Part>> = const { core::cell::Cell::new(None) };
}

/// From now on this thread leaves this part out, and no other.
#[cfg(feature = "mutants")]
pub fn leave_out(part: Option<Part>) {
    LEFT_OUT.set(part);
}

#[cfg(feature = "mutants")]
pub(crate) fn is_left_out(part: Part) -> bool {
    LEFT_OUT.get() == Some(part)
}

#[cfg(not(feature = "mutants"))]
#[inline(always)]
pub(crate) const fn is_left_out(_part: Part) -> bool {
    false
}

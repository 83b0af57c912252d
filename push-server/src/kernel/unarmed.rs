//! Why one connection is left to user space.

/// Why one connection is not served by the kernel; a metric label each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unarmed {
    /// The shard's slots are used up.
    NoSlot,
    /// The flow map has no room (too many flows of connections gone still linger), or the
    /// addresses alone do not tell the connection (link-local).
    FlowMap,
    /// Bytes overtook others before the flow was there (`tcpi_rcv_ooopack`).
    OutOfOrder,
    /// A first fragment, perhaps of its, came before the flow was there (rule 16).
    EarlyFragment,
    /// Its timestamps are microseconds: the stack's next one would be too far ahead of what an answer
    /// bears, in half an hour (rule 12).
    FineTimestamps,
    /// It comes or leaves by an interface without our programs, or leaves by another than it comes.
    Interface,
    /// The socket could not be asked.
    Socket,
}

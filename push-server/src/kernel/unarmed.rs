//! Why the kernel does not serve a connection.

/// Why the kernel does not serve a connection; each is a metric's label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unarmed {
    /// The shard's slots are used up, and none was returned by another shard.
    NoSlot,
    /// The shard's answer tables are used up, and none was returned by another shard: many flows of closed connections
    /// still have theirs.
    NoTable,
    /// The flow map is full, because too many flows of closed connections linger; or the addresses
    /// alone do not identify the connection (link-local).
    FlowMap,
    /// Bytes overtook others before the flow existed (`tcpi_rcv_ooopack`).
    OutOfOrder,
    /// A first fragment, perhaps of this connection, came before the flow existed (rule 16).
    EarlyFragment,
    /// Its timestamps are microseconds: after half an hour the stack's next one would be too far
    /// ahead of those in the kernel's answers (rule 12).
    FineTimestamps,
    /// It comes or goes by an interface without the programs, or goes by another than it comes.
    Interface,
    /// The socket could not be asked.
    Socket,
}

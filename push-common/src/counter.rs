//! The programs' counters, one word on each CPU: their order in the map, their names in `/metrics`,
//! and the class of event that they count. Both sides use this one list.

/// The class of event that a counter counts, which decides its metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// A ping answered in the kernel.
    Answered,
    /// A ping left to user space (`push_kernel_path_declined_total{reason}`).
    Declined,
    /// A step of the splice besides answering.
    Step,
    /// A segment dropped to protect a stream; TCP repeats it.
    Dropped,
}

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal, $class:ident;)+) => {
        /// One counter of the kernel path; its number is its index in the map (`COUNTERS`).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u32)]
        pub enum Counter {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Counter {
            /// Every counter, in the order of the map.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// Its name: stable, snake case; a metric's label.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }

            /// What it counts.
            #[must_use]
            pub const fn class(self) -> Class {
                match self {
                    $(Self::$variant => Class::$class,)+
                }
            }
        }
    };
}

counters! {
    /// A PINGREQ turned around into its PINGRESP.
    Answered = "answered", Answered;

    /// Rule 1: its checksum is wrong, or it could not be checked.
    Unverified = "unverified", Declined;
    /// Rule 1: other flags, IP or TCP options, a congestion mark.
    NotPlain = "not_plain", Declined;
    /// Rule 1: the client's window has no room for the answer.
    Window = "window", Declined;
    /// Rule 1: its timestamp is older than one that was taken before it, or missing.
    Timestamp = "timestamp", Declined;
    /// Rule 2: the client has not acknowledged the last answer yet; mostly a repeated PINGREQ.
    Pending = "pending", Declined;
    /// Rule 3: user space has not parsed everything before it, or later bytes were passed.
    ClientBusy = "client_busy", Declined;
    /// Rule 4: the server has sent bytes that are not whole frames, or are not acknowledged.
    ServerBusy = "server_busy", Declined;
    /// Rule 5: the connection's slot is not armed, or belongs to another one.
    NotArmed = "not_armed", Declined;
    /// Rule 5: it came by another interface than answers go by.
    Interface = "interface", Declined;
    /// Rule 5: it came from another neighbour than answers go to; the stack's next segment shows
    /// where to.
    NextHop = "next_hop", Declined;
    /// Rule 5: the shard has not stamped its heartbeat for 5 s.
    ShardSilent = "shard_silent", Declined;
    /// The flow has not seen the server's bytes from CONNACK (or AUTH before it) on.
    NotAnchored = "not_anchored", Declined;
    /// Bytes were passed that the flow could not follow; it never answers.
    Barred = "barred", Declined;
    /// Rule 16: fragments went by, and the streams are not past the longest datagram yet.
    Fragments = "fragments", Declined;
    /// The connection has used up its pings (`--ping-rate`); user space counts and judges this one.
    PingRate = "ping_rate", Declined;
    /// Rule 12: every 256th ping goes to user space.
    EveryNth = "every_256th", Declined;
    /// Rule 12: the stack was silent for so long that connection tracking on this host would forget
    /// the connection, or for a day.
    StackSilent = "stack_silent", Declined;
    /// Rule 18: user space holds the record numbers of a TLS connection, or has used one since the look.
    Claimed = "claimed", Declined;
    /// Rule 17: no answer is sealed ahead for the next record number of a TLS connection.
    NoAnswer = "no_answer", Declined;
    /// Rule 17: a record of a TLS client is as long as a PINGREQ, and not the one that was sealed ahead, if one was:
    /// something else of that length, or a PINGREQ that TCP repeats, or one more than the table had.
    NotExpected = "not_expected", Declined;

    /// Segments with shifted sequence numbers, either way.
    Translated = "translated", Step;
    /// Flows that have seen CONNACK, or AUTH before it, from its first byte on.
    Anchored = "anchored", Step;
    /// Rule 6: a bare ACK of the server that left as the pending PINGRESP.
    Resent = "resent", Step;
    /// Rule 8: a retransmission of bytes that the client has acknowledged, sent as the pending
    /// PINGRESP.
    StaleBytes = "stale_bytes", Step;
    /// Rule 7: a bare ACK of the client, turned around into the PINGRESP that it misses.
    Refilled = "refilled", Step;
    /// Rule 9: a bare ACK of a PINGRESP that the stack need not see.
    Absorbed = "absorbed", Step;
    /// Rule 15: an ICMP error whose quoted sequence number was shifted, either way.
    IcmpTranslated = "icmp_translated", Step;
    /// Rule 16: the first fragment of a datagram, in either direction, which was followed.
    Fragment = "fragment", Step;
    /// Rule 10: a flow deleted because the stack began a new connection on its addresses.
    Replaced = "replaced", Step;

    /// Rule 11: a segment of the client that is older than what was taken before it.
    OldTimestamp = "old_timestamp", Dropped;
    /// Rule 11: a segment that cannot be followed while pings have been answered.
    Unexpected = "unexpected", Dropped;
    /// Rule 11: a segment that could not be rewritten.
    RewriteFailed = "rewrite_failed", Dropped;
}

/// How many counters there are; the size of the map.
pub const COUNTERS: u32 = Counter::ALL.len() as u32;

#[cfg(test)]
mod tests;

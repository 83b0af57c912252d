//! The liveness slot: what the kernel and the server tell each other about one connection without a
//! system call. A slot is one 64-byte line of an mmapped array map; it holds no lock, because a map
//! with a spin lock cannot be mmapped. This file defines the layout and the meaning of the words;
//! it never touches the memory itself.

use crate::clock::Monotonic;

/// Values of [`Slot::state`].
pub mod state {
    /// Free: the kernel answers no pings of a flow that still names it.
    pub const FREE: u8 = 0;
    /// A connection has it, and user space alone serves that so far.
    pub const HELD: u8 = 1;
    /// The kernel may answer the connection's pings.
    pub const ARMED: u8 = 2;
    /// The connection is closing, and the kernel answers no more pings.
    pub const CLOSING: u8 = 3;
}

/// One line of the liveness map (`SLOTS`).
///
/// The kernel writes [`last_seen`](Self::last_seen), [`pings`](Self::pings) and
/// [`ping_due`](Self::ping_due), under the lock of the flow that names the slot; user space writes
/// the rest. Every word is naturally aligned, so
/// it is read and written whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C, align(64))]
pub struct Slot {
    /// When the kernel last answered a ping (`CLOCK_MONOTONIC`, nanoseconds); at first, the
    /// registration.
    pub last_seen: u64,
    /// Pings answered by the kernel since the registration.
    pub pings: u64,
    /// Bytes of whole packets parsed from the client since accept; may lag, never leads.
    pub rx: u64,
    /// Bytes of whole frames that the socket has accepted since accept; may lag, never leads.
    pub tx: u64,
    /// When the next ping is due by the ping rate (`CLOCK_MONOTONIC`, nanoseconds).
    pub ping_due: u64,
    /// Changes whenever the slot changes hands; a flow with another generation gets no answers.
    pub generation: u32,
    /// Nanoseconds from one ping to the next, by the ping rate for the keep alive granted; 0: no limit.
    pub ping_interval_ns: u32,
    /// The client, by its shard's own count: user space's alone, to know whose table runs low.
    pub client: u32,
    /// The shard that owns the connection; its heartbeat line.
    pub shard: u16,
    /// One of [`state`].
    pub state: u8,
    /// Fills the line.
    pub reserved: [u8; 9],
}

/// One line of the heartbeat map (`HEARTBEATS`), one a shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C, align(64))]
pub struct ShardLine {
    /// When the shard last stamped it (`CLOCK_MONOTONIC`, nanoseconds).
    pub heartbeat: u64,
    /// How long the stack may be silent towards a client before a ping goes to it, in seconds (rule
    /// 12); 0: only the rule's own limit counts.
    pub silence_secs_max: u64,
    /// Fills the line.
    pub reserved: [u64; 6],
}

/// Most shards with a heartbeat line: one page of lines.
pub const SHARDS_MAX: u16 = 64;

/// Age of a shard's heartbeat, in nanoseconds, from which the kernel stops answering for it (rule
/// 5). 5 s: a shard stamps once a second.
pub const HEARTBEAT_AGE_NS_MAX: u64 = 5_000_000_000;

const _: () = assert!(size_of::<Slot>() == 64 && align_of::<Slot>() == 64);
const _: () = assert!(size_of::<ShardLine>() == 64 && align_of::<ShardLine>() == 64);

/// The splice's copy of a slot and of its shard's heartbeat, read before the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotView {
    /// Low half of [`Slot::rx`]: sequence numbers are modulo 2^32.
    pub rx: u32,
    /// Low half of [`Slot::tx`].
    pub tx: u32,
    /// [`Slot::generation`].
    pub generation: u32,
    /// [`Slot::state`].
    pub state: u8,
    /// [`Slot::ping_interval_ns`].
    pub ping_interval_ns: u32,
    /// [`Slot::ping_due`].
    pub ping_due: Monotonic,
    /// [`ShardLine::heartbeat`] of the slot's shard, in nanoseconds.
    pub heartbeat_ns: u64,
    /// [`ShardLine::silence_secs_max`] of that line.
    pub silence_secs_max: u32,
}

impl SlotView {
    /// A slot that answers nothing: what a program uses when the slot cannot be read.
    pub const NONE: Self = Self {
        rx: 0,
        tx: 0,
        generation: 0,
        state: state::FREE,
        ping_interval_ns: 0,
        ping_due: Monotonic(0),
        heartbeat_ns: 0,
        silence_secs_max: 0,
    };
}

// SAFETY: every field is an integer or an array of integers and no byte is padding (the sizes are
// asserted above), so any bit pattern is a value and all bytes are initialised.
#[cfg(feature = "user")]
#[expect(unsafe_code, reason = "aya's marker for plain old data")]
unsafe impl aya::Pod for Slot {}

// SAFETY: as for `Slot`.
#[cfg(feature = "user")]
#[expect(unsafe_code, reason = "aya's marker for plain old data")]
unsafe impl aya::Pod for ShardLine {}

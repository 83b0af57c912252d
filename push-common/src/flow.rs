//! The flow: the kernel's record of one connection's sequence numbers, and the key it is found by.
//! Layout and naming only; what the numbers decide is in [`splice`](crate::splice).
//!
//! *C-space*: numbers as the client sees them. *S-space*: as the server's stack sees them. The client's
//! stream differs by [`Flow::delta_in`], the server's by [`Flow::delta_out`]. All arithmetic is
//! modulo 2^32.

use crate::heartbeat::Heartbeat;
use crate::mac::Mac;

/// The key of a flow: the server's end, then the client's. IPv4 addresses are mapped into IPv6
/// (`::ffff:a.b.c.d`), whatever the family of the listening socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct FlowKey {
    /// The server's address, network byte order.
    pub local: [u8; 16],
    /// The client's address, network byte order.
    pub peer: [u8; 16],
    /// The server's port, network byte order.
    pub local_port: [u8; 2],
    /// The client's port, network byte order.
    pub peer_port: [u8; 2],
}

/// Bits of [`Flow::bits`].
pub mod bits {
    /// The first byte after the flow was made has left: `rx_base` and `tx_base` are known.
    pub const ANCHORED: u16 = 1;
    /// A PINGRESP is on its way and not acknowledged.
    pub const PENDING: u16 = 1 << 1;
    /// `ingress_nxt` holds a position.
    pub const INGRESS_SEEN: u16 = 1 << 2;
    /// Something passed that the flow could not follow; it never answers.
    pub const BARRED: u16 = 1 << 3;
    /// `peer_window` holds the window that the stack was shown last.
    pub const PEER_WINDOW_KNOWN: u16 = 1 << 4;
    /// `stack_window` holds a window.
    pub const STACK_WINDOW_KNOWN: u16 = 1 << 5;
    /// `stack_ts` holds a timestamp.
    pub const STACK_TS_KNOWN: u16 = 1 << 6;
    /// `client_ts` holds a timestamp.
    pub const CLIENT_TS_KNOWN: u16 = 1 << 7;
    /// Fragments have gone by since the last answer. Only tells why pings are declined.
    pub const FRAGMENTED: u16 = 1 << 8;
}

/// The record of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct Flow {
    /// Pings answered in the kernel so far.
    pub n: u32,
    /// S-space position of the client's stream byte 0.
    pub rx_base: u32,
    /// S-space position of the server's stream byte 0. Until the flow is anchored: bytes that the socket
    /// had been given, all of them, when the flow was made, low half ([`Flow::tx_before`]).
    pub tx_base: u32,
    /// S-space: after the furthest byte (or FIN) that ever left.
    pub egress_nxt: u32,
    /// S-space: after the furthest byte (or FIN) ever passed to the stack.
    pub ingress_nxt: u32,
    /// S-space: the furthest acknowledgement of a verified segment that the stack was shown.
    pub acked_nxt: u32,
    /// C-space: where the PINGREQ last answered begins.
    pub req_pos: u32,
    /// C-space: where its PINGRESP begins.
    pub resp_pos: u32,
    /// The connection's slot, an index.
    pub slot: u32,
    /// The slot's generation when the flow was made.
    pub generation: u32,
    /// The interface that the latest egress segment left by.
    pub iface: u32,
    /// The latest timestamp (TSval) that the stack has sent.
    pub stack_ts: u32,
    /// When the stack last sent a segment (`CLOCK_MONOTONIC`, seconds).
    pub stack_secs: u32,
    /// The client's timestamp that the stack last echoed (TSecr); 0: none yet.
    pub stack_ecr: u32,
    /// The newest client timestamp (TSval) that was taken, by the stack or in its place.
    pub client_ts: u32,
    /// When that was (`CLOCK_MONOTONIC`, seconds).
    pub client_ts_secs: u32,
    /// The window field the stack last advertised, unscaled.
    pub stack_window: u16,
    /// The window field of the client that the stack was last shown, unscaled.
    pub peer_window: u16,
    /// Pings answered since one was last passed to user space on purpose (rule 12).
    pub in_a_row: u16,
    /// See [`bits`].
    pub bits: u16,
    /// The neighbour on the link to which the stack last sent.
    pub next_hop: Mac,
    /// The neighbour whose ping was last left to user space so that the flow learns its way (rule
    /// 5).
    pub sender: Mac,
    /// The connection's answer table, an index, if its heartbeats are inside TLS. Never changes. The
    /// table is the connection's until the slot is gone and no answer is pending, or the flow is removed.
    pub table: u32,
    /// What a ping and its answer look like on the wire. Never changes.
    pub heartbeat: Heartbeat,
}

/// [`Flow::table`] of a connection that has none.
pub const NO_TABLE: u32 = u32::MAX;

impl Flow {
    /// A flow as user space inserts it: not anchored, nothing seen. `tx_before`: bytes that the
    /// socket has been given so far, a WebSocket handshake say; none of them may still be on its
    /// way to the socket.
    #[must_use]
    pub const fn new(slot: u32, generation: u32, heartbeat: Heartbeat, tx_before: u32) -> Self {
        Self {
            n: 0,
            rx_base: 0,
            tx_base: tx_before,
            egress_nxt: 0,
            ingress_nxt: 0,
            acked_nxt: 0,
            req_pos: 0,
            resp_pos: 0,
            slot,
            generation,
            iface: 0,
            stack_ts: 0,
            stack_secs: 0,
            stack_ecr: 0,
            client_ts: 0,
            client_ts_secs: 0,
            stack_window: 0,
            peer_window: 0,
            in_a_row: 0,
            bits: 0,
            next_hop: Mac::NONE,
            sender: Mac::NONE,
            table: NO_TABLE,
            heartbeat,
        }
    }

    /// The same flow with an answer table.
    #[must_use]
    pub const fn with_table(self, table: u32) -> Self {
        Self { table, ..self }
    }

    /// Bytes that the socket had been given when the flow was made, as long as it is not anchored.
    #[inline(always)]
    pub(crate) const fn tx_before(&self) -> u32 {
        self.tx_base
    }

    /// How far C-space runs ahead of S-space in the client's stream, in bytes: by each PINGREQ
    /// answered.
    #[inline(always)]
    #[must_use]
    pub const fn delta_in(&self) -> u32 {
        self.n.wrapping_mul(self.heartbeat.request_bytes())
    }

    /// The same in the server's stream: by each PINGRESP.
    #[inline(always)]
    #[must_use]
    pub const fn delta_out(&self) -> u32 {
        self.n.wrapping_mul(self.heartbeat.response_bytes())
    }

    /// Whether a bit of [`bits`] is set.
    #[inline(always)]
    #[must_use]
    pub const fn has(&self, bit: u16) -> bool {
        self.bits & bit != 0
    }

    /// Sets a bit of [`bits`].
    #[inline(always)]
    pub const fn set(&mut self, bit: u16) {
        self.bits |= bit;
    }

    /// Clears a bit of [`bits`].
    #[inline(always)]
    pub const fn clear(&mut self, bit: u16) {
        self.bits &= !bit;
    }
}

/// A value of the flow map (`FLOWS`): the record behind its lock. The lock's type belongs to the
/// side that uses it: `bpf_spin_lock` in the programs, a plain `u32` in user space, which never
/// takes it (the kernel keeps the field out of every copy).
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct LockedFlow<L> {
    /// The lock.
    pub lock: L,
    /// What it guards.
    pub flow: Flow,
}

const _: () = assert!(size_of::<FlowKey>() == 36);
const _: () = assert!(size_of::<Flow>() == 92);
const _: () = assert!(size_of::<LockedFlow<u32>>() == 96);

// SAFETY: bytes only, no padding (the size is asserted above).
#[cfg(feature = "user")]
#[expect(unsafe_code, reason = "aya's marker for plain old data")]
unsafe impl aya::Pod for FlowKey {}

// SAFETY: integers only, no padding (the sizes are asserted above).
#[cfg(feature = "user")]
#[expect(unsafe_code, reason = "aya's marker for plain old data")]
unsafe impl aya::Pod for LockedFlow<u32> {}

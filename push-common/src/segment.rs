//! The facts of one TCP segment that the splice needs. Whoever parses packets fills them in; the
//! splice never sees a packet.

use crate::mac::Mac;
use crate::mutant::{Part, is_left_out};

/// TCP flag bits as on the wire (RFC 9293, section 3.1; ECN: RFC 3168).
pub mod flags {
    /// No more data from the sender.
    pub const FIN: u8 = 1;
    /// Synchronise sequence numbers.
    pub const SYN: u8 = 1 << 1;
    /// Reset the connection.
    pub const RST: u8 = 1 << 2;
    /// Push.
    pub const PSH: u8 = 1 << 3;
    /// The acknowledgement field counts.
    pub const ACK: u8 = 1 << 4;
    /// Congestion was experienced (RFC 3168).
    pub const ECE: u8 = 1 << 6;
    /// The congestion window was reduced (RFC 3168).
    pub const CWR: u8 = 1 << 7;
}

/// The most payload that a segment sent in fragments can have: a datagram's length is 16 bits.
pub const FRAGMENTED_BYTES_MAX: u32 = u16::MAX as u32;

/// One TCP segment: as the client sent it (C-space) at ingress, as the stack sent it (S-space) at
/// egress.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number; meaningless without [`flags::ACK`].
    pub ack: u32,
    /// Payload bytes, by the IP header's length (link-layer padding does not count). Of a fragment: those
    /// in it.
    pub payload_bytes: u32,
    /// The window field, unscaled.
    pub window: u16,
    /// Its own timestamp (TSval; RFC 7323), where it has the option.
    pub ts_val: u32,
    /// The timestamp it echoes (TSecr), where it has the option.
    pub ts_ecr: u32,
    /// See [`flags`].
    pub flags: u8,
    /// It has the timestamps option.
    pub timestamped: bool,
    /// The payload is exactly `C0 00`.
    pub pingreq: bool,
    /// At most two payload bytes, and its checksum was found right. At egress of no meaning.
    pub verified: bool,
    /// Its TCP options could be read through: none, timestamps, SACK blocks, padding.
    pub options_known: bool,
    /// The first fragment of a datagram, with the whole TCP header: how many bytes follow in others is
    /// not known.
    pub fragment: bool,
    /// No IP options, extension headers or fragments; TCP options none, or timestamps only; no
    /// congestion mark.
    pub plain: bool,
    /// Like `plain`, but SACK blocks may be there as well.
    pub plain_or_sack: bool,
    /// Index of the interface it was seen at.
    pub iface: u32,
    /// The neighbour on the link: at ingress the one it came from, at egress the one it goes to.
    pub neighbour: Mac,
}

impl Segment {
    /// Whether any of `mask` ([`flags`]) is set.
    #[inline(always)]
    #[must_use]
    pub const fn any(&self, mask: u8) -> bool {
        self.flags & mask != 0
    }

    /// Sequence space it takes: payload, SYN and FIN; of a fragment as much as there can be (rule 16).
    #[inline(always)]
    #[must_use]
    pub fn span(&self) -> u32 {
        let payload_bytes = if self.fragment && !is_left_out(Part::FragmentLength) {
            FRAGMENTED_BYTES_MAX
        } else {
            self.payload_bytes
        };
        payload_bytes
            .wrapping_add(u32::from(self.any(flags::SYN)))
            .wrapping_add(u32::from(self.any(flags::FIN)))
    }

    /// No payload, and no flags besides ACK.
    #[inline(always)]
    #[must_use]
    pub const fn is_bare_ack(&self) -> bool {
        self.payload_bytes == 0 && self.flags == flags::ACK
    }
}

/// What the sending socket says of itself when a segment leaves (`bpf_tcp_sock`); it anchors the
/// flow. Where `rcv_nxt` and `bytes_received` are read while they move, `rcv_nxt` must be read
/// first: the base then comes out too low, which never answers, and not too high.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SocketFacts {
    /// The next byte it expects.
    pub rcv_nxt: u32,
    /// Bytes received in order, low half.
    pub bytes_received: u32,
    /// The oldest byte not acknowledged.
    pub snd_una: u32,
    /// Bytes acknowledged, low half.
    pub bytes_acked: u32,
}

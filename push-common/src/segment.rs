//! The facts of one TCP segment that the splice needs. The parser fills them in; the splice never
//! sees a packet.

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
    /// Payload bytes, by the IP header's length (link-layer padding does not count). Of a fragment:
    /// the bytes in it.
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
    /// The payload is exactly a PINGREQ, as the flow's heartbeat has it.
    pub pingreq: bool,
    /// No more payload than a PINGREQ of the flow has, and its checksum was found right. At egress
    /// of no meaning.
    pub verified: bool,
    /// All its TCP options were readable: none, timestamps, SACK blocks, padding.
    pub options_known: bool,
    /// It is the first fragment of a datagram, with the whole TCP header; how many bytes follow in
    /// others is unknown.
    pub fragment: bool,
    /// No IP options, extension headers or fragments; TCP options none, or timestamps only; no
    /// congestion mark.
    pub plain: bool,
    /// Like `plain`, but SACK blocks may be there as well.
    pub plain_or_sack: bool,
    /// Index of the interface where it was seen.
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

    /// Sequence space that it takes: payload, SYN and FIN; a fragment counts as the longest
    /// datagram (rule 16).
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

/// The sending socket's numbers when a segment leaves (`bpf_tcp_sock`); they anchor the flow. Read
/// `rcv_nxt` before `bytes_received`, since both may move: the base then comes out too low, so that
/// the flow never answers, instead of too high.
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

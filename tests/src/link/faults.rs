//! The faults of a link, how often each happens, and how to corrupt a frame so that every checksum
//! notices.

use std::ops::Range;

use rand::RngExt;

const ETHERNET_BYTES: usize = 14;
const ETHERTYPE_IPV4: [u8; 2] = [0x08, 0x00];
const ETHERTYPE_IPV6: [u8; 2] = [0x86, 0xDD];
const IPV6_BYTES: usize = 40;
const TCP: u8 = 6;

/// How long others may overtake a reordered frame, in microseconds.
pub(super) const REORDERED_US: Range<u64> = 200..10_000;

/// How long a direction stands still, in microseconds: up to longer than TCP's shortest timeout, so
/// that TCP repeats segments that were not lost.
pub(super) const HELD_BACK_US: Range<u64> = 5_000..300_000;

/// How often each fault happens to a TCP segment, in permille, and to what.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "named as the variants of `Fault`")]
pub struct Faults {
    pub lost: u32,
    pub repeated: u32,
    pub reordered: u32,
    pub held_back: u32,
    pub corrupted: u32,
    pub whole_headers_to_server: bool,
}

impl Faults {
    /// No faults.
    pub const NONE: Self = Self {
        lost: 0,
        repeated: 0,
        reordered: 0,
        held_back: 0,
        corrupted: 0,
        whole_headers_to_server: false,
    };

    /// Losses of `percent`, and all other faults as well. Without loss no frame is corrupted
    /// either, because to TCP that is a loss.
    pub const fn with_loss(percent: u32) -> Self {
        Self {
            lost: percent * 10,
            repeated: 10,
            reordered: 20,
            held_back: 1,
            corrupted: if percent == 0 { 0 } else { 5 },
            ..Self::NONE
        }
    }

    /// The same, but on the way to the server only payload is corrupted: for tests in which the kernel has to
    /// answer a certain connection. TCP drops a segment with a broken sequence number; a program, which
    /// verifies no checksum but a ping's, takes it for bytes far ahead, and leaves the connection's pings to
    /// user space until its stream has come there (rule 3), mostly for good.
    pub const fn with_whole_headers_to_server(self) -> Self {
        Self { whole_headers_to_server: true, ..self }
    }
}

/// A fault, for counting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Frames that came; not a fault.
    Carried,
    /// Never arrives.
    Lost,
    /// Arrives twice.
    Repeated,
    /// Is overtaken by others.
    Reordered,
    /// Holds up its direction.
    HeldBack,
    /// Arrives with other bits: counted once for each copy that does.
    Corrupted,
}

impl Fault {
    /// All, in order.
    pub const ALL: [Self; 6] = [
        Self::Carried,
        Self::Lost,
        Self::Repeated,
        Self::Reordered,
        Self::HeldBack,
        Self::Corrupted,
    ];

    /// Its name in output.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Carried => "carried",
            Self::Lost => "lost",
            Self::Repeated => "repeated",
            Self::Reordered => "reordered",
            Self::HeldBack => "held back",
            Self::Corrupted => "corrupted",
        }
    }
}

/// The bytes of a TCP segment that a checksum covers; `None` for other frames. Of IPv6 without the
/// first 8 bytes: no checksum covers most of them, and a shorter length may cut off bytes that sum
/// up to the difference.
pub(super) fn corruptible(frame: &[u8]) -> Option<Range<usize>> {
    let packet = frame.get(ETHERNET_BYTES..)?;
    let ethertype = frame.get(ETHERNET_BYTES - 2..ETHERNET_BYTES)?;
    let (protocol, start, end) = if ethertype == ETHERTYPE_IPV4 {
        (*packet.get(9)?, 0, usize::from(u16::from_be_bytes([*packet.get(2)?, *packet.get(3)?])))
    } else if ethertype == ETHERTYPE_IPV6 {
        let payload = usize::from(u16::from_be_bytes([*packet.get(4)?, *packet.get(5)?]));
        (*packet.get(6)?, 8, IPV6_BYTES + payload)
    } else {
        return None;
    };
    let end = end.min(packet.len());
    (protocol == TCP && start < end).then_some(ETHERNET_BYTES + start..ETHERNET_BYTES + end)
}

/// The payload of a TCP segment; `None` for other frames, and for segments without one.
pub(super) fn payload(frame: &[u8]) -> Option<Range<usize>> {
    let Range { end, .. } = corruptible(frame)?;
    let version_and_length = frame.get(ETHERNET_BYTES)?;
    let ip_bytes = match version_and_length >> 4 {
        4 => usize::from(version_and_length & 0xF) * 4,
        _ => IPV6_BYTES,
    };
    let tcp = ETHERNET_BYTES + ip_bytes;
    let start = tcp + usize::from(frame.get(tcp + 12)? >> 4) * 4;
    (start < end).then_some(start..end)
}

/// Flips bits of one byte: a checksum in one's complement always tells that.
pub(super) fn corrupt(frame: &[u8], range: Range<usize>, rng: &mut impl RngExt) -> Vec<u8> {
    let mut frame = frame.to_vec();
    frame[rng.random_range(range)] ^= rng.random_range(1..=u8::MAX);
    frame
}

#[cfg(test)]
mod tests;

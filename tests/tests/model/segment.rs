//! One TCP segment on the wire of the model: header fields and real bytes.

use std::fmt;

use push_common::mac::Mac;
use push_common::segment::{self, flags};

use crate::streams::Pings;

/// Scale of every window field, as both ends have agreed on.
pub(crate) const WINDOW_SHIFT: u32 = 6;

/// A SACK block: first sequence number, and the one behind the last.
pub(crate) type Block = (u32, u32);

/// Which of the two fragments of its datagram a segment travels as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Fragment {
    /// It has the TCP header, and the bytes up to the cut.
    First { datagram: u64 },
    /// Bytes alone: nobody may look at the header.
    Last { datagram: u64 },
}

/// A segment. Numbers are C-space or S-space, by where it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seg {
    pub(crate) seq: u32,
    pub(crate) ack: u32,
    pub(crate) flags: u8,
    pub(crate) window: u16,
    pub(crate) sack: Vec<Block>,
    /// It has the timestamps option.
    pub(crate) timestamped: bool,
    pub(crate) ts_val: u32,
    pub(crate) ts_ecr: u32,
    pub(crate) payload: Vec<u8>,
    /// Its checksum is wrong: no stack takes it.
    pub(crate) corrupt: bool,
    pub(crate) fragment: Option<Fragment>,
}

impl fmt::Display for Seg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [(flags::FIN, 'F'), (flags::SYN, 'S'), (flags::RST, 'R'), (flags::PSH, 'P')];
        let set = names.iter().filter(|(flag, _)| self.has(*flag)).map(|(_, name)| *name);
        let (seq, ack, len) = (self.seq as i32, self.ack as i32, self.payload.len());
        write!(f, "{seq}+{len} ack {ack} {}", set.collect::<String>())?;
        write!(f, " win {} ts {}/{}", self.window, self.ts_val, self.ts_ecr)?;
        for (first, end) in &self.sack {
            write!(f, " sack {}..{}", *first as i32, *end as i32)?;
        }
        if let Some(fragment) = self.fragment {
            write!(f, " {fragment:?}")?;
        }
        if self.corrupt { f.write_str(" corrupt") } else { Ok(()) }
    }
}

impl Seg {
    pub(crate) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Sequence space it takes.
    pub(crate) fn span(&self) -> u32 {
        self.payload.len() as u32 + u32::from(self.has(flags::FIN))
    }

    /// What the splice is told of it.
    pub(crate) fn facts(&self, pings: Pings) -> segment::Segment {
        let whole = self.fragment.is_none();
        segment::Segment {
            seq: self.seq,
            ack: self.ack,
            payload_bytes: self.payload.len() as u32,
            window: self.window,
            flags: self.flags,
            pingreq: whole && self.payload == pings.request(),
            verified: whole && !self.corrupt && self.payload.len() <= pings.request_bytes(),
            options_known: true,
            plain: whole && self.sack.is_empty(),
            plain_or_sack: whole,
            fragment: !whole,
            iface: 1,
            neighbour: Mac::NONE,
            timestamped: self.timestamped,
            ts_val: self.ts_val,
            ts_ecr: self.ts_ecr,
        }
    }

    /// Shifts its numbers as the rewrite does: SACK blocks by as much as the acknowledgement.
    pub(crate) fn shifted(mut self, seq_shift: u32, ack_shift: u32) -> Self {
        self.seq = self.seq.wrapping_add(seq_shift);
        self.ack = self.ack.wrapping_add(ack_shift);
        for (first, end) in &mut self.sack {
            (*first, *end) = (first.wrapping_add(ack_shift), end.wrapping_add(ack_shift));
        }
        self
    }

    /// Cuts it in two behind `at` payload bytes; FIN and PSH stay with the second.
    pub(crate) fn split(mut self, at: usize) -> (Self, Self) {
        let mut second = self.clone();
        second.payload = self.payload.split_off(at);
        second.seq = self.seq.wrapping_add(at as u32);
        self.flags &= !(flags::FIN | flags::PSH);
        (self, second)
    }

    /// Whether the bytes of `next` come right behind, and no end between.
    pub(crate) fn is_followed_by(&self, next: &Self) -> bool {
        self.seq.wrapping_add(self.payload.len() as u32) == next.seq
            && !self.has(flags::FIN | flags::RST)
            && !self.corrupt
    }

    /// One segment of this one and the bytes `before` it.
    pub(crate) fn behind(mut self, before: Self) -> Self {
        self.seq = before.seq;
        self.payload.splice(0..0, before.payload);
        self
    }

    /// Cuts the datagram in two behind `at` payload bytes.
    pub(crate) fn fragmented(mut self, at: usize, datagram: u64) -> (Self, Self) {
        let payload = self.payload.split_off(at);
        let fragment = Some(Fragment::Last { datagram });
        let last = Self { payload, corrupt: self.corrupt, fragment, ..Self::default() };
        self.fragment = Some(Fragment::First { datagram });
        (self, last)
    }

    /// The datagram of this first fragment and that last one.
    pub(crate) fn put_together(mut self, last: Self) -> Self {
        self.payload.extend(last.payload);
        self.corrupt |= last.corrupt;
        self.fragment = None;
        self
    }

    /// Whether `next` can be merged behind it, as receive offload does.
    pub(crate) fn takes(&self, next: &Self) -> bool {
        const UNMERGED: u8 = flags::SYN | flags::RST | flags::FIN;
        !self.payload.is_empty()
            && !next.payload.is_empty()
            && self.seq.wrapping_add(self.payload.len() as u32) == next.seq
            && self.ack == next.ack
            && (self.ts_val, self.ts_ecr) == (next.ts_val, next.ts_ecr)
            && !self.has(UNMERGED)
            && !next.has(flags::SYN | flags::RST)
            && self.sack.is_empty()
            && next.sack.is_empty()
            && self.corrupt == next.corrupt
            && self.fragment.is_none()
            && next.fragment.is_none()
            && self.payload.len() + next.payload.len() <= 60_000
    }

    /// Merges `next` behind it.
    pub(crate) fn merge(&mut self, next: Self) {
        self.payload.extend(next.payload);
        self.flags |= next.flags;
        self.window = next.window;
    }
}

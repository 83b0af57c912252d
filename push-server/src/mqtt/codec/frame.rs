//! Framing: where a packet ends, and whether its length is allowed. The input buffer grows by what
//! arrived, never by what a packet announced.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::Reason;
use crate::mqtt::Version;

/// Bytes from which a payload is a slice of the input or output buffer instead of a copy. 4 KiB: a
/// smaller slice would keep a larger buffer in memory than its copy costs.
pub(in crate::mqtt) const SHARE_BYTES_MIN: usize = 4 << 10;

/// The largest remaining length that four bytes encode [MQTT-2.2.3].
pub(in crate::mqtt) const REMAINING_LENGTH_MAX: usize = 268_435_455;

/// Packet types, the high half of the first byte [MQTT-2.2.1].
pub(super) mod packet_type {
    pub(crate) const CONNECT: u8 = 1;
    pub(crate) const PUBLISH: u8 = 3;
    pub(crate) const PUBACK: u8 = 4;
    pub(crate) const PUBREC: u8 = 5;
    pub(crate) const PUBREL: u8 = 6;
    pub(crate) const PUBCOMP: u8 = 7;
    pub(crate) const SUBSCRIBE: u8 = 8;
    pub(crate) const UNSUBSCRIBE: u8 = 10;
    pub(crate) const PINGREQ: u8 = 12;
    pub(crate) const DISCONNECT: u8 = 14;
    pub(crate) const AUTH: u8 = 15;
}

/// A fixed header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::mqtt) struct Header {
    /// Packet type and flags.
    pub first: u8,
    /// Its own length, in bytes: 2 to 5.
    pub len: usize,
    /// The remaining length, in bytes.
    pub body_len: usize,
}

impl Header {
    /// Parses a fixed header. `None`: more bytes are needed. A length not in its shortest form is
    /// malformed in MQTT 5 [MQTT-1.5.5-1]; 3.1.1 does not forbid it.
    pub(in crate::mqtt) fn parse(bytes: &[u8], version: Version) -> Result<Option<Self>, Reason> {
        let Some((&first, rest)) = bytes.split_first() else { return Ok(None) };
        match variable_int(rest)? {
            None => Ok(None),
            Some((_, len)) if version == Version::V5 && !is_shortest(rest, len) => {
                Err(Reason::MalformedPacket)
            }
            Some((value, len)) => Ok(Some(Self { first, len: 1 + len, body_len: value as usize })),
        }
    }

    /// Length of the packet, fixed header included, in bytes.
    pub(in crate::mqtt) fn packet_len(self) -> usize {
        self.len + self.body_len
    }
}

/// Reads a variable byte integer: its value and its length. `None`: `bytes` ends within it.
pub(super) fn variable_int(bytes: &[u8]) -> Result<Option<(u32, usize)>, Reason> {
    let mut value = 0;
    for (index, &byte) in bytes.iter().take(4).enumerate() {
        value |= u32::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            return Ok(Some((value, index + 1)));
        }
    }
    if bytes.len() < 4 { Ok(None) } else { Err(Reason::MalformedPacket) }
}

/// Whether the variable byte integer in the first `len` bytes of `bytes` has its shortest form.
pub(super) fn is_shortest(bytes: &[u8], len: usize) -> bool {
    len == 1 || bytes[len - 1] != 0
}

/// How many bytes a value takes as variable byte integer.
pub(super) fn variable_int_len(value: usize) -> usize {
    match value {
        0..=0x7F => 1,
        0x80..=0x3FFF => 2,
        0x4000..=0x1F_FFFF => 3,
        _ => 4,
    }
}

/// Writes a variable byte integer; callers keep it within `REMAINING_LENGTH_MAX`.
pub(super) fn put_variable_int(out: &mut BytesMut, mut value: usize) {
    while value > 0x7F {
        out.put_u8((value & 0x7F) as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

/// Writes text or binary data. Callers make sure that it has at most 65,535 bytes.
pub(super) fn put_binary(out: &mut BytesMut, bytes: &[u8]) {
    out.put_u16(bytes.len() as u16);
    out.put_slice(bytes);
}

/// Bytes received and not parsed yet. Owns no memory while empty.
#[derive(Debug, Default)]
pub(in crate::mqtt) struct Input(BytesMut);

impl Input {
    pub(in crate::mqtt) fn new(bytes: BytesMut) -> Self {
        Self(bytes)
    }

    pub(in crate::mqtt) fn len(&self) -> usize {
        self.0.len()
    }

    pub(in crate::mqtt) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Appends. The buffer doubles at most, so received bytes pay for its size, and it ends where
    /// the current packet ends, if that is known.
    pub(in crate::mqtt) fn extend(&mut self, bytes: &[u8]) {
        let needed = self.0.len() + bytes.len();
        if needed > self.0.capacity() {
            let packet_len = match Header::parse(&self.0, Version::V311) {
                Ok(Some(header)) => header.packet_len(),
                _ => usize::MAX,
            };
            let capacity = (2 * self.0.len()).min(packet_len).max(needed);
            let mut grown = BytesMut::with_capacity(capacity);
            grown.extend_from_slice(&self.0);
            self.0 = grown;
        }
        self.0.extend_from_slice(bytes);
    }

    /// Drops the first `len` bytes.
    pub(in crate::mqtt) fn advance(&mut self, len: usize) {
        self.0.advance(len);
        if self.0.is_empty() {
            self.0 = BytesMut::new();
        }
    }

    /// Takes out the first `len` bytes, to be shared. Copies the smaller part, taken or left, so
    /// that neither keeps much more memory than it fills, and every byte is copied once at most.
    pub(in crate::mqtt) fn take(&mut self, len: usize) -> Bytes {
        if len < self.0.len() / 2 {
            let taken = Bytes::copy_from_slice(&self.0[..len]);
            self.advance(len);
            return taken;
        }
        let rest = BytesMut::from(&self.0[len..]);
        let mut taken = std::mem::replace(&mut self.0, rest);
        taken.truncate(len);
        taken.freeze()
    }

    /// Takes everything.
    pub(in crate::mqtt) fn take_rest(&mut self) -> BytesMut {
        std::mem::take(&mut self.0)
    }

    /// Drops everything.
    pub(in crate::mqtt) fn clear(&mut self) {
        self.0 = BytesMut::new();
    }

    /// Drops the bytes, and returns their memory for the caller to free.
    pub(in crate::mqtt) fn take_memory(&mut self) -> Vec<u8> {
        let mut bytes = std::mem::take(&mut self.0);
        // Otherwise the bytes would be moved to the front of their memory.
        bytes.clear();
        bytes.into()
    }
}

#[cfg(test)]
mod tests;

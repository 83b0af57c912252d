//! Reads fields of a packet's body strictly: nothing past the end, and only text that is UTF-8.

use super::Reason;
use super::frame::{is_shortest, variable_int};

/// The unread rest of a packet's body, or of a part of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// Everything that is left.
    pub(super) fn rest(self) -> &'a [u8] {
        self.0
    }

    /// Checks that nothing is left.
    pub(super) fn end(self) -> Result<(), Reason> {
        if self.is_empty() { Ok(()) } else { Err(Reason::MalformedPacket) }
    }

    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], Reason> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(Reason::MalformedPacket)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Reason> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Reason::MalformedPacket)?;
        self.0 = rest;
        Ok(*taken)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Reason> {
        self.array().map(u8::from_be_bytes)
    }

    pub(super) fn u16(&mut self) -> Result<u16, Reason> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Reason> {
        self.array().map(u32::from_be_bytes)
    }

    /// A packet id, which is never 0 [MQTT-2.3.1-1] [MQTT-2.2.1-3].
    pub(super) fn packet_id(&mut self) -> Result<u16, Reason> {
        match self.u16()? {
            0 => Err(Reason::ProtocolError),
            packet_id => Ok(packet_id),
        }
    }

    /// A variable byte integer in its shortest form [MQTT-1.5.5-1]; only MQTT 5 bodies have any.
    pub(super) fn variable_int(&mut self) -> Result<u32, Reason> {
        let (value, len) = variable_int(self.0)?.ok_or(Reason::MalformedPacket)?;
        let encoded = self.take(len)?;
        if is_shortest(encoded, len) { Ok(value) } else { Err(Reason::MalformedPacket) }
    }

    pub(super) fn binary(&mut self) -> Result<&'a [u8], Reason> {
        let len = self.u16()?;
        self.take(usize::from(len))
    }

    /// Text: well-formed UTF-8 (so no surrogates) [MQTT-1.5.3-1] without U+0000 [MQTT-1.5.3-2].
    pub(super) fn text(&mut self) -> Result<&'a str, Reason> {
        let text = std::str::from_utf8(self.binary()?).map_err(|_| Reason::MalformedPacket)?;
        if text.contains('\0') { Err(Reason::MalformedPacket) } else { Ok(text) }
    }
}

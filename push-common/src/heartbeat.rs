//! What a heartbeat is on the wire: the bytes of a PINGREQ and of its PINGRESP, with what the
//! layers around MQTT add.

/// The PINGREQ packet, whole [MQTT-3.12].
pub const PINGREQ: [u8; 2] = [0xC0, 0x00];

/// Its answer: PINGRESP [MQTT-3.13].
pub const PINGRESP: [u8; 2] = [0xD0, 0x00];

/// The bytes that begin a client's WebSocket frame with a whole binary message of two bytes, masked
/// (RFC 6455, section 5.2). Four bytes of mask follow, and the message.
pub const WEBSOCKET_REQUEST_HEAD: [u8; 2] = [0x82, 0x82];

/// The bytes of that frame: head, mask and PINGREQ.
const WEBSOCKET_REQUEST_BYTES: usize = WEBSOCKET_REQUEST_HEAD.len() + 4 + PINGREQ.len();

/// PINGRESP in a WebSocket frame of the server: a whole binary message, not masked.
pub const WEBSOCKET_PINGRESP: [u8; 4] = [0x82, 0x02, PINGRESP[0], PINGRESP[1]];

/// The most bytes that a PINGREQ in clear has on the wire.
pub const REQUEST_BYTES_MAX: usize = WEBSOCKET_REQUEST_BYTES;

/// The most bytes that a PINGRESP in clear has on the wire.
pub const RESPONSE_BYTES_MAX: usize = WEBSOCKET_PINGRESP.len();

/// What lies around MQTT on a connection; values of [`Heartbeat::form`].
pub mod form {
    /// Nothing.
    pub const PLAIN: u8 = 0;
    /// WebSocket frames, in clear.
    pub const WEBSOCKET: u8 = 1;
    /// TLS records: whether one is a PINGREQ, only the connection's answer table tells.
    pub const TLS: u8 = 2;
}

/// The heartbeat of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct Heartbeat {
    /// One of [`form`]; `u8::MAX` if the programs do not know it.
    form: u8,
    request_bytes: u8,
    response_bytes: u8,
    reserved: u8,
}

impl Heartbeat {
    /// MQTT with nothing around it: 2 bytes each way.
    pub const PLAIN: Self = Self::of_form(form::PLAIN, PINGREQ.len() as u8, PINGRESP.len() as u8);

    /// MQTT in WebSocket frames: 8 bytes from the client, which masks (RFC 6455, section 5.3), 4 to
    /// it.
    pub const WEBSOCKET: Self = Self::of_form(
        form::WEBSOCKET,
        WEBSOCKET_REQUEST_BYTES as u8,
        WEBSOCKET_PINGRESP.len() as u8,
    );

    /// MQTT in TLS records of so many bytes each way ([`RecordShape`](crate::answer_table::RecordShape)).
    pub(crate) const fn of_records(bytes: u8) -> Self {
        Self::of_form(form::TLS, bytes, bytes)
    }

    /// So many bytes each way, of no form that the programs know. The splice asks for the lengths
    /// alone.
    #[must_use]
    pub const fn of_lengths(request_bytes: u8, response_bytes: u8) -> Self {
        Self::of_form(u8::MAX, request_bytes, response_bytes)
    }

    /// The same heartbeat with a layer around it that adds so many bytes each way.
    #[must_use]
    pub const fn lengthened(self, request_bytes: u8, response_bytes: u8) -> Self {
        Self::of_lengths(self.request_bytes + request_bytes, self.response_bytes + response_bytes)
    }

    /// Whether the programs know what such a PINGREQ looks like.
    #[must_use]
    pub const fn is_known(self) -> bool {
        matches!(self.form, form::PLAIN | form::WEBSOCKET | form::TLS)
    }

    /// One of [`form`]; `u8::MAX` if the programs do not know it.
    #[inline(always)]
    #[must_use]
    pub const fn form(self) -> u8 {
        self.form
    }

    /// Bytes of a PINGREQ on the wire.
    #[inline(always)]
    #[must_use]
    pub const fn request_bytes(self) -> u32 {
        self.request_bytes as u32
    }

    /// Bytes of a PINGRESP on the wire.
    #[inline(always)]
    #[must_use]
    pub const fn response_bytes(self) -> u32 {
        self.response_bytes as u32
    }

    /// Whether the connection's answer table decides what a PINGREQ is, and what answers it.
    #[inline(always)]
    #[must_use]
    pub const fn is_sealed(self) -> bool {
        self.form == form::TLS
    }

    /// Whether a segment's payload is a PINGREQ, if it is not sealed. `payload_bytes`: how long it is; its first bytes
    /// are in `payload`.
    #[inline(always)]
    #[must_use]
    pub const fn is_request(self, payload: &[u8; REQUEST_BYTES_MAX], payload_bytes: u32) -> bool {
        let [a, b, c, d, _, _, g, h] = *payload;
        if payload_bytes != self.request_bytes() {
            return false;
        }
        if self.form == form::WEBSOCKET {
            // Unmasked by the first two bytes of the mask.
            let unmasked = [g ^ c, h ^ d];
            return a == WEBSOCKET_REQUEST_HEAD[0]
                && b == WEBSOCKET_REQUEST_HEAD[1]
                && unmasked[0] == PINGREQ[0]
                && unmasked[1] == PINGREQ[1];
        }
        a == PINGREQ[0] && b == PINGREQ[1]
    }

    /// The PINGRESP, if it is not sealed: `response_bytes` of it.
    #[inline(always)]
    #[must_use]
    pub const fn response(self) -> [u8; RESPONSE_BYTES_MAX] {
        if self.form == form::WEBSOCKET {
            return WEBSOCKET_PINGRESP;
        }
        [PINGRESP[0], PINGRESP[1], 0, 0]
    }

    const fn of_form(form: u8, request_bytes: u8, response_bytes: u8) -> Self {
        Self { form, request_bytes, response_bytes, reserved: 0 }
    }
}

const _: () = assert!(size_of::<Heartbeat>() == 4);

#[cfg(test)]
mod tests;

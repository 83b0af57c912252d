//! What each side must read: the other side's bytes, without the pings that the splice answered
//! (server), with the answers that it gave (client).

use std::collections::{BTreeSet, HashSet};

use push_common::heartbeat::Heartbeat;

/// First byte of a frame; four bytes of length follow, and the payload.
pub(crate) const FRAME: u8 = 0x30;
pub(crate) const CONNECT: [u8; 14] = *b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x0a\x00\x00";
pub(crate) const CONNACK: [u8; 4] = [0x20, 0x02, 0x00, 0x00];

/// First byte of a ping. Those behind it count up, and so do those of the answer.
pub(crate) const PING: u8 = 0xC0;
const PONG: u8 = 0xD0;

/// How long pings and their answers are, in bytes: what lies around MQTT tells. The splice asks for nothing
/// else of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pings {
    request_bytes: u8,
    response_bytes: u8,
}

impl Pings {
    /// MQTT alone; WebSocket in clear; TLS 1.3; TLS 1.2 with ChaCha20-Poly1305, with AES-GCM; WebSocket in
    /// TLS 1.3; and two that nobody has, with an answer longer than its question.
    pub(crate) const ALL: [Self; 8] = [
        Self::of(2, 2),
        Self::of(8, 4),
        Self::of(24, 24),
        Self::of(23, 23),
        Self::of(31, 31),
        Self::of(30, 26),
        Self::of(2, 31),
        Self::of(1, 2),
    ];
    pub(crate) const PLAIN: Self = Self::ALL[0];

    const fn of(request_bytes: u8, response_bytes: u8) -> Self {
        Self { request_bytes, response_bytes }
    }

    pub(crate) fn heartbeat(self) -> Heartbeat {
        Heartbeat::of_lengths(self.request_bytes, self.response_bytes)
    }

    pub(crate) fn request_bytes(self) -> usize {
        self.request_bytes.into()
    }

    pub(crate) fn request(self) -> Vec<u8> {
        (0..self.request_bytes).map(|at| PING + at).collect()
    }

    pub(crate) fn response(self) -> Vec<u8> {
        (0..self.response_bytes).map(|at| PONG + at).collect()
    }
}

/// A frame of `bytes` payload bytes, the `number`th of its sender: no two places look alike.
pub(crate) fn frame(number: usize, bytes: usize) -> Vec<u8> {
    let mut frame = vec![FRAME];
    frame.extend((bytes as u32).to_be_bytes());
    frame.extend((0..bytes).map(|at| (number * 31 + at + at / 253) as u8));
    frame
}

/// Both streams as they must come out.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    lengths: Pings,
    /// All that the client's application has written, and where its pings begin.
    pub(crate) client: Vec<u8>,
    pub(crate) pings: HashSet<u64>,
    /// All that the server's application has written.
    server: Vec<u8>,
    /// Where whole frames of the server end.
    boundaries: HashSet<u64>,
    /// C-space positions of the pings answered by the splice, and of its answers.
    answered: BTreeSet<u64>,
    answers: BTreeSet<u64>,
    /// How far the server has read in the client's stream; the client in its own incoming one, and
    /// in the server's bytes.
    server_at: u64,
    client_at: u64,
    server_bytes_at: usize,
}

impl Streams {
    pub(crate) fn new(lengths: Pings) -> Self {
        Self { lengths, ..Self::default() }
    }

    /// The splice has answered the ping at `request` by an answer at `response`; it must be a ping
    /// that the client sent, not answered before, and nothing may have been read beyond either.
    pub(crate) fn answer(&mut self, request: u64, response: u64) -> Result<(), String> {
        if !self.pings.contains(&request) {
            return Err(format!("no ping begins at {request}, which was answered"));
        }
        if !self.answered.insert(request) {
            return Err(format!("the ping at {request} was answered again"));
        }
        if request < self.server_at {
            return Err(format!("the ping at {request} was answered, and the server has read it"));
        }
        let before = self.answers.range(..response).count() as u64;
        if !self.boundaries.contains(&(response - self.response_bytes() * before)) {
            return Err(format!("an answer at {response}, inside a frame of the server"));
        }
        if !self.answers.insert(response) || response < self.client_at {
            return Err(format!("an answer at {response}, of which the client has read already"));
        }
        Ok(())
    }

    /// The server's application writes these bytes.
    pub(crate) fn server_writes(&mut self, bytes: &[u8], ends_frame: bool) {
        self.server.extend_from_slice(bytes);
        if ends_frame {
            self.boundaries.insert(self.server.len() as u64);
        }
    }

    /// The server's application has read these bytes.
    pub(crate) fn server_read(&mut self, mut bytes: &[u8]) -> Result<(), String> {
        while !bytes.is_empty() {
            let at = self.server_at;
            if self.answered.contains(&at) {
                self.server_at += self.request_bytes();
                continue;
            }
            let next = self.answered.range(at..).next().copied().unwrap_or(u64::MAX);
            let run = bytes.len().min((next - at).min(usize::MAX as u64) as usize);
            let sent = self.client.get(at as usize..at as usize + run);
            if sent != Some(&bytes[..run]) {
                return Err(format!("the server read other bytes than were sent at {at}"));
            }
            self.server_at += run as u64;
            bytes = &bytes[run..];
        }
        Ok(())
    }

    /// The client's application has read these bytes.
    pub(crate) fn client_read(&mut self, mut bytes: &[u8]) -> Result<(), String> {
        while let Some(&first) = bytes.first() {
            // Inside an answer of the splice, or at its begin.
            let at = self.client_at;
            let bytes_each = self.response_bytes();
            let before = self.answers.range(..=at).next_back().copied();
            let answer = before.filter(|&answer| at < answer + bytes_each);
            if let Some(answer) = answer {
                if first != self.lengths.response()[(at - answer) as usize] {
                    return Err(format!("the client read {first:#04x} in the answer at {answer}"));
                }
                self.client_at += 1;
                bytes = &bytes[1..];
                continue;
            }
            let next = self.answers.range(at..).next().copied().unwrap_or(u64::MAX);
            let run = bytes.len().min((next - at).min(usize::MAX as u64) as usize);
            let from = self.server_bytes_at;
            if self.server.get(from..from + run) != Some(&bytes[..run]) {
                return Err(format!("the client read other bytes than were sent at {at}"));
            }
            self.client_at += run as u64;
            self.server_bytes_at += run;
            bytes = &bytes[run..];
        }
        Ok(())
    }

    /// Everything that was written has been read, and every ping been answered.
    pub(crate) fn check_complete(&self) -> Result<(), String> {
        let mut server_at = self.server_at;
        while self.answered.contains(&server_at) {
            server_at += self.request_bytes();
        }
        if server_at != self.client.len() as u64 {
            let sent = self.client.len();
            return Err(format!("the server read up to {server_at} of {sent} bytes"));
        }
        let sent = self.server.len() as u64 + self.response_bytes() * self.answers.len() as u64;
        if self.client_at != sent {
            return Err(format!("the client read {} of {sent} bytes", self.client_at));
        }
        Ok(())
    }

    fn request_bytes(&self) -> u64 {
        self.lengths.request_bytes.into()
    }

    fn response_bytes(&self) -> u64 {
        self.lengths.response_bytes.into()
    }
}

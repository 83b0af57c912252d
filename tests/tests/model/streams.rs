//! What each side must read: the other side's bytes, without the pings that the splice answered
//! (server), with the answers that it gave (client).

use std::collections::{BTreeSet, HashSet};

use push_common::splice::{PINGREQ, PINGRESP};

/// First byte of a frame; four bytes of length follow, and the payload.
pub(crate) const FRAME: u8 = 0x30;
pub(crate) const CONNECT: [u8; 14] = *b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x0a\x00\x00";
pub(crate) const CONNACK: [u8; 4] = [0x20, 0x02, 0x00, 0x00];

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
        if !self.boundaries.contains(&(response - 2 * before)) {
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
                self.server_at += PINGREQ.len() as u64;
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
            let answer = self.answers.range(..=at).next_back().copied().filter(|&a| at < a + 2);
            if let Some(answer) = answer {
                if first != PINGRESP[(at - answer) as usize] {
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
            server_at += PINGREQ.len() as u64;
        }
        if server_at != self.client.len() as u64 {
            let sent = self.client.len();
            return Err(format!("the server read up to {server_at} of {sent} bytes"));
        }
        let sent = self.server.len() as u64 + 2 * self.answers.len() as u64;
        if self.client_at != sent {
            return Err(format!("the client read {} of {sent} bytes", self.client_at));
        }
        Ok(())
    }
}

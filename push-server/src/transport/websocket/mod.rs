//! MQTT over WebSocket (section 6 of both specifications, RFC 6455), the server's side: the peer's
//! bytes in; MQTT's bytes, and what to send to the peer, out.
//!
//! tungstenite reads and answers the upgrade request, and reads and writes frame headers. Its own
//! `WebSocket` is not used: that keeps buffers in every connection, allocates by the length that a
//! frame's header announces, and copies everything it sends. Here the bytes of a frame go on as
//! they come [MQTT-6.0.0-2], so no announced length costs anything, an idle connection owns no
//! buffer, and a header goes in front of what is sent.

mod frames;
mod origin;
#[cfg(test)]
mod tests;
mod upgrade;

use std::sync::Arc;

use core::net::IpAddr;

use bytes::Bytes;
use push_common::clock::Monotonic;
use push_common::heartbeat::Heartbeat;
use push_common::rate::Pace;
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};

use super::end::{Ended, Goodbye};
use super::stranger::Stranger;
use frames::{FRAME_HEADER_BYTES_MIN, Frames, MASK_BYTES, Step};
use upgrade::UpgradeAnswer;

pub(crate) use origin::normal_origin;
pub(crate) use upgrade::{UPGRADE_HEAD_BYTES_MAX, UpgradeRules};

/// One connection, from its first byte on.
#[derive(Debug)]
pub(super) struct WebSocket {
    stage: Stage,
    /// What is to be sent besides MQTT, if there is any.
    owed: Option<Box<Owed>>,
    /// When the next ping is due by the ping rate.
    ping_due: Monotonic,
}

/// What is to be sent besides MQTT.
#[derive(Debug, Default)]
struct Owed {
    /// The answer to the request.
    answer: Vec<u8>,
    /// The payload of the last ping. Only that one is answered [RFC 6455, 5.5.3], so a peer that
    /// pings and does not read makes nothing grow.
    pong: Option<Vec<u8>>,
    /// The close frame.
    farewell: Vec<u8>,
    /// Not sent: the addresses that proxies have added to the request, for who asks before its answer leaves.
    forwarded: Vec<IpAddr>,
}

#[derive(Debug)]
enum Stage {
    /// The beginning of the request, and what it is judged by.
    Upgrading(Vec<u8>, Arc<UpgradeRules>),
    Open(Frames),
    /// The peer ended it; the payload of the close frame to send, if frames can be sent.
    Ended(Ended, Option<Vec<u8>>),
    /// The server ended it.
    Closed,
}

impl WebSocket {
    /// A new connection, whose request is judged by `rules`; pings count from `now` on.
    pub(super) fn new(rules: Arc<UpgradeRules>, now: Monotonic) -> Self {
        Self { stage: Stage::Upgrading(Vec::new(), rules), owed: None, ping_due: now }
    }

    /// Takes the addresses that proxies have added to the request, the last one's first: once, right when it
    /// has been taken.
    pub(super) fn take_forwarded(&mut self) -> Vec<IpAddr> {
        self.owed.as_mut().map(|owed| std::mem::take(&mut owed.forwarded)).unwrap_or_default()
    }

    /// Takes received bytes, and appends the bytes of MQTT in them to `mqtt`. Look at `ended` and
    /// `owes` afterwards.
    pub(super) fn take(
        &mut self,
        mut bytes: &[u8],
        pace: Pace,
        now: Monotonic,
        mqtt: &mut Vec<u8>,
    ) {
        if let Stage::Upgrading(head, rules) = &mut self.stage {
            let stranger = Stranger::of(bytes).filter(|one| *one != Stranger::Http);
            let stranger = stranger.filter(|_| head.is_empty());
            match upgrade::answer(head, bytes, rules) {
                UpgradeAnswer::More => return,
                UpgradeAnswer::Accepted { answer, used, forwarded } => {
                    let owed = self.owed();
                    (owed.answer, owed.forwarded) = (answer, forwarded);
                    self.stage = Stage::Open(Frames::default());
                    bytes = &bytes[used..];
                }
                UpgradeAnswer::Refused { answer, how } => {
                    self.owed().answer = answer;
                    self.stage = Stage::Ended(stranger.map_or(how, Ended::Stranger), None);
                }
            }
        }
        while let Stage::Open(frames) = &mut self.stage {
            match frames.step(&mut bytes, mqtt) {
                Step::More => return,
                Step::Ping(payload) if pace.admits(self.ping_due, now) => {
                    self.ping_due = pace.charged(self.ping_due, now);
                    self.owed().pong = Some(payload);
                }
                Step::Ping(_) => self.end(Ended::PingRate, Some(CloseCode::Policy)),
                Step::Left(code) => self.end(Ended::Left, code),
                Step::Fault(code) => self.end(Ended::Fault, Some(code)),
            }
        }
    }

    /// Why the connection takes no more input from the peer. `None`: it still does, or `close` was
    /// called.
    pub(super) fn ended(&self) -> Option<Ended> {
        match self.stage {
            Stage::Ended(how, _) => Some(how),
            Stage::Upgrading(..) | Stage::Open(_) | Stage::Closed => None,
        }
    }

    /// Takes no more input, and sends a close frame after the bytes that are wrapped next: the
    /// answer to the peer's own, the name of its fault, or else `goodbye`.
    pub(super) fn close(&mut self, goodbye: Goodbye) {
        let farewell = match std::mem::replace(&mut self.stage, Stage::Closed) {
            Stage::Open(_) => frame(Control::Close, &code_bytes(code_of(goodbye))),
            Stage::Ended(_, Some(code)) => frame(Control::Close, &code),
            Stage::Upgrading(..) | Stage::Ended(_, None) | Stage::Closed => return,
        };
        self.owed().farewell = farewell;
    }

    /// Whether there is something to send besides MQTT.
    pub(super) fn owes(&self) -> bool {
        self.owed.is_some()
    }

    /// Makes `chunks` one binary frame, if it holds any bytes, and adds what else must be sent
    /// before and after it.
    pub(super) fn wrap(&mut self, chunks: &mut Vec<Bytes>) {
        let Owed { answer: mut front, pong, farewell, .. } =
            self.owed.take().map_or_else(Owed::default, |owed| *owed);
        if let Some(payload) = pong {
            front.extend(frame(Control::Pong, &payload));
        }
        let len: usize = chunks.iter().map(Bytes::len).sum();
        if len > 0 {
            write_header(&mut front, OpCode::Data(Data::Binary), len);
        }
        if !front.is_empty() {
            chunks.insert(0, front.into());
        }
        if !farewell.is_empty() {
            chunks.push(farewell.into());
        }
    }

    /// What a heartbeat is in a frame: a client's has a mask, the server's none.
    pub(super) fn around(&self, inside: Heartbeat) -> Option<Heartbeat> {
        let Stage::Open(_) = self.stage else { return None };
        if inside == Heartbeat::PLAIN {
            return Some(Heartbeat::WEBSOCKET);
        }
        let request_bytes = FRAME_HEADER_BYTES_MIN + MASK_BYTES as u8;
        Some(inside.lengthened(request_bytes, FRAME_HEADER_BYTES_MIN))
    }

    /// Bytes that have come and wait for others.
    pub(super) fn held_bytes(&self) -> usize {
        match &self.stage {
            Stage::Upgrading(head, _) => head.len(),
            // What comes of a frame goes on at once.
            Stage::Open(_) | Stage::Ended(..) | Stage::Closed => 0,
        }
    }

    /// Whether no frame and no message has come in part.
    pub(super) fn is_whole(&self) -> bool {
        matches!(&self.stage, Stage::Open(frames) if frames.is_whole())
    }

    fn owed(&mut self) -> &mut Owed {
        self.owed.get_or_insert_default()
    }

    fn end(&mut self, how: Ended, code: Option<CloseCode>) {
        let payload = code.map_or_else(Vec::new, |code| code_bytes(code).to_vec());
        self.stage = Stage::Ended(how, Some(payload));
    }
}

fn code_of(goodbye: Goodbye) -> CloseCode {
    match goodbye {
        Goodbye::Done => CloseCode::Normal,
        Goodbye::Stopping => CloseCode::Away,
    }
}

fn code_bytes(code: CloseCode) -> [u8; 2] {
    u16::from(code).to_be_bytes()
}

/// A whole control frame.
fn frame(control: Control, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    write_header(&mut frame, OpCode::Control(control), payload.len());
    frame.extend_from_slice(payload);
    frame
}

fn write_header(out: &mut Vec<u8>, opcode: OpCode, len: usize) {
    // By default the frame is final and, as a server's must, has no mask.
    let header = FrameHeader { opcode, ..FrameHeader::default() };
    header.format(len as u64, out).expect("a vector takes all");
}

//! WebSocket: the request, and the frames behind it.

use core::net::IpAddr;
use std::sync::Arc;

use push_common::rate::Pace;

use super::START;
use crate::fuzzing::outcome::Outcome;
use crate::transport::{
    Ended, Kind, Opening, Scratch, Transport, UPGRADE_HEAD_BYTES_MAX, UpgradeRules,
};

/// A request that is granted.
const REQUEST: &[u8] = b"GET /mqtt HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
                         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                         Sec-WebSocket-Protocol: mqtt\r\n\r\n";

const MASK: [u8; 4] = [0xA5, 0x5A, 0xFF, 0x01];

/// What a connection led to.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    mqtt: Vec<u8>,
    ended: Option<Ended>,
    /// The answer to the request, and how the frames end.
    sent: Vec<u8>,
    forwarded: Vec<IpAddr>,
    is_whole: bool,
}

/// The first byte of the input chooses how the rest is cut, and whether it is a connection from its
/// first byte on, frames behind a request that was granted, or what such frames say.
///
/// - No more bytes of MQTT come out than went in.
/// - What is said in frames of any lengths, with pings in between, is heard as it was said.
pub(crate) fn websocket(input: &[u8]) -> Outcome {
    let Some((&choice, bytes)) = input.split_first() else { return Outcome::Partial };
    let cut = 1 + usize::from(choice % 32);
    match choice >> 6 {
        0 | 1 => check(bytes, cut),
        2 => check(&[REQUEST, bytes].concat(), cut),
        _ => check_said(bytes, cut),
    }
}

fn check(bytes: &[u8], cut: usize) -> Outcome {
    let whole = take(bytes, bytes.len().max(1));
    let pieces = take(bytes, cut);
    assert_eq!(pieces.mqtt, whole.mqtt, "in pieces of {cut} bytes");
    if !whole.sent.starts_with(b"HTTP/1.1 101 ") {
        // How early a request is refused, and whether it is known whose protocol it is, depends on
        // how much of its first line has come.
        assert!(whole.mqtt.is_empty() && !pieces.sent.starts_with(b"HTTP/1.1 101 "));
        return if whole.ended.is_some() { Outcome::Refused } else { Outcome::Partial };
    }
    assert_eq!(pieces, whole, "in pieces of {cut} bytes");
    match whole.ended {
        Some(ended) if ended.is_fault() => Outcome::Refused,
        None if !whole.is_whole => Outcome::Partial,
        _ => Outcome::Taken,
    }
}

fn take(bytes: &[u8], cut: usize) -> Told {
    let rules = UpgradeRules::new(vec!["https://good.example".to_owned()], true);
    let opening = Opening { upgrade: Arc::new(rules), ..Opening::of(Kind::WebSocket, None) };
    let mut transport = Transport::new(opening, START).expect("no TLS");
    let mut scratch = Scratch::default();
    let (mut mqtt, mut forwarded) = (Vec::new(), Vec::new());
    for piece in bytes.chunks(cut) {
        mqtt.extend_from_slice(transport.take(piece, Pace::OFF, START, &mut scratch));
        forwarded.extend(transport.take_forwarded());
        assert!(transport.held_bytes() <= UPGRADE_HEAD_BYTES_MAX);
    }
    assert!(mqtt.len() <= bytes.len());
    let is_whole = transport.whole_wire_bytes(0, 0).is_some();
    let ended = transport.ended();
    let sent = super::farewell(&mut transport);
    // The answer, the last pong and a close frame: nothing piles up.
    assert!(sent.len() <= 1_024, "{} bytes", sent.len());
    Told { mqtt, ended, sent, forwarded, is_whole }
}

/// Says `words` in frames whose lengths they choose.
fn check_said(words: &[u8], cut: usize) -> Outcome {
    let mut bytes = REQUEST.to_vec();
    let mut rest = words;
    while let Some(&length) = rest.first() {
        let len = usize::from(length).min(rest.len());
        let (payload, left) = rest.split_at(len.max(1));
        let is_last = left.is_empty() || length % 3 != 0;
        // A message that goes on, and its last frame: pings may come between them.
        if is_last {
            bytes.extend(frame(0x82, payload));
        } else {
            let (begin, end) = payload.split_at(payload.len() / 2);
            bytes.extend(frame(0x02, begin));
            bytes.extend(frame(0x89, b"ping"));
            bytes.extend(frame(0x80, end));
        }
        rest = left;
    }
    for cut in [cut, bytes.len()] {
        let told = take(&bytes, cut);
        assert_eq!(told.mqtt, words, "in pieces of {cut} bytes");
        assert_eq!(told.ended, None);
        assert!(told.is_whole);
    }
    Outcome::Taken
}

/// A client's frame, its first byte given.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        len @ 0..=125 => frame.push(0x80 | len as u8),
        len => {
            frame.push(0x80 | 126);
            frame.extend((len as u16).to_be_bytes());
        }
    }
    frame.extend(MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

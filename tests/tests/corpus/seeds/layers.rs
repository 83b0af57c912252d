//! What is around packets: WebSocket, TLS, the header of a proxy.

use std::sync::Arc;

use push_server::fuzzing::outcome::Outcome::{Partial, Refused, Taken};
use push_tests::tls::TLS_VERSIONS;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::Seed;

pub(super) fn seeds() -> Vec<Seed> {
    let mut seeds = websocket();
    seeds.extend(tls());
    seeds.extend(proxy());
    seeds
}

/// What comes first in an input of `websocket`.
const FROM_THE_START: u8 = 0x05;
const BEHIND_A_REQUEST: u8 = 0x80 | 0x05;
const SAID_IN_FRAMES: u8 = 0xC0 | 0x05;

const PAGE: &str = "GET /mqtt HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive, Upgrade\r\n\
                    Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                    Sec-WebSocket-Protocol: mqttv3.1, mqtt\r\n";

/// A client's frame of at most 125 bytes.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [1, 2, 3, 4];
    let mut frame = vec![first, 0x80 | payload.len() as u8];
    frame.extend(MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

fn websocket() -> Vec<Seed> {
    let seed = |name: &str, outcome, choice: u8, bytes: &[u8]| {
        Seed::new("websocket", name, outcome, [&[choice], bytes].concat())
    };
    let with = |more: &str| format!("{PAGE}{more}\r\n").into_bytes();
    let frames = [
        frame(0x82, b"\x10\x0E\0\x04MQTT\x04\0\0\x0A\0\x02id"),
        frame(0x02, b"\xC0"),
        frame(0x89, b"are you there?"),
        frame(0x80, b"\0"),
        frame(0x8A, b""),
        frame(0x88, &[0x03, 0xE8]),
    ]
    .concat();
    vec![
        seed("request", Taken, FROM_THE_START, &[with(""), frames.clone()].concat()),
        seed("origin", Taken, FROM_THE_START, &with("Origin: https://good.example\r\n")),
        seed("forwarded", Taken, FROM_THE_START, &with("X-Forwarded-For: 192.0.2.1, ::1\r\n")),
        seed("other-origin", Refused, FROM_THE_START, &with("Origin: https://evil.example\r\n")),
        seed("half-a-request", Partial, FROM_THE_START, PAGE.as_bytes()),
        seed("a-page", Refused, FROM_THE_START, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
        seed("mqtt", Refused, FROM_THE_START, b"\x10\x0E\0\x04MQTT\x04\0\0\x0A\0\x02id"),
        seed("frames", Taken, BEHIND_A_REQUEST, &frames),
        seed("text", Refused, BEHIND_A_REQUEST, &frame(0x81, b"text")),
        seed("no-mask", Refused, BEHIND_A_REQUEST, &[0x82, 1, 0xC0]),
        seed("endless", Partial, BEHIND_A_REQUEST, b"\x82\xFF\0\0\0\x10\0\0\0\0\x01\x02\x03\x04ab"),
        seed("words", Taken, SAID_IN_FRAMES, &[[3; 40], [90; 40], [200; 40]].concat()),
    ]
}

/// What chooses the version in an input of `tls`, and two ends with keys rather than bytes from the start.
const TLS_13: u8 = 1;
const WITH_KEYS: u8 = 2;

fn tls() -> Vec<Seed> {
    let mut seeds = Vec::new();
    for (version, choice, name) in [(TLS_VERSIONS[0], 0, "12"), (TLS_VERSIONS[1], TLS_13, "13")] {
        let config = ClientConfig::builder_with_provider(default_provider().into())
            .with_protocol_versions(&[version])
            .expect("a version")
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        let server = ServerName::try_from("localhost").expect("a name");
        let mut client = ClientConnection::new(Arc::new(config), server).expect("a client");
        let mut hello = vec![choice | 0xFC];
        client.write_tls(&mut hello).expect("a vector takes all");
        let hello = Seed::new("tls", format!("{name}-hello"), Partial, hello);
        seeds.push(Seed { is_random: true, ..hello });
        let mut script = |name_of: &str, outcome, steps: &[[u8; 2]]| {
            let bytes = [&[choice | WITH_KEYS], steps.as_flattened()].concat();
            seeds.push(Seed::new("tls", format!("{name}-{name_of}"), outcome, bytes));
        };
        // Says, delivers in pieces, is answered, asks for new keys.
        script("talk", Taken, &[[2, 10], [5, 3], [0, 255], [7, 0], [4, 9], [3, 0], [5, 100]]);
        script("changed", Refused, &[[2, 10], [7, 0], [2, 10], [6, 8], [7, 0]]);
        script("twice", Refused, &[[2, 10], [6, 2], [7, 0]]);
    }
    for (name, bytes) in [
        ("mqtt", &b"\x10\x0E\0\x04MQTT\x04\0\0\x0A\0\x02id"[..]),
        ("http", b"GET / HTTP/1.1\r\n\r\n"),
        ("too-long-a-record", b"\x16\x03\x01\xFF\xFF"),
        ("data-before-keys", b"\x17\x03\x03\0\x02\xC0\0"),
        ("warnings", b"\x15\x03\x03\0\x02\x01\x29\x15\x03\x03\0\x02\x02\x29"),
    ] {
        seeds.push(Seed::new("tls", name, Refused, [&[0xFC], bytes].concat()));
    }
    seeds
}

fn proxy() -> Vec<Seed> {
    let seed = |name: &str, outcome, bytes: &[u8]| {
        Seed::new("proxy", name, outcome, [&[4], bytes].concat())
    };
    let v2 = |command: u8, kind: u8, len: u16, rest: &[u8]| {
        let mut bytes = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
        bytes.extend([command, kind]);
        bytes.extend(len.to_be_bytes());
        bytes.extend(rest);
        bytes
    };
    let v4 = [192, 0, 2, 7, 192, 0, 2, 1, 0x30, 0x39, 1, 187];
    let with_more = [&v4[..], &[0x20, 0, 5, 1, 0, 0, 0, 0], b"\x10\x0E\0\x04MQTT"].concat();
    vec![
        seed("v1-tcp4", Taken, b"PROXY TCP4 192.0.2.7 192.0.2.1 12345 443\r\n\x10\x0E\0\x04MQTT"),
        seed("v1-tcp6", Taken, b"PROXY TCP6 2001:db8::7 2001:db8::1 12345 443\r\nrest"),
        seed("v1-unknown", Taken, b"PROXY UNKNOWN\r\nrest"),
        seed("v1-half", Partial, b"PROXY TCP4 192.0.2.7 "),
        seed("v1-no-address", Refused, b"PROXY TCP4 somewhere 192.0.2.1 1 443\r\n"),
        seed("v1-endless", Refused, &[b"PROXY TCP4 ", &[b'1'; 200][..]].concat()),
        seed("v2-tcp4", Taken, &v2(0x21, 0x11, 20, &with_more)),
        seed("v2-tcp6", Taken, &v2(0x21, 0x21, 36, &[7; 40])),
        seed("v2-local", Taken, &v2(0x20, 0, 0, b"rest")),
        seed("v2-unix", Taken, &v2(0x21, 0x31, 216, &[b'/'; 216])),
        seed("v2-half", Partial, &v2(0x21, 0x11, 12, &v4[..5])),
        seed("v2-datagram", Refused, &v2(0x21, 0x12, 12, &v4)),
        seed("v2-too-long", Refused, &v2(0x21, 0x11, 5_000, &v4)),
        seed("none", Refused, b"\x10\x0E\0\x04MQTT\x04\0\0\x0A\0\x02id"),
    ]
}

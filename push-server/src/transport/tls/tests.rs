//! Claims about the layer, with rustls's own client at the other end.

mod hostile;

use std::sync::Arc;

use proptest::prelude::*;
use rustls::crypto::ring::ALL_CIPHER_SUITES;
use rustls::version::{TLS12, TLS13};
use rustls::{AlertDescription, ClientConfig, SupportedCipherSuite};

use super::*;
use crate::transport::{Goodbye, Kind, Transport};
use pair::{Pair, VERSIONS, WRAP_BYTES_MAX, client_config, papers, server_config};

/// Something like PINGREQ and PINGRESP.
const PING: &[u8] = b"\xC0\0";
const PONG: &[u8] = b"\xD0\0";

fn version_of(suite: &SupportedCipherSuite) -> &'static rustls::SupportedProtocolVersion {
    if suite.tls13().is_some() { &TLS13 } else { &TLS12 }
}

fn suites() -> impl Iterator<Item = SupportedCipherSuite> {
    // Those of ECDSA: the certificate has such a key.
    let has_key = |suite: &&SupportedCipherSuite| !format!("{suite:?}").contains("RSA_WITH");
    ALL_CIPHER_SUITES.iter().filter(has_key).copied()
}

/// The layer of a stack that is TLS alone.
fn layer(transport: &Transport) -> &Tls {
    match &transport.0.as_ref().expect("a layer").outer {
        crate::transport::Layer::Tls(tls) => tls,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_suite_of_both_versions_carries_both_ways() {
    let config = Arc::new(server_config(&VERSIONS, false));
    for suite in suites() {
        let client = client_config(version_of(&suite), &[suite], false);
        let mut pair = Pair::new(&config, client).open();
        pair.write(PING);
        let said = pair.client_says();
        pair.server_takes(&said);
        assert_eq!(pair.heard, PING, "{suite:?}");
        let answer = pair.server_says(&[PONG]);
        assert_eq!(pair.client_takes(&answer).expect("it opens"), PONG, "{suite:?}");
        let version = if suite.tls13().is_some() { TlsVersion::Tls13 } else { TlsVersion::Tls12 };
        let done = TlsHandshake { is_done: true, version: Some(version), is_resumed: false };
        assert_eq!(pair.server.tls_handshake(), Some(done));
    }
}

#[test]
fn a_handshake_may_be_cut_anywhere() {
    for version in VERSIONS {
        // Lengths of what the client says differ a little with each handshake.
        let longest = Pair::of(version).client_says().len() + 600;
        for piece_bytes in (1..40).chain((40..longest).step_by(13)) {
            let mut pair = Pair::of(version);
            pair.write(PING);
            pair.settle_by(piece_bytes);
            assert_eq!(pair.heard, PING, "in pieces of {piece_bytes} bytes");
            let answer = pair.server_says(&[PONG]);
            assert_eq!(pair.client_takes(&answer).expect("it opens"), PONG);
        }
    }
}

#[test]
fn a_handshake_takes_two_steps_where_it_comes_in_whole_flights() {
    for version in VERSIONS {
        assert_eq!(Pair::of(version).open().steps, 2, "{version:?}");
    }
}

#[test]
fn nothing_but_collecting_happens_before_a_step() {
    let mut pair = Pair::of(&TLS13);
    let hello = pair.client_says();
    let (begin, end) = hello.split_at(hello.len() - 1);
    let mut scratch = crate::transport::Scratch::default();
    let pace = push_common::rate::Pace::OFF;
    pair.server.take(begin, pace, pair::START, &mut scratch);
    assert!(!pair.server.wants_step(), "the record is not whole");
    assert!(matches!(layer(&pair.server).session, Session::New(_)), "rustls has not been asked");
    pair.server.take(end, pace, pair::START, &mut scratch);
    assert!(pair.server.wants_step());
    assert!(!pair.server.owes());
    pair.server.step(pace, pair::START, &mut scratch);
    assert!(pair.server.owes());
    assert!(!pair.server.wants_step());
}

#[test]
fn a_client_that_was_there_resumes() {
    let config = Arc::new(server_config(&VERSIONS, false));
    for version in VERSIONS {
        let client = Arc::new(client_config(version, &[], false));
        for is_resumed in [false, true, true] {
            let mut pair = Pair::inside(Kind::Tls, &config, &client).open();
            // Tickets of TLS 1.3 follow the handshake.
            pair.settle();
            let handshake = pair.server.tls_handshake().expect("TLS");
            assert_eq!(handshake.is_resumed, is_resumed, "{version:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever is said, in whatever pieces, with new keys in between: each side hears what the other
    /// has said, and nothing is left behind.
    #[test]
    fn both_sides_hear_what_is_said(
        is_13 in any::<bool>(),
        words in prop::collection::vec((0usize..40_000, any::<bool>()), 1..12),
        answers in prop::collection::vec(prop::collection::vec(0usize..20_000, 0..4), 1..12),
        pieces in prop::collection::vec(1usize..5_000, 1..20),
        bytes_max in 1usize..50_000,
    ) {
        let mut pair = Pair::of(if is_13 { &TLS13 } else { &TLS12 }).open();
        let (mut pieces, mut said, mut heard_by_client) = (pieces.iter().cycle(), Vec::new(), Vec::new());
        let mut answered: Vec<u8> = Vec::new();
        for (at, (len, updates)) in words.into_iter().enumerate() {
            let word = vec![at as u8; len];
            // The client's own buffer is limited.
            for part in word.chunks(16 << 10) {
                pair.write(part);
                if updates && is_13 {
                    pair.client.refresh_traffic_keys().expect("TLS 1.3 can");
                }
                let bytes = pair.client_says();
                let mut rest = &bytes[..];
                while !rest.is_empty() {
                    let (piece, left) = rest.split_at((*pieces.next().expect("a cycle")).min(rest.len()));
                    pair.server_takes(piece);
                    rest = left;
                }
            }
            said.extend(word);
            let answer: Vec<Vec<u8>> = answers[at % answers.len()].iter().map(|len| vec![!(at as u8); *len]).collect();
            answered.extend(answer.concat());
            let mut chunks: Vec<Bytes> = answer.into_iter().map(Bytes::from).collect();
            let mut wire = Vec::new();
            while !chunks.is_empty() || pair.server.owes() {
                pair.server.wrap(&mut chunks, bytes_max);
                let sealed: usize = chunks.iter().map(Bytes::len).sum();
                let records = bytes_max.div_ceil(16 << 10) + 2;
                prop_assert!(sealed <= bytes_max + records * 64, "{sealed} of {bytes_max}");
                wire.extend(chunks.drain(..).flatten());
            }
            heard_by_client.extend(pair.client_takes(&wire).expect("it opens"));
        }
        prop_assert_eq!(&pair.heard, &said);
        prop_assert_eq!(&heard_by_client, &answered);
        prop_assert_eq!(pair.server.ended(), None);
        owns_no_buffer(&pair.server);
    }
}

fn owns_no_buffer(transport: &Transport) {
    assert!(layer(transport).waiting.is_none());
}

#[test]
fn an_idle_connection_owns_no_buffer() {
    for version in VERSIONS {
        let mut pair = Pair::of(version).open();
        pair.write(PING);
        pair.settle_by(7);
        let answer = pair.server_says(&[PONG]);
        pair.client_takes(&answer).expect("it opens");
        owns_no_buffer(&pair.server);
        assert!(!pair.server.owes());
        assert_eq!(pair.server.held_bytes(), 0);
    }
}

#[test]
fn a_short_answer_leaves_in_one_piece_of_exactly_its_length() {
    for (version, len) in [(&TLS13, 24), (&TLS12, 31)] {
        let suite = suites().find(|suite| {
            version_of(suite) == version && format!("{suite:?}").contains("AES_128_GCM")
        });
        let client = client_config(version, &[suite.expect("a suite")], false);
        let mut pair = Pair::new(&Arc::new(server_config(&VERSIONS, false)), client).open();
        let mut chunks = vec![Bytes::from_static(PONG)];
        pair.server.wrap(&mut chunks, WRAP_BYTES_MAX);
        assert_eq!(chunks.iter().map(Bytes::len).collect::<Vec<_>>(), [len], "{version:?}");
    }
}

#[test]
fn new_keys_that_the_client_asks_for_cost_an_answer_only_with_the_next_bytes() {
    let mut pair = Pair::of(&TLS13).open();
    pair.client.refresh_traffic_keys().expect("TLS 1.3 can");
    let said = pair.client_says();
    pair.server_takes(&said);
    assert!(!pair.server.owes(), "rustls holds its answer");
    assert_eq!(pair.server_says(&[]), [0; 0]);
    let answer = pair.server_says(&[PONG]);
    assert!(answer.len() > 24, "the answer is in front");
    assert_eq!(pair.client_takes(&answer).expect("it opens"), PONG);
    let answer = pair.server_says(&[PONG]);
    assert_eq!(answer.len(), 24, "and there once");
    assert_eq!(pair.client_takes(&answer).expect("it opens"), PONG);
}

#[test]
fn the_server_says_goodbye_behind_its_last_bytes() {
    for version in VERSIONS {
        let mut pair = Pair::of(version).open();
        pair.server.close(Goodbye::Done);
        assert!(pair.server.owes());
        let last = vec![7; 200_000];
        let bytes = pair.server_says(&[&last]);
        assert_eq!(pair.client_takes(&bytes).expect("it opens"), last);
        let state = pair.client.process_new_packets().expect("no fault");
        assert!(state.peer_has_closed(), "{version:?}");
        assert!(!pair.server.owes());
        assert!(matches!(layer(&pair.server).session, Session::Over), "its keys are gone");
        pair.write(PING);
        let said = pair.client_says();
        pair.server_takes(&said);
        assert_eq!(pair.heard, [0; 0], "nothing is heard after the end");
    }
}

#[test]
fn a_client_that_says_goodbye_is_answered_and_told_what_is_left() {
    for version in VERSIONS {
        let mut pair = Pair::of(version).open();
        pair.write(PING);
        pair.client.send_close_notify();
        let said = pair.client_says();
        // Bytes behind the goodbye are nobody's.
        pair.server_takes(&[&said[..], b"more"].concat());
        assert_eq!(pair.heard, PING);
        assert_eq!(pair.server.ended(), Some(Ended::LeftTls));
        assert!(!Ended::LeftTls.is_fault());
        pair.server.close(Goodbye::Done);
        assert_eq!(pair.server.ended(), None);
        let bytes = pair.server_says(&[PONG]);
        assert_eq!(pair.client_takes(&bytes).expect("it opens"), PONG);
        assert!(pair.client.process_new_packets().expect("no fault").peer_has_closed());
    }
}

#[test]
fn a_server_that_stops_in_a_handshake_says_nothing_more() {
    let mut pair = Pair::of(&TLS13);
    let hello = pair.client_says();
    pair.server_takes(&hello);
    let flight = pair.server_says(&[]);
    assert!(!flight.is_empty());
    pair.server.close(Goodbye::Stopping);
    assert!(!pair.server.owes());
    pair.client_takes(&flight).expect("it opens");
    let finished = pair.client_says();
    pair.server_takes(&finished);
    assert!(!pair.server.owes());
    assert!(pair.server.tls_handshake().is_some_and(|handshake| !handshake.is_done));
}

/// What comes of a handshake that fails at the server, and the alert that the client gets.
fn fails(server: ServerTls, client: ClientConfig) -> (Ended, AlertDescription) {
    let mut pair = Pair::new(&Arc::new(server), client);
    loop {
        let said = pair.client_says();
        pair.server_takes(&said);
        let bytes = pair.server_says(&[]);
        if let Some(ended) = pair.server.ended() {
            match pair.client_takes(&bytes) {
                Err(rustls::Error::AlertReceived(alert)) => return (ended, alert),
                other => panic!("{other:?}, and the server says: {ended}"),
            }
        }
        pair.client_takes(&bytes).expect("the client likes it");
    }
}

#[test]
fn a_failed_handshake_is_told_to_the_client_by_an_alert_and_to_the_log_in_words() {
    let no_shared_version =
        fails(server_config(&[&TLS13], false), client_config(&TLS12, &[], false));
    assert_eq!(
        no_shared_version,
        (Ended::Tls(TlsFault::Version), AlertDescription::ProtocolVersion)
    );
    let mut other = client_config(&TLS13, &[], false);
    other.alpn_protocols = vec![b"h2".to_vec()];
    let no_shared_protocol = fails(server_config(&VERSIONS, false), other);
    assert_eq!(
        no_shared_protocol,
        (Ended::Tls(TlsFault::Protocol), AlertDescription::NoApplicationProtocol)
    );
    for version in VERSIONS {
        let (ended, alert) =
            fails(server_config(&VERSIONS, true), client_config(version, &[], false));
        assert_eq!(ended, Ended::Tls(TlsFault::NoCertificate));
        assert!(
            matches!(
                alert,
                AlertDescription::CertificateRequired | AlertDescription::HandshakeFailure
            ),
            "{alert:?}"
        );
    }
}

#[test]
fn a_client_without_alpn_is_served_and_so_is_one_that_names_mqtt() {
    for protocols in [vec![], vec![b"mqtt".to_vec()], vec![b"h2".to_vec(), b"mqtt".to_vec()]] {
        let mut client = client_config(&TLS13, &[], false);
        client.alpn_protocols = protocols;
        Pair::new(&Arc::new(server_config(&VERSIONS, false)), client).open();
    }
}

#[test]
fn a_client_that_shows_a_valid_certificate_is_served() {
    for version in VERSIONS {
        let client = client_config(version, &[], true);
        let mut pair = Pair::new(&Arc::new(server_config(&VERSIONS, true)), client).open();
        pair.write(PING);
        pair.settle();
        assert_eq!(pair.heard, PING);
    }
}

#[test]
fn a_client_that_does_not_know_our_ca_is_named_so() {
    for version in VERSIONS {
        let strangers =
            ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
                .with_protocol_versions(&[version])
                .expect("a version")
                .with_root_certificates(rustls::RootCertStore::empty())
                .with_no_client_auth();
        let mut pair = Pair::new(&Arc::new(server_config(&VERSIONS, false)), strangers);
        let hello = pair.client_says();
        pair.server_takes(&hello);
        let flight = pair.server_says(&[]);
        pair.client_takes(&flight).expect_err("it does not trust the server");
        let alert = pair.client_says();
        pair.server_takes(&alert);
        let ended = pair.server.ended().expect("an end");
        assert_eq!(ended, Ended::Tls(TlsFault::Alert(AlertDescription::UnknownCA)), "{version:?}");
        let text = ended.to_string();
        assert_eq!(
            text,
            "it does not know the CA of the server's certificate (alert 48, UnknownCA)"
        );
        assert_eq!(pair.server_says(&[]), [0; 0], "an alert is not answered");
    }
}

#[test]
fn strangers_are_known_by_their_first_bytes() {
    let cases: [(&[u8], Stranger); 3] = [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", Stranger::Http),
        (b"\x10\x10\0\x04MQTT\x04\x02\0\x0A\0\x04name", Stranger::Mqtt),
        (b"POST /publish HTTP/1.1\r\n", Stranger::Http),
    ];
    for (bytes, stranger) in cases {
        let mut pair = Pair::of(&TLS13);
        pair.server_takes(bytes);
        assert_eq!(pair.server.ended(), Some(Ended::Stranger(stranger)));
        assert!(!pair.server.owes(), "it would not understand an alert");
        assert_eq!(pair.steps, 0);
    }
}

#[test]
fn websocket_inside_of_tls_is_upgraded_and_carries() {
    let mut config = server_config(&VERSIONS, false);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let client = Arc::new(client_config(&TLS13, &[], false));
    let mut pair = Pair::inside(Kind::TlsWebSocket, &Arc::new(config), &client);
    pair.write(
        b"GET /mqtt HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
          Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
          Sec-WebSocket-Protocol: mqtt\r\n\r\n",
    );
    let answer = pair.settle();
    assert!(answer.starts_with(b"HTTP/1.1 101 "));
    // A frame of two bytes, masked with zeros.
    pair.write(b"\x82\x82\0\0\0\0\xC0\0");
    pair.settle();
    assert_eq!(pair.heard, PING);
    let bytes = pair.server_says(&[PONG]);
    assert_eq!(pair.client_takes(&bytes).expect("it opens"), b"\x82\x02\xD0\0");
    pair.server.close(Goodbye::Done);
    let bytes = pair.server_says(&[]);
    assert_eq!(pair.client_takes(&bytes).expect("it opens"), b"\x88\x02\x03\xE8");
    assert!(pair.client.process_new_packets().expect("no fault").peer_has_closed());
}

#[test]
fn a_large_message_is_sealed_as_much_at_a_time_as_is_allowed() {
    let mut pair = Pair::of(&TLS13).open();
    let payload = Bytes::from(vec![3; 1 << 20]);
    let mut chunks = vec![Bytes::from_static(b"head"), payload.clone()];
    let mut wire = Vec::new();
    let mut calls = 0;
    loop {
        pair.server.wrap(&mut chunks, 10_000);
        wire.extend(chunks.drain(..).flatten());
        calls += 1;
        if !pair.server.has_unwrapped() {
            break;
        }
        assert!(pair.server.owes());
        assert!(!payload.is_unique(), "what waits is shared, and no copy");
    }
    assert_eq!(calls, ((1 << 20) + 4usize).div_ceil(10_000));
    let heard = pair.client_takes(&wire).expect("it opens");
    assert_eq!(heard, [b"head", &payload[..]].concat());
    owns_no_buffer(&pair.server);
}

#[test]
fn whole_wire_bytes_are_all_bytes_once_the_handshake_is_done_and_no_record_is_under_way() {
    let mut pair = Pair::of(&TLS13);
    let mut received = 0;
    assert_eq!(pair.server.whole_wire_bytes(0, 0), None);
    loop {
        let said = pair.client_says();
        received += said.len() as u64;
        pair.server_takes(&said);
        let bytes = pair.server_says(&[]);
        if said.is_empty() && bytes.is_empty() {
            break;
        }
        pair.client_takes(&bytes).expect("it opens");
    }
    assert_eq!(pair.server.whole_wire_bytes(0, 0), Some(received));
    pair.write(PING);
    let said = pair.client_says();
    pair.server_takes(&said[..5]);
    assert_eq!(pair.server.whole_wire_bytes(0, 0), None);
    pair.server_takes(&said[5..]);
    assert_eq!(pair.server.whole_wire_bytes(2, 0), Some(received + said.len() as u64));
    let bytes = pair.server.heartbeat().map(|heartbeat| heartbeat.request_bytes() as usize);
    assert_eq!(bytes, Some(said.len()), "a ping in a record");
}

#[test]
fn what_is_printed_holds_no_byte_of_the_connection() {
    let mut pair = Pair::of(&TLS13);
    let hello = pair.client_says();
    pair.server_takes(&hello[..hello.len() - 1]);
    let printed = format!("{:?}", pair.server);
    assert!(printed.contains("Tls { handshake: TlsHandshake"), "{printed}");
    assert!(!printed.contains("input"), "{printed}");
    let _ = papers();
}

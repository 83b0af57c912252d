//! Peers that break rules: nothing panics, nothing grows, and the end is told.

use proptest::prelude::*;

use super::pair::Pair;
use super::*;

/// A record's header and content.
fn record(kind: u8, content: &[u8]) -> Vec<u8> {
    let len = u16::try_from(content.len()).expect("short").to_be_bytes();
    [&[kind, 3, 3, len[0], len[1]], content].concat()
}

const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const DATA: u8 = 23;

fn fault(pair: &Pair) -> TlsFault {
    match pair.server.ended() {
        Some(Ended::Tls(fault)) => fault,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_flipped_bit_in_any_byte_of_a_record_ends_the_connection() {
    for version in VERSIONS {
        let len = {
            let mut pair = Pair::of(version).open();
            pair.write(PING);
            pair.client_says().len()
        };
        // The lower byte of the version is to be ignored [RFC 8446, 5.1].
        for at in (0..len).filter(|at| *at != 2) {
            let mut pair = Pair::of(version).open();
            pair.write(PING);
            let mut said = pair.client_says();
            said[at] ^= 0x10;
            // A longer length makes it wait for more.
            pair.server_takes(&[&said[..], &[0; 20_000]].concat());
            assert_eq!(pair.heard, [0; 0], "byte {at}");
            assert!(pair.server.ended().is_some(), "byte {at} of {version:?}");
            let alert = pair.server_says(&[]);
            assert!(!alert.is_empty(), "byte {at}: the client is told");
            pair.client_takes(&alert).expect_err("by an alert");
        }
    }
}

#[test]
fn a_record_that_comes_twice_does_not_open() {
    for version in VERSIONS {
        let mut pair = Pair::of(version).open();
        pair.write(PING);
        let said = pair.client_says();
        pair.server_takes(&[&said[..], &said].concat());
        assert_eq!(pair.heard, PING);
        assert_eq!(fault(&pair), TlsFault::Unopened);
    }
}

#[test]
fn a_record_that_is_announced_too_long_is_refused_at_its_header() {
    for version in VERSIONS {
        let mut pair = Pair::of(version).open();
        pair.server_takes(&[DATA, 3, 3, 0xFF, 0xFF]);
        assert_eq!(fault(&pair), TlsFault::RecordTooLong, "{version:?}");
    }
    let mut pair = Pair::of(&TLS13);
    pair.server_takes(&[HANDSHAKE, 3, 1, 0x7F, 0xFF]);
    assert_eq!(fault(&pair), TlsFault::RecordTooLong);
}

#[test]
fn an_announced_length_costs_nothing_before_its_bytes_come() {
    let mut pair = Pair::of(&TLS13).open();
    pair.server_takes(&[DATA, 3, 3, 0x40, 0x00, 1, 2, 3]);
    assert_eq!(pair.server.held_bytes(), 8);
    let waiting = layer(&pair.server).waiting.as_ref().expect("it waits");
    assert!(waiting.input.capacity() <= 64);
}

#[test]
fn a_hello_in_the_smallest_records_is_too_long_in_the_end() {
    let mut pair = Pair::of(&TLS13);
    // A message of 60,000 bytes, which rustls would wait for.
    let message = [&[1, 0, 0xEA, 0x60][..], &[0; 60_000]].concat();
    for byte in &message {
        pair.server_takes(&record(HANDSHAKE, &[*byte]));
        assert!(pair.server.held_bytes() <= HANDSHAKE_INPUT_BYTES_MAX);
        if pair.server.ended().is_some() {
            break;
        }
    }
    assert_eq!(fault(&pair), TlsFault::TooLong);
    assert_eq!(pair.server.held_bytes(), 0);
    assert_eq!(
        pair.server.ended().and_then(Ended::limit),
        Some(crate::transport::Limit::HandshakeInput)
    );
}

#[test]
fn empty_records_are_refused_when_they_are_too_many() {
    let mut pair = Pair::of(&TLS12);
    for _ in 0..100 {
        pair.server_takes(&record(HANDSHAKE, &[]));
    }
    assert!(matches!(fault(&pair), TlsFault::Rule | TlsFault::Message), "{:?}", fault(&pair));
}

#[test]
fn new_keys_without_end_are_refused() {
    let mut pair = Pair::of(&TLS13).open();
    for _ in 0..100 {
        pair.client.refresh_traffic_keys().expect("TLS 1.3 can");
        let said = pair.client_says();
        pair.server_takes(&said);
        // Nobody reads the server's answers, and they do not pile up.
        let waiting = layer(&pair.server).waiting.as_ref();
        assert!(waiting.is_none_or(|waiting| waiting.output.len() < 100));
    }
    assert_eq!(fault(&pair), TlsFault::Rule);
}

#[test]
fn warnings_without_end_are_refused() {
    let mut pair = Pair::of(&TLS12);
    for _ in 0..100 {
        // A warning: no certificate.
        pair.server_takes(&record(ALERT, &[1, 41]));
    }
    assert!(matches!(fault(&pair), TlsFault::Rule), "{:?}", fault(&pair));
}

#[test]
fn bytes_of_the_inside_before_the_handshake_are_refused() {
    let mut pair = Pair::of(&TLS13);
    pair.server_takes(&record(DATA, PING));
    assert_eq!(fault(&pair), TlsFault::Message);
    assert_eq!(pair.heard, [0; 0]);
}

#[test]
fn early_data_is_not_taken() {
    let config = Arc::new(server_config(&VERSIONS, false));
    let mut client = client_config(&TLS13, &[], false);
    client.enable_early_data = true;
    let client = Arc::new(client);
    let mut first = Pair::inside(Kind::Tls, &config, &client).open();
    first.settle();
    let mut second = Pair::inside(Kind::Tls, &config, &client);
    assert!(second.client.early_data().is_none(), "no ticket of the server's allows it");
    second.settle();
    assert!(second.server.tls_handshake().is_some_and(|handshake| handshake.is_resumed));
}

proptest! {
    /// Garbage, at the beginning or later.
    #[test]
    fn garbage_ends_a_connection_or_waits_for_more(
        is_13 in any::<bool>(),
        is_open in any::<bool>(),
        kind in any::<u8>(),
        garbage in prop::collection::vec(any::<u8>(), 0..3_000),
        has_header in any::<bool>(),
        pieces in prop::collection::vec(1usize..700, 1..5),
    ) {
        let mut pair = Pair::of(if is_13 { &TLS13 } else { &TLS12 });
        if is_open {
            pair = pair.open();
        }
        let bytes = if has_header { record(20 + kind % 5, &garbage) } else { garbage };
        let (mut rest, mut pieces) = (&bytes[..], pieces.iter().cycle());
        while !rest.is_empty() {
            let (piece, left) = rest.split_at((*pieces.next().expect("a cycle")).min(rest.len()));
            pair.server_takes(piece);
            pair.server_says(&[]);
            rest = left;
        }
        prop_assert_eq!(&pair.heard, &[0; 0]);
        prop_assert!(pair.server.held_bytes() <= bytes.len());
        pair.server.close(Goodbye::Done);
        pair.server_says(&[PONG]);
        prop_assert!(!pair.server.owes());
    }

    /// A handshake in which bytes change, go missing or come twice.
    #[test]
    fn a_damaged_handshake_never_hears_a_word(
        is_13 in any::<bool>(),
        flight in 0usize..2,
        at in any::<prop::sample::Index>(),
        damage in prop::collection::vec(any::<u8>(), 0..4),
        removed in 0usize..4,
        asks in any::<bool>(),
    ) {
        let version = if is_13 { &TLS13 } else { &TLS12 };
        let config = Arc::new(server_config(&VERSIONS, asks));
        let mut pair = Pair::new(&config, client_config(version, &[], asks));
        pair.write(PING);
        let mut was_damaged = false;
        for number in 0..4 {
            let mut said = pair.client_says();
            if number == flight && !said.is_empty() {
                let at = at.index(said.len());
                let end = (at + removed).min(said.len());
                let before = said.clone();
                said.splice(at..end, damage.iter().copied());
                // Nobody proves what the header of a record said of its version (RFC 8446, section 5.1).
                let proven = |bytes: &[u8]| [&bytes[..1], bytes.get(3..).unwrap_or_default()].concat();
                was_damaged = said.is_empty() || proven(&before) != proven(&said);
            }
            pair.server_takes(&said);
            let bytes = pair.server_says(&[]);
            if pair.client_takes(&bytes).is_err() {
                let alert = pair.client_says();
                pair.server_takes(&alert);
                break;
            }
        }
        prop_assert!(!was_damaged || pair.heard.is_empty() || pair.heard == PING);
        if was_damaged && flight == 0 {
            // The hello is part of what both sides prove to have seen.
            prop_assert_eq!(&pair.heard, &[0; 0]);
        }
        pair.server.close(Goodbye::Done);
        pair.server_says(&[PONG]);
        prop_assert!(!pair.server.owes());
    }
}

//! Claims about record numbers that a program shares, with rustls's own client at the other end, and the splice's own
//! functions in between.

mod program;
mod world;

use std::sync::Arc;

use push_common::claim::EPOCH_MAX;
use rustls::crypto::CryptoProvider;
use rustls::crypto::cipher::{
    AeadKey, KeyBlockShape, Tls12AeadAlgorithm, UnsupportedOperationError,
};
use rustls::crypto::ring::{ALL_CIPHER_SUITES, default_provider};
use rustls::version::{TLS12, TLS13};
use rustls::{
    AlertDescription, CipherSuiteCommon, ConnectionTrafficSecrets, SupportedCipherSuite,
    SupportedProtocolVersion, Tls12CipherSuite, Tls13CipherSuite,
};

use super::*;
use crate::transport::tls::pair::{
    Pair, VERSIONS, client_config, numbered_by_ring, server_config, server_config_of,
};
use crate::transport::{Goodbye, Kind, ServerTls};
use world::{PING, PONG, Pings, World, new_table};

/// Random numbers of a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % limit
    }
}

fn version_of(suite: SupportedCipherSuite) -> &'static SupportedProtocolVersion {
    if suite.tls13().is_some() { &TLS13 } else { &TLS12 }
}

fn is_gcm_of_tls12(suite: SupportedCipherSuite) -> bool {
    suite.tls13().is_none() && !format!("{suite:?}").contains("CHACHA20")
}

/// Those that the certificate's key serves.
fn suites() -> impl Iterator<Item = SupportedCipherSuite> {
    let serves = |suite: &&SupportedCipherSuite| !format!("{suite:?}").contains("RSA_WITH");
    ALL_CIPHER_SUITES.iter().filter(serves).copied()
}

/// A client of TLS 1.2 that counts its explicit nonces from anywhere on, as most do. rustls's mixes them.
struct Counting(&'static dyn Tls12AeadAlgorithm);

impl Tls12AeadAlgorithm for Counting {
    fn encrypter(&self, key: AeadKey, iv: &[u8], explicit: &[u8]) -> Box<dyn MessageEncrypter> {
        // rustls adds the number without carry.
        let begin = [explicit[..2].to_vec(), vec![0; explicit.len() - 2]].concat();
        self.0.encrypter(key, iv, &begin)
    }

    fn decrypter(&self, key: AeadKey, iv: &[u8]) -> Box<dyn MessageDecrypter> {
        self.0.decrypter(key, iv)
    }

    fn key_block_shape(&self) -> KeyBlockShape {
        self.0.key_block_shape()
    }

    fn extract_keys(
        &self,
        key: AeadKey,
        iv: &[u8],
        explicit: &[u8],
    ) -> Result<ConnectionTrafficSecrets, UnsupportedOperationError> {
        self.0.extract_keys(key, iv, explicit)
    }
}

fn counting(suite: SupportedCipherSuite) -> SupportedCipherSuite {
    let SupportedCipherSuite::Tls12(inner) = suite else { return suite };
    if !is_gcm_of_tls12(suite) {
        return suite;
    }
    SupportedCipherSuite::Tls12(Box::leak(Box::new(Tls12CipherSuite {
        common: CipherSuiteCommon { ..inner.common },
        aead_alg: Box::leak(Box::new(Counting(inner.aead_alg))),
        prf_provider: inner.prf_provider,
        kx: inner.kx,
        sign: inner.sign,
    })))
}

/// A suite of TLS 1.3 whose key may seal so few records.
fn limited(suite: SupportedCipherSuite, confidentiality_limit: u64) -> SupportedCipherSuite {
    let SupportedCipherSuite::Tls13(inner) = suite else { panic!("TLS 1.3") };
    SupportedCipherSuite::Tls13(Box::leak(Box::new(Tls13CipherSuite {
        common: CipherSuiteCommon { confidentiality_limit, ..inner.common },
        aead_alg: inner.aead_alg,
        hkdf_provider: inner.hkdf_provider,
        quic: None,
    })))
}

fn server_of(suites: &[SupportedCipherSuite]) -> Arc<ServerTls> {
    let provider = CryptoProvider { cipher_suites: numbered_by_ring(suites), ..default_provider() };
    Arc::new(server_config_of(provider, &VERSIONS, false))
}

fn world(suite: SupportedCipherSuite) -> World {
    let client = client_config(version_of(suite), &[counting(suite)], false);
    World::new(&Arc::new(server_config(&VERSIONS, false)), client)
}

/// A packet with its length in front.
fn packet(len: usize) -> Vec<u8> {
    let mut packet = vec![0x5A; len.max(4)];
    let head = (packet.len() as u32).to_be_bytes();
    packet[..4].copy_from_slice(&head);
    packet
}

/// A random length: mostly short, sometimes of several records.
fn len(dice: &mut Dice) -> usize {
    let max = [40, 40, 2_000, 40_000][dice.below(4) as usize];
    dice.below(max) as usize
}

/// Whatever happens next.
fn step(world: &mut World, dice: &mut Dice, is_tls13: bool) {
    let segment_bytes = [usize::MAX, 1_400, 17][dice.below(3) as usize];
    match dice.below(20) {
        0..5 => world.client_pings(),
        5 => world.client_says(PING, 11),
        6 => world.client_says(&packet(len(dice)), segment_bytes),
        7 if is_tls13 && dice.below(3) == 0 => world.client_updates_key(segment_bytes),
        8 => world.is_to_say(&packet(len(dice))),
        9 => world.fills_up(),
        10..14 => {
            world.arrives();
        }
        14 => world.server_says(1 + dice.below(30_000) as usize),
        15 => world.socket_accepts(1 + dice.below(40) as usize),
        16 => world.socket_accepts(usize::MAX),
        _ => world.settle(),
    }
}

/// Two connections by turns, which share nothing but the thread.
fn sessions(client_suite: SupportedCipherSuite, server: &Arc<ServerTls>, seeds: u64) -> Pings {
    sessions_of_keys(client_suite, server, seeds, u64::MAX)
}

/// The same, where no key may seal more than so many records.
fn sessions_of_keys(
    client_suite: SupportedCipherSuite,
    server: &Arc<ServerTls>,
    seeds: u64,
    records_max: u64,
) -> Pings {
    let client = || client_config(version_of(client_suite), &[client_suite], false);
    let mut pings = Pings::default();
    for seed in 0..seeds {
        let mut worlds = [World::new(server, client()), World::new(server, client())];
        let mut dice = Dice(seed);
        for _ in 0..600 {
            let at = dice.below(2) as usize;
            step(&mut worlds[at], &mut dice, client_suite.tls13().is_some());
        }
        for mut world in worlds {
            world.settle();
            world.check_streams();
            world.closes();
            world.check_streams();
            assert!(world.number_max <= records_max, "a key has sealed {}", world.number_max);
            assert!(!world.table.look().is_open(), "the claim is held for good");
            pings.by_program += world.pings.by_program;
            pings.by_user += world.pings.by_user;
            pings.claimed += world.pings.claimed;
            pings.no_answer += world.pings.no_answer;
        }
    }
    println!("{client_suite:?}: {pings:?}");
    pings
}

#[test]
fn both_sides_hear_all_whoever_answers_pings() {
    let server = Arc::new(server_config(&VERSIONS, false));
    for suite in suites() {
        let pings = sessions(counting(suite), &server, 12);
        assert!(pings.by_program > 1_000, "{suite:?}: {pings:?}");
        assert!(pings.by_user > 400, "{suite:?}: {pings:?}");
        assert!(pings.claimed > 20, "{suite:?}: {pings:?}");
        assert!(pings.no_answer < 20, "{suite:?}, and the limit is far: {pings:?}");
    }
}

#[test]
fn clients_that_mix_their_nonces_are_served_by_the_program_all_the_same() {
    let server = Arc::new(server_config(&VERSIONS, false));
    for suite in suites().filter(|suite| is_gcm_of_tls12(*suite)) {
        let pings = sessions(suite, &server, 6);
        assert!(pings.by_program > 400, "{suite:?}: {pings:?}");
    }
}

#[test]
fn keys_that_have_sealed_half_of_what_they_may_are_changed_by_user_space() {
    for suite in suites().filter(|suite| suite.tls13().is_some()) {
        let pings = sessions_of_keys(suite, &server_of(&[limited(suite, 64)]), 12, 64);
        assert!(pings.by_program > 800, "{suite:?}: {pings:?}");
        assert!(pings.no_answer > 50, "{suite:?}: {pings:?}");
    }
}

#[test]
fn answers_are_for_the_first_half_of_what_a_key_may_seal() {
    let suite = suites().next().expect("a suite");
    let client = client_config(&TLS13, &[suite], false);
    let mut world = World::new(&server_of(&[limited(suite, 64)]), client);
    let begin = world.table.look().number().number();
    for _ in 0..40 {
        world.client_pings();
        world.arrives();
        world.fills_up();
        if world.pings.no_answer > 0 {
            break;
        }
    }
    assert_eq!(u64::from(world.pings.by_program), 32 - begin);
    // rustls does not know of them, and its own half is far from used up.
    for _ in 0..80 {
        world.is_to_say(&packet(10));
        world.settle();
    }
    assert_eq!(world.table.look().number().epoch(), 3, "after 32 records of its own each");
    assert!(world.number_max <= 64, "{}", world.number_max);
    world.check_streams();
}

#[test]
fn a_suite_has_the_heartbeat_of_its_records() {
    let bytes = suites().map(|suite| {
        let client = client_config(version_of(suite), &[suite], false);
        let mut pair = Pair::new(&Arc::new(server_config(&VERSIONS, false)), client);
        assert_eq!(pair.server.heartbeat(), None, "no key is there");
        assert!(pair.server.numbers().is_none());
        pair = pair.open();
        let heartbeat = pair.server.heartbeat().expect("it is known");
        assert!(heartbeat.is_sealed() && heartbeat.is_known());
        assert!(pair.server.numbers().is_some_and(|numbers| !numbers.has_table()));
        pair.server.close(Goodbye::Done);
        assert_eq!(pair.server.heartbeat(), None, "nothing more is taken");
        assert!(pair.server.numbers().is_none());
        (heartbeat.request_bytes(), heartbeat.response_bytes())
    });
    assert!(bytes.eq([(24, 24), (24, 24), (24, 24), (31, 31), (31, 31), (23, 23)]));
}

#[test]
fn a_heartbeat_in_frames_of_websocket_is_not_known_ahead() {
    let (server, client) = (server_config(&VERSIONS, false), client_config(&TLS13, &[], false));
    let pair = Pair::inside(Kind::TlsWebSocket, &Arc::new(server), &Arc::new(client)).open();
    assert_eq!(pair.server.heartbeat(), None);
}

#[test]
fn other_cryptography_has_no_record_numbers() {
    let server = server_config_of(default_provider(), &VERSIONS, false);
    let mut pair = Pair::new(&Arc::new(server), client_config(&TLS13, &[], false)).open();
    assert_eq!(pair.server.heartbeat(), None);
    assert!(pair.server.numbers().is_none());
}

#[test]
fn an_answer_sealed_ahead_is_what_rustls_would_send() {
    for suite in suites() {
        let mut world = world(suite);
        let answer = world.next_answer().expect("it was filled in");
        world.is_to_say(PONG);
        world.server_says(usize::MAX);
        let said: Vec<u8> = world.going().collect();
        assert_eq!(said, answer.bytes()[..said.len()], "{suite:?}");
        assert_eq!(said.len(), usize::from(world.shape.record_bytes()));
        world.socket_accepts(usize::MAX);
        world.check_streams();
    }
}

#[test]
fn a_table_that_is_not_filled_runs_out_and_one_that_is_does_not() {
    for fills in [false, true] {
        let mut world = world(suites().next().expect("a suite"));
        for _ in 0..ENTRIES + 3 {
            world.client_pings();
            assert!(world.arrives());
            if fills {
                world.fills_up();
            }
        }
        let by_program = if fills { ENTRIES + 3 } else { ENTRIES };
        assert_eq!(world.pings.by_program as usize, by_program);
        assert_eq!(world.pings.by_user as usize, ENTRIES + 3 - by_program);
        world.settle();
        world.check_streams();
    }
}

#[test]
fn a_reply_to_a_key_update_holds_the_claim_until_it_has_left() {
    for suite in suites().filter(|suite| suite.tls13().is_some()) {
        let mut world = world(suite);
        world.client_updates_key(usize::MAX);
        world.all_arrive();
        assert!(!world.table.look().is_open(), "sealed, and held back");
        assert!(!world.pair.server.owes());
        world.publish_tx();
        world.numbers().fill_up();
        assert!(!world.table.look().is_open(), "still held back");
        // Two pings go to user space, whose answer to the first brings it along.
        for _ in 0..2 {
            world.client_pings();
            world.arrives();
        }
        assert_eq!((world.pings.by_program, world.pings.by_user), (0, 2));
        world.server_says(usize::MAX);
        assert!(!world.table.look().is_open(), "not with TCP yet");
        world.socket_accepts(usize::MAX);
        // In one record.
        assert_eq!(world.table.look().number(), RecordNumber::new(2, 1).expect("it fits"));
        assert_eq!(world.table.expected(), RecordNumber::new(2, 2).expect("it fits"));
        world.client_pings();
        world.arrives();
        assert_eq!(world.pings.by_program, 1, "by the new keys");
        world.check_streams();
    }
}

#[test]
fn a_reply_that_was_sealed_before_there_was_a_table_holds_its_claim() {
    let suite = suites().next().expect("a suite");
    let client = client_config(&TLS13, &[suite], false);
    let mut pair = Pair::new(&Arc::new(server_config(&VERSIONS, false)), client).open();
    pair.settle();
    pair.client.refresh_traffic_keys().expect("TLS 1.3 can");
    let update = pair.client_says();
    pair.server_takes(&update);
    let table = new_table();
    let tx = AtomicU64::new(0);
    let numbers = pair.server.numbers().expect("it has keys");
    numbers.begin(table);
    numbers.publish_tx(&tx, 0);
    assert!(!table.look().is_open());
    let reply = pair.server_says(&[PONG]);
    assert_eq!(pair.client_takes(&reply).expect("it opens"), PONG);
    pair.server.numbers().expect("it has keys").publish_tx(&tx, reply.len() as u64);
    assert_eq!(table.look().number(), RecordNumber::new(1, 1).expect("it fits"));
    assert!(table.look().is_open());
}

#[test]
fn a_record_counts_as_sent_when_tcp_has_its_last_byte() {
    let mut world = world(suites().next().expect("a suite"));
    let before = world.tx();
    world.is_to_say(PONG);
    world.server_says(usize::MAX);
    for left in (0..24).rev() {
        assert!(!world.table.look().is_open());
        assert_eq!(world.tx(), before);
        world.socket_accepts(1);
        assert_eq!(world.going().count(), left);
    }
    assert!(world.table.look().is_open());
    assert_eq!(world.tx(), before + 24);
}

#[test]
fn reading_takes_no_claim() {
    let mut world = world(suites().next().expect("a suite"));
    let word = world.table.look();
    world.client_says(&packet(3_000), 1_000);
    world.all_arrive();
    assert_eq!(world.table.look(), word);
    assert_eq!(world.pair.heard.len(), 3_000);
}

#[test]
fn a_record_that_comes_in_part_keeps_programs_away() {
    let mut world = world(suites().next().expect("a suite"));
    world.client_says(PING, 23);
    let (expected, rx) = (world.table.expected(), world.rx());
    world.arrives();
    assert_eq!((world.table.expected(), world.rx()), (expected, rx));
    assert_eq!(world.pings, Pings::default());
    world.arrives();
    assert_eq!(
        (world.table.expected(), world.rx()),
        (expected.after(1).expect("it fits"), rx + 24)
    );
    assert_eq!(world.pings, Pings { by_user: 1, ..Pings::default() });
    world.settle();
    world.client_pings();
    world.settle();
    assert_eq!(world.pings.by_program, 1);
    world.check_streams();
}

#[test]
fn a_stranger_s_record_ends_the_connection_and_the_alert_holds_the_claim_for_good() {
    for suite in suites() {
        let mut world = world(suite);
        world.client_pings();
        world.arrives();
        let record = Record::default().bytes();
        let len = usize::from(world.shape.record_bytes());
        let garbage = [&[23, 3, 3, 0, len as u8 - 5], &record[5..len]].concat();
        world.comes_first(&garbage);
        let before = world.table.look().number();
        world.arrives();
        assert_eq!(world.pair.server.heartbeat(), None);
        assert!(!world.table.look().is_open());
        world.server_says(usize::MAX);
        let alert: Vec<u8> = world.going().collect();
        let error = world.pair.client_takes(&alert).expect_err("an alert");
        assert_eq!(error, Error::AlertReceived(AlertDescription::BadRecordMac), "{suite:?}");
        assert_eq!(world.table.look().number(), before, "no program sees its number");
        assert!(!world.table.look().is_open());
        world.pair.server.close(Goodbye::Done);
        assert!(!world.table.look().is_open());
        assert_eq!(world.pings.by_program, 1);
    }
}

#[test]
fn an_alert_behind_which_the_connection_goes_on_holds_the_claim_for_good() {
    let is_chacha20 =
        |suite: &SupportedCipherSuite| suite.tls13().is_none() && !is_gcm_of_tls12(*suite);
    let suite = suites().find(is_chacha20).expect("a suite");
    // A client that begins anew within the connection (RFC 5246, section 7.4.1.1) is told that it cannot.
    let mut other = Pair::of(&TLS12);
    let hello = other.client_says()[5..].to_vec();
    let mut world = world(suite);
    let at = world.table.expected().number();
    let numbers = world.numbers();
    let (suite, secrets) = (numbers.suite.expect("known"), &numbers.secrets);
    let record = suite.sealed(secrets, at, ContentType::Handshake, &hello);
    world.comes_first(&record);
    world.arrives();
    assert!(!world.numbers().has_table());
    world.is_to_say(PONG);
    world.server_says(usize::MAX);
    world.socket_accepts(usize::MAX);
    world.check_streams();
    assert!(!world.table.look().is_open());
}

#[test]
fn when_the_client_has_said_goodbye_no_program_answers_and_user_space_says_what_is_left() {
    for suite in suites() {
        let mut world = world(suite);
        world.pair.client.send_close_notify();
        world.client_sends_all();
        world.all_arrive();
        assert!(!world.table.look().is_open());
        world.is_to_say(&packet(100));
        world.closes();
        world.check_streams();
        assert!(!world.table.look().is_open());
    }
}

#[test]
fn a_close_holds_the_claim_before_anything_is_said() {
    let mut world = world(suites().next().expect("a suite"));
    world.pair.server.close(Goodbye::Done);
    assert!(!world.table.look().is_open());
    world.closes();
    world.check_streams();
}

#[test]
fn when_there_are_no_more_epochs_user_space_goes_on_alone() {
    let mut world = world(suites().next().expect("a suite"));
    let number = |at: RecordNumber| RecordNumber::new(EPOCH_MAX, at.number()).expect("it fits");
    let (send, receive) = (number(world.table.look().number()), number(world.table.expected()));
    let table = new_table();
    let under_way = UnderWay { claim: Some(table.begin(send, receive)), ..UnderWay::default() };
    world.numbers().next = Next::Table { table, under_way: Some(Box::new(under_way)) };
    world.begins_again(table);
    world.client_pings();
    world.settle();
    assert_eq!(world.pings.by_program, 1);
    world.client_updates_key(usize::MAX);
    for _ in 0..3 {
        world.client_pings();
        world.settle();
    }
    assert_eq!(world.pings.by_user, 3);
    assert!(!world.table.look().is_open());
    assert!(!world.numbers().has_table());
    world.check_streams();
}

#[test]
fn numbers_go_on_beyond_those_of_a_table() {
    let table = new_table();
    let last = |less: u64| RecordNumber::new(1, NUMBER_MAX - less).expect("it fits");
    let claim = Some(table.begin(last(1), last(1)));
    let mut under_way = UnderWay { claim, ..UnderWay::default() };
    for more in 0..4 {
        assert_eq!(under_way.next_to_send(table), NUMBER_MAX - 1 + more);
    }
    assert!(!table.look().is_open());
}

#[test]
fn a_table_answers_nothing_if_the_records_before_it_were_too_many_to_be_counted() {
    for (sent, received) in [(u32::MAX, 0), (0, u32::MAX)] {
        let (table, mut numbers) = (new_table(), Numbers::new());
        numbers.next = Next::Rustls { sent, received };
        numbers.begin(table);
        assert!(!numbers.has_table());
        assert!(!table.look().is_open());
    }
}

#[test]
fn a_table_that_no_flow_names_is_left_and_another_goes_on_from_there() {
    for suite in suites() {
        let mut world = world(suite);
        let numbers = (world.table.look().number().number(), world.table.expected().number());
        world.numbers().leave();
        assert!(!world.numbers().has_table());
        assert!(!world.table.look().is_open(), "held for good");
        world.is_to_say(&packet(100));
        world.client_says(&packet(50), usize::MAX);
        world.settle();
        let table = new_table();
        world.numbers().begin(table);
        assert!(world.numbers().has_table());
        assert_eq!(table.look().number().number(), numbers.0 + 1);
        assert_eq!(table.expected().number(), numbers.1 + 1);
        world.begins_again(table);
        world.client_pings();
        world.settle();
        assert_eq!(world.pings, Pings { by_program: 1, ..Pings::default() });
        world.check_streams();
    }
}

#[test]
fn a_panic_in_a_call_leaves_the_numbers_with_their_connection() {
    let mut world = world(suites().next().expect("a suite"));
    let numbers = world.numbers();
    let call = std::panic::AssertUnwindSafe(|| numbers.during(|| panic!("of a test")));
    std::panic::catch_unwind(call).expect_err("it panics");
    AT_WORK.with_borrow(|at_work| {
        assert!(!at_work.is_lent && at_work.numbers.encrypter.is_none());
        assert!(!at_work.numbers.has_table());
    });
    world.client_pings();
    world.is_to_say(&packet(100));
    world.settle();
    world.check_streams();
}

#[test]
fn an_idle_connection_owns_little_for_its_numbers() {
    let mut world = world(suites().next().expect("a suite"));
    world.client_says(&packet(100), usize::MAX);
    world.is_to_say(&packet(100));
    world.settle();
    assert!(matches!(world.numbers().next, Next::Table { under_way: None, .. }));
    assert!(size_of::<Numbers>() <= 104, "{}", size_of::<Numbers>());
}

//! Claims about record numbers that a program shares, with rustls's own client at the other end, and the splice's own
//! functions in between.

mod program;
mod world;

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::crypto::cipher::{
    AeadKey, KeyBlockShape, Tls12AeadAlgorithm, UnsupportedOperationError,
};
use rustls::crypto::ring::{ALL_CIPHER_SUITES, default_provider};
use rustls::version::{TLS12, TLS13};
use rustls::{
    CipherSuiteCommon, ConnectionTrafficSecrets, SupportedCipherSuite, SupportedProtocolVersion,
    Tls12CipherSuite, Tls13CipherSuite,
};

use super::*;
use crate::transport::ServerTls;
use crate::transport::tls::tests::pair::{
    VERSIONS, client_config, numbered_by_ring, server_config, server_config_of,
};
use world::{PING, Pings, World};

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

/// A client of TLS 1.2 that counts its explicit nonces from 0 on, as most do. rustls's does not count.
struct Counting(&'static dyn Tls12AeadAlgorithm);

impl Tls12AeadAlgorithm for Counting {
    fn encrypter(&self, key: AeadKey, iv: &[u8], explicit: &[u8]) -> Box<dyn MessageEncrypter> {
        self.0.encrypter(key, iv, &vec![0; explicit.len()])
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
        9 => world.refills(),
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
fn sessions(suite: SupportedCipherSuite, server: &Arc<ServerTls>, seed: u64) -> Pings {
    let client = || client_config(version_of(suite), &[counting(suite)], false);
    let mut worlds = [World::new(server, client()), World::new(server, client())];
    let mut dice = Dice(seed);
    for _ in 0..600 {
        let at = dice.below(2) as usize;
        step(&mut worlds[at], &mut dice, suite.tls13().is_some());
    }
    let mut pings = Pings::default();
    for mut world in worlds {
        world.settle();
        world.check_streams();
        world.closes().expect("the client likes it");
        world.check_streams();
        assert!(!world.table.look().is_open(), "the claim is held for good");
        pings.by_program += world.pings.by_program;
        pings.by_user += world.pings.by_user;
        pings.claimed += world.pings.claimed;
        pings.no_answer += world.pings.no_answer;
    }
    pings
}

#[test]
fn both_sides_hear_all_whoever_answers_pings() {
    let server = Arc::new(server_config(&VERSIONS, false));
    for suite in suites() {
        let mut all = Pings::default();
        for seed in 0..12 {
            let pings = sessions(suite, &server, seed);
            all.by_program += pings.by_program;
            all.by_user += pings.by_user;
            all.claimed += pings.claimed;
        }
        println!("{suite:?}: {all:?}");
        assert!(all.by_program > 1_000, "{suite:?}: {all:?}");
        assert!(all.by_user > 1_000, "{suite:?}: {all:?}");
        assert!(all.claimed > 20, "{suite:?}: {all:?}");
    }
}

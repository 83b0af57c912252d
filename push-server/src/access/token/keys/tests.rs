//! Tests of files of keys: what is read, what is skipped, and what is refused and how that is told.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::access::token::tests::signing::{Signer, pem, tagged};

fn set(jwks: &[Value]) -> String {
    json!({ "keys": jwks }).to_string()
}

fn with(mut jwk: Value, member: &str, value: impl Into<Value>) -> Value {
    jwk[member] = value.into();
    jwk
}

/// What a refused file is told.
#[track_caller]
fn refusal(text: &str) -> String {
    TokenKeys::parse(text).expect_err("a mistake").to_string()
}

#[test]
fn keys_of_pem_are_read_whatever_they_are() {
    let [_, rsa, p256, p384, ed25519] = Signer::all();
    let text = [&rsa, &p256, &p384, &ed25519].map(Signer::pem).concat();
    let keys = TokenKeys::parse(&format!("comments\nare skipped\n{text}")).expect("keys");
    assert_eq!((keys.len(), keys.skipped(), keys.has_secrets()), (4, 0, false));
    let found = |algorithm| keys.for_token(None, algorithm).count();
    for algorithm in
        [Algorithm::RS256, Algorithm::PS512, Algorithm::ES256, Algorithm::ES384, Algorithm::EdDSA]
    {
        assert_eq!(found(algorithm), 1, "{algorithm:?}");
    }
    assert_eq!(found(Algorithm::HS256), 0);
    // PKCS #1, as openssl rsa -RSAPublicKey_out writes it.
    let Signer::Rsa(pair) = &rsa else { panic!("a key of RSA") };
    let pkcs1 = ring_public(pair);
    let keys = TokenKeys::parse(&pem("RSA PUBLIC KEY", &pkcs1)).expect("a key");
    assert_eq!(keys.for_token(None, Algorithm::RS256).count(), 1);
}

fn ring_public(pair: &::ring::signature::RsaKeyPair) -> Vec<u8> {
    use ::ring::signature::KeyPair as _;
    pair.public_key().as_ref().to_vec()
}

#[test]
fn a_certificate_is_its_key() {
    let params = rcgen::CertificateParams::default();
    let key = rcgen::KeyPair::generate().expect("a key");
    let certificate = params.self_signed(&key).expect("a certificate");
    let keys = TokenKeys::parse(&certificate.pem()).expect("a key");
    assert_eq!(keys.for_token(None, Algorithm::ES256).count(), 1);
}

#[test]
fn what_is_for_something_else_is_skipped() {
    let usable = Signer::p256().jwk(None);
    let others = [
        with(Signer::rsa().jwk(None), "use", "enc"),
        with(Signer::rsa().jwk(None), "key_ops", json!(["encrypt"])),
        json!({ "kty": "EC", "crv": "P-521", "x": "AA", "y": "AA" }),
        json!({ "kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA" }),
        json!({ "kty": "OKP", "crv": "X25519", "x": "AA" }),
        json!({ "kty": "AKP", "alg": "ML-DSA-44", "pub": "AA" }),
    ];
    let all = [&others[..], &[usable]].concat();
    let keys = TokenKeys::parse(&set(&all)).expect("a key");
    assert_eq!((keys.len(), keys.skipped()), (1, others.len()));
    assert_eq!(refusal(&set(&others)), "no key for signatures is in it");
    let usable = with(with(Signer::p256().jwk(None), "use", "sig"), "key_ops", json!(["verify"]));
    assert_eq!(TokenKeys::parse(&set(&[usable])).expect("a key").len(), 1);
}

#[test]
fn secrets_are_as_long_as_their_algorithm_asks_for() {
    let algorithms = |len, algorithm| {
        let jwk = Signer::secret(&vec![7; len]).jwk(algorithm);
        let keys = TokenKeys::parse(&set(&[jwk])).map_err(|error| error.to_string())?;
        let hmac = [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512];
        Ok::<_, String>(hmac.map(|one| keys.for_token(None, one).count()))
    };
    assert_eq!(algorithms(32, None), Ok([1, 0, 0]));
    assert_eq!(algorithms(63, None), Ok([1, 1, 0]));
    assert_eq!(algorithms(64, None), Ok([1, 1, 1]));
    assert_eq!(algorithms(64, Some("HS384")), Ok([0, 1, 0]));
    for (len, algorithm) in [(31, None), (1, None), (31, Some("HS256")), (47, Some("HS384"))] {
        let told = algorithms(len, algorithm).expect_err("too short");
        let expected = format!(
            "key 1: a secret of {len} bytes: it needs 32 at least, 48 for HS384 and 64 for HS512"
        );
        assert_eq!(told, expected);
    }
    assert_eq!(
        algorithms(64, Some("RS256")),
        Err("key 1: alg \"RS256\" is not one for this kind of key".to_owned())
    );
}

#[test]
fn what_is_not_safe_is_refused_with_number_and_name_of_the_key() {
    let usable = Signer::p256().jwk(None);
    let told = |jwk: Value| refusal(&set(&[usable.clone(), jwk]));
    let named = |jwk| with(jwk, "kid", "2026-11");
    let rsa = Signer::rsa().jwk(None);
    let private = with(named(rsa.clone()), "d", "AQAB");
    assert!(told(private).starts_with("key 2 (kid \"2026-11\"): this is a private key"));
    let weak = with(named(rsa.clone()), "n", "A".repeat(2) + &"_".repeat(170));
    assert_eq!(
        told(weak),
        "key 2 (kid \"2026-11\"): an RSA key of 1020 bits: it needs 2048 to 8192"
    );
    assert!(told(with(rsa.clone(), "e", "AQ")).contains("public exponent"));
    assert!(told(with(rsa.clone(), "e", "Ag")).contains("public exponent"));
    assert!(told(with(rsa, "n", "+/+/")).starts_with("key 2: n is missing, or is not base64url"));
    assert!(
        told(with(Signer::p384().jwk(None), "crv", "P-256")).starts_with("key 2: x is missing")
    );
    assert!(told(json!({ "kty": "oct" })).starts_with("key 2: k is missing"));
    assert!(told(with(Signer::p256().jwk(None), "alg", "RS256")).contains("alg \"RS256\""));
    let weak = refusal(&(Signer::p256().pem() + include_str!("../tests/rsa1024.pem")));
    assert_eq!(weak, "key 2: an RSA key of 1024 bits: it needs 2048 to 8192");
}

#[test]
fn what_is_no_key_in_pem_is_named() {
    let told = |tag, der: &[u8]| refusal(&pem(tag, der));
    for tag in ["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY"] {
        assert!(told(tag, b"x").starts_with("key 1: this is a private key"), "{tag}");
    }
    assert!(
        told("EC PARAMETERS", b"x").starts_with("key 1: \"EC PARAMETERS\" in PEM is no public key")
    );
    let unknown =
        "key 1: this is no public key of RSA (2048 bits or more), P-256, P-384 or Ed25519";
    for tag in ["PUBLIC KEY", "RSA PUBLIC KEY", "CERTIFICATE"] {
        assert_eq!(told(tag, b"x"), unknown);
        assert_eq!(told(tag, &tagged(0x30, &[])), unknown);
    }
    let cut = Signer::p256().pem();
    let cut = &cut[..cut.len() - 20];
    assert!(refusal(cut).starts_with("a section of PEM is not whole"), "{}", refusal(cut));
    assert!(refusal(&(Signer::p256().pem() + cut)).starts_with("a section of PEM is not whole"));
}

#[test]
fn what_is_no_file_of_keys_is_refused_with_its_place_and_without_its_secrets() {
    assert_eq!(refusal(""), "neither a JWK Set ({\"keys\": [...]}) nor keys in PEM");
    assert_eq!(refusal("secret"), "neither a JWK Set ({\"keys\": [...]}) nor keys in PEM");
    assert_eq!(refusal("{\"keys\": []}"), "no key for signatures is in it");
    assert_eq!(refusal("{\n  \"keys\": [\n"), "line 3, column 0: this is no JSON");
    for text in [
        "{\"keys\": \"hunter2\"}",
        "{\"keys\": [\"hunter2\"]}",
        "{\"keys\": [{\"kty\": [\"hunter2\"]}]}",
        "{\"kty\": \"oct\", \"k\": \"hunter2\"}",
        "{\"keys\": [{\"kty\": \"oct\", \"k\": \"hunter2\"}]}",
        "{\"keys\": [{\"kty\": \"oct\", \"k\": {\"hunter2\": 1}}]}",
    ] {
        let told = refusal(text);
        assert!(!told.contains("hunter2"), "{told}");
    }
    let many = vec![Signer::secret(&[7; 32]).jwk(None); TOKEN_KEYS_MAX + 1];
    assert_eq!(refusal(&set(&many)), "65 keys: at most 64");
    assert!(TokenKeys::parse(&set(&many[1..])).is_ok());
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text: String, at in 0..2_000usize, byte in 0u8..128) {
        let _ = TokenKeys::parse(&text);
        let _ = TokenKeys::parse(&format!("{{{text}"));
        let _ = TokenKeys::parse(&format!("-----BEGIN {text}-----END PUBLIC KEY-----"));
        for good in [Signer::rsa().pem(), set(&[Signer::rsa().jwk(None)])] {
            let mut bytes = good.into_bytes();
            let at = at % bytes.len();
            bytes[at] = byte;
            let _ = TokenKeys::parse(std::str::from_utf8(&bytes).expect("ASCII"));
        }
    }
}

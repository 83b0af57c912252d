//! Tests with tokens that are signed here, by each kind of key, and tokens that an attacker would make.

pub(super) mod signing;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use signing::{Signer, token_of};

/// Seconds since 1970, somewhere in 2027.
const NOW: u64 = 1_800_000_000;

fn tokens(keys: &str) -> Arc<Tokens> {
    let keys = TokenKeys::parse(keys).expect("keys");
    Arc::new(Tokens { keys, issuers: Vec::new(), audiences: Vec::new() })
}

fn set(jwks: &[serde_json::Value]) -> String {
    json!({ "keys": jwks }).to_string()
}

fn check(tokens: &Arc<Tokens>, token: &str, user_name: Option<&str>) -> TokenCheck {
    let token = Password::new(token.as_bytes());
    TokenCheck::new(token, user_name.map(Into::into), Arc::clone(tokens))
}

/// The user that a token proves, or why it does not count.
fn user(tokens: &Arc<Tokens>, token: &str, user_name: Option<&str>) -> Result<String, Denial> {
    let check = check(tokens, token, user_name);
    match check.passed(&check.run()?, NOW) {
        Verdict::Allowed(identity, None) => Ok(identity.user().expect("a user").to_owned()),
        Verdict::Refused(denial) => Err(denial),
        verdict => panic!("{verdict:?}"),
    }
}

fn claims() -> serde_json::Value {
    json!({ "sub": "ada", "exp": NOW + 60 })
}

fn fault(fault: TokenFault) -> Result<String, Denial> {
    Err(fault.into())
}

#[test]
fn each_kind_of_key_checks_tokens_by_each_of_its_algorithms() {
    for signer in Signer::all() {
        let tokens = tokens(&set(&[signer.jwk(None)]));
        for algorithm in signer.algorithms() {
            let token = signer.sign(algorithm, None, &claims());
            assert_eq!(user(&tokens, &token, Some("ada")), Ok("ada".to_owned()), "{algorithm}");
            // Any other signature, payload or header.
            let mut forged = token.into_bytes();
            let last = forged.len() - 5;
            forged[last] = if forged[last] == b'A' { b'B' } else { b'A' };
            let forged = String::from_utf8(forged).expect("text");
            assert_eq!(user(&tokens, &forged, None), fault(TokenFault::Signature), "{algorithm}");
        }
    }
}

#[test]
fn the_key_says_by_which_algorithm_and_never_the_token() {
    let signers = Signer::all();
    for key in &signers {
        let tokens = tokens(&set(&[key.jwk(None)]));
        for other in signers.iter().filter(|other| other.kind() != key.kind()) {
            for algorithm in other.algorithms() {
                let token = other.sign(algorithm, None, &claims());
                assert_eq!(user(&tokens, &token, None), fault(TokenFault::NoKey), "{algorithm}");
            }
        }
        for name in ["none", "None", "NONE", "", "HS1", "ES512", "RSA1_5", "A128GCM"] {
            for signature in ["", "AAAA"] {
                let token = token_of(&json!({ "alg": name }), &claims(), signature);
                assert_eq!(user(&tokens, &token, None), fault(TokenFault::NoKey), "{name}");
            }
        }
    }
    // A key that names its algorithm is for that one alone.
    let rsa = Signer::rsa();
    let tokens = tokens(&set(&[rsa.jwk(Some("PS256"))]));
    let by = |algorithm| user(&tokens, &rsa.sign(algorithm, None, &claims()), None);
    assert_eq!(by("PS256"), Ok("ada".to_owned()));
    assert_eq!(by("RS256"), fault(TokenFault::NoKey));
}

/// The old attack: the public key, which everybody knows, as the secret of HS256.
#[test]
fn a_public_key_is_no_secret() {
    let rsa = Signer::rsa();
    for keys in [set(&[rsa.jwk(None)]), rsa.pem()] {
        let tokens = tokens(&keys);
        for secret in [rsa.pem().into_bytes(), rsa.public_der()] {
            let token = Signer::secret(&secret).sign("HS256", None, &claims());
            assert_eq!(user(&tokens, &token, None), fault(TokenFault::NoKey));
        }
    }
}

#[test]
fn a_token_names_its_key_or_is_tried_with_all_that_fit() {
    let (old, new) = (Signer::p256(), Signer::p256());
    let named = |signer: &Signer, id: &str| {
        let mut jwk = signer.jwk(None);
        jwk["kid"] = id.into();
        jwk
    };
    let sets = set(&[named(&old, "old"), named(&new, "new")]);
    let tokens = tokens(&sets);
    let by = |signer: &Signer, id| user(&tokens, &signer.sign("ES256", id, &claims()), None);
    assert_eq!(by(&old, Some("old")), Ok("ada".to_owned()));
    assert_eq!(by(&new, None), Ok("ada".to_owned()));
    assert_eq!(by(&new, Some("old")), fault(TokenFault::Signature));
    assert_eq!(by(&new, Some("newest")), fault(TokenFault::NoKey));
    // Keys of PEM have no names, so they are tried whatever the token says.
    let pem = self::tokens(&(old.pem() + &new.pem()));
    let token = new.sign("ES256", Some("new"), &claims());
    assert_eq!(user(&pem, &token, None), Ok("ada".to_owned()));
}

#[test]
fn times_are_looked_at_with_leeway_and_say_when_the_client_has_to_leave() {
    let signer = Signer::secret(&[7; 32]);
    let tokens = tokens(&set(&[signer.jwk(None)]));
    let end = |from: Option<f64>, until: f64| {
        let claims = json!({ "sub": "ada", "nbf": from, "exp": until });
        let check = check(&tokens, &signer.sign("HS256", None, &claims), None);
        match check.passed(&check.run()?, NOW) {
            Verdict::Allowed(identity, _) => Ok(identity.ends_at()),
            Verdict::Refused(denial) => Err(denial),
            verdict => panic!("{verdict:?}"),
        }
    };
    let now = NOW as f64;
    assert_eq!(end(None, now + 1.0), Ok(Some(NOW + 1)));
    assert_eq!(end(None, now + 1.9), Ok(Some(NOW + 1)), "never later than it says");
    assert_eq!(end(None, now), Ok(Some(NOW + 30)), "by the leeway, and as long as that");
    assert_eq!(end(None, now - 29.0), Ok(Some(NOW + 1)));
    assert_eq!(end(None, now - 30.0), Err(TokenFault::Expired.into()));
    assert_eq!(end(None, 0.0), Err(TokenFault::Expired.into()));
    assert_eq!(end(Some(now + 30.0), now + 60.0), Ok(Some(NOW + 60)));
    assert_eq!(end(Some(now + 30.1), now + 60.0), Err(TokenFault::NotYet.into()));
    assert_eq!(end(Some(now + 31.0), now + 60.0), Err(TokenFault::NotYet.into()));
    assert_eq!(end(None, 1e15), Ok(Some(1_000_000_000_000_000)));
    assert_eq!(end(None, 1e30), Err(TokenFault::Claims.into()));
}

#[test]
fn what_a_token_must_say_and_in_which_form() {
    let signer = Signer::ed25519();
    let tokens = tokens(&set(&[signer.jwk(None)]));
    let exp = NOW + 60;
    let cases = [
        (json!({ "sub": "ada" }), TokenFault::Claims),
        (json!({ "exp": exp }), TokenFault::Claims),
        (json!({ "sub": null, "exp": exp }), TokenFault::Claims),
        (json!({ "sub": 7, "exp": exp }), TokenFault::Claims),
        (json!({ "sub": "ada", "exp": "tomorrow" }), TokenFault::Claims),
        (json!({ "sub": "ada", "exp": -1 }), TokenFault::Claims),
        (json!({ "sub": "ada", "exp": exp, "nbf": "yesterday" }), TokenFault::Claims),
        (json!({ "sub": "", "exp": exp }), TokenFault::Subject),
        (json!({ "sub": "a\u{0}b", "exp": exp }), TokenFault::Subject),
        (json!({ "sub": "a\nb", "exp": exp }), TokenFault::Subject),
        (json!({ "sub": "ada", "exp": exp, "groups": "ops" }), TokenFault::Claims),
        (json!({ "sub": "ada", "exp": exp, "groups": [7] }), TokenFault::Claims),
        (json!({ "sub": "ada", "exp": exp, "groups": vec!["g"; 257] }), TokenFault::Groups),
        (json!({ "sub": "ada", "exp": exp, "acl": [] , }), TokenFault::Claims),
        (json!({ "sub": "ada", "exp": exp, "acl": { "pub": ["a"] } }), TokenFault::Claims),
        (json!({ "sub": "ada", "exp": exp, "acl": { "publish": ["a/#/b"] } }), TokenFault::Rights),
        (
            json!({ "sub": "ada", "exp": exp, "acl": { "publish": vec!["a"; 1_025] } }),
            TokenFault::Rights,
        ),
        (json!(["ada", exp]), TokenFault::Claims),
    ];
    for (claims, expected) in cases {
        let token = signer.sign("EdDSA", None, &claims);
        assert_eq!(user(&tokens, &token, None), fault(expected), "{claims}");
    }
    for (header, expected) in [
        (json!({ "alg": "EdDSA", "crit": ["exp"] }), TokenFault::Unreadable),
        (json!({ "alg": "EdDSA", "b64": false, "crit": ["b64"] }), TokenFault::Unreadable),
    ] {
        let token = signer.sign_with(&header, &claims());
        assert_eq!(user(&tokens, &token, None), fault(expected), "{header}");
    }
}

#[test]
fn groups_and_rights_of_a_token_are_its_clients() {
    let signer = Signer::ed25519();
    let tokens = tokens(&set(&[signer.jwk(None)]));
    let claims = json!({
        "sub": "ada", "exp": NOW + 60, "groups": ["operators", "night shift"],
        "acl": { "publish": ["up/%u/#"], "subscribe": [] },
    });
    let check = check(&tokens, &signer.sign("EdDSA", None, &claims), None);
    let verdict = check.passed(&check.run().expect("a token"), NOW);
    let Verdict::Allowed(identity, None) = verdict else { panic!("{verdict:?}") };
    assert_eq!(identity.groups(), [Box::from("operators"), "night shift".into()]);
    let rights = crate::access::acl::rights_under(None, &identity, "c", None);
    let topic = |topic| crate::broker::TopicName::parse(topic, 8).expect("a topic");
    assert!(rights.may_publish(&topic("up/ada/x"), Some("ada"), "c").is_allowed());
    assert!(!rights.may_publish(&topic("up/eve/x"), Some("ada"), "c").is_allowed());
    assert!(!rights.may_receive(&topic("up/ada/x"), Some("ada"), "c").is_allowed());
}

#[test]
fn a_user_name_may_be_left_out_and_must_not_be_anothers() {
    let signer = Signer::p384();
    let tokens = tokens(&set(&[signer.jwk(None)]));
    let token = signer.sign("ES384", None, &claims());
    for name in [None, Some(""), Some("ada")] {
        assert_eq!(user(&tokens, &token, name), Ok("ada".to_owned()));
    }
    for name in ["eve", "Ada", "ada "] {
        assert_eq!(user(&tokens, &token, Some(name)), Err(Denial::OtherName));
    }
}

#[test]
fn issuer_and_audience_are_asked_for_where_they_are_set() {
    let signer = Signer::secret(&[7; 32]);
    let keys = || TokenKeys::parse(&set(&[signer.jwk(None)])).expect("keys");
    let asked = |issuers: &[&str], audiences: &[&str], more: serde_json::Value| {
        let [issuers, audiences] =
            [issuers, audiences].map(|names| names.iter().map(|&name| name.into()).collect());
        let tokens = Arc::new(Tokens { keys: keys(), issuers, audiences });
        let mut claims = claims();
        claims.as_object_mut().expect("claims").extend(more.as_object().expect("more").clone());
        user(&tokens, &signer.sign("HS256", None, &claims), None)
    };
    let ada = || Ok("ada".to_owned());
    assert_eq!(asked(&["me", "you"], &[], json!({ "iss": "you" })), ada());
    assert_eq!(asked(&["me"], &[], json!({ "iss": "you" })), fault(TokenFault::Issuer));
    assert_eq!(asked(&["me"], &[], json!({})), fault(TokenFault::Issuer));
    assert_eq!(asked(&["me"], &[], json!({ "iss": 7 })), fault(TokenFault::Issuer));
    assert_eq!(asked(&[], &[], json!({ "iss": "anybody" })), ada());
    assert_eq!(asked(&[], &["mqtt", "iot"], json!({ "aud": ["web", "iot"] })), ada());
    assert_eq!(asked(&[], &["mqtt"], json!({ "aud": "web" })), fault(TokenFault::Audience));
    assert_eq!(asked(&[], &["mqtt"], json!({})), fault(TokenFault::Audience));
    // A server that is not in the token's audience must refuse it (RFC 7519, section 4.1.3).
    assert_eq!(asked(&[], &[], json!({ "aud": "web" })), fault(TokenFault::Audience));
}

#[test]
fn what_has_not_the_form_of_a_token_is_a_password() {
    let is_token = |text: &str| is_token(&Password::new(text.as_bytes()));
    let token = Signer::secret(&[7; 32]).sign("HS256", None, &claims());
    assert!(is_token(&token) && is_token(&token_of(&json!({ "alg": "none" }), &claims(), "")));
    let [header, payload, signature] = token.split('.').collect::<Vec<_>>()[..] else { panic!() };
    for other in [
        "",
        "pencil",
        "..",
        "a.b.c",
        header,
        &format!("{header}.{payload}"),
        &format!("{token}."),
        &format!("{header}.{payload}.{signature}.{signature}.{signature}"),
        &format!("{header}=.{payload}.{signature}"),
        &format!("{}.{payload}.{signature}", URL_SAFE_NO_PAD.encode("[]")),
        &format!("{}.{payload}.{signature}", URL_SAFE_NO_PAD.encode("{\"typ\":\"JWT\"}")),
        &format!(
            "{}.{payload}.{signature}",
            URL_SAFE_NO_PAD.encode(format!("{{\"alg\":{:9999}}}", 1))
        ),
    ] {
        assert!(!is_token(other), "{other}");
    }
}

#[test]
fn what_is_remembered_has_another_name_when_keys_or_what_is_asked_of_tokens_change() {
    let signer = Signer::secret(&[7; 32]);
    let token = signer.sign("HS256", None, &claims());
    let keys = set(&[signer.jwk(None)]);
    let key = |keys: &str, issuers: &[&str], audiences: &[&str], token: &str| {
        let [issuers, audiences] =
            [issuers, audiences].map(|names| names.iter().map(|&name| name.into()).collect());
        let keys = TokenKeys::parse(keys).expect("keys");
        check(&Arc::new(Tokens { keys, issuers, audiences }), token, None).key(&[1; 32])
    };
    let all = [
        key(&keys, &[], &[], &token),
        key(&(keys.clone() + " "), &[], &[], &token),
        key(&keys, &["a"], &[], &token),
        key(&keys, &[], &["a"], &token),
        key(&keys, &["ab"], &[], &token),
        key(&keys, &["a", "b"], &[], &token),
        key(&keys, &[], &[], &(token.clone() + "x")),
    ];
    for (at, one) in all.iter().enumerate() {
        assert!(all[at + 1..].iter().all(|other| other != one), "{at}");
    }
    assert!(key(&keys, &["a"], &["b"], &token) == key(&keys, &["a"], &["b"], &token));
}

#[test]
fn neither_tokens_nor_keys_are_shown() {
    let signer = Signer::secret(b"a secret of thirty-two bytes, ok");
    let tokens = tokens(&set(&[signer.jwk(None)]));
    let check = check(&tokens, &signer.sign("HS256", None, &claims()), None);
    let shown = format!("{check:?} {tokens:?}");
    assert_eq!(shown, "TokenCheck Tokens { keys: 1 keys, issuers: [], audiences: [] }");
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic_or_count(bytes: Vec<u8>, at in 0..400usize, byte: u8) {
        let signer = Signer::secret(&[7; 32]);
        let tokens = tokens(&set(&[signer.jwk(None)]));
        let token = signer.sign("HS256", None, &claims());
        let mut changed = token.clone().into_bytes();
        let at = at % changed.len();
        changed[at] = byte;
        let header = token.split_once('.').expect("a header").0.as_bytes();
        let behind = [header, b".", &bytes, b".", &bytes].concat();
        for password in [&bytes[..], &changed, &behind] {
            let password = Password::new(password);
            let is_token = is_token(&password);
            let run = TokenCheck::new(password.clone(), None, Arc::clone(&tokens)).run();
            // The last character has bits that mean nothing; the reader takes none but zeros.
            prop_assert!(run.is_err() || password.bytes() == token.as_bytes());
            prop_assert!(is_token || run.is_err());
        }
    }
}

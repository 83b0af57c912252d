//! Against the example of RFC 7677, and messages that are none. Exchanges with another
//! implementation's client are among the conformance tests.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;

/// RFC 7677, section 3: user `user`, password `pencil`.
const FIRST: &str = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
const SALT: &str = "W22ZaJ0SNY7soEsUEjb6gQ==";

/// Made once: 4,096 iterations take their time unoptimised.
static PENCIL: LazyLock<String> = LazyLock::new(|| line("user", "pencil"));

fn users(lines: &str) -> Verifiers {
    let verifier = |line: &str| {
        let (name, verifier) = line.rsplit_once(" SCRAM-SHA-256$").expect("a line");
        (name.into(), Verifier::parse(verifier).expect("a verifier"))
    };
    Verifiers::new(lines.lines().map(verifier).collect(), [7; 32])
}

fn line(name: &str, password: &str) -> String {
    let salt = STANDARD.decode(SALT).expect("the example's").try_into().expect("16 bytes");
    verifier_line(name, password, &salt, 4_096).expect("a name and a password")
}

/// The challenge of the example: its server's nonce is no base64, so it is put in by hand.
fn example() -> Challenge {
    let nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    let (mut challenge, _) = challenge(&users(&PENCIL), &[0; 18], FIRST).expect("a first message");
    challenge.nonce = nonce.to_owned();
    challenge.said = format!("n=user,r=rOprNGfwEbeRWgbNEkqO,r={nonce},s={SALT},i=4096");
    challenge
}

const LAST: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                    p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";

fn answer(step: Result<Step, Denial>) -> String {
    match step {
        Ok(Step::Continue(_, Some(data)) | Step::Done(_, data)) => {
            String::from_utf8(data.to_vec()).expect("text")
        }
        other => panic!("no answer: {other:?}"),
    }
}

#[test]
fn example_of_rfc_7677_is_proved_and_answered() {
    let step = example().judge(LAST);
    assert_eq!(answer(step), "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
}

#[test]
fn proof_that_differs_in_any_byte_is_refused() {
    let at = LAST.find(",p=").expect("a proof") + 3;
    for index in at..LAST.len() - 1 {
        let mut last = LAST.to_owned().into_bytes();
        last[index] = if last[index] == b'A' { b'B' } else { b'A' };
        let last = String::from_utf8(last).expect("text");
        let at_fault = match STANDARD.decode(&last[at..]).is_ok_and(|proof| proof.len() == 32) {
            true => Denial::WrongPassword,
            false => Denial::InvalidProof,
        };
        assert_eq!(example().judge(&last).err(), Some(at_fault), "{last}");
    }
}

#[test]
fn last_message_must_repeat_binding_and_nonce() {
    for (said, instead) in [
        ("c=biws", "c=eSws"),
        ("c=biws,", ""),
        ("%hvY", "%hvZ"),
        ("r=rOpr", "r=Opr"),
        (",p=", ",q="),
        (",p=d", ",p="),
    ] {
        let last = LAST.replace(said, instead);
        assert_eq!(example().judge(&last).err(), Some(Denial::InvalidProof), "{last}");
    }
    // An extension may stand there; the proof would be of the message with it.
    let last = LAST.replace(",p=", ",x=y,p=");
    assert_eq!(example().judge(&last).err(), Some(Denial::WrongPassword));
}

#[test]
fn first_message_must_be_whole_and_ask_for_nothing_that_is_not_there() {
    let users = users(&PENCIL);
    let begin = |first: &[u8]| Exchange::default().step(&users, &[0; 18], Some(first));
    for first in ["n,,n=user,r=abc", "y,,n=user,r=abc", "n,a=user,n=user,r=abc", "n,,n=u,r=a,x=y"] {
        assert!(answer(begin(first.as_bytes())).starts_with("r=a"), "{first}");
    }
    let long = format!("n,,n=user,r={}", "x".repeat(MESSAGE_BYTES_MAX));
    for first in [
        "",
        "n",
        "n,",
        "n,,",
        "n,a,",
        "n,,n",
        "n,,n=",
        "n,,n=,r=a",
        "n,,n=user",
        "n,,n=user,r",
        "n,,n=user,r=",
        "n,,r=a,n=user",
        "n,,m=x,n=user,r=a",
        "p=tls-unique,,n=user,r=a",
        "x,,n=user,r=a",
        "n,a=other,n=user,r=a",
        "n,b=user,n=user,r=a",
        "n,,n=us=er,r=a",
        "n,,n=us=2cer,r=a",
        "n,,n=user,r=a b",
        "n,,n=user,r=\u{e9}",
        "n,,n=us\u{7}er,r=a",
        &long,
    ] {
        assert_eq!(begin(first.as_bytes()).err(), Some(Denial::InvalidProof), "{first:?}");
    }
    assert_eq!(begin(&[0xFF]).err(), Some(Denial::InvalidProof));
    let silent = Exchange::default().step(&users, &[0; 18], None);
    let Ok(Step::Continue(begun, None)) = silent else { panic!("it may name the method alone") };
    let silent = begun.step(&users, &[0; 18], None);
    assert_eq!(silent.err(), Some(Denial::InvalidProof), "asked twice");
}

#[test]
fn name_with_comma_and_equals_sign_is_found() {
    let users = users(&line("a,b=c", "x"));
    let (challenge, _) = challenge(&users, &[0; 18], "n,,n=a=2Cb=3Dc,r=n").expect("valid");
    assert!(challenge.is_known);
    assert_eq!(&*challenge.name, "a,b=c");
}

#[test]
fn unknown_name_looks_like_a_known_one_and_always_the_same() {
    let users = users(&PENCIL);
    let salt = |name: &str| {
        let (challenge, answer) =
            challenge(&users, &[0; 18], &format!("n,,n={name},r=n")).expect("valid");
        let mut parts = answer.split(',');
        let salt = parts.nth(1).and_then(|part| part.strip_prefix("s=")).expect("a salt");
        assert_eq!(parts.next(), Some("i=4096"));
        (salt.to_owned(), challenge.is_known)
    };
    let (nobody, is_known) = salt("nobody");
    assert!(!is_known);
    assert_eq!(salt("nobody").0, nobody);
    assert_ne!(salt("no-one").0, nobody);
    assert_eq!(salt("user"), (SALT.to_owned(), true));
    assert_eq!(nobody.len(), SALT.len());
}

/// A line whose verifier looks so; its keys are nothing.
fn shaped(name: &str, iterations: u32, salt_len: usize) -> String {
    let [salt, key] = [salt_len, 32].map(|len| STANDARD.encode(vec![0x5A; len]));
    format!("{name} {METHOD}${iterations}:{salt}${key}:{key}\n")
}

#[test]
fn unknown_names_look_like_the_users_as_often_as_these_do() {
    let many = (0..30).map(|n| shaped(&format!("many-{n}"), 4_096, 16));
    let few = (0..10).map(|n| shaped(&format!("few-{n}"), 10_000, 64));
    let one = users(&many.chain(few).collect::<String>());
    let mut seen = BTreeMap::<Shape, u32>::new();
    for number in 0..4_000 {
        let (verifier, is_known) = one.verifier(&format!("unknown-{number}"));
        assert!(!is_known);
        *seen.entry((verifier.iterations, verifier.salt.len())).or_default() += 1;
        let (begin, end) = verifier.salt.split_at(verifier.salt.len() / 2);
        assert_ne!(begin, end, "a salt that repeats itself is no user's");
    }
    // 3,000 and 1,000, and six standard deviations. The secret being given, so is the outcome.
    let seen: Vec<(Shape, u32)> = seen.into_iter().collect();
    let [((4_096, 16), many), ((10_000, 64), few)] = seen[..] else { panic!("{seen:?}") };
    assert!((2_836..=3_164).contains(&many) && few == 4_000 - many, "{seen:?}");
}

#[test]
fn unknown_name_whose_shape_changes_has_another_salt() {
    let before = users(&shaped("a", 4_096, 16));
    let after = users(&shaped("a", 5_000, 16));
    let same = users(&shaped("b", 4_096, 16));
    let salt = |users: &Verifiers| users.verifier("nobody").0.salt;
    assert_ne!(salt(&before), salt(&after), "as with a user who has a new password");
    assert_eq!(salt(&before), salt(&same));
}

#[test]
fn verifiers_of_unknown_names_satisfy_no_proof() {
    let users = users(&PENCIL);
    let (challenge, _) = challenge(&users, &[0; 18], "n,,n=nobody,r=n").expect("valid");
    // Even who knew the stored key by heart.
    let unproved = format!("c=biws,r={}", challenge.nonce);
    let said = [challenge.said.as_bytes(), b",", unproved.as_bytes()];
    let proof = STANDARD.encode(mac(&challenge.stored_key, &said));
    let denied = challenge.judge(&format!("{unproved},p={proof}")).err();
    assert_eq!(denied, Some(Denial::UnknownUser));
}

#[test]
fn verifier_is_of_its_password_prepared_and_of_no_other() {
    let users = users(&line("ada", "p\u{e4}ss\u{ad}word"));
    let (name, verifier) = users.find("ada").expect("known");
    assert_eq!(&*name, "ada");
    // U+00AD is mapped to nothing, and a letter with its mark is one letter (RFC 4013).
    for right in ["p\u{e4}ssword", "p\u{e4}ss\u{ad}word", "pa\u{308}ssword"] {
        assert!(verifier.is_of(right.as_bytes()), "{right:?}");
    }
    for wrong in [&b"password"[..], b"", b"p\xe4ssword", b"p\x07", b"\xff"] {
        assert!(!verifier.is_of(wrong), "{wrong:?}");
    }
    assert!(!Verifier::unsatisfiable(4_096, [7; 32]).is_of(b"password"));
    assert!(users.find("eve").is_none());
}

#[test]
fn neither_password_nor_keys_are_shown() {
    let good = &*PENCIL;
    assert!(!good.contains("pencil"));
    let users = users(good);
    assert_eq!(format!("{users:?}"), "1 verifiers");
    let begun = Exchange::default().step(&users, &[0; 18], Some(FIRST.as_bytes()));
    let Ok(Step::Continue(exchange, _)) = begun else { panic!("{begun:?}") };
    assert_eq!(format!("{exchange:?}"), "Challenged");
}

#[test]
fn no_verifier_is_made_of_what_is_no_name_or_no_password() {
    let make = |name, password| verifier_line(name, password, &[0; 16], 4_096).err();
    for name in ["", "#user", " user", "us\ner"] {
        assert_eq!(make(name, "x"), Some(VerifierError::Name), "{name:?}");
    }
    for password in ["", "x\u{7}"] {
        assert_eq!(make("user", password), Some(VerifierError::Password), "{password:?}");
    }
    assert_eq!(make("two words", "x"), None);
}

proptest! {
    #[test]
    fn messages_of_any_kind_do_not_panic(
        first in prop_oneof!["[ny]?,?(a=)?[a-c=]{0,3},?(n=)?(user|[a-c=]{0,4}),?(r=)?[ -~]{0,9}", ".{0,40}"],
        last in prop_oneof!["(c=)?[a-zA-Z=]{0,6},?(r=)?[ -~]{0,9},?(p=)?[ -~]{0,50}", ".{0,40}"],
    ) {
        let users = users(&PENCIL);
        let begun = Exchange::default().step(&users, &[0; 18], Some(first.as_bytes()));
        if let Ok(Step::Continue(exchange, _)) = begun {
            let judged = exchange.step(&users, &[0; 18], Some(last.as_bytes()));
            prop_assert!(judged.is_err());
        }
        prop_assert!(example().judge(&last).is_err());
    }
}

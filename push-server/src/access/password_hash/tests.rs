//! Against hashes that other programs have made.

use super::*;

/// From the tests of the reference implementation (phc-winner-argon2, test.c).
const ARGON2: [&str; 2] = [
    "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
    "$argon2id$v=19$m=256,t=2,p=2$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc",
];
/// By `mosquitto_passwd` 2.0.11, for `pencil`: as it comes, and with `-I 5`.
const PBKDF2: [&str; 2] = [
    "$7$101$9rL4uYKa8wIVV5qG$tmNCXfvvUQaVUE31oVMWvEz+WuSL8D8Vla9KogMZJaqSLlk9kw4E2hsN/ayRw2nUj4jfIqvFAkEBhGcTqD48FQ==",
    "$7$5$t1EDGdc77YR6Cj8G$hJCLqwYGQ7vOo3ceTg6PAgObYuPnQd0gZ0rSVswbXBb7Wnit0iPOnYje58D3ZnsTwzgW6tfwf8bHMRLLAhlqFg==",
];
/// The same with `-H sha512`, for `crayon`.
const SHA512: &str = "$6$eb+iIeYFsqcTutc9$ViYrwM8+cbhtQ+O0RayU03dU1KtJkXtlQaQAWwm2dEH7xzD+rAqmX7sB4WBdTxWpzbbZ/duKI1wL2RJvS8IV2g==";

fn is_of(hash: &str, password: &[u8]) -> bool {
    let hash = PasswordHash::parse(hash).expect("a valid hash");
    hash.is_of(password, &mut Hasher::default()).expect("memory")
}

#[test]
fn hashes_of_other_programs_are_of_their_passwords_and_of_no_other() {
    let scram = super::super::scram::verifier("pencil", &[7; 16], 4_096).expect("a verifier");
    for (hash, password) in [
        (ARGON2[0], "password"),
        (ARGON2[1], "password"),
        (PBKDF2[0], "pencil"),
        (PBKDF2[1], "d"),
        (SHA512, "crayon"),
        (&scram, "pencil"),
    ] {
        assert!(is_of(hash, password.as_bytes()), "{hash}");
        for wrong in ["", "x", "passwor", "pencils", "Crayon"] {
            assert!(!is_of(hash, wrong.as_bytes()), "{hash} {wrong}");
        }
    }
}

#[test]
fn hash_that_the_server_writes_is_read_again_and_costs_what_is_said() {
    let hash = argon2id_hash(b"pencil", &[7; ARGON2_SALT_BYTES]).expect("memory");
    assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
    let parsed = PasswordHash::parse(&hash).expect("valid");
    assert_eq!(parsed.cost(), Cost::DEFAULT);
    let mut hasher = Hasher::default();
    assert_eq!(parsed.is_of(b"pencil", &mut hasher), Ok(true));
    assert_eq!(hasher.work(), 19_456 * 2);
    assert_eq!(parsed.is_of(b"crayon", &mut hasher), Ok(false), "in the memory of the one before");
}

#[test]
fn what_costs_too_much_is_refused_and_what_is_at_the_limit_is_not() {
    let parse = |hash: &str| PasswordHash::parse(hash).map(|hash| hash.cost()).err();
    for (part, instead, expected) in [
        ("m=256", "m=262144", None),
        ("m=256", "m=262145", Some(COSTLY_ARGON2)),
        ("m=256", "m=4294967295", Some(COSTLY_ARGON2)),
        ("t=2", "t=16", None),
        ("t=2", "t=17", Some(COSTLY_ARGON2)),
        ("t=2", "t=0", Some(BAD_ARGON2)),
        ("m=256", "m=7", Some(BAD_ARGON2)),
        ("p=1", "p=33", Some(BAD_ARGON2)),
    ] {
        assert_eq!(parse(&ARGON2[0].replace(part, instead)), expected, "{instead}");
    }
    for (iterations, is_refused) in
        [("1", false), ("10000000", false), ("10000001", true), ("0", true)]
    {
        let hash = PBKDF2[0].replace("101", iterations);
        assert_eq!(parse(&hash).is_some(), is_refused, "{iterations}");
    }
    let scram = super::super::scram::verifier("pencil", &[7; 16], 4_096).expect("a verifier");
    assert_eq!(parse(&scram.replace("4096", "10000000")), None);
    for iterations in ["4095", "10000001"] {
        assert_eq!(parse(&scram.replace("4096", iterations)), Some(BAD_SCRAM), "{iterations}");
    }
}

#[test]
fn what_is_no_hash_is_refused() {
    for (hash, why) in [
        ("", UNKNOWN),
        ("pencil", UNKNOWN),
        ("$1$salt$hash", UNKNOWN),
        (
            "$argon2i$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
            UNKNOWN,
        ),
        ("SCRAM-SHA-1$4096:AA==$AA==:AA==", UNKNOWN),
        ("SCRAM-SHA-256$4096:AA==$AA==:AA==", BAD_SCRAM),
        ("$7$101$c2FsdA==", BAD_PBKDF2),
        ("$7$101$$aGFzaA==", BAD_PBKDF2),
        ("$7$101$c2FsdA==$aGFzaA==", BAD_PBKDF2),
        ("$7$-1$c2FsdA==$aGFzaA==", BAD_PBKDF2),
        ("$6$c2FsdA==$aGFzaA==", BAD_SHA512),
        ("$argon2id$", BAD_ARGON2),
        ("$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ", BAD_ARGON2),
        // Ten bytes of hash.
        ("$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAA", BAD_ARGON2),
        (
            "$argon2id$v=16$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
            BAD_ARGON2,
        ),
        (
            "$argon2id$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
            BAD_ARGON2,
        ),
        (
            "$argon2id$v=19$t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
            BAD_ARGON2,
        ),
        (
            "$argon2id$v=19$m=256,t=2,p=1,keyid=AAAA$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
            BAD_ARGON2,
        ),
    ] {
        assert_eq!(PasswordHash::parse(hash).err(), Some(why), "{hash}");
    }
}

#[test]
fn hash_that_nobody_satisfies_does_the_work_of_its_cost() {
    let costs = [ARGON2[0], PBKDF2[0], SHA512].map(|hash| {
        let hash = PasswordHash::parse(hash).expect("valid");
        let mut hasher = Hasher::default();
        assert_eq!(hash.is_of(b"wrong", &mut hasher), Ok(false));
        (hash.cost(), hasher.work())
    });
    for (cost, work) in costs.into_iter().chain([(Cost::Scram { iterations: 4_096 }, 4_096)]) {
        let fake = PasswordHash::unsatisfiable(cost, [9; 32]);
        assert_eq!(fake.cost(), cost);
        let mut hasher = Hasher::default();
        assert_eq!(fake.is_of(b"wrong", &mut hasher), Ok(false));
        assert_eq!(hasher.work(), work, "{cost}");
    }
}

#[test]
fn fingerprints_differ_where_lines_do() {
    let hashes = [ARGON2[0], ARGON2[1], PBKDF2[0], PBKDF2[1], SHA512];
    let others = [
        ARGON2[0].replace("m=256", "m=257"),
        ARGON2[0].replace("c29tZXNhbHQ", "c29tZXNhbHU"),
        PBKDF2[0].replace("$7$101$", "$6$"),
        PBKDF2[0].replace("101", "102"),
    ];
    let hashes = hashes.into_iter().chain(others.iter().map(String::as_str));
    let mut seen: Vec<_> =
        hashes.map(|hash| PasswordHash::parse(hash).expect(hash).fingerprint()).collect();
    let count = seen.len();
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), count);
}

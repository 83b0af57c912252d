use std::collections::BTreeMap;

use super::*;

const ARGON2: &str =
    "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
const PBKDF2: &str = "$7$101$9rL4uYKa8wIVV5qG$tmNCXfvvUQaVUE31oVMWvEz+WuSL8D8Vla9KogMZJaqSLlk9kw4E2hsN/ayRw2nUj4jfIqvFAkEBhGcTqD48FQ==";
const SHA512: &str = "$6$eb+iIeYFsqcTutc9$ViYrwM8+cbhtQ+O0RayU03dU1KtJkXtlQaQAWwm2dEH7xzD+rAqmX7sB4WBdTxWpzbbZ/duKI1wL2RJvS8IV2g==";

fn scram(password: &str) -> String {
    scram::verifier(password, &[7; SALT_BYTES], 4_096).expect("a password")
}

fn users(text: &str) -> Users {
    Users::parse(text, [7; 32]).expect("a valid file")
}

/// The user that a password shows, or the denial.
fn check(users: &Users, name: &str, password: &str) -> Result<String, Denial> {
    let check = users.check(name, Password::new(password.as_bytes()));
    match check.run(&mut Hasher::default()) {
        Verdict::Allowed(identity, None) => Ok(identity.user().expect("a user").to_owned()),
        Verdict::Refused(denial) => Err(denial),
        verdict => panic!("{verdict:?}"),
    }
}

#[test]
fn lines_of_each_kind_check_passwords() {
    let text = format!(
        "# users\n\n ada:{ARGON2} \nbob:{PBKDF2}\ncarl : {SHA512}\ndora:{}\neve: {}\ntwo words {}\nx:y {}\r\n",
        scram("p"),
        scram("q"),
        scram("r"),
        scram("s"),
    );
    let users = users(&text);
    assert_eq!(users.len(), 7);
    assert_eq!(users.weak(), 1);
    for (name, password) in [
        ("ada", "password"),
        ("bob", "pencil"),
        ("carl", "crayon"),
        ("dora", "p"),
        ("eve", "q"),
        ("two words", "r"),
        ("x:y", "s"),
    ] {
        assert_eq!(check(&users, name, password), Ok(name.to_owned()));
        assert_eq!(check(&users, name, "wrong"), Err(Denial::WrongPassword), "{name}");
        let other = format!("{name}x");
        assert_eq!(check(&users, &other, password), Err(Denial::UnknownUser), "{other}");
    }
}

#[test]
fn user_may_have_a_line_for_scram_and_one_for_the_password_which_then_counts() {
    let users = users(&format!("ada:{}\nada:{ARGON2}\n", scram("pencil")));
    assert_eq!(users.len(), 1);
    assert!(users.verifiers().is_some_and(|verifiers| verifiers.find("ada").is_some()));
    assert_eq!(check(&users, "ada", "password"), Ok("ada".to_owned()));
    assert_eq!(check(&users, "ada", "pencil"), Err(Denial::WrongPassword));
}

#[test]
fn name_is_compared_as_it_is_by_a_hash_and_prepared_by_scram() {
    let users = users(&format!("\u{aa}:{ARGON2}\nb\u{ad}:{}\n", scram("pencil")));
    assert_eq!(check(&users, "\u{aa}", "password"), Ok("\u{aa}".to_owned()));
    assert_eq!(check(&users, "a", "password"), Err(Denial::UnknownUser));
    for name in ["b", "b\u{ad}"] {
        assert_eq!(check(&users, name, "pencil"), Ok("b".to_owned()), "one user, however written");
    }
}

#[test]
fn file_of_users_names_the_line_that_is_wrong() {
    let parse = |text: &str| Users::parse(text, [0; 32]).map(|users| users.len());
    assert_eq!(parse(""), Ok(0));
    let costly = ARGON2.replace("m=256", "m=262145");
    let (scram, other) = (scram("pencil"), scram("crayon"));
    for (line, why) in [
        (format!("ada:{ARGON2}"), "the same name as on a line before"),
        (format!("ada:{PBKDF2}"), "the same name as on a line before"),
        (format!("bob {other}"), "the same name as on a line before"),
        (format!("carl:{costly}"), "Argon2 with more than 256 MiB of memory (m=262144)"),
        ("carl".to_owned(), "expected NAME:HASH"),
        (format!(":{ARGON2}"), "expected a name before the colon"),
        ("carl:pencil".to_owned(), "expected NAME:HASH, where HASH begins with $argon2id$"),
        (format!("carl {ARGON2}"), "expected NAME:HASH"),
        (format!("ca\u{7}rl:{other}"), "the name is none that SCRAM can have"),
    ] {
        let error = parse(&format!("#\nada:{ARGON2}\nbob:{scram}\n{line}\n")).expect_err("wrong");
        assert_eq!(error.line, 4, "{line}");
        assert!(error.problem.starts_with(why), "{line}: {error}");
        assert!(!error.problem.contains("pencil"), "no part of a line is told");
    }
}

/// The work of checks of a wrong password, by how many of the names took it.
fn work<'a>(users: &Users, names: impl Iterator<Item = &'a str>) -> BTreeMap<u64, u32> {
    let mut seen = BTreeMap::new();
    let mut hasher = Hasher::default();
    for name in names {
        let before = hasher.work();
        let check = users.check(name, Password::new(b"wrong"));
        assert!(matches!(check.run(&mut hasher), Verdict::Refused(_)));
        *seen.entry(hasher.work() - before).or_default() += 1;
    }
    seen
}

#[test]
fn unknown_names_take_the_work_of_known_ones_as_often() {
    let hash = |number: usize| match number % 10 {
        0..5 => ARGON2.replace("m=256,t=2", "m=8,t=1"),
        5..8 => PBKDF2.replace("101", "11"),
        8 => SHA512.to_owned(),
        _ => PBKDF2.to_owned(),
    };
    let names: Vec<_> = (0..200).map(|number| format!("user-{number}")).collect();
    let lines = (0..).zip(&names).map(|(number, name)| format!("{name}:{}\n", hash(number)));
    let users = users(&lines.collect::<String>());
    let known = work(&users, names.iter().map(String::as_str));
    assert_eq!(known, BTreeMap::from([(1, 20), (8, 100), (11, 60), (101, 20)]));
    let strangers: Vec<_> = (0..4_000).map(|number| format!("stranger-{number}")).collect();
    let unknown = work(&users, strangers.iter().map(String::as_str));
    assert_eq!(unknown.keys().collect::<Vec<_>>(), known.keys().collect::<Vec<_>>());
    for (work, these) in unknown {
        // Twenty strangers a user, and six standard deviations. The secret being given, so is the outcome.
        let (expected, share) = (f64::from(known[&work] * 20), f64::from(known[&work]) / 200.0);
        let deviation = (4_000.0 * share * (1.0 - share)).sqrt();
        assert!((f64::from(these) - expected).abs() < 6.0 * deviation, "{work}: {these}");
    }
    // A name costs the same each time, as a user's does.
    let one = |name| users.check(name, Password::new(b"wrong")).cost();
    for stranger in strangers.iter().take(20) {
        assert_eq!(one(stranger), one(stranger));
    }
}

#[test]
fn unknown_name_among_users_of_scram_costs_their_iterations_and_without_users_the_default() {
    let cost = |text: &str| users(text).check("eve", Password::new(b"x")).cost();
    assert_eq!(cost(&format!("ada:{}", scram("p"))), Cost::Scram { iterations: 4_096 });
    assert_eq!(cost(""), Cost::DEFAULT);
}

#[test]
fn key_of_a_check_is_its_users_its_passwords_and_its_lines() {
    let one = users(&format!("ada:{ARGON2}\nbob:{ARGON2}\nad:{ARGON2}\n"));
    let other = users(&format!("ada:{}\n", ARGON2.replace("c29tZXNhbHQ", "c29tZXNhbHU")));
    let key = |users: &Users, name, password: &str| {
        users.check(name, Password::new(password.as_bytes())).key(&[1; 32])
    };
    let ada = key(&one, "ada", "pencil");
    assert!(ada == key(&one, "ada", "pencil"));
    for different in [
        key(&one, "ada", "crayon"),
        key(&one, "bob", "pencil"),
        key(&one, "ad", "apencil"),
        key(&other, "ada", "pencil"),
        one.check("ada", Password::new(b"pencil")).key(&[2; 32]),
    ] {
        assert!(ada != different);
    }
}

#[test]
fn lines_that_are_made_are_read_and_names_that_no_line_can_have_are_refused() {
    let text = format!(
        "{}\n{}\n",
        password_line("a b", b"pencil", &[7; 16]).expect("valid"),
        scram_line("a b", "pencil", &[7; 16], 4_096).expect("valid"),
    );
    let users = users(&text);
    assert_eq!(users.len(), 1);
    assert_eq!(check(&users, "a b", "pencil"), Ok("a b".to_owned()));
    assert!(users.verifiers().is_some_and(|verifiers| verifiers.find("a b").is_some()));
    assert!(text.lines().all(|line| owner(line) == Some("a b")));
    let kinds: Vec<_> = text.lines().filter_map(kind).collect();
    assert_eq!(kinds, ["argon2id m=19456,t=2,p=1", "scram-sha-256 i=4096"]);
    for name in ["", "a:b", " a", "a ", "#a", "a\nb"] {
        assert_eq!(password_line(name, b"x", &[7; 16]), Err(LineError::Name), "{name:?}");
        assert_eq!(scram_line(name, "x", &[7; 16], 4_096), Err(LineError::Name), "{name:?}");
    }
    assert_eq!(password_line("a", b"", &[7; 16]), Err(LineError::Password));
    let refused = |name, password| scram_line(name, password, &[7; 16], 4_096).err();
    assert_eq!(
        refused("\u{aa}", "x"),
        Some(LineError::Scram(VerifierError::Name)),
        "it would be a"
    );
    assert_eq!(refused("a", "\u{7}"), Some(LineError::Scram(VerifierError::Password)));
}

#[test]
fn neither_passwords_nor_hashes_are_shown() {
    let users = users(&format!("ada:{ARGON2}\n"));
    let check = users.check("ada", Password::new(b"pencil"));
    let shown = format!("{users:?} {check:?} {:?}", check.key(&[1; 32]));
    assert_eq!(
        shown,
        "1 users PasswordCheck { cost: Argon2id(Argon2Cost { memory_kib: 256, passes: 2, lanes: 1 }), .. } CheckKey"
    );
}

//! Tests of authentication and policy, without a packet.

use super::scram::verifier_line;
use super::*;

fn users() -> Users {
    let line = verifier_line("ada", "pencil", &[0; 16], 4_096).expect("a name and a password");
    Users::parse(&line, [7; 32]).expect("a valid line")
}

fn offering(proof: Option<Proof>) -> Credentials {
    Credentials {
        client_id: "c".into(),
        user_name: Some("ada".into()),
        password: Some(Password::new(b"pencil")),
        proof,
        certificate: None,
        peer: None,
        listener: None,
        protocol: "mqtt",
    }
}

fn proof(method: &str, message: Option<&[u8]>) -> Proof {
    let message = message.map(|message| message.to_vec().into());
    Proof { method: method.into(), exchange: Default::default(), nonce: [0; 18], message }
}

fn denial(access: &Access, credentials: &Credentials) -> Option<Denial> {
    match access.verdict(credentials) {
        Verdict::Refused(denial) => Some(denial),
        Verdict::Allowed(..) | Verdict::Continue(..) => None,
    }
}

/// What comes of user name and password: the user, or the denial.
fn by_password(
    access: &Access,
    name: Option<&str>,
    password: Option<&[u8]>,
) -> Result<Option<String>, Denial> {
    let (user_name, password) = (name.map(Into::into), password.map(Password::new));
    match access.verdict(&Credentials { user_name, password, ..offering(None) }) {
        Verdict::Allowed(identity, None) => Ok(identity.user().map(str::to_owned)),
        Verdict::Refused(denial) => Err(denial),
        verdict => panic!("{verdict:?}"),
    }
}

#[test]
fn without_users_whoever_may_be_anonymous_is_nobody_whatever_it_says() {
    let mut access = Access::default();
    for name in [None, Some("ada")] {
        access.anonymous = Anonymous::Everywhere;
        assert_eq!(by_password(&access, name, Some(b"pencil")), Ok(None), "a name shows nothing");
        access.anonymous = Anonymous::nowhere();
        assert_eq!(by_password(&access, name, Some(b"pencil")), Err(Denial::NoProof));
    }
}

#[test]
fn who_may_be_nobody_depends_on_the_listener() {
    let anonymous = Anonymous::At([Arc::from("devices")].into());
    let access = Access { anonymous, ..Access::default() };
    for (listener, expected) in [
        (Some("devices"), None),
        (Some("pages"), Some(Denial::NoProof)),
        (None, Some(Denial::NoProof)),
    ] {
        let listener = listener.map(Arc::from);
        assert_eq!(denial(&access, &Credentials { listener, ..offering(None) }), expected);
    }
}

#[test]
fn who_gives_a_name_is_held_to_its_password_also_where_others_may_be_anonymous() {
    for is_open in [true, false] {
        let anonymous = if is_open { Anonymous::Everywhere } else { Anonymous::nowhere() };
        let access = Access { users: Some(users()), anonymous, ..Access::default() };
        let judge = |name, password| by_password(&access, name, password);
        assert_eq!(judge(Some("ada"), Some(b"pencil")), Ok(Some("ada".to_owned())));
        assert_eq!(judge(Some("ada"), Some(b"crayon")), Err(Denial::WrongPassword));
        assert_eq!(judge(Some("ada"), Some(b"")), Err(Denial::WrongPassword));
        assert_eq!(judge(Some("eve"), Some(b"pencil")), Err(Denial::UnknownUser));
        assert_eq!(judge(Some(""), Some(b"pencil")), Err(Denial::UnknownUser));
        assert_eq!(judge(Some("ada"), None), Err(Denial::NoProof));
        assert_eq!(judge(Some("eve"), None), Err(Denial::NoProof));
        let nobody = if is_open { Ok(None) } else { Err(Denial::NoProof) };
        assert_eq!(judge(None, None), nobody);
        assert_eq!(judge(None, Some(b"pencil")), nobody, "MQTT 5 allows a password alone");
    }
}

#[test]
fn where_scram_is_required_no_password_will_do() {
    let access = Access { users: Some(users()), scram_required: true, ..Access::default() };
    for (name, password) in [(Some("ada"), Some(&b"pencil"[..])), (None, None)] {
        assert_eq!(by_password(&access, name, password), Err(Denial::NoProof));
    }
}

#[test]
fn scram_is_not_there_while_no_user_has_a_line_for_it() {
    let line =
        "ada:$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
    let users = Users::parse(line, [7; 32]).expect("a valid line");
    let access = Access { users: Some(users), ..Access::default() };
    let first = Some(&b"n,,n=ada,r=abc"[..]);
    assert_eq!(denial(&access, &offering(Some(proof(METHOD, first)))), Some(Denial::UnknownMethod));
    assert_eq!(by_password(&access, Some("ada"), Some(b"password")), Ok(Some("ada".to_owned())));
}

#[test]
fn what_is_wrong_with_an_exchange_is_told_apart() {
    let first = Some(&b"n,,n=ada,r=abc"[..]);
    let without = Access::default();
    assert_eq!(
        denial(&without, &offering(Some(proof(METHOD, first)))),
        Some(Denial::UnknownMethod)
    );
    let access = Access { users: Some(users()), ..Access::default() };
    let judge = |method, message| denial(&access, &offering(Some(proof(method, message))));
    assert_eq!(judge("PLAIN", first), Some(Denial::UnknownMethod));
    assert_eq!(judge(METHOD, Some(b"n=ada")), Some(Denial::InvalidProof));
    assert_eq!(judge(METHOD, first), None);
    assert_eq!(judge(METHOD, None), None, "it may name the method alone");
    for (name, expected) in [("ada", Denial::WrongPassword), ("bob", Denial::UnknownUser)] {
        let first = format!("n,,n={name},r=abc");
        let begun = access.verdict(&offering(Some(proof(METHOD, Some(first.as_bytes())))));
        let Verdict::Continue(exchange, Some(challenge)) = begun else { panic!("{begun:?}") };
        let challenge = String::from_utf8(challenge.to_vec()).expect("text");
        let nonce = challenge.split(',').next().expect("a nonce");
        let last = format!("c=biws,{nonce},p={}=", "A".repeat(43));
        let last = Proof { exchange, ..proof(METHOD, Some(last.as_bytes())) };
        assert_eq!(denial(&access, &offering(Some(last))), Some(expected));
    }
}

#[test]
fn a_password_is_not_shown() {
    let shown = format!("{:?}", offering(None));
    assert!(!shown.contains("pencil") && shown.contains("Password"), "{shown}");
}

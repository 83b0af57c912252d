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
        password: Some(Password::new(b"pencil".to_vec().into())),
        proof,
        peer: None,
        listener: None,
    }
}

fn proof(method: &str, message: Option<&[u8]>) -> Proof {
    let message = message.map(|message| message.to_vec().into());
    Proof { method: method.into(), exchange: Default::default(), nonce: [0; 18], message }
}

fn denial(access: &Access, credentials: &Credentials) -> Option<Denial> {
    match access.judge(credentials) {
        Verdict::Refused(denial) => Some(denial),
        Verdict::Allowed(..) | Verdict::Continue(..) => None,
    }
}

#[test]
fn a_client_that_does_not_authenticate_is_nobody_unless_that_is_required() {
    for users in [None, Some(users())] {
        let mut access = Access { users, scram_required: false, acl: None };
        let Verdict::Allowed(identity, None) = access.judge(&offering(None)) else {
            panic!("it may connect")
        };
        assert_eq!(identity.user(), None, "a user name alone shows nothing");
        access.scram_required = true;
        assert_eq!(denial(&access, &offering(None)), Some(Denial::NoProof));
    }
}

#[test]
fn what_is_wrong_with_an_exchange_is_told_apart() {
    let first = Some(&b"n,,n=ada,r=abc"[..]);
    let without = Access::default();
    assert_eq!(
        denial(&without, &offering(Some(proof(METHOD, first)))),
        Some(Denial::UnknownMethod)
    );
    let access = Access { users: Some(users()), scram_required: false, acl: None };
    let judged = |method, message| denial(&access, &offering(Some(proof(method, message))));
    assert_eq!(judged("PLAIN", first), Some(Denial::UnknownMethod));
    assert_eq!(judged(METHOD, Some(b"n=ada")), Some(Denial::InvalidProof));
    assert_eq!(judged(METHOD, first), None);
    assert_eq!(judged(METHOD, None), None, "it may name the method alone");
    for (name, expected) in [("ada", Denial::WrongPassword), ("bob", Denial::UnknownUser)] {
        let first = format!("n,,n={name},r=abc");
        let begun = access.judge(&offering(Some(proof(METHOD, Some(first.as_bytes())))));
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

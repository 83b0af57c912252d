//! Tests of authentication and policy, without a packet.

use super::scram::verifier_line;
use super::*;

/// A listener.
const BY: &str = "127.0.0.1:1883";

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
fn a_certificate_says_who_its_client_is_and_an_exchange_must_say_the_same() {
    let access = Access { users: Some(users()), has_certificates: true, ..Access::default() };
    let shown = |certificate, user_name: Option<&str>, proof| Credentials {
        certificate,
        user_name: user_name.map(Into::into),
        ..offering(proof)
    };
    let user = |credentials: &Credentials| match access.verdict(credentials) {
        Verdict::Allowed(identity, _) => Ok(identity.user().map(str::to_owned)),
        Verdict::Refused(denial) => Err(denial),
        verdict => panic!("{verdict:?}"),
    };
    let eve = || Some(Ok("eve".into()));
    // Users are not asked, whatever the password.
    assert_eq!(user(&shown(eve(), None, None)), Ok(Some("eve".to_owned())));
    assert_eq!(user(&shown(eve(), Some("eve"), None)), Ok(Some("eve".to_owned())));
    assert_eq!(user(&shown(eve(), Some("ada"), None)), Err(Denial::OtherName));
    let several = || Some(Err(CertificateFault::Several));
    let refused = Err(Denial::Certificate(CertificateFault::Several));
    assert_eq!(user(&shown(several(), None, None)), refused);
    assert_eq!(user(&shown(several(), Some("ada"), None)), Ok(Some("ada".to_owned())));
    assert_eq!(user(&shown(several(), Some("bob"), None)), Err(Denial::UnknownUser));
    // By SCRAM one proves to be the same, or nobody.
    let nonce = "r=abcAAAAAAAAAAAAAAAAAAAAAAAA";
    let first = || Some(proof(METHOD, Some(b"n,,n=ada,r=abc")));
    for (certificate, expected) in [
        (Some(Ok("ada".into())), Ok(Some("ada".to_owned()))),
        (several(), Ok(Some("ada".to_owned()))),
        (eve(), Err(Denial::OtherName)),
    ] {
        let begun = access.verdict(&shown(certificate.clone(), None, first()));
        let Verdict::Continue(exchange, _) = begun else { panic!("{begun:?}") };
        let salt = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, [0; 16]);
        let last = format!("c=biws,{nonce}");
        let said = format!("n=ada,r=abc,{nonce},s={salt},i=4096,{last}");
        let client_proof = scram_proof(&said);
        let last = Proof {
            exchange,
            ..proof(METHOD, Some(format!("{last},p={client_proof}").as_bytes()))
        };
        assert_eq!(user(&shown(certificate, None, Some(last))), expected);
    }
}

/// ClientProof of `pencil` with a salt of zeros and 4,096 iterations (RFC 5802, section 3).
fn scram_proof(said: &str) -> String {
    use sha2::{Digest, Sha256};
    let mut salted = [0; 32];
    pbkdf2::pbkdf2_hmac::<Sha256>(b"pencil", &[0; 16], 4_096, &mut salted);
    let client_key = mac::mac(&salted, &[b"Client Key"]);
    let stored_key: Key = Sha256::digest(client_key).into();
    let signature = mac::mac(&stored_key, &[said.as_bytes()]);
    let proof: Vec<u8> = client_key.iter().zip(signature).map(|(one, other)| one ^ other).collect();
    base64::Engine::encode(&base64::engine::general_purpose::STANDARD, proof)
}

#[test]
fn a_password_that_is_a_token_is_checked_as_one_and_others_are_not() {
    let keys = "{\"keys\": [{\"kty\": \"oct\", \"k\": \
                \"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}]}";
    let keys = TokenKeys::parse(keys).expect("keys");
    let tokens = Arc::new(Tokens { keys, issuers: Vec::new(), audiences: Vec::new() });
    let token = "eyJhbGciOiJIUzI1NiJ9.e30.AAAA";
    let judge = |access: &Access, name: Option<&str>, password: &str| {
        let (user_name, password) =
            (name.map(Into::into), Some(Password::new(password.as_bytes())));
        match access.judge(&Credentials { user_name, password, ..offering(None) }) {
            Judgement::Token(_) => Ok("token"),
            Judgement::Check(_) => Ok("hash"),
            Judgement::Now(_, Verdict::Allowed(..)) => Ok("nobody"),
            Judgement::Now(_, Verdict::Refused(denial)) => Err(denial),
            other => panic!("{other:?}"),
        }
    };
    let alone = Access { tokens: Some(Arc::clone(&tokens)), ..Access::default() };
    assert_eq!(judge(&alone, Some("ada"), token), Ok("token"));
    assert_eq!(judge(&alone, None, token), Ok("token"), "MQTT 5 allows a password alone");
    assert_eq!(judge(&alone, Some("ada"), "pencil"), Err(TokenFault::NoToken.into()));
    assert_eq!(judge(&alone, None, "pencil"), Ok("nobody"));
    let both = Access { users: Some(users()), ..alone };
    assert_eq!(judge(&both, Some("ada"), token), Ok("token"));
    assert_eq!(judge(&both, Some("ada"), "pencil"), Ok("hash"));
    assert_eq!(judge(&both, Some("eve"), "a.b.c"), Ok("hash"));
    let users_alone = Access { users: Some(users()), ..Access::default() };
    assert_eq!(judge(&users_alone, Some("ada"), token), Ok("hash"), "there are no keys");
}

#[test]
fn a_password_is_not_shown() {
    let shown = format!("{:?}", offering(None));
    assert!(!shown.contains("pencil") && shown.contains("Password"), "{shown}");
}

/// The identity of a client that is let in by name and password.
fn let_in(access: &Access, name: Option<&str>) -> Identity {
    let user_name = name.map(Into::into);
    match access.verdict(&Credentials { user_name, ..offering(None) }) {
        Verdict::Allowed(identity, _) => identity,
        other => panic!("{other:?}"),
    }
}

fn of_lines(lines: &[&str]) -> Access {
    let users = Users::parse(&lines.join("\n"), [7; 32]).expect("valid lines");
    Access { users: Some(users), anonymous: Anonymous::nowhere(), ..Access::default() }
}

#[test]
fn a_client_may_stay_as_long_as_the_line_that_let_it_in() {
    let line = |name, salt| verifier_line(name, "pencil", &[salt; 16], 4_096).expect("valid");
    let (ada, again, bob) = (line("ada", 0), line("ada", 1), line("bob", 0));
    let before = of_lines(&[&ada, &bob]);
    let identity = let_in(&before, Some("ada"));
    let stays = |access: &Access| access.withdrawal(identity.user(), identity.warrant(), BY);
    assert_eq!(stays(&before), None);
    assert_eq!(stays(&of_lines(&["# others", &bob, &ada])), None, "its line is the same");
    assert_eq!(stays(&of_lines(&[&again, &bob])), Some(Withdrawal::Password));
    assert_eq!(stays(&of_lines(&[&bob])), Some(Withdrawal::User));
    assert_eq!(stays(&Access::default()), Some(Withdrawal::User), "there is no file any more");
    let password =
        "ada:$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
    let both = of_lines(&[&ada, password]);
    assert_eq!(stays(&both), Some(Withdrawal::Password), "another line checks passwords now");
    let strict = Access { scram_required: true, ..of_lines(&[&ada]) };
    assert_eq!(stays(&strict), Some(Withdrawal::Password), "passwords will not do any more");
}

#[test]
fn who_came_by_scram_stays_while_there_is_the_line_for_it() {
    let ada = verifier_line("ada", "pencil", &[0; 16], 4_096).expect("valid");
    let access = of_lines(&[&ada]);
    let warrant = access.users.as_ref().and_then(|users| users.scram_warrant("ada"));
    let warrant = warrant.expect("a line");
    let password =
        "ada:$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
    let strict = |lines: &[&str]| Access { scram_required: true, ..of_lines(lines) };
    assert_eq!(strict(&[&ada, password]).withdrawal(Some("ada"), warrant, BY), None);
    let gone = strict(&[password]).withdrawal(Some("ada"), warrant, BY);
    assert_eq!(gone, Some(Withdrawal::Password));
}

#[test]
fn nobody_stays_where_nobody_may_come_and_a_token_keeps_its_client() {
    let nobody = let_in(&Access::default(), None);
    let closed = of_lines(&[]);
    let open = Access { anonymous: Anonymous::Everywhere, ..of_lines(&[]) };
    assert_eq!(open.withdrawal(None, nobody.warrant(), BY), None);
    assert_eq!(closed.withdrawal(None, nobody.warrant(), BY), Some(Withdrawal::Anonymous));
    let token = Identity::of_user("ada".into());
    assert_eq!(closed.withdrawal(token.user(), token.warrant(), BY), None);
}

#[test]
fn a_token_keeps_its_groups_and_rights_when_the_rules_are_read_again() {
    let rules = "[groups]\nstaff = []\n[[allow]]\ngroups = [\"staff\"]\nsubscribe = [\"a/#\"]\n";
    let acl = |text: &str| Access {
        acl: Some(Arc::new(Acl::parse(text).expect("rules"))),
        ..Access::default()
    };
    let before = acl(rules);
    let identity = Identity::of_user("ada".into()).with_groups(Arc::new(["staff".into()]));
    let origin = Origin::default();
    let rights = acl::rights_under(before.acl.as_deref(), &identity, "c", Some(origin));
    let subject = |rights| Subject { user: Some("ada"), client_id: "c", rights };
    assert!(before.renew(subject(&rights), Origin::default).is_none(), "they are of these rules");
    let filter = crate::broker::TopicFilter::parse("a/b", 8).expect("a filter");
    let may = |rights: &Rights| rights.may_subscribe(&filter, Some("ada"), "c").is_allowed();
    assert!(may(&rights));
    let renewed = acl(rules).renew(subject(&rights), Origin::default).expect("other rules");
    assert!(may(&renewed), "its group is known still");
    let others = rules.replace("staff", "guests");
    let renewed = acl(&others).renew(subject(&rights), Origin::default).expect("other rules");
    assert!(!may(&renewed));
    let grant = Grant::parse([], ["a/#"]).expect("filters");
    let granted = identity.with_grant(Arc::new(grant));
    let rights = acl::rights_under(None, &granted, "c", Some(origin));
    let renewed = acl(&others).renew(subject(&rights), Origin::default).expect("there are rules");
    assert!(may(&renewed), "what its token allows");
}

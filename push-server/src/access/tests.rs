//! Tests of authentication and policy, without a packet.

use super::scram::verifier_line;
use super::*;
use crate::broker::{TopicFilter, TopicName};

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
        let mut access = Access { users, scram_required: false };
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
    let access = Access { users: Some(users()), scram_required: false };
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

fn filter(text: &str) -> TopicFilter {
    TopicFilter::parse(text, 8).expect("a filter")
}

fn topic(text: &str) -> TopicName {
    TopicName::parse(text, 8).expect("a topic")
}

const ADA: Subject<'_> = Subject { user: Some("ada"), client_id: "c" };
const BOB: Subject<'_> = Subject { user: Some("bob"), client_id: "c" };

#[test]
fn without_rules_everything_is_allowed() {
    let policy = Policy::default();
    for who in [ADA, Subject::NOBODY] {
        assert_eq!(policy.publish(&topic("a"), who), Ok(()));
        assert_eq!(policy.subscribe(&filter("#"), who), Ok(()));
        assert_eq!(policy.will(&topic("a"), who), Ok(()));
        assert_eq!(policy.receive(&topic("a"), who), Ok(()));
    }
}

#[test]
fn a_filter_is_denied_as_written_and_behind_the_group_that_shares_it() {
    let policy = Policy::denying_filters(["a/#", "#"].map(filter));
    for denied in ["a/#", "#", "$share/g/a/#"] {
        assert_eq!(policy.subscribe(&filter(denied), ADA), Err(Denied::Everybody), "{denied}");
    }
    for allowed in ["a", "a/+", "+/#", "$share/g/a"] {
        assert_eq!(policy.subscribe(&filter(allowed), ADA), Ok(()), "{allowed}");
    }
    assert_eq!(policy.filters_denied().map(TopicFilter::as_str).collect::<Vec<_>>(), ["a/#", "#"]);
}

#[test]
fn a_rule_is_about_its_action_its_topics_and_its_user_alone() {
    let user = Whom::User("ada".into());
    let actions = [Action::Publish, Action::Will, Action::Receive];
    for denied in actions {
        let rule = Rule { whom: user.clone(), filter: filter("a/+") };
        let policy = Policy::default().deny(denied, rule);
        for asked in actions {
            let judge = |text: &str, who| match asked {
                Action::Publish => policy.publish(&topic(text), who),
                Action::Will => policy.will(&topic(text), who),
                _ => policy.receive(&topic(text), who),
            };
            let expected = if asked == denied { Err(Denied::Subject) } else { Ok(()) };
            assert_eq!(judge("a/b", ADA), expected, "{denied:?} {asked:?}");
            for (text, who) in [("a", ADA), ("a/b/c", ADA), ("a/b", BOB), ("a/b", Subject::NOBODY)]
            {
                assert_eq!(judge(text, who), Ok(()), "{denied:?} {asked:?} {text}");
            }
        }
        assert_eq!(policy.subscribe(&filter("a/+"), ADA), Ok(()));
    }
}

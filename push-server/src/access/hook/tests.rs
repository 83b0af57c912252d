use serde_json::{Value, json};

use super::*;
use crate::access::Origin;
use crate::access::acl::rights_under;
use crate::broker::TopicName;

fn credentials() -> Credentials {
    Credentials {
        client_id: "sensor-1".into(),
        user_name: Some("ada".into()),
        password: Some(Password::new(b"pencil")),
        proof: None,
        certificate: None,
        peer: Some("203.0.113.7:40000".parse().expect("an address")),
        listener: Some("devices".into()),
        protocol: "mqtts",
    }
}

fn question() -> HookQuestion {
    HookQuestion::of(&credentials())
}

fn said(credentials: &Credentials) -> Value {
    serde_json::from_slice(&HookQuestion::of(credentials).body()).expect("JSON")
}

const NO_JSON: &str = "expected JSON with the keys";

/// User, groups and time of an answer that allows.
type Allowed = (Option<String>, Vec<String>, Option<u64>);

fn allowed(answer: &Value) -> Result<Allowed, String> {
    match question().answer(answer.to_string().as_bytes()) {
        Ok(HookAnswer::Allow(identity, time)) => Ok((
            identity.user().map(str::to_owned),
            identity.groups().iter().map(|group| group.to_string()).collect(),
            time.map(|time| time.as_secs()),
        )),
        Ok(other) => panic!("{other:?}"),
        Err(error) => Err(error.to_string()),
    }
}

#[test]
fn question_says_who_the_client_is_and_where_it_comes_from() {
    assert_eq!(
        said(&credentials()),
        json!({
            "user": "ada", "password": "pencil", "client_id": "sensor-1",
            "address": "203.0.113.7", "listener": "devices", "protocol": "mqtts",
        })
    );
    let nothing = Credentials {
        user_name: None,
        password: None,
        peer: None,
        listener: None,
        ..credentials()
    };
    assert_eq!(
        said(&nothing),
        json!({
            "user": null, "password": null, "client_id": "sensor-1",
            "address": null, "listener": null, "protocol": "mqtts",
        })
    );
    let mapped = Some("[::ffff:192.0.2.1]:1".parse().expect("an address"));
    assert_eq!(said(&Credentials { peer: mapped, ..credentials() })["address"], "192.0.2.1");
}

#[test]
fn password_that_is_no_text_is_encoded_and_no_other_is() {
    let password =
        |bytes: &[u8]| said(&Credentials { password: Some(Password::new(bytes)), ..credentials() });
    let binary = password(&[0xFF, 0, 1]);
    assert_eq!((&binary["password"], &binary["password_base64"]), (&Value::Null, &json!("/wAB")));
    for text in ["", "\u{0}\"\\\u{7f}p\u{e4}ss\n", &"\u{1}".repeat(65_535)] {
        let said = password(text.as_bytes());
        assert_eq!(said["password"], text);
        assert!(said.get("password_base64").is_none());
    }
}

#[test]
fn question_is_written_into_one_buffer() {
    for byte in [b"\x01", b"\xFF", b"a"] {
        let long = Some(Password::new(&byte.repeat(65_535)));
        let user_name = Some("\u{1f}".repeat(65_535).into());
        let question =
            HookQuestion::of(&Credentials { password: long, user_name, ..credentials() });
        let body = question.body();
        // A vector that had to grow has twice as much, or exactly what it needs.
        assert!(body.capacity() > body.len() + 400, "{} of {}", body.len(), body.capacity());
    }
}

#[test]
fn key_depends_on_all_that_the_hook_is_told_and_on_the_secret() {
    let key = |credentials: &Credentials| HookQuestion::of(credentials).key(&[1; 32]);
    let first = key(&credentials());
    assert!(first == key(&credentials()), "the same question has the same key");
    assert!(first != question().key(&[2; 32]));
    let other_port = Some("203.0.113.7:40001".parse().expect("an address"));
    assert!(first == key(&Credentials { peer: other_port, ..credentials() }), "but for the port");
    let others = [
        Credentials { user_name: Some("adap".into()), ..credentials() },
        Credentials { user_name: None, ..credentials() },
        Credentials { user_name: Some("".into()), ..credentials() },
        Credentials { password: Some(Password::new(b"crayon")), ..credentials() },
        Credentials { password: None, ..credentials() },
        Credentials { client_id: "sensor-2".into(), ..credentials() },
        Credentials {
            peer: Some("203.0.113.8:40000".parse().expect("an address")),
            ..credentials()
        },
        Credentials { peer: None, ..credentials() },
        Credentials { listener: Some("pages".into()), ..credentials() },
        Credentials { listener: None, ..credentials() },
        Credentials { protocol: "mqtt", ..credentials() },
        // The same bytes, otherwise divided.
        Credentials {
            user_name: Some("adapen".into()),
            password: Some(Password::new(b"cil")),
            ..credentials()
        },
    ];
    let keys: std::collections::HashSet<_> = others.iter().map(key).chain([first]).collect();
    assert_eq!(keys.len(), others.len() + 1);
}

#[test]
fn answer_that_allows_names_user_groups_and_time() {
    let plain = (Some("ada".to_owned()), Vec::new(), None);
    assert_eq!(allowed(&json!({"result": "allow"})), Ok(plain.clone()));
    let nulls =
        json!({"result": "allow", "user": null, "groups": null, "acl": null, "expires_in": null});
    assert_eq!(allowed(&nulls), Ok(plain));
    let all = json!({
        "result": "allow", "user": "Ada L.", "groups": ["operators", "eu/1"],
        "acl": {"publish": [], "subscribe": []}, "expires_in": 3600,
    });
    let groups = vec!["operators".to_owned(), "eu/1".to_owned()];
    assert_eq!(allowed(&all), Ok((Some("Ada L.".to_owned()), groups, Some(3_600))));
}

#[test]
fn rights_of_an_answer_are_those_of_the_client_and_half_of_them_is_nothing() {
    let answer = json!({"result": "allow", "acl": {"publish": ["up/%c/#"]}});
    let answer = question().answer(answer.to_string().as_bytes()).expect("valid");
    let HookAnswer::Allow(identity, None) = answer else { panic!("{answer:?}") };
    let rights = rights_under(None, &identity, "sensor-1", Some(Origin::default()));
    let topic = |text| TopicName::parse(text, u16::MAX).expect("a topic");
    let may = |text| rights.may_publish(&topic(text), identity.user(), "sensor-1").is_allowed();
    assert!(may("up/sensor-1/a") && !may("up/sensor-2/a"));
    assert!(!rights.may_receive(&topic("up/sensor-1/a"), identity.user(), "sensor-1").is_allowed());
}

#[test]
fn denials_and_ignorance_need_no_more_than_the_word() {
    for (text, is_denial) in [
        (json!({"result": "deny"}), true),
        (json!({"result": "deny", "user": "", "expires_in": 0}), true),
        (json!({"result": "ignore", "groups": ["a"]}), false),
    ] {
        let answer = question().answer(text.to_string().as_bytes()).expect("valid");
        assert_eq!(matches!(answer, HookAnswer::Deny), is_denial, "{answer:?}");
        assert_eq!(matches!(answer, HookAnswer::Ignore), !is_denial, "{answer:?}");
    }
}

#[test]
fn what_is_no_whole_valid_answer_is_none() {
    let long = "a".repeat(65_536);
    let many = vec!["g"; HOOK_GROUPS_MAX + 1];
    let filters = vec!["f"; 1_025];
    for (answer, why) in [
        (json!({}), NO_JSON),
        (json!([]), NO_JSON),
        (json!("allow"), NO_JSON),
        (json!({"result": "Allow"}), NO_JSON),
        (json!({"result": true}), NO_JSON),
        (json!({"result": "allow", "acls": {}}), NO_JSON),
        (json!({"result": "allow", "acl": {"pub": []}}), NO_JSON),
        (json!({"result": "allow", "acl": {"publish": "a"}}), NO_JSON),
        (json!({"result": "allow", "acl": {"publish": ["a/#/b"]}}), "acl: "),
        (json!({"result": "allow", "acl": {"publish": filters}}), "acl: more than"),
        (json!({"result": "allow", "user": ""}), "user has to be"),
        (json!({"result": "allow", "user": "a\u{0}"}), "user has to be"),
        (json!({"result": "allow", "user": long}), "user has to be"),
        (json!({"result": "allow", "groups": [""]}), "groups have to be"),
        (json!({"result": "allow", "groups": many}), "groups have to be"),
        (json!({"result": "allow", "groups": "a"}), NO_JSON),
        (json!({"result": "allow", "expires_in": 0}), "at least one second"),
        (json!({"result": "allow", "expires_in": -1}), NO_JSON),
        (json!({"result": "allow", "expires_in": 1.5}), NO_JSON),
        (json!({"result": "allow", "expires_in": 4_294_967_296_u64}), NO_JSON),
    ] {
        let error = allowed(&answer).expect_err("not valid");
        assert!(error.contains(why), "{answer}: {error}");
    }
    for text in [
        "",
        "{\"result\":\"allow\"",
        "{\"result\":\"allow\"} {}",
        "{\"result\":\"allow\"}x",
        "{\"result\":\"deny\",\"result\":\"allow\"}",
        "allow",
        "<html>",
    ] {
        question().answer(text.as_bytes()).expect_err("not whole, or more than one");
    }
    question().answer(b"{\"result\":\"allow\",\"user\":\"\xFF\"}").expect_err("not UTF-8");
}

#[test]
fn what_an_answer_is_instead_is_not_told() {
    for text in ["{\"result\":\"pencil\"}", "{\"pencil\":1}", "\"pencil\"", "pencil"] {
        let error = question().answer(text.as_bytes()).expect_err("not valid").to_string();
        assert!(error.starts_with("line 1, column ") && !error.contains("pencil"), "{error}");
    }
}

#[test]
fn an_answer_weighs_what_it_names() {
    let bytes =
        |answer: Value| question().answer(answer.to_string().as_bytes()).expect("valid").bytes();
    assert_eq!(bytes(json!({"result": "deny"})), 0);
    let plain = bytes(json!({"result": "allow"}));
    assert!(plain < 16, "{plain}");
    assert!(bytes(json!({"result": "allow", "groups": ["g".repeat(1_000)]})) > 1_000);
    let filters = vec!["a"; 1_000];
    assert!(bytes(json!({"result": "allow", "acl": {"subscribe": filters}})) > 100_000);
}

#[test]
fn an_answer_that_is_given_again_ends_when_the_first_one_would_have() {
    let allow = |secs| HookAnswer::Allow(Identity::default(), Some(Duration::from_secs(secs)));
    let HookAnswer::Allow(_, time) = allow(90).after(Duration::from_secs(50)) else {
        panic!("another")
    };
    assert_eq!(time, Some(Duration::from_secs(40)));
}

#[test]
fn time_of_a_client_is_never_cut() {
    let ends = |now, time| {
        let (now, time) = (Duration::from_millis(now), Some(Duration::from_millis(time)));
        Identity::default().lasting(now, time).ends_at()
    };
    assert_eq!(ends(100_000, 1_000), Some(101));
    assert_eq!(ends(100_001, 1_000), Some(102));
    assert_eq!(ends(100_900, 50), Some(101));
    assert_eq!(Identity::default().lasting(Duration::from_secs(1), None).ends_at(), None);
}

#[test]
fn answers_are_remembered_for_as_long_as_they_hold() {
    let now = Monotonic(7);
    let until = |answer: HookAnswer| answer.is_remembered_until(now).since(now).as_secs();
    let allow = |time| HookAnswer::Allow(Identity::default(), time);
    assert_eq!(until(allow(None)), 60);
    assert_eq!(until(allow(Some(Duration::from_secs(61)))), 60);
    assert_eq!(until(allow(Some(Duration::from_secs(9)))), 9);
    assert_eq!([HookAnswer::Deny, HookAnswer::Ignore].map(until), [5, 5]);
}

#[test]
fn a_question_shows_no_password() {
    let shown = format!("{:?} {:?}", question(), question().key(&[0; 32]));
    assert!(!shown.contains("pencil") && shown.contains("HookKey"), "{shown}");
}

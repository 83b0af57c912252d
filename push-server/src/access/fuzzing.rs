//! Files that administrators write, and that a program of theirs may write wrong. Whatever their
//! text is, a mistake is named by a place that is there, and what is taken keeps its promises.

use core::net::{IpAddr, Ipv4Addr};

use super::acl::{Acl, MISTAKES_MAX, Origin, import};
use super::{Cost, Identity, Password, TOKEN_KEYS_MAX, TokenKeys, Users, users};
use crate::broker::{TopicFilter, TopicName};
use crate::fuzzing::outcome::Outcome;

/// A file of users.
///
/// - Each line that is somebody's has its user, and nobody else is there.
/// - No line costs more than the limits say.
/// - Line ends of other systems, and a comment more, make no difference.
pub(crate) fn users(input: &[u8]) -> Outcome {
    let text = String::from_utf8_lossy(input);
    let lines = text.lines().count();
    let parsed = Users::parse(&text, [7; 32]);
    let commented = format!("# a comment\r\n{}", text.replace('\n', "\r\n"));
    let all = match (parsed, Users::parse(&commented, [7; 32])) {
        (Ok(all), Ok(commented)) => {
            assert_eq!(all.len(), commented.len());
            all
        }
        (Err(error), Err(commented)) => {
            assert!((1..=lines).contains(&error.line), "{error} of {lines}");
            assert_eq!((error.line + 1, error.problem), (commented.line, commented.problem));
            return Outcome::Refused;
        }
        (one, other) => panic!("{one:?} is {other:?} with other line ends"),
    };
    assert!(all.len() <= lines && all.weak() <= lines);
    for line in text.lines() {
        let Some(name) = users::owner(line) else { continue };
        assert!(users::kind(line).is_some(), "{line}");
        let check = all.check(name, Password::new(b"secret"));
        assert!(check.is_known(), "{name:?}");
        assert!(!is_too_costly(check.cost()), "{:?}", check.cost());
        assert!(!format!("{check:?}").contains("secret"));
    }
    Outcome::Taken
}

/// Whether a check costs more than a line may. What the limits are for each kind says its parser;
/// these are theirs.
fn is_too_costly(cost: Cost) -> bool {
    match cost {
        Cost::Argon2id(argon2) => argon2.exceeds_limits(),
        Cost::Scram { iterations } | Cost::Pbkdf2Sha512 { iterations } => iterations > 10_000_000,
        Cost::Sha512 => false,
    }
}

/// A file of keys for tokens.
///
/// - There are keys, and no more than the limit says.
/// - Space around it makes no difference.
pub(crate) fn jwt_keys(input: &[u8]) -> Outcome {
    let text = String::from_utf8_lossy(input);
    let spaced = format!("\n{text}\n");
    match (TokenKeys::parse(&text), TokenKeys::parse(&spaced)) {
        (Ok(keys), Ok(spaced)) => {
            assert!((1..=TOKEN_KEYS_MAX).contains(&keys.len()), "{}", keys.len());
            assert!(!keys.is_empty());
            assert_eq!((keys.len(), keys.skipped()), (spaced.len(), spaced.skipped()));
            assert_eq!(keys.has_secrets(), spaced.has_secrets());
            Outcome::Taken
        }
        (Err(_), Err(_)) => Outcome::Refused,
        (one, other) => panic!("{:?} is {:?} with space around it", one.err(), other.err()),
    }
}

/// A file of rules.
///
/// - Of a client, what may be published or read by the rules is named by a line of the file.
/// - Whoever may subscribe with a filter may receive whatever matches it and is not denied by itself.
/// - The same rules twice say the same.
pub(crate) fn acl(input: &[u8]) -> Outcome {
    let text = String::from_utf8_lossy(input);
    let lines = text.split('\n').count();
    let acl = match Acl::parse(&text) {
        Ok(acl) => acl,
        Err(mistakes) => {
            let count = mistakes.iter().count();
            assert!((1..=MISTAKES_MAX).contains(&count), "{count} mistakes");
            for mistake in mistakes.iter() {
                assert!((1..=lines).contains(&mistake.line), "{mistake}");
                assert!(mistake.column >= 1, "{mistake}");
            }
            return Outcome::Refused;
        }
    };
    let again = Acl::parse(&text).expect("it was valid");
    for user in [None, Some("alice"), Some("a/b"), Some("$SYS")] {
        let identity = user.map_or_else(Identity::default, |name| Identity::of_user(name.into()));
        let origin = Origin {
            address: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            listener: Some(([127, 0, 0, 1], 1883).into()),
            listener_name: Some("inside"),
        };
        for origin in [None, Some(origin)] {
            check_rights(&acl, &again, &identity, origin, lines);
        }
    }
    Outcome::Taken
}

/// Topics and filters that rules are asked about.
const TOPICS: [&str; 6] = ["a", "a/b", "devices/alice/up", "devices/phone/up", "$SYS/uptime", "/"];
const FILTERS: [&str; 6] = ["#", "+/+", "devices/+/up", "devices/alice/#", "$SYS/#", "$share/g/a"];

fn check_rights(
    acl: &Acl,
    again: &Acl,
    identity: &Identity,
    origin: Option<Origin<'_>>,
    lines: usize,
) {
    let (user, client_id) = (identity.user(), "phone");
    let rights = acl.rights(identity, client_id, origin);
    let same = again.rights(identity, client_id, origin);
    let is_of_file = |decision: super::Decision| {
        use super::Decision::{Allowed, Denied};
        match decision {
            Allowed(line) => {
                let line = line.expect("without a token, a line allows").get() as usize;
                assert!(line <= lines, "line {line} of {lines}");
            }
            Denied(Some(line)) => assert!(line.get() as usize <= lines),
            Denied(None) => {}
        }
        decision
    };
    for topic in TOPICS {
        let topic = TopicName::parse(topic, 8).expect("valid");
        let publish = is_of_file(rights.may_publish(&topic, user, client_id));
        assert_eq!(publish, same.may_publish(&topic, user, client_id));
        let receive = is_of_file(rights.may_receive(&topic, user, client_id));
        assert_eq!(receive, same.may_receive(&topic, user, client_id));
    }
    for filter in FILTERS {
        let filter = TopicFilter::parse(filter, 8).expect("valid");
        let subscribe = is_of_file(rights.may_subscribe(&filter, user, client_id));
        assert_eq!(subscribe, same.may_subscribe(&filter, user, client_id));
        let taken_out = acl.taken_out(identity, client_id, origin, &filter);
        for topic in TOPICS {
            let name = TopicName::parse(topic, 8).expect("valid");
            let matches = filter.share().is_none() && filter.matches(&name);
            if subscribe.is_allowed() && matches && taken_out.is_empty() {
                let receive = rights.may_receive(&name, user, client_id);
                assert!(receive.is_allowed(), "{filter:?} is allowed, and {topic} is not");
            }
        }
    }
}

/// A file of mosquitto's rules: what it is translated to is a file of ours, and remarks are on its
/// lines.
pub(crate) fn acl_import(input: &[u8]) -> Outcome {
    let text = String::from_utf8_lossy(input);
    let lines = text.lines().count();
    let imported = import(&text);
    let acl = Acl::parse(&imported.text);
    let acl = acl.unwrap_or_else(|mistakes| panic!("{mistakes}\n{}", imported.text));
    for remark in &imported.remarks {
        assert!(remark.line.is_none_or(|line| (1..=lines).contains(&line)), "{remark:?}");
    }
    let is_left_out = imported.remarks.iter().any(|remark| remark.is_left_out);
    match (is_left_out, acl.rules_len()) {
        (true, _) => Outcome::Refused,
        (false, _) => Outcome::Taken,
    }
}

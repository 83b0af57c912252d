//! The four questions, without a packet.

use super::*;
use crate::access::{Acl, Identity, Origin, Rights};

fn filter(text: &str) -> TopicFilter {
    TopicFilter::parse(text, 8).expect("a filter")
}

fn topic(text: &str) -> TopicName {
    TopicName::parse(text, 8).expect("a topic")
}

fn subject(rights: &Rights) -> Subject<'_> {
    Subject { user: Some("ada"), client_id: "c", rights }
}

#[test]
fn without_rules_everything_is_allowed() {
    let (policy, rights) = (Policy::default(), Rights::default());
    let who = subject(&rights);
    assert_eq!(policy.publish(&topic("a"), who), Ok(()));
    assert_eq!(policy.subscribe(&filter("#"), who), Ok(()));
    assert_eq!(policy.will(&topic("a"), who), Ok(()));
    assert_eq!(policy.receive(&topic("a"), who), Ok(()));
}

#[test]
fn a_filter_is_denied_as_written_and_behind_the_group_that_shares_it() {
    let (policy, rights) = (Policy::denying_filters(["a/#", "#"].map(filter)), Rights::default());
    for denied in ["a/#", "#", "$share/g/a/#"] {
        let judged = policy.subscribe(&filter(denied), subject(&rights));
        assert_eq!(judged, Err(Denied::Everybody), "{denied}");
    }
    for allowed in ["a", "a/+", "+/#", "$share/g/a"] {
        assert_eq!(policy.subscribe(&filter(allowed), subject(&rights)), Ok(()), "{allowed}");
    }
    assert_eq!(policy.filters_denied().map(TopicFilter::as_str).collect::<Vec<_>>(), ["a/#", "#"]);
}

#[test]
fn rights_are_about_their_action_alone_and_come_beside_what_everybody_is_denied() {
    let acl = Acl::parse("[[allow]]\npublish = [\"out/%u\"]\nsubscribe = [\"in/#\"]\n");
    let acl = acl.expect("valid");
    let ada = Identity::of_user("ada".into());
    let rights = acl.rights(&ada, "c", Some(Origin::default()));
    let who = subject(&rights);
    let policy = Policy::denying_filters([filter("in/x")]);
    for (text, publishes) in [("out/ada", true), ("in/a", false), ("out/bob", false)] {
        assert_eq!(policy.publish(&topic(text), who).is_ok(), publishes, "{text}");
        assert_eq!(policy.will(&topic(text), who).is_ok(), publishes, "{text}");
        let receives = text.starts_with("in/");
        assert_eq!(policy.receive(&topic(text), who).is_ok(), receives, "{text}");
    }
    assert_eq!(policy.subscribe(&filter("in/+"), who), Ok(()));
    assert_eq!(policy.subscribe(&filter("in/x"), who), Err(Denied::Everybody));
    assert_eq!(policy.subscribe(&filter("out/ada"), who), Err(Denied::Subject));
}

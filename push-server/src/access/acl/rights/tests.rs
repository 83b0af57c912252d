//! The rights that a token brings.

use super::*;
use crate::access::acl::rights_under;
use crate::access::{Acl, Identity, Origin};

fn publishes(acl: Option<&Acl>, who: &Identity, text: &str) -> bool {
    let rights = rights_under(acl, who, "c", Some(Origin::default()));
    let topic = TopicName::parse(text, 8).expect("a topic");
    rights.may_publish(&topic, who.user(), "c").is_allowed()
}

#[test]
fn what_a_token_allows_takes_the_place_of_what_the_file_allows() {
    let grant = Grant::parse(["tokens/%u", "secret"], ["in/%c"]).expect("valid");
    let ada = Identity::of_user("ada".into()).with_grant(Arc::new(grant));
    let file = "[[allow]]\npublish = [\"file\"]\n[[deny]]\npublish = [\"secret\"]\n";
    let acl = Acl::parse(file).expect("valid");
    for (acl, topic, expected) in [
        (None, "tokens/ada", true),
        (None, "tokens/bob", false),
        (None, "secret", true),
        (None, "file", false),
        (Some(&acl), "tokens/ada", true),
        (Some(&acl), "secret", false),
        (Some(&acl), "file", false),
    ] {
        assert_eq!(publishes(acl, &ada, topic), expected, "{topic} with rules: {}", acl.is_some());
    }
    assert!(publishes(Some(&acl), &Identity::default(), "file"), "others have no token");
}

#[test]
fn what_is_wrong_with_the_rights_of_a_token_is_told() {
    let error = Grant::parse(["a", "b/#/c"], []).expect_err("no filter");
    assert_eq!(
        error.to_string(),
        "\"b/#/c\" is no filter: # must be the whole of a filter's last level"
    );
    let many = vec!["a"; GRANT_FILTERS_MAX];
    assert!(Grant::parse(many.clone(), []).is_ok());
    assert!(matches!(Grant::parse(many, ["a"]), Err(GrantError::TooMany)));
}

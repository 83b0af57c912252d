//! What `acl check` says.

use clap::Parser;

use super::*;
use crate::cli::{AclCommand, Cli, Subcommand};

const RULES: &str = "\
[[allow]]
users = [\"ada\"]
publish = [\"a\"]
subscribe = [\"#\"]

[[allow]]
groups = [\"fleet\"]
addresses = [\"10.0.0.0/8\"]
listeners = [\"0.0.0.0:1883\", \"inside\"]
publish = [\"fleet/%c\"]

[[deny]]
subscribe = [\"secret/#\"]

[groups]
fleet = []
";

fn said(arguments: &[&str]) -> (bool, String) {
    let all = ["push-server", "acl", "check", "--file", "rules.toml"].iter().chain(arguments);
    let cli = Cli::try_parse_from(all).unwrap_or_else(|error| panic!("{error}"));
    let Subcommand::Acl(AclCommand::Check(question)) = cli.subcommand else { panic!("another") };
    answer(&Acl::parse(RULES).expect("valid"), &question, RULES).expect("a question")
}

#[test]
fn the_verdict_comes_with_the_line_behind_it() {
    let ada = |action, topic| said(&["--user", "ada", "--client", "c", action, topic]);
    assert_eq!(
        ada("publish", "a"),
        (true, "allowed by rules.toml:3: publish = [\"a\"]\n".to_owned())
    );
    assert_eq!(
        ada("publish", "b"),
        (false, "denied: no line of rules.toml allows it\n".to_owned())
    );
    assert_eq!(
        ada("subscribe", "secret/x"),
        (false, "denied by rules.toml:13: subscribe = [\"secret/#\"]\n".to_owned())
    );
    assert_eq!(
        ada("subscribe", "#"),
        (
            true,
            "allowed by rules.toml:4: subscribe = [\"#\"]\n\
             without messages that are denied by rules.toml:13: subscribe = [\"secret/#\"]\n"
                .to_owned()
        )
    );
    let nobody = said(&["--client", "c", "publish", "a"]);
    assert!(!nobody.0, "{}", nobody.1);
}

#[test]
fn groups_address_and_listener_are_asked_about_as_well() {
    let fleet = ["--client", "c", "--group", "fleet", "publish", "fleet/c"];
    let near = ["--address", "10.1.1.1"];
    for (more, expected) in [
        (&["--listener", "10.0.0.1:1883"][..], true),
        (&["--listener", "inside"], true),
        (&["--listener", "outside"], false),
        (&["--listener", "10.0.0.1:1884"], false),
        (&[], false),
    ] {
        let asked = [&fleet[..], &near, more].concat();
        assert_eq!(said(&asked).0, expected, "{more:?}");
    }
    let far = ["--address", "192.0.2.1", "--listener", "inside"];
    assert!(!said(&[&fleet[..], &far].concat()).0);
}

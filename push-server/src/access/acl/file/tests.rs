//! What a file of rules may say, and where its mistakes are.

use super::*;

fn mistakes(text: &str) -> Vec<String> {
    let mistakes = parse(text).expect_err(text);
    mistakes.iter().map(ToString::to_string).collect()
}

#[test]
fn a_whole_file_is_read() {
    let file = parse(
        r#"
        # who is what
        [groups]
        operators = ["alice", "bob"]
        empty = []

        [[allow]]
        groups = ["operators", "empty"]
        publish = ["commands/#"]
        subscribe = [
            "$SYS/#",
            "devices/%c",
        ]

        [[deny]]
        users = ["bob"]
        clients = ["dev-*"]
        addresses = ["10.0.0.0/8", "192.0.2.7", "2001:db8::/32"]
        listeners = ["0.0.0.0:1883", "public"]
        publish = ["commands/reset"]

        [[allow]]
        anonymous = true
        subscribe = []
        "#,
    )
    .expect("valid");
    assert_eq!(file.groups["operators"], ["alice".into(), "bob".into()]);
    assert!(file.groups["empty"].is_empty());
    let effects: Vec<_> = file.rules.iter().map(|rule| rule.effect).collect();
    // In the order of the file, but for the kinds: TOML has a list of each.
    assert_eq!(effects.iter().filter(|effect| **effect == Effect::Allow).count(), 2);
    let rule = file.rules.iter().find(|rule| rule.effect == Effect::Deny).expect("one");
    assert_eq!(rule.whom.addresses.as_ref().map(Vec::len), Some(3));
    let commands = file.rules.iter().find(|rule| rule.whom.groups.is_some()).expect("one");
    let lines: Vec<_> = commands.subscribe.iter().filter_map(Pattern::line).collect();
    assert_eq!(lines.iter().map(|line| line.get()).collect::<Vec<_>>(), [11, 12]);
}

#[test]
fn every_mistake_is_told_with_its_line_and_column_and_what_to_do() {
    let told = mistakes(
        "[groups]\n\
         g = [\"\"]\n\
         [[allow]]\n\
         users = []\n\
         groups = [\"h\"]\n\
         addresses = [\"10.0.0.0/33\", \"here\"]\n\
         publish = [\"a\", \"b/#/c\", \"$share/g/a\", 7]\n\
         [[deny]]\n\
         topics = [\"a\"]\n\
         [[allow]]\n\
         anonymous = \"yes\"\n\
         subscribe = \"a\"\n\
         [[allow]]\n\
         anonymous = true\n\
         users = [\"a\"]\n\
         publish = [\"a\"]\n\
         [others]\n\
         [groups.k]\n\
         members = []\n\
         [groups.k.limits]\n\
         publish-burst = 0\n\
         ping-rate = 1\n\
         subscribe-rate = \"1/s\"\n",
    );
    let expected = [
        "2:6: an empty name in g: clients without a user are `anonymous = true`",
        "4:9: users is empty, so the rule would be about nobody: name some, or leave it out",
        "5:11: there is no group \"h\" in [groups]: add it, even without members if only tokens name it",
        "6:14: \"10.0.0.0/33\" is no address and no network: write 192.0.2.7, 10.0.0.0/8 or 2001:db8::/32",
        "6:29: \"here\" is no address and no network: write 192.0.2.7, 10.0.0.0/8 or 2001:db8::/32",
        "7:17: \"b/#/c\" is no filter: # must be the whole of a filter's last level",
        "7:26: \"$share/g/a\" is no filter: rules are about the filter behind the group: leave out $share/GROUP/",
        "7:40: publish has to be a list of texts: [\"...\"]",
        "8:1: the rule has no filter: add publish = [...] or subscribe = [...]",
        "9:1: unknown key \"topics\": a rule may have users, groups, anonymous, clients, addresses, listeners, publish and subscribe",
        "11:13: anonymous has to be true or false",
        "12:13: subscribe has to be a list of texts: [\"...\"]",
        "13:1: a client without a user has none of these: leave out `anonymous = true` or the users and groups",
        "17:2: unknown key \"others\": the file may have [groups], [[allow]] and [[deny]]",
        "19:1: unknown key \"members\": a group may have users and limits",
        "21:17: publish-burst has to be a whole number from 1 to 1000000000",
        "22:1: unknown key \"ping-rate\": the limits of a group may have publish-rate, publish-burst, publish-bytes-rate, publish-bytes-burst, subscribe-rate, subscribe-burst and user-connections-max",
        "23:18: subscribe-rate has to be a whole number from 0 (no limit) to 1000000000",
    ];
    assert_eq!(told, expected);
}

#[test]
fn what_is_no_toml_is_told_with_its_place() {
    let told = mistakes("[[allow]]\nusers = [\"\u{e4}\", x]\n");
    assert!(told[0].starts_with("2:15: not TOML: "), "{told:?}");
    let told = mistakes("allow = 3\ndeny = [4]\ngroups = 5\n");
    assert_eq!(told.len(), 3);
    assert!(told[0].starts_with("1:9: allow has to be an array of tables"), "{told:?}");
}

#[test]
fn of_many_mistakes_the_first_are_told() {
    let text = "[[allow]]\nx = 1\n".repeat(100);
    let mistakes = parse(&text).expect_err("mistakes");
    assert_eq!(mistakes.iter().count(), MISTAKES_MAX);
    let shown = mistakes.to_string();
    assert!(shown.starts_with("1:1: the rule has no filter"), "{shown}");
    assert!(shown.ends_with("(and 19 mistakes more, or even more)"), "{shown}");
}

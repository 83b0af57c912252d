//! `push-server acl`, `check-config` and a start that cannot be.

use std::fs;

use push_tests::skip::TestResult;

use crate::rig::{EXIT_INVALID, Files, OPEN_BUT_SECRETS, run};

pub(crate) fn a_file_with_mistakes_stops_the_start_and_the_check() -> TestResult {
    let files = Files::new("[[allow]]\npublish = [\"a+\"]\nsubscribe = \"#\"\n");
    let (rules, settings) = (files.rules(), files.directory().join("push.toml"));
    let rules = rules.to_str().expect("a plain path");
    let data = files.directory().join("data");
    let text = format!("acl = \"{rules}\"\ndurability = \"off\"\nhttp = \"off\"\n");
    fs::write(&settings, text).expect("write the settings");
    let settings = settings.to_str().expect("a plain path");
    let data = data.to_str().expect("a plain path");
    let place = format!("{rules}:2:12: \"a+\" is no filter: + must be the whole");
    let (code, _, said) = run(&["check-config", settings])?;
    assert_eq!(code, Some(EXIT_INVALID), "{said}");
    assert!(said.contains(&format!("{settings}:1: acl = ")) && said.contains(&place), "{said}");
    let run_flags = ["run", "--listen", "127.0.0.1:0", "--kernel-path", "off"];
    let flags = [&run_flags[..], &["--config", settings, "--data-dir", data]].concat();
    let (code, _, said) = run(&flags)?;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(&place) && said.contains("(and 1 mistakes more)"), "{said}");
    let question = ["acl", "check", "--file", rules, "--client", "c", "publish", "a"];
    let (code, _, said) = run(&question)?;
    assert_eq!(code, Some(EXIT_INVALID), "{said}");
    assert!(said.contains(&place) && said.contains(":3:13: subscribe has to be"), "{said}");
    Ok(())
}

pub(crate) fn the_check_says_the_verdict_and_its_line() -> TestResult {
    let files = Files::new(OPEN_BUT_SECRETS);
    let rules = files.rules();
    let rules = rules.to_str().expect("a plain path");
    let check = |client, action, topic| {
        run(&["acl", "check", "--file", rules, "--client", client, action, topic])
    };
    let (code, said, _) = check("friend", "publish", "secret/a")?;
    assert_eq!((code, said), (Some(0), format!("allowed by {rules}:3: publish = [\"#\"]\n")));
    let (code, said, _) = check("stranger", "publish", "secret/a")?;
    assert_eq!((code, said), (Some(1), format!("denied by {rules}:8: publish = [\"secret/#\"]\n")));
    let (code, said, _) = check("stranger", "subscribe", "#")?;
    let expected = format!(
        "allowed by {rules}:4: subscribe = [\"#\"]\n\
         without messages that are denied by {rules}:9: subscribe = [\"secret/#\"]\n"
    );
    assert_eq!((code, said), (Some(0), expected));
    let (code, said, _) = check("stranger", "subscribe", "$SYS/#")?;
    assert_eq!((code, said), (Some(1), format!("denied: no line of {rules} allows it\n")));
    let (code, _, said) = check("c", "publish", "a/+")?;
    assert_eq!(code, Some(EXIT_INVALID), "{said}");
    Ok(())
}

pub(crate) fn an_imported_file_says_what_is_different() -> TestResult {
    let files = Files::new("");
    let theirs = files.directory().join("mosquitto.acl");
    let theirs = theirs.to_str().expect("a plain path");
    fs::write(theirs, "user ada\ntopic read a/#\npattern write devices/%u/#\n").expect("written");
    let (code, rules, said) = run(&["acl", "import", theirs])?;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains(&format!("different: {theirs}:3: mosquitto lets a user")), "{said}");
    files.write(&rules);
    let ours = files.rules();
    let ours = ours.to_str().expect("a plain path");
    let asked = ["acl", "check", "--file", ours, "--user", "ada", "--client", "c"];
    for (action, topic, expected) in [
        ("subscribe", "a/b", 0),
        ("publish", "a/b", 1),
        ("publish", "devices/ada/x", 0),
        ("publish", "devices/bob/x", 1),
    ] {
        let (code, said, _) = run(&[&asked[..], &[action, topic]].concat())?;
        assert_eq!(code, Some(expected), "{action} {topic}: {said}");
    }
    fs::write(theirs, "topic read a/%c\n").expect("written");
    let (code, _, said) = run(&["acl", "import", theirs])?;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.starts_with(&format!("left out: {theirs}:1: mosquitto takes %u")), "{said}");
    let (code, _, said) = run(&["acl", "import", "/nowhere"])?;
    assert_eq!(code, Some(EXIT_INVALID), "{said}");
    Ok(())
}

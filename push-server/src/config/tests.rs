//! Claims about precedence and about every message a wrong setting gets.

mod authentication;
mod listeners;
mod reload;

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;

use clap::{Args, FromArgMatches};
use toml::Value;

use super::*;

/// The flags of `push-server run`.
fn flags(arguments: &[&str]) -> Result<Settings, clap::Error> {
    let command = Settings::augment_args(clap::Command::new("run").no_binary_name(true));
    Settings::from_arg_matches(&command.try_get_matches_from(arguments)?)
}

fn load(arguments: &[&str], file: &str) -> Result<Loaded, Vec<String>> {
    let mut on_disk = tempfile::NamedTempFile::new().expect("file");
    on_disk.write_all(file.as_bytes()).expect("write");
    let path = on_disk.path().display().to_string();
    Loaded::new(&flags(arguments).expect("valid flags"), Some(on_disk.path())).map_err(|errors| {
        errors.iter().map(|error| error.to_string().replace(&path, "push.toml")).collect()
    })
}

fn refusals(arguments: &[&str], file: &str) -> Vec<String> {
    load(arguments, file).expect_err("refused")
}

fn flag_refusal(arguments: &[&str]) -> String {
    let error = flags(arguments).expect_err("refused");
    assert_eq!(error.exit_code(), 2);
    error.to_string()
}

#[test]
fn flag_goes_over_file_and_file_over_default() {
    let file = "receive-max = 10\ninflight-max = 11\nlisten = ['127.0.0.1:2000']\n";
    let loaded = load(&["--receive-max", "20", "--listen", "[::1]:3000"], file).expect("valid");
    let limits = &loaded.config.limits;
    assert_eq!((limits.receive_max, limits.inflight_max), (20, 11));
    assert_eq!(limits.topic_levels_max, Limits::default().topic_levels_max);
    assert_eq!(loaded.config.listen, ["[::1]:3000".parse().expect("address")]);
    assert!(!loaded.listen_is_default);
}

#[test]
fn nothing_said_is_the_default() {
    let loaded = Loaded::new(&Settings::default(), None).expect("valid");
    assert!(loaded.listen_is_default);
    assert_eq!(loaded.config.to_toml(), Config::default().to_toml());
}

#[test]
fn every_setting_is_a_flag_a_key_and_an_entry_by_the_same_name() {
    let command = Settings::augment_args(clap::Command::new("run"));
    let flags: BTreeSet<_> = command.get_arguments().filter_map(clap::Arg::get_long).collect();
    let entries = Config::default().entries();
    assert_eq!(flags, entries.iter().map(|(key, _)| key.as_str()).collect());
    // That each is a key, too: all of them are in this file, which is read elsewhere.
    let keys = ALL_SET.lines().filter_map(|line| line.split_once(" = "));
    assert_eq!(keys.map(|(key, _)| key).collect::<BTreeSet<_>>(), flags);
}

#[test]
fn an_unknown_key_gets_the_nearest_one_or_where_they_are_listed() {
    for (file, message) in [
        ("sharts = 1", "push.toml:1: sharts: unknown key; did you mean shards?"),
        (
            "keep_alive_max_secs = 1",
            "push.toml:1: keep_alive_max_secs: unknown key; did you mean keep-alive-max-secs?",
        ),
        (
            "max-conections = 1",
            "push.toml:1: max-conections: unknown key; did you mean max-connections?",
        ),
        (
            "nonsense = 1",
            "push.toml:1: nonsense: unknown key; `push-server run --help` lists the keys",
        ),
    ] {
        assert_eq!(refusals(&[], file), [message]);
    }
}

#[test]
fn a_list_of_one_may_be_the_text_alone() {
    let one = "listen = '[::1]:1'\nws-listen = '[::1]:2'\niface = 'lo'\ndenied-filter = 'a/#'";
    let lists =
        "listen = ['[::1]:1']\nws-listen = ['[::1]:2']\niface = ['lo']\ndenied-filter = ['a/#']";
    let [one, lists] = [one, lists].map(|file| load(&[], file).expect("valid").config);
    assert_eq!(one.listen, ["[::1]:1".parse().expect("address")]);
    assert_eq!(one.to_toml(), lists.to_toml());
}

#[test]
fn sizes_and_times_take_units_as_flag_and_key() {
    let file = "max-packet-bytes = '1MiB'\nkeep-alive-max-secs = '10m'\nretained-bytes-max = 5000";
    let config = load(&["--outbox-bytes-max", "64MiB", "--outbox-age-max-secs=7d"], file);
    let config = config.expect("valid").config;
    let limits = &config.limits;
    assert_eq!((limits.packet_bytes_max, limits.keep_alive_max_secs), (1 << 20, 600));
    assert_eq!((config.retained_bytes_max, limits.outbox_bytes_max), (5_000, 64 << 20));
    assert_eq!(config.outbox_age_max_secs, 604_800);
    assert_eq!(
        refusals(&[], "connect-timeout-secs = '20m'"),
        [
            "push.toml:1: connect-timeout-secs = '20m': expected a time from 1 to 600 seconds, as 600 \
          or 10m"
        ]
    );
}

/// One value of each setting that is no default, as a file.
const ALL_SET: &str = include_str!("tests/all_set.toml");

#[test]
fn effective_settings_are_a_file_that_gives_them_again() {
    let from_file = load(&[], ALL_SET).expect("valid").config;
    assert_eq!(from_file.to_toml(), ALL_SET);
    let arguments: Vec<String> = from_file
        .entries()
        .into_iter()
        .flat_map(|(key, value)| match value.expect("all are set") {
            Value::Array(items) => items
                .iter()
                .map(|item| format!("--{key}={}", item.as_str().unwrap_or("")))
                .collect(),
            Value::String(text) => vec![format!("--{key}={text}")],
            value => vec![format!("--{key}={value}")],
        })
        .collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    assert_eq!(load(&arguments, "").expect("valid").config.to_toml(), ALL_SET);
}

#[test]
fn status_is_a_flag_with_or_without_value() {
    let status =
        |arguments: &[&str]| load(arguments, "status = true").expect("valid").config.status;
    assert!(status(&["--status"]) && status(&[]));
    assert!(!status(&["--status=false"]));
}

#[test]
fn a_wrong_flag_names_flag_value_and_what_is_allowed() {
    for (arguments, parts) in [
        (["--shards", "65"], ["'65' for '--shards <N>'", "expected a whole number from 1 to 64"]),
        (["--shards", "x"], ["'x' for '--shards <N>'", "expected a whole number from 1 to 64"]),
        (["--listen", "1883"], ["'1883' for '--listen <ADDR:PORT>'", "expected ADDR:PORT, as"]),
        (["--iface", "a b"], ["'a b' for '--iface <NAME>'", "expected the name of a network"]),
        (["--data-dir", ""], ["'' for '--data-dir <DIR>'", "expected the path of a directory"]),
        (["--users", "d/"], ["'d/' for '--users <FILE>'", "expected the path of a file"]),
        (["--log", "a=b=c"], ["'a=b=c' for '--log <FILTER>'", "expected a level (error, warn"]),
        (["--kernel-path", "on"], ["'on' for '--kernel-path <WHEN>'", "auto, require, off"]),
        (["--retain", "no"], ["'no' for '--retain <SWITCH>'", "on, off"]),
        (
            ["--max-packet-bytes", "127"],
            ["'127' for '--max-packet-bytes", "a size from 128 to 268435460 bytes"],
        ),
    ] {
        let message = flag_refusal(&arguments);
        for part in parts {
            assert!(message.contains(part), "no `{part}` in: {message}");
        }
    }
    assert!(flag_refusal(&["--sharts", "1"]).contains("--shards"), "suggests the right one");
}

#[test]
fn another_server_is_a_host_and_a_port() {
    for good in ["a:1", "mqtt-1.example.org:65535", "10.0.0.1:1883", "[2001:db8::1]:1883"] {
        let config = load(&["--redirect-to", good], "").expect("valid").config;
        assert_eq!(config.redirect_to.as_deref(), Some(good));
    }
    let long = format!("{}:1", "a".repeat(254));
    for bad in ["", "a", ":1", "a:", "a:0", "a:65536", "a b:1", "::1:1", "[::g]:1", "a/b:1", &long]
    {
        let message = flag_refusal(&["--redirect-to", bad]);
        assert!(message.contains("expected HOST:PORT"), "{bad}: {message}");
    }
}

#[test]
fn prefix_of_response_topics_leaves_room_for_a_client_id() {
    for good in ["response", "a/b", "$r"] {
        let limits = load(&["--response-topic-prefix", good], "").expect("valid").config.limits;
        assert_eq!(limits.response_topic_prefix.as_deref(), Some(good));
    }
    for bad in ["", "a/", "a/#", "+", &"a".repeat(1_001), &"a/".repeat(16).replace("//", "/")] {
        let message = flag_refusal(&["--response-topic-prefix", bad]);
        assert!(message.contains("expected a topic of at most 1000 bytes"), "{bad}: {message}");
    }
}

#[test]
fn a_wrong_key_names_line_key_value_and_what_is_allowed() {
    for (file, message) in [
        ("\nshards = 65", "push.toml:2: shards = 65: expected a whole number from 1 to 64"),
        ("shards = -1", "push.toml:1: shards = -1: expected a whole number from 1 to 64"),
        ("shards = 'x'", "push.toml:1: shards = 'x': expected a whole number from 1 to 64"),
        (
            "listen = [\n  '127.0.0.1:1',\n  'here',\n]",
            "push.toml:3: listen = 'here': expected ADDR:PORT, as 127.0.0.1:1883 or [::1]:1883",
        ),
        (
            "listen = '[::1]'",
            "push.toml:1: listen = '[::1]': expected ADDR:PORT, as 127.0.0.1:1883 or [::1]:1883",
        ),
        ("listen = 1883", "push.toml:1: listen = 1883: expected a text, or a list of texts"),
        ("status = 1", "push.toml:1: status = 1: expected a boolean"),
        (
            "kernel-path = 'on'",
            "push.toml:1: kernel-path = 'on': expected \"auto\", \"require\" or \"off\"",
        ),
        ("retain = 'no'", "push.toml:1: retain = 'no': expected \"on\" or \"off\""),
        ("retain = true", "push.toml:1: retain = true: expected \"on\" or \"off\""),
    ] {
        assert_eq!(refusals(&[], file), [message]);
    }
}

#[test]
fn every_mistake_of_a_file_is_reported_at_once() {
    let messages = refusals(&[], "shards = 0\nsharts = 1\n[mqtt]\nreceive-max = 1\n");
    let begins =
        ["push.toml:1: shards = 0:", "push.toml:2: sharts: unknown", "push.toml:3: mqtt: unknown"];
    assert_eq!(messages.len(), begins.len(), "{messages:?}");
    for (message, begin) in messages.iter().zip(begins) {
        assert!(message.starts_with(begin), "{messages:?}");
    }
}

#[test]
fn mistakes_of_one_value_do_not_hide_those_between_values() {
    let messages = refusals(&[], "shards = 0\noutbox-bytes-max = 128\nsharts = 1\n");
    let begins = [
        "push.toml:1: shards = 0:",
        "push.toml:2: outbox-bytes-max = 128: expected at least max-packet-bytes",
        "push.toml:3: sharts: unknown",
    ];
    assert_eq!(messages.len(), begins.len(), "{messages:?}");
    for (message, begin) in messages.iter().zip(begins) {
        assert!(message.starts_with(begin), "{messages:?}");
    }
}

#[test]
fn a_refused_value_is_in_no_contradiction() {
    for file in [
        "scram-required = true\nusers = 5",
        "scram-required = true\nscram-users = 5",
        "outbox-bytes-max = 200\nmax-packet-bytes = 127",
        "listen = ['here']\nws-listen = ['127.0.0.1:1883']",
    ] {
        assert_eq!(refusals(&[], file).len(), 1, "{file}");
    }
}

#[test]
fn what_the_machine_decides_is_shown_where_nothing_is_set() {
    let config = load(&[], "will-bytes-total = 5").expect("valid").config;
    let here = Config {
        totals: config.totals.within(1 << 30),
        connections_max: Some(77),
        ..config.clone()
    };
    let shown = config.to_toml_on(&here);
    for line in [
        "# max-connections is not set: 77 on this machine",
        "# session-bytes-total is not set: 134217728 on this machine",
        "will-bytes-total = 5",
        "# iface is not set",
    ] {
        assert!(shown.lines().any(|found| found == line), "no `{line}` in {shown}");
    }
}

#[test]
fn what_is_no_toml_is_refused_with_its_line() {
    let messages = refusals(&[], "shards = 1\nshards\n");
    assert!(messages[0].starts_with("push.toml:2: not TOML: "), "{messages:?}");
    let messages = refusals(&[], "shards = 1\nshards = 2\n");
    assert!(messages[0].starts_with("push.toml:2: not TOML: duplicate key"), "{messages:?}");
}

#[test]
fn a_file_that_is_not_there_is_refused_by_name() {
    let errors = Loaded::new(&Settings::default(), Some(Path::new("/nowhere/push.toml")));
    let message = errors.expect_err("refused")[0].to_string();
    assert!(message.starts_with("cannot read /nowhere/push.toml: No such file"), "{message}");
}

#[test]
fn settings_that_contradict_each_other_name_both() {
    assert_eq!(
        refusals(&["--max-packet-bytes", "4000"], "\noutbox-bytes-max = 3000"),
        ["push.toml:2: outbox-bytes-max = 3000: expected at least max-packet-bytes, which is 4000"]
    );
    assert_eq!(
        refusals(&["--max-packet-bytes", "67108864"], ""),
        ["outbox-bytes-max (by default) = 33554432: expected at least max-packet-bytes, which is \
          67108864"]
    );
    assert_eq!(
        refusals(&["--input-bytes-max", "67108863"], ""),
        [
            "--input-bytes-max = 67108863: expected at least 4 times max-packet-bytes, which is 67108864"
        ]
    );
    assert_eq!(
        refusals(&["--http", "127.0.0.1:1883"], ""),
        ["--http = 127.0.0.1:1883: expected an address that is not one of listen"]
    );
    assert_eq!(
        refusals(&["--scram-required"], ""),
        ["--scram-required = true: expected a file of users, by users"]
    );
}

#[test]
fn listen_addresses_are_some_and_each_once() {
    assert_eq!(
        refusals(&[], "listen = []"),
        ["push.toml:1: listen = 0 addresses: expected at least one address for clients"]
    );
    assert_eq!(
        refusals(&["--listen", "[::1]:1", "--listen", "[::1]:1"], ""),
        ["--listen = [::1]:1: expected each address once"]
    );
    let any_port = load(&["--listen", "[::1]:0", "--listen", "[::1]:0"], "").expect("valid");
    assert_eq!(any_port.config.listen.len(), 2);
}

#[test]
fn nobody_listens_for_websocket_unless_asked() {
    let config = Loaded::new(&Settings::default(), None).expect("valid").config;
    assert_eq!(config.ws_listen, []);
    assert!(load(&[], "ws-listen = []").expect("valid").config.ws_listen.is_empty());
    let loaded = load(&["--ws-listen", "[::1]:9001"], "ws-listen = ['127.0.0.1:1']");
    assert_eq!(loaded.expect("valid").config.ws_listen, ["[::1]:9001".parse().expect("address")]);
}

#[test]
fn http_can_be_off() {
    for (flags, file) in [(&["--http", "off"][..], ""), (&[], "http = 'off'")] {
        let config = load(flags, file).expect("valid").config;
        assert_eq!(config.http, None);
        assert!(config.to_toml().contains("\nhttp = \"off\"\n"));
    }
    let message = flag_refusal(&["--http", "of"]);
    assert!(message.contains("expected off or ADDR:PORT"), "{message}");
}

#[test]
fn websocket_addresses_are_each_once_and_nobody_elses() {
    assert_eq!(
        refusals(&["--ws-listen", "[::1]:1", "--ws-listen", "[::1]:1"], ""),
        ["--ws-listen = [::1]:1: expected each address once"]
    );
    assert_eq!(
        refusals(&["--ws-listen", "127.0.0.1:1883"], ""),
        ["--ws-listen = 127.0.0.1:1883: expected an address that is not one of listen"]
    );
    assert_eq!(
        refusals(&["--http", "127.0.0.1:9001"], "\nws-listen = ['127.0.0.1:9001']"),
        ["--http = 127.0.0.1:9001: expected an address that is not one of ws-listen"]
    );
    let many = format!("ws-listen = [{}]", "'127.0.0.1:0',".repeat(65));
    assert_eq!(
        refusals(&[], &many),
        ["push.toml:1: ws-listen = 65 addresses: expected at most 64 addresses"]
    );
}

#[test]
fn a_server_may_listen_for_tls_alone() {
    let file = "listen = []\ntls-listen = '[::1]:8883'\ntls-cert = '/cert'\ntls-key = '/key'\n";
    let config = load(&[], file).expect("valid").config;
    let address = ListenAddress::Tcp("[::1]:8883".parse().expect("address"));
    let listeners = config.listeners();
    assert_eq!(listeners.len(), 1);
    assert_eq!((listeners[0].kind, &listeners[0].address), (ListenerKind::Tls, &address));
    assert!(config.has_tls_listener());
    assert!(!Config::default().has_tls_listener());
}

#[test]
fn certificates_have_keys_and_listeners_and_the_reverse() {
    let two = ["--tls-listen", "[::1]:1", "--wss-listen", "[::1]:2"];
    assert_eq!(
        refusals(&two, ""),
        ["--tls-listen = [::1]:1: expected a certificate with it, by tls-cert and tls-key"]
    );
    assert_eq!(
        refusals(&two, "tls-cert = ['/a', '/b']\ntls-key = '/a'"),
        ["push.toml:2: tls-key = 1 files: expected one for each tls-cert, which is given 2 times"]
    );
    assert_eq!(
        refusals(&[], "tls-cert = '/a'\ntls-key = '/a'"),
        ["push.toml:1: tls-cert = /a: expected a listener with it, by tls-listen or wss-listen"]
    );
    assert_eq!(
        refusals(&["--tls-listen", "[::1]:1", "--ws-listen", "[::1]:1"], "tls-cert = 1"),
        [
            "--ws-listen = [::1]:1: expected an address that is not one of tls-listen",
            "push.toml:1: tls-cert = 1: expected a text, or a list of texts"
        ]
    );
}

#[test]
fn what_clients_are_asked_for_has_somebody_who_signs_it() {
    assert_eq!(
        refusals(&["--tls-client-auth", "optional"], ""),
        ["--tls-client-auth = optional: expected a file of those who sign clients' certificates, \
             by tls-client-ca"]
    );
    assert_eq!(
        refusals(&["--tls-client-ca", "/ca"], ""),
        ["--tls-client-ca = /ca: expected tls-client-auth optional or required with it"]
    );
    assert_eq!(
        refusals(&["--tls-client-crl", "/crl"], ""),
        ["--tls-client-crl = /crl: expected tls-client-ca with it, for the certificates that it \
             revokes"]
    );
    assert_eq!(
        refusals(&[], "tls-min = 1.3"),
        ["push.toml:1: tls-min = 1.3: expected \"1.2\" or \"1.3\""]
    );
}

#[test]
fn denied_filters_are_filters_that_are_not_shared_and_not_too_many() {
    let shared = refusals(&["--denied-filter", "a/#"], "denied-filter = ['$share/g/a']");
    assert_eq!(shared.len(), 1, "{shared:?}");
    assert!(shared[0].ends_with("expected a topic filter without $share/, as a/+/#"), "{shared:?}");
    let many: String = (0..65).map(|n| format!("'{n}',")).collect();
    assert_eq!(
        refusals(&[], &format!("denied-filter = [{many}]")),
        ["push.toml:1: denied-filter = 65 filters: expected at most 64 filters"]
    );
}

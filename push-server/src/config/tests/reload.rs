//! Claims about what another reading of the settings changes while the server runs, and what needs a restart.

use super::*;

/// What a reload applies: all else needs a restart.
const LIVE: [&str; 14] = [
    "tls-cert",
    "tls-key",
    "tls-client-ca",
    "tls-client-crl",
    "tls-min",
    "reload-secs",
    "anonymous",
    "users",
    "jwt-keys",
    "jwt-issuer",
    "jwt-audience",
    "scram-required",
    "acl",
    "log",
];

/// What the server is started with.
const STARTED: &str = "listen = ['0.0.0.0:1883']\nusers = '/etc/users'\n";

/// What changes, and what needs a restart, as lists of keys; the configuration in force then.
fn reload(start: &str, new: &str) -> Result<(String, String, Config), Vec<String>> {
    let start = load(&[], start).expect("valid");
    let new = load(&[], new)?;
    let reloaded = start
        .reloaded(&start.config, &new)
        .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>())?;
    let Reloaded { config, changed, needs_restart } = reloaded;
    Ok((changed.join(" "), needs_restart.join(" "), config))
}

#[test]
fn each_setting_is_applied_by_a_reload_or_needs_a_restart() {
    assert_eq!(Config::live_keys(), LIVE);
    let (mut start, all) = (Config::default(), load(&[], ALL_SET).expect("valid").config);
    let keys: Vec<_> = start.differing(&all);
    assert_eq!(keys.len(), start.entries().len(), "each has another value");
    for key in &keys {
        start.take_live(key, &all);
    }
    let left = start.differing(&all);
    let (live, others): (Vec<_>, Vec<_>) = keys.into_iter().partition(|key| !left.contains(key));
    assert_eq!(live, LIVE);
    assert_eq!(others, left);
}

#[test]
fn what_a_reload_applies_changes_and_the_rest_is_named() {
    let new = "listen = ['0.0.0.0:1884']\nusers = '/etc/other'\nlog = 'debug'\nshards = 63\n";
    let (changed, needs_restart, config) = reload(STARTED, new).expect("valid");
    assert_eq!(changed, "users log");
    assert_eq!(needs_restart, "listen shards");
    assert_eq!(config.authentication.users_file.as_deref(), Some(Path::new("/etc/other")));
    assert_eq!(config.listen, ["0.0.0.0:1883".parse().expect("an address")]);
    let (changed, needs_restart, _) = reload(STARTED, STARTED).expect("valid");
    assert_eq!((&*changed, &*needs_restart), ("", ""));
}

#[test]
fn a_table_of_a_listener_that_has_changed_needs_a_restart() {
    let table = |port| format!("[[listener]]\naddress = '127.0.0.1:{port}'\n");
    let (changed, needs_restart, _) = reload(&table(1883), &table(1884)).expect("valid");
    assert_eq!((&*changed, &*needs_restart), ("", "listener"));
}

#[test]
fn a_file_with_a_mistake_is_refused_whole() {
    let refused = reload(STARTED, "log = 'debug'\nshards = 0\nuser = 'x'\n").expect_err("refused");
    assert_eq!(refused.len(), 2, "{refused:?}");
    assert!(refused[0].starts_with("push.toml:2: shards = 0: expected "), "{refused:?}");
    assert!(refused[1].starts_with("push.toml:3: user: unknown key"), "{refused:?}");
}

#[test]
fn nothing_opens_that_the_running_listeners_were_not_started_for() {
    // Valid for a start: only this machine would reach the server.
    let refused = reload(STARTED, "listen = ['127.0.0.1:1883']\n").expect_err("it would be open");
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert!(refused[0].contains("0.0.0.0:1883") && refused[0].contains("--users"), "{refused:?}");
}

#[test]
fn what_belongs_to_a_setting_that_needs_a_restart_waits_with_it() {
    let new =
        "tls-listen = ['0.0.0.0:8883']\ntls-cert = '/a.pem'\ntls-key = '/a.key'\nlog = 'warn'\n";
    let new = format!("{STARTED}{new}");
    let (changed, needs_restart, config) = reload(STARTED, &new).expect("valid");
    assert_eq!(changed, "log");
    assert_eq!(needs_restart, "tls-cert tls-key tls-listen");
    assert!(config.tls.cert_files.is_empty());
}

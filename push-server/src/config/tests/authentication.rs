//! Claims about who may connect, and what a server is not started with.

use super::*;

/// The addresses that a server with these settings would not start with.
fn open_by_accident(file: &str) -> Vec<String> {
    let refusals = load(&[], file).err().unwrap_or_default().into_iter();
    refusals
        .map(|message| {
            let (address, why) =
                message.split_once(": expected an address that only").expect("why");
            assert!(
                why.contains("--users FILE") && why.contains("--anonymous always"),
                "{message}"
            );
            address.split_once(" = ").expect("a value").1.to_owned()
        })
        .collect()
}

#[test]
fn address_that_other_machines_reach_is_not_open_by_accident() {
    for (listen, open) in [
        ("127.0.0.1:1", ""),
        ("127.9.9.9:1", ""),
        ("[::1]:1", ""),
        ("[::ffff:127.0.0.1]:1", ""),
        ("0.0.0.0:1", "0.0.0.0:1"),
        ("[::]:1", "[::]:1"),
        ("192.0.2.1:1", "192.0.2.1:1"),
        ("[fe80::1]:1", "[fe80::1]:1"),
        ("[::ffff:192.0.2.1]:1", "[::ffff:192.0.2.1]:1"),
    ] {
        for key in ["listen", "ws-listen"] {
            let file = format!("{key} = ['{listen}']\nhttp = 'off'");
            let expected: Vec<_> = [open].into_iter().filter(|open| !open.is_empty()).collect();
            assert_eq!(open_by_accident(&file), expected, "{file}");
            for more in
                ["anonymous = 'always'", "users = '/u'", "users = '/u'\nanonymous = 'never'"]
            {
                load(&[], &format!("{file}\n{more}")).expect("somebody decided who may connect");
            }
        }
    }
    let all = "listen = ['0.0.0.0:1', '127.0.0.1:2']\nws-listen = '[::]:3'";
    assert_eq!(open_by_accident(all), ["0.0.0.0:1", "[::]:3"]);
}

#[test]
fn certificate_that_clients_must_have_is_enough_where_it_is_asked_for() {
    let tls = "tls-cert = 'c'\ntls-key = 'k'\ntls-client-ca = 'ca'\nlisten = []\n";
    let reached = format!("{tls}tls-listen = '0.0.0.0:1'\nwss-listen = '0.0.0.0:2'\n");
    load(&[], &format!("{reached}tls-client-auth = 'required'")).expect("valid");
    let optional = format!("{reached}tls-client-auth = 'optional'");
    assert_eq!(open_by_accident(&optional), ["0.0.0.0:1", "0.0.0.0:2"]);
    let beside = format!("{reached}tls-client-auth = 'required'\nws-listen = '0.0.0.0:3'");
    assert_eq!(open_by_accident(&beside), ["0.0.0.0:3"]);
}

#[test]
fn server_that_nobody_could_connect_to_is_refused() {
    let refused = refusals(&["--anonymous", "never"], "");
    assert_eq!(refused.len(), 1);
    assert!(refused[0].starts_with("--anonymous = never: expected something"), "{refused:?}");
}

#[test]
fn file_of_users_may_have_its_former_name() {
    for file in ["users = '/u'", "scram-users = '/u'"] {
        let config = load(&[], file).expect("valid").config;
        assert_eq!(config.authentication.users_file, Some("/u".into()), "{file}");
        assert!(config.to_toml().contains("\nusers = \"/u\"\n"));
    }
    let by_flag = load(&["--scram-users", "/f"], "scram-users = '/u'").expect("valid");
    assert_eq!(by_flag.config.authentication.users_file, Some("/f".into()));
    assert_eq!(
        refusals(&[], "users = '/u'\nscram-users = '/v'"),
        ["push.toml:1: users = '/u': expected the setting once; line 2 has it by another name"]
    );
}

#[test]
fn what_belongs_to_a_hook_needs_one() {
    let files = ["--auth-http-ca", "/ca", "--auth-http-bearer-file", "/token"];
    assert_eq!(
        refusals(&files, ""),
        [
            "--auth-http-ca = /ca: expected a hook with it, by auth-http",
            "--auth-http-bearer-file = /token: expected a hook with it, by auth-http",
        ]
    );
    let plain = refusals(&files[..2], "auth-http = 'http://127.0.0.1:1/'");
    assert_eq!(
        plain,
        ["--auth-http-ca = /ca: expected an auth-http that begins with https:// with it"]
    );
    let file = "listen = '0.0.0.0:1'\nauth-http = 'https://a.example/'";
    load(&files, file).expect("a hook says who clients are");
}

#[test]
fn names_in_certificates_say_who_clients_are_where_certificates_are_asked_for() {
    let tls = "tls-cert = 'c'\ntls-key = 'k'\ntls-client-ca = 'ca'\nlisten = []\n\
               tls-listen = '0.0.0.0:1'\ncertificate-user = 'cn'\n";
    for mode in ["required", "optional"] {
        let file = format!("{tls}tls-client-auth = '{mode}'\n");
        let config = load(&[], &file).expect("somebody says who clients are").config;
        let listener = &config.listeners()[0];
        assert!(config.authentication.has_source(listener));
        assert!(!config.authentication.allows_anonymous(listener));
        load(&[], &format!("{file}anonymous = 'never'")).expect("they can connect");
        // Where nobody is asked for a certificate, nothing says who clients are.
        let beside = format!("{file}ws-listen = ['0.0.0.0:3', '127.0.0.1:4']");
        assert_eq!(open_by_accident(&beside), ["0.0.0.0:3"]);
    }
    let refused = refusals(&["--certificate-user", "cn"], "");
    assert_eq!(
        refused,
        ["--certificate-user = cn: expected tls-client-auth optional or required with it"]
    );
}

#[test]
fn what_is_asked_of_tokens_needs_keys_for_them() {
    for key in ["jwt-issuer", "jwt-audience"] {
        let refused = refusals(&[&format!("--{key}"), "me"], "");
        let expected = format!("--{key} = me: expected a file of keys with it, by jwt-keys");
        assert_eq!(refused, [expected]);
        assert_eq!(refusals(&[], &format!("{key} = ''\njwt-keys = 'k'")).len(), 1);
        let many = format!("{key} = {:?}\njwt-keys = 'k'", vec!["a"; 65]);
        assert!(refusals(&[], &many)[0].contains("65 names: expected at most 64 names"));
    }
    let file = "jwt-keys = '/k'\njwt-issuer = 'me'\njwt-audience = ['a', 'b']\n";
    let config = load(&[], &format!("{file}listen = '0.0.0.0:1'\n")).expect("valid").config;
    assert_eq!(config.authentication.jwt.audiences, ["a", "b"]);
    assert!(config.authentication.has_secrets());
}

//! Claims about who may connect, as settings say it.

use super::*;

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

#[test]
fn server_that_nobody_could_connect_to_is_refused() {
    let refused = refusals(&["--anonymous", "never"], "");
    assert_eq!(refused.len(), 1);
    assert!(refused[0].starts_with("--anonymous = never: expected a file of users"), "{refused:?}");
}

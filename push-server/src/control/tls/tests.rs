//! Which certificate a client gets, what it is asked for, how it resumes, and what a reload does.

mod fixtures;

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::AtomicU64;

use push_common::answer_table::{Record, RecordShape};
use push_common::clock::Monotonic;
use push_common::heartbeat::PINGREQ;
use push_common::rate::Pace;
use rcgen::{KeyPair, date_time_ymd};
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::ALL_CIPHER_SUITES;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::TLS13;
use rustls::{ClientConnection, Error, HandshakeKind};

use super::*;
use crate::config::{ListenAddress, ListenerTable, TlsVersionMode};
use crate::transport::{Kind, Opening, Scratch, Table, Transport};
use fixtures::{
    Authority, BOTH, ECDSA, Files, Issued, both_versions, client, client_of, config, connect,
    current, full, handshake, load, refusal, resumed, shown,
};

impl Tls {
    /// What an operator's reload does to it.
    fn reload(&self) {
        let settings = self.served().settings.clone();
        if let Ok(reading) = self.read_again(&settings) {
            reading.serve();
        }
    }
}

#[test]
fn a_client_gets_the_certificate_of_the_host_that_it_names_and_any_other_the_first() {
    let (authority, files, mut settings) =
        (Authority::new("CA"), Files::new(), TlsSettings::default());
    let names: [&[&str]; 3] = [&["a.example"], &["B.example", "c.example"], &["*.wild.example"]];
    let issued = names.map(|hosts| authority.issue(hosts));
    for (name, issued) in ["a", "b", "wild"].into_iter().zip(&issued) {
        files.add(&mut settings, name, issued);
    }
    let tls = load(&settings);
    both_versions(|version| {
        let client = client(version, None, ECDSA, &[]);
        for (host, place) in [
            ("a.example", 0),
            ("b.example", 1),
            ("c.EXAMPLE", 1),
            ("x.wild.example", 2),
            ("wild.example", 0),
            ("x.y.wild.example", 0),
            ("unknown.example", 0),
            // No name is sent for an address.
            ("127.0.0.1", 0),
        ] {
            assert_eq!(shown(&tls, &client, host), issued[place].der(), "{host}");
        }
    });
}

#[test]
fn of_several_certificates_for_a_host_a_client_gets_the_first_that_it_knows() {
    let (authority, files, mut settings) =
        (Authority::new("CA"), Files::new(), TlsSettings::default());
    let ed25519 = KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("a key");
    let first = authority.issue_with(&["a.example"], &ed25519, |_| ());
    let second = authority.issue(&["a.example"]);
    files.add(&mut settings, "first", &first);
    files.add(&mut settings, "second", &second);
    let tls = load(&settings);
    both_versions(|version| {
        let shown = |schemes, host| shown(&tls, &client(version, None, schemes, &[]), host);
        assert_eq!(shown(BOTH, "a.example"), first.der());
        assert_eq!(shown(ECDSA, "a.example"), second.der());
        assert_eq!(shown(ECDSA, "unknown.example"), second.der());
    });
}

#[test]
fn mistakes_are_all_told_each_with_file_line_and_remedy() {
    let (authority, files, mut settings) =
        (Authority::new("CA"), Files::new(), TlsSettings::default());
    let (a, b) = (authority.issue(&["a.example"]), authority.issue(&["b.example"]));
    let mut expect = Vec::new();
    let mut pair = |name: &str, cert: &[u8], key: &[u8], expected: &'static str| {
        settings.cert_files.push(files.write(&format!("{name}.pem"), cert));
        settings.key_files.push(files.write(&format!("{name}.key"), key));
        expect.push((format!("{name}."), expected));
    };
    let (a_cert, a_key) = (a.cert.as_bytes(), a.key.as_bytes());
    pair("other", a_cert, b.key.as_bytes(), "is not the key of the first certificate in");
    let swapped = [authority.pem(), a.cert.clone()].concat();
    pair("swapped", swapped.as_bytes(), a_key, "but of number 2: the server's own");
    pair("nocert", a_key, a_key, "has no certificate (-----BEGIN CERTIFICATE-----)");
    pair("nokey", a_cert, a_cert, "has no private key (-----BEGIN PRIVATE KEY-----)");
    pair("der", &a.der(), a_key, "has no PEM section");
    pair("cut", &a_cert[..200], a_key, "line 1: the section that begins here has no END");
    let second = [a.cert.as_str(), "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"];
    let second = second.concat();
    let line = a.cert.lines().count() + 1;
    pair("second", second.as_bytes(), a_key, "the section that begins here is not base64");
    let empty = b"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n";
    pair("empty", empty, a_key, "line 1: this is no valid certificate");
    let pkcs8 = a.key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    pair("locked", a_cert, pkcs8.as_bytes(), "line 1: the key is encrypted");
    let old = "\n-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n";
    pair("old", a_cert, old.as_bytes(), "line 2: the key is encrypted");
    let wrong = "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n";
    pair("wrong", a_cert, wrong.as_bytes(), "line 1: the server cannot use this key");
    settings.client_ca_files.push(files.write("ca", b"nothing"));
    settings.client_crl_files.push(files.write("crl", authority.pem()));
    settings.client_crl_files.push(files.0.path().join("missing"));
    let told = refusal(&settings);
    for (file, expected) in expect.iter().map(|(file, text)| (file.as_str(), *text)).chain([
        ("ca", "has no PEM section"),
        ("crl", "has no list of revoked certificates"),
        ("missing", "cannot be read: No such file"),
    ]) {
        let path = files.0.path().join(file).display().to_string();
        let of_file = |part: &&str| part.starts_with(&path);
        let part = told.split("; /").map(|part| part.trim_start_matches('/'));
        let part = part.map(|part| format!("/{part}")).find(|part| of_file(&part.as_str()));
        let part = part.unwrap_or_else(|| panic!("nothing about {path} in {told}"));
        assert!(part.contains(expected), "no `{expected}` in {part}");
    }
    assert!(told.contains(&format!("line {line}: ")), "{told}");
    assert!(told.contains("(--tls-cert)") && told.contains("(--tls-key)"), "{told}");
    assert!(told.contains("(--tls-client-ca)") && told.contains("(--tls-client-crl)"), "{told}");
    let secret = a.key.lines().nth(1).expect("base64");
    assert!(!told.contains(secret), "a key is told");
    assert_eq!(problems(&config(settings.clone())).len(), expect.len() + 3);
}

#[test]
fn expired_certificates_are_served_and_told() {
    let (authority, files, mut settings) =
        (Authority::new("CA"), Files::new(), TlsSettings::default());
    let key = KeyPair::generate().expect("a key");
    let old = authority.issue_with(&["a.example"], &key, |params| {
        params.not_after = date_time_ymd(2020, 2, 1);
    });
    let early = authority.issue_with(&["b.example"], &key, |params| {
        params.not_before = date_time_ymd(2999, 2, 1);
    });
    files.add(&mut settings, "old", &old);
    files.add(&mut settings, "early", &early);
    let tls = load(&settings);
    assert_eq!(
        shown(&tls, &client(&rustls::version::TLS13, None, ECDSA, &[]), "a.example"),
        old.der()
    );
    let [(_, secs), _] = &tls.status().expiries()[..] else { panic!("two certificates") };
    assert_eq!(date(*secs), "2020-02-01T00:00:00Z");
    let problems: Vec<_> = problems(&config(settings)).into_iter().map(|(.., what)| what).collect();
    assert_eq!(
        problems,
        [
            "has expired on 2020-02-01T00:00:00Z: clients refuse it",
            "is valid from 2999-02-01T00:00:00Z on: clients refuse it"
        ]
    );
}

#[test]
fn the_end_of_a_certificate_is_that_of_the_chain_s_first_to_end() {
    let (authority, files, mut settings) =
        (Authority::new("CA"), Files::new(), TlsSettings::default());
    let key = KeyPair::generate().expect("a key");
    let until = |year| {
        authority.issue_with(&["a.example"], &key, |params| {
            params.not_after = date_time_ymd(year, 1, 1);
        })
    };
    let cert = [until(2040).cert, until(2035).cert].concat();
    files.add(&mut settings, "chain", &Issued { cert, key: key.serialize_pem() });
    let expiries = load(&settings).status().expiries();
    assert_eq!(date(expiries[0].1), "2035-01-01T00:00:00Z");
    assert!(expiries[0].0.ends_with("/chain.pem"), "{expiries:?}");
}

#[test]
fn a_key_that_others_can_read_is_doubted_and_used() {
    let (authority, files, mut settings) =
        (Authority::new("CA"), Files::new(), TlsSettings::default());
    files.add(&mut settings, "a", &authority.issue(&["a.example"]));
    let doubts = |settings: &TlsSettings| {
        let provider = Arc::new(provider::provider());
        Material::read(settings, &provider).expect("valid").doubts
    };
    assert_eq!(doubts(&settings), Vec::<String>::new());
    let open = fs::Permissions::from_mode(0o644);
    fs::set_permissions(&settings.key_files[0], open).expect("a mode");
    let doubts = doubts(&settings);
    assert!(
        matches!(&doubts[..], [doubt] if doubt.contains("can be read by others")),
        "{doubts:?}"
    );
}

#[test]
fn clients_may_name_the_listener_s_protocol_or_none() {
    let (authority, files, mut settings) =
        (Authority::new("CA"), Files::new(), TlsSettings::default());
    files.add(&mut settings, "a", &authority.issue(&["a.example"]));
    let tls = load(&settings);
    both_versions(|version| {
        for (kind, alpn, expected) in [
            (Kind::Tls, &["mqtt"][..], Ok(Some("mqtt"))),
            (Kind::Tls, &["http/1.1", "mqtt"], Ok(Some("mqtt"))),
            (Kind::Tls, &[], Ok(None)),
            (Kind::Tls, &["http/1.1"], Err(Error::NoApplicationProtocol)),
            (Kind::TlsWebSocket, &["h2", "http/1.1"], Ok(Some("http/1.1"))),
            (Kind::TlsWebSocket, &[], Ok(None)),
            (Kind::TlsWebSocket, &["mqtt"], Err(Error::NoApplicationProtocol)),
        ] {
            let client = client(version, None, ECDSA, alpn);
            let named = handshake(current(&tls, kind), &client, "a.example").map(|(server, _)| {
                let named = server.alpn_protocol();
                named.map(|name| String::from_utf8(name.to_vec()).expect("a name"))
            });
            assert_eq!(
                named,
                expected.map(|name: Option<&str>| name.map(str::to_owned)),
                "{alpn:?}"
            );
        }
    });
    assert!(tls.shared().current(Kind::Plain, ClientAuthMode::None).is_none());
    assert!(tls.shared().current(Kind::WebSocket, ClientAuthMode::None).is_none());
}

#[test]
fn the_lowest_version_is_as_set() {
    let (authority, files, mut settings) =
        (Authority::new("CA"), Files::new(), TlsSettings::default());
    files.add(&mut settings, "a", &authority.issue(&["a.example"]));
    settings.version_min = TlsVersionMode::Tls13;
    let tls = load(&settings);
    assert_eq!(connect(&tls, &client(&rustls::version::TLS13, None, ECDSA, &[])), full());
    let refused = connect(&tls, &client(&rustls::version::TLS12, None, ECDSA, &[]));
    assert!(matches!(refused, Err(Error::PeerIncompatible(_))), "{refused:?}");
}

#[test]
fn sessions_resume_at_either_listener_with_a_ticket_each() {
    let (authority, files, mut settings) =
        (Authority::new("CA"), Files::new(), TlsSettings::default());
    files.add(&mut settings, "a", &authority.issue(&["a.example"]));
    let tls = load(&settings);
    both_versions(|version| {
        let client = client(version, None, ECDSA, &[]);
        assert_eq!(connect(&tls, &client), full());
        let again = handshake(current(&tls, Kind::TlsWebSocket), &client, "a.example");
        let (_, ended) = again.expect("served");
        assert_eq!(ended.handshake_kind(), Some(HandshakeKind::Resumed));
        assert_eq!(connect(&tls, &client), resumed());
        if version == &rustls::version::TLS13 {
            assert_eq!(ended.tls13_tickets_received(), 1);
        }
    });
    // Another process has other keys.
    let restarted = load(&settings);
    both_versions(|version| {
        let client = client(version, None, ECDSA, &[]);
        assert_eq!(connect(&tls, &client), full());
        assert_eq!(connect(&restarted, &client), full());
    });
}

#[test]
fn clients_show_a_certificate_as_set_and_resume_without() {
    let (authority, stranger) = (Authority::new("CA"), Authority::new("Another CA"));
    let files = Files::new();
    let mut settings = TlsSettings { client_auth: ClientAuthMode::Required, ..Default::default() };
    files.add(&mut settings, "a", &authority.issue(&["a.example"]));
    settings.client_ca_files.push(files.write("ca.pem", authority.pem()));
    let (own, strange) = (authority.client(7), stranger.client(7));
    let required = load(&settings);
    settings.client_auth = ClientAuthMode::Optional;
    let optional = load(&settings);
    both_versions(|version| {
        let with = |own| client(version, own, ECDSA, &[]);
        let known = with(Some(&own));
        for tls in [&required, &optional] {
            let (server, _) =
                handshake(current(tls, Kind::Tls), &known, "a.example").expect("valid");
            assert_eq!(server.peer_certificates().expect("shown"), [own.der()]);
            let (server, _) =
                handshake(current(tls, Kind::Tls), &known, "a.example").expect("valid");
            assert_eq!(server.handshake_kind(), Some(HandshakeKind::Resumed));
            assert_eq!(server.peer_certificates().expect("of the ticket"), [own.der()]);
            let refused = connect(tls, &with(Some(&strange)));
            assert!(matches!(refused, Err(Error::InvalidCertificate(_))), "{refused:?}");
        }
        assert_eq!(connect(&required, &with(None)), Err(Error::NoCertificatesPresented));
        let nobody = with(None);
        assert_eq!(connect(&optional, &nobody), full());
        assert_eq!(connect(&optional, &nobody), resumed());
    });
}

#[test]
fn listeners_ask_in_their_own_ways_and_take_no_ticket_of_one_that_asks_less() {
    let (authority, files) = (Authority::new("CA"), Files::new());
    let mut settings = TlsSettings::default();
    files.add(&mut settings, "a", &authority.issue(&["a.example"]));
    settings.client_ca_files.push(files.write("ca.pem", authority.pem()));
    let modes = [ClientAuthMode::None, ClientAuthMode::Optional, ClientAuthMode::Required];
    let table = |(port, mode)| ListenerTable {
        address: Some(ListenAddress::Tcp(([127, 0, 0, 1], port).into())),
        tls: Some(true),
        client_certificate: Some(mode),
        ..ListenerTable::default()
    };
    let config = Config {
        listen: Vec::new(),
        listener_tables: (1..).zip(modes).map(table).collect(),
        tls: settings,
        ..Config::default()
    };
    let tls = Tls::load(&config).expect("valid").expect("somebody listens");
    let own = authority.client(7);
    both_versions(|version| {
        let connect = |client: &_, mode| {
            let server = tls.shared().current(Kind::Tls, mode).expect("a listener");
            let (server, _) = handshake(server, client, "a.example")?;
            Ok::<_, Error>(server.handshake_kind().expect("it is done"))
        };
        // The client keeps the latest ticket.
        let nobody = client(version, None, ECDSA, &[]);
        for mode in [ClientAuthMode::None, ClientAuthMode::Optional] {
            assert_eq!(connect(&nobody, mode), full(), "{mode}");
            assert_eq!(connect(&nobody, mode), resumed(), "{mode}");
            let refused = connect(&nobody, ClientAuthMode::Required);
            assert_eq!(refused, Err(Error::NoCertificatesPresented), "{mode}");
        }
        let known = client(version, Some(&own), ECDSA, &[]);
        assert_eq!(connect(&known, ClientAuthMode::Required), full());
        assert_eq!(connect(&known, ClientAuthMode::Required), resumed());
    });
}

#[test]
fn a_revoked_certificate_is_refused_and_so_are_those_of_authorities_without_a_list() {
    let (authority, other) = (Authority::new("CA"), Authority::new("Another CA"));
    let files = Files::new();
    let mut settings = TlsSettings { client_auth: ClientAuthMode::Required, ..Default::default() };
    files.add(&mut settings, "a", &authority.issue(&["a.example"]));
    settings.client_ca_files =
        vec![files.write("ca.pem", authority.pem()), files.write("other.pem", other.pem())];
    // Long due for renewal, and used all the same.
    settings.client_crl_files.push(files.write("crl.pem", authority.crl(&[8], 2021)));
    let tls = load(&settings);
    both_versions(|version| {
        let connect = |own| connect(&tls, &client(version, Some(&own), ECDSA, &[]));
        assert_eq!(connect(authority.client(7)), full());
        let refused = connect(authority.client(8));
        let revoked = Error::InvalidCertificate(rustls::CertificateError::Revoked);
        assert_eq!(refused, Err(revoked));
        let unknown = Error::InvalidCertificate(rustls::CertificateError::UnknownRevocationStatus);
        assert_eq!(connect(other.client(9)), Err(unknown));
    });
}

#[test]
fn tickets_end_with_a_change_of_who_may_connect_and_not_with_a_new_certificate() {
    let (authority, other, files) =
        (Authority::new("CA"), Authority::new("Another CA"), Files::new());
    let mut settings = TlsSettings { client_auth: ClientAuthMode::Required, ..Default::default() };
    files.add(&mut settings, "a", &authority.issue(&["a.example"]));
    settings.client_ca_files.push(files.write("ca.pem", authority.pem()));
    settings.client_crl_files.push(files.write("crl.pem", authority.crl(&[], 2999)));
    both_versions(|version| {
        let tls = load(&settings);
        let own = client(version, Some(&authority.client(7)), ECDSA, &[]);
        assert_eq!(connect(&tls, &own), full());
        tls.reload();
        assert_eq!(connect(&tls, &own), resumed(), "nothing has changed");
        let renewed = authority.issue(&["a.example"]);
        files.write("a.pem", &renewed.cert);
        files.write("a.key", &renewed.key);
        tls.reload();
        assert_eq!(connect(&tls, &own), resumed(), "the server has a new certificate");
        files.write("crl.pem", authority.crl(&[], 2998));
        tls.reload();
        assert_eq!(connect(&tls, &own), resumed(), "the list is renewed");
        files.write("ca.pem", [authority.pem(), other.pem()].concat());
        tls.reload();
        assert_eq!(connect(&tls, &own), full(), "there is another authority");
        assert_eq!(connect(&tls, &own), resumed());
        files.write("crl.pem", authority.crl(&[7], 2999));
        tls.reload();
        let revoked = Error::InvalidCertificate(rustls::CertificateError::Revoked);
        assert_eq!(connect(&tls, &own), Err(revoked), "it is revoked");
        assert_eq!(tls.status().reloads(), [("changed", 4), ("unchanged", 1), ("refused", 0)]);
        files.write("ca.pem", authority.pem());
        files.write("crl.pem", authority.crl(&[], 2999));
    });
}

#[test]
fn a_reload_takes_all_or_nothing_and_a_pair_written_in_steps_when_it_fits() {
    let (authority, files, mut settings) =
        (Authority::new("CA"), Files::new(), TlsSettings::default());
    let (before, after) = (authority.issue(&["a.example"]), authority.issue(&["a.example"]));
    files.add(&mut settings, "a", &before);
    let tls = load(&settings);
    let client = client(&rustls::version::TLS13, None, ECDSA, &[]);
    let is_shown = |issued: &Issued| shown(&tls, &client, "a.example") == issued.der();
    tls.look();
    files.write("a.pem", &after.cert);
    for _ in 0..2 {
        tls.look();
        assert!(is_shown(&before), "the key is of another certificate");
    }
    files.write("a.key", &after.key[..after.key.len() / 2]);
    tls.look();
    assert!(is_shown(&before), "half of the key is there");
    assert_eq!(tls.status().reloads(), [("changed", 0), ("unchanged", 0), ("refused", 3)]);
    files.write("a.key", &after.key);
    tls.look();
    assert!(is_shown(&after), "both are there");
    assert_eq!(tls.status().reloads(), [("changed", 1), ("unchanged", 0), ("refused", 3)]);
    fs::remove_file(&settings.key_files[0]).expect("removed");
    tls.look();
    assert!(is_shown(&after), "the key is gone");
    files.write("a.key", &after.key);
    tls.look();
    assert_eq!(tls.status().reloads(), [("changed", 1), ("unchanged", 1), ("refused", 4)]);
}

#[test]
fn nobody_looks_at_files_that_are_read_by_a_reload_alone() {
    let (authority, files) = (Authority::new("CA"), Files::new());
    let mut settings = TlsSettings { reload_secs: 0, ..TlsSettings::default() };
    let (before, after) = (authority.issue(&["a.example"]), authority.issue(&["a.example"]));
    files.add(&mut settings, "a", &before);
    let tls = load(&settings);
    let client = client(&rustls::version::TLS13, None, ECDSA, &[]);
    files.write("a.pem", &after.cert);
    files.write("a.key", &after.key);
    tls.look();
    assert_eq!(shown(&tls, &client, "a.example"), before.der());
    tls.reload();
    assert_eq!(shown(&tls, &client, "a.example"), after.der());
}

#[test]
fn without_a_listener_for_tls_nothing_is_read() {
    let settings = TlsSettings { cert_files: vec!["/nonexistent".into()], ..Default::default() };
    let config = Config { tls: settings, ..Config::default() };
    assert!(Tls::load(&config).expect("nothing is read").is_none());
    assert!(problems(&config).is_empty());
}

#[test]
fn nothing_shows_a_key() {
    let (authority, files, mut settings) =
        (Authority::new("CA"), Files::new(), TlsSettings::default());
    let issued = authority.issue(&["a.example"]);
    files.add(&mut settings, "a", &issued);
    let tls = load(&settings);
    let shown = format!("{tls:?} {:?}", tls.shared());
    let secret = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).expect("a key");
    let bytes: Vec<_> = secret.secret_der()[40..44].iter().map(u8::to_string).collect();
    assert!(!shown.contains(&bytes.join(", ")), "{shown}");
}

#[test]
fn the_next_ping_of_a_client_is_known_ahead() {
    let (authority, files, mut settings) =
        (Authority::new("CA"), Files::new(), TlsSettings::default());
    files.add(&mut settings, "a", &authority.issue(&["a.example"]));
    let tls = load(&settings);
    let ciphers = ALL_CIPHER_SUITES.iter().filter(|suite| suite.tls13().is_some());
    for suite in ciphers {
        let provider = CryptoProvider { cipher_suites: vec![*suite], ..provider::provider() };
        let client = client_of(provider, &TLS13, None, ECDSA, &[]);
        let host = "a.example".try_into().expect("a name");
        let mut client = ClientConnection::new(client, host).expect("a client");
        let (now, mut scratch) = (Monotonic(0), Scratch::default());
        let server = Transport::new(Opening::of(Kind::Tls, Some(current(&tls, Kind::Tls))), now);
        let mut server = server.expect("a configuration");
        while client.is_handshaking() || client.wants_write() {
            server.take(&written(&mut client), Pace::OFF, now, &mut scratch);
            server.step(Pace::OFF, now, &mut scratch);
            let mut chunks = Vec::new();
            server.wrap(&mut chunks, usize::MAX);
            client.read_tls(&mut &chunks.concat()[..]).expect("a slice never fails");
            client.process_new_packets().expect("it opens");
        }
        let table: &'static Table = Box::leak(Box::new(Table::new(|| AtomicU64::new(0))));
        let shape = RecordShape::of(server.heartbeat().expect("of a known suite"));
        let numbers = server.numbers().expect("both sides have keys");
        numbers.begin(table);
        numbers.publish_tx(&AtomicU64::new(0), 0);
        client.writer().write_all(&PINGREQ).expect("a vector takes all");
        let ping = Record::new(&written(&mut client)).expect("a short record");
        assert!(table.is_request(table.expected(), shape, &ping), "{suite:?}");
    }
}

fn written(client: &mut ClientConnection) -> Vec<u8> {
    let mut bytes = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut bytes).expect("a vector takes all");
    }
    bytes
}

#[test]
fn a_client_that_is_connected_is_judged_as_a_handshake_would() {
    let (authority, other, files) =
        (Authority::new("CA"), Authority::new("Another CA"), Files::new());
    let mut settings = TlsSettings { client_auth: ClientAuthMode::Required, ..Default::default() };
    files.add(&mut settings, "a", &authority.issue(&["a.example"]));
    settings.client_ca_files.push(files.write("ca.pem", authority.pem()));
    settings.client_crl_files.push(files.write("crl.pem", authority.crl(&[8], 2999)));
    let tls = load(&settings);
    let [seven, eight] = [7, 8].map(|serial| authority.client(serial).der());
    let accepts = |shown: &CertificateDer<'static>| {
        let source = tls.shared().source(Kind::Tls, ClientAuthMode::Required);
        source.expect("a listener").accepts(std::slice::from_ref(shown))
    };
    assert!(accepts(&seven) && !accepts(&eight));
    let admits_others = || {
        let settings = tls.served().settings.clone();
        tls.read_again(&settings).expect("valid").serve()
    };
    assert!(!admits_others(), "nothing has changed");
    files.write("crl.pem", authority.crl(&[8], 2998));
    assert!(!admits_others(), "the list is renewed");
    files.write("crl.pem", authority.crl(&[7], 2999));
    assert!(admits_others());
    assert!(!accepts(&seven) && accepts(&eight));
    files.write("ca.pem", other.pem());
    files.write("crl.pem", other.crl(&[], 2999));
    assert!(admits_others());
    assert!(!accepts(&seven) && !accepts(&eight), "somebody else signs");
    assert!(accepts(&other.client(7).der()));
}

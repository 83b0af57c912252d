//! Stacks of others: OpenSSL, mbedTLS, and rustls on the client's side; mosquitto's clients (OpenSSL),
//! paho (Python's OpenSSL) and MQTT.js and paho (Node's).

use std::process::Command;

use push_tests::clients::Connect;
use push_tests::foreign::{
    By, Subscriber, mosquitto_pub, mqtt_js, need_mosquitto_clients, paho_by, paho_js,
};
use push_tests::relay::{MBEDTLS_SUITES, OPENSSL_SUITES, Relay};
use push_tests::server::{PingPath, Server};
use push_tests::skip::{Skip, TestResult};
use push_tests::tls::{self, SUITES, TlsStream};
use push_tests::wire::{VERSIONS, Version};

use crate::rig::{Rig, echo};

pub(crate) fn openssl_speaks_every_suite(path: PingPath) -> TestResult {
    let rig = Rig::start(path)?;
    for [version, flag, suite] in OPENSSL_SUITES {
        let mut relay = openssl(&rig, &[version, flag, suite])?;
        relay.wait_log(suite);
        let mut client = relay.connect(&Connect::new(Version::V5, suite));
        rig.server.prove_path_by(&mut client);
        echo(&mut client, "echo");
        rig.server.prove_path_by(&mut client);
        client.disconnect();
        assert!(relay.wait_exit().success(), "the server said close_notify: {}", relay.log());
    }
    rig.wait_handshakes("result=\"completed\",resumed=\"no\",version=\"1.2\"", 3);
    rig.wait_handshakes("result=\"completed\",resumed=\"no\",version=\"1.3\"", 3);
    rig.finish();
    Ok(())
}

fn openssl(rig: &Rig, more: &[&str]) -> Result<Relay, Skip> {
    let more = [&["-nocommands"], more].concat();
    Relay::openssl(&rig.server.tls(), &rig.certificates.folder.ca(), &more)
}

/// Certificates of today are often RSA's still.
pub(crate) fn openssl_speaks_to_an_rsa_certificate() -> TestResult {
    let certificates = crate::rig::Certificates::new();
    let [certificate, key] = ["rsa.pem", "rsa.key"].map(|name| {
        let path = certificates.directory().join(name);
        path.to_str().expect("a path in UTF-8").to_owned()
    });
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=rsa"])
        .args(["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", &key, "-out", &certificate])
        .output()
        .map_err(|error| Skip::missing(format!("cannot run openssl: {error}")))?;
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let server = Server::with(PingPath::User)
        .flag("--tls-listen", "127.0.0.1:0")
        .flag("--tls-cert", certificate.as_str())
        .flag("--tls-key", key.as_str())
        .start()?;
    for more in [
        ["-tls1_3", "-ciphersuites", "TLS_AES_256_GCM_SHA384"],
        ["-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"],
        ["-tls1_2", "-cipher", "ECDHE-RSA-AES256-GCM-SHA384"],
        ["-tls1_2", "-cipher", "ECDHE-RSA-CHACHA20-POLY1305"],
    ] {
        let more = [&["-nocommands"], &more[..]].concat();
        let relay = Relay::openssl(&server.tls(), certificate.as_ref(), &more)?;
        relay.wait_log(more[3]);
        let mut client = relay.connect(&Connect::new(Version::V311, "rsa"));
        client.ping();
        client.disconnect();
    }
    server.finish();
    Ok(())
}

pub(crate) fn mbedtls_speaks_every_suite(path: PingPath) -> TestResult {
    let rig = Rig::start(path)?;
    for suite in MBEDTLS_SUITES {
        let mut relay = Relay::mbedtls(&rig.server.tls(), &rig.certificates.folder, suite)?;
        relay.wait_log(suite);
        let mut client = relay.connect(&Connect::new(Version::V311, suite));
        rig.server.prove_path_by(&mut client);
        echo(&mut client, "echo");
        rig.server.prove_path_by(&mut client);
        client.disconnect();
        assert!(relay.wait_exit().success(), "the server said close_notify: {}", relay.log());
    }
    rig.finish();
    Ok(())
}

pub(crate) fn rustls_speaks_every_suite(path: PingPath) -> TestResult {
    let rig = Rig::start(path)?;
    for (version, suite) in SUITES {
        let config = rig.certificates.offer().version(version).suite(suite).config();
        let connect = Connect::new(Version::V5, &format!("{suite:?}"));
        let mut client = tls::connect(&rig.server.tls(), &config, &connect);
        assert_eq!(client.layers::<TlsStream>().suite(), suite);
        rig.server.prove_path_by(&mut client);
        echo(&mut client, "echo");
        rig.server.prove_path_by(&mut client);
        client.disconnect();
    }
    rig.finish();
    Ok(())
}

pub(crate) fn mosquittos_clients_speak_both_versions(path: PingPath) -> TestResult {
    need_mosquitto_clients()?;
    let rig = Rig::start(path)?;
    let target = rig.server.tls();
    let ca = rig.certificates.folder.ca();
    let ca = ca.to_str().expect("a path in UTF-8");
    for version in VERSIONS {
        for tls_version in ["tlsv1.2", "tlsv1.3"] {
            let by_tls = ["--cafile", ca, "--tls-version", tls_version];
            let arguments = [&["-t", "a/b", "-q", "1", "-k", "5"], &by_tls[..]].concat();
            let subscriber = Subscriber::start(&target, version, "%t %q %p", &arguments);
            for qos in ["0", "1", "2"] {
                let arguments = [&["-t", "a/b", "-q", qos, "-m", "hello"], &by_tls[..]].concat();
                mosquitto_pub(&target, version, &arguments);
                let delivered = if qos == "0" { "0" } else { "1" };
                assert_eq!(subscriber.message(), format!("a/b {delivered} hello"));
            }
            subscriber.wait_ping();
        }
    }
    rig.finish();
    Ok(())
}

pub(crate) fn paho_does_all_of_it(path: PingPath) -> TestResult {
    let rig = Rig::start(path)?;
    let folder = &rig.certificates.folder;
    for by in [By::Tls(folder), By::WebSocketTls(folder)] {
        let target = by.target(&rig.server);
        for (version, cases) in [
            (Version::V311, &["qos", "large", "offline", "take-over", "will"][..]),
            (Version::V5, &["qos", "properties", "take-over"]),
        ] {
            for case in cases {
                paho_by(by, &target, version, case)?;
            }
            assert_path(&rig, by, || paho_by(by, &target, version, "ping"))?;
        }
    }
    rig.finish();
    Ok(())
}

pub(crate) fn mqtt_js_does_all_of_it(path: PingPath) -> TestResult {
    let rig = Rig::start(path)?;
    let folder = &rig.certificates.folder;
    for by in [By::Tls(folder), By::WebSocketTls(folder)] {
        let target = by.target(&rig.server);
        for (version, cases) in [
            (Version::V311, &["qos", "large", "offline", "take-over", "will"][..]),
            (Version::V5, &["qos", "properties", "take-over"]),
        ] {
            for case in cases {
                mqtt_js(by, &target, version, case)?;
            }
            assert_path(&rig, by, || mqtt_js(by, &target, version, "ping"))?;
        }
    }
    let by = By::WebSocketTls(folder);
    for case in ["qos", "large", "will"] {
        paho_js(by, &by.target(&rig.server), case)?;
    }
    assert_path(&rig, by, || paho_js(by, &by.target(&rig.server), "ping"))?;
    rig.finish();
    Ok(())
}

/// Runs a client that pings, some four times: the kernel answers all but the first ping, if there is no
/// WebSocket inside TLS.
#[track_caller]
fn assert_path(rig: &Rig, by: By<'_>, run: impl FnOnce() -> TestResult) -> TestResult {
    let before = rig.server.metrics();
    run()?;
    let after = rig.server.metrics();
    let kernel = after.kernel_pings() - before.kernel_pings();
    let user = after.user_pings() - before.user_pings();
    match (rig.server.path(), by) {
        (PingPath::Kernel, By::Tcp | By::Tls(_) | By::WebSocket) => {
            assert!(kernel > user, "{by:?}: {kernel} by the kernel, {user} not");
        }
        (PingPath::Kernel, By::WebSocketTls(_) | By::Unix(_)) | (PingPath::User, _) => {
            assert!(kernel == 0 && user > 0, "{by:?}: {kernel} by the kernel, {user} not");
        }
    }
    Ok(())
}

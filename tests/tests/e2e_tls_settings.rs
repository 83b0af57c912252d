//! TLS as an operator sets it up, with the real binary: certificates by host, renewals, certificates of
//! clients, lists of revoked ones, ALPN, tickets, and what is said when something is wrong. Clients are
//! rustls and OpenSSL.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use push_tests::certificates::{Authority, Folder, Issued, LOCAL_NAMES, Purpose};
use push_tests::claims;
use push_tests::clients::{Client, Connect};
use push_tests::expectations::wait_for;
use push_tests::server::{PingPath, Server, ServerBuilder, server_binary};
use push_tests::skip::{Skip, TestResult, need_root};
use push_tests::stand_in;
use push_tests::tls::{self, Offer, TLS_VERSIONS, alert_of};
use push_tests::wire::Version;
use rustix::process::Signal;
use rustls::{AlertDescription, ClientConfig};
use tempfile::TempDir;

claims! {
    clients_get_the_certificate_of_the_host_that_they_name,
    a_renewed_certificate_is_served_without_a_signal_and_clients_stay,
    sighup_takes_a_pair_that_fits_and_refuses_one_that_does_not,
    clients_show_a_certificate_as_set,
    a_revoked_client_neither_resumes_nor_comes_back_and_others_do,
    clients_may_name_mqtt_or_nothing_and_browsers_http,
    sessions_resume_on_any_shard_and_listener_and_not_after_a_restart,
    the_lowest_version_is_as_set,
    the_start_names_every_mistake_and_the_check_with_lines,
    a_certificate_about_to_expire_is_told_and_measured,
    a_process_with_keys_leaves_no_core_and_is_nobody_elses_to_read,
    no_key_is_in_the_log,
}

/// "Not authorized".
const NOT_AUTHORIZED: u8 = 0x87;

/// Certificates of a test, in files.
struct Files {
    directory: TempDir,
    folder: Folder,
    authority: Authority,
}

impl Files {
    fn new() -> Result<Self, Skip> {
        stand_in::not_for("has not our flags")?;
        let directory = tempfile::tempdir().expect("make a directory");
        // Another user may have to read them.
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("open it");
        let folder = Folder::make(directory.path(), &LOCAL_NAMES).expect("make certificates");
        let authority = Authority::new("authority of this test").expect("make an authority");
        let this = Self { directory, folder, authority };
        // Clients trust this one.
        this.write("ca.pem", &this.authority.pem());
        this.serve(&this.issue(&LOCAL_NAMES));
        Ok(this)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn shown(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// Replaces a file whole, as certbot does.
    fn write(&self, name: &str, text: &str) {
        let new = self.path("new");
        fs::write(&new, text).expect("write a file");
        fs::set_permissions(&new, fs::Permissions::from_mode(0o600)).expect("close it");
        fs::rename(&new, self.path(name)).expect("put it in its place");
    }

    fn issue(&self, names: &[&str]) -> Issued {
        self.authority.issue("server", names, Purpose::Server).expect("issue a certificate")
    }

    fn client(&self, name: &str) -> Issued {
        let issued = self.authority.issue(name, &[], Purpose::Client).expect("issue a certificate");
        self.pair(name, &issued);
        issued
    }

    fn pair(&self, name: &str, issued: &Issued) {
        self.write(&format!("{name}.pem"), &issued.pem());
        self.write(&format!("{name}.key"), &issued.key_pem());
    }

    /// Makes it the first certificate of the server.
    fn serve(&self, issued: &Issued) {
        self.pair("server", issued);
    }

    fn server(&self) -> ServerBuilder {
        Server::with(PingPath::User).tls(&self.folder)
    }

    fn server_that_asks(&self, when: &'static str) -> ServerBuilder {
        let ca = self.shown("ca.pem");
        self.server().flag("--tls-client-auth", when).flag("--tls-client-ca", &*ca)
    }

    fn offer(&self) -> Offer {
        Offer::new(&self.folder)
    }

    fn offer_of(&self, client: &str) -> Offer {
        self.offer()
            .showing([format!("{client}.pem"), format!("{client}.key")].map(|f| self.path(&f)))
    }
}

fn device(name: &str) -> Connect {
    Connect::new(Version::V5, name)
}

fn connect(server: &Server, config: &Arc<ClientConfig>, name: &str) -> Client {
    tls::connect(&server.tls(), config, &device(name))
}

/// The alert by which the server refuses a client, in the handshake or after it.
fn refused(server: &Server, config: &Arc<ClientConfig>) -> Option<AlertDescription> {
    let stream = match tls::dial(&server.tls(), config) {
        Ok(stream) => stream,
        Err(error) => return alert_of(&error),
    };
    // In TLS 1.3 a client is done before the server has seen its certificate.
    let mut client = Client::over(stream, Version::V5);
    let _ = client.try_send(b"");
    match client.read_connack(push_tests::expectations::PATIENCE) {
        Err(push_tests::clients::Gone::Alert(alert)) => Some(alert),
        other => panic!("not refused by an alert: {other:?}"),
    }
}

/// What `openssl s_client` says of a handshake.
fn openssl(address: SocketAddr, arguments: &[&str]) -> Result<Output, Skip> {
    let output = Command::new("openssl")
        .args(["s_client", "-connect", &address.to_string()])
        .args(arguments)
        .stdin(Stdio::null())
        .output();
    output.map_err(|error| Skip::missing(format!("cannot run openssl: {error}")))
}

/// The certificate that a client of OpenSSL's gets, in PEM.
fn certificate_shown(address: SocketAddr, host: Option<&str>) -> Result<String, Skip> {
    let named = host.map_or(["-noservername", ""], |host| ["-servername", host]);
    let arguments: Vec<_> = named.into_iter().filter(|word| !word.is_empty()).collect();
    let output = openssl(address, &arguments)?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let (_, rest) = said.split_once("-----BEGIN CERTIFICATE-----").expect("a certificate");
    let (body, _) = rest.split_once("-----END CERTIFICATE-----").expect("its end");
    Ok(body.split_whitespace().collect())
}

fn body(issued: &Issued) -> String {
    let pem = issued.pem();
    pem.lines().filter(|line| !line.starts_with("-----")).map(str::trim).collect()
}

fn clients_get_the_certificate_of_the_host_that_they_name() -> TestResult {
    let files = Files::new()?;
    let first = files.issue(&LOCAL_NAMES);
    files.serve(&first);
    let named = files.issue(&["one.example", "*.many.example"]);
    files.pair("named", &named);
    let (cert, key) = (files.shown("named.pem"), files.shown("named.key"));
    let server = files.server().flag("--tls-cert", &*cert).flag("--tls-key", &*key).start()?;
    for target in [server.tls(), server.websocket_tls()] {
        for (host, expected) in [
            (Some("one.example"), &named),
            (Some("any.many.example"), &named),
            (Some("localhost"), &first),
            (Some("unknown.example"), &first),
            (None, &first),
        ] {
            assert_eq!(certificate_shown(target.address, host)?, body(expected), "{host:?}");
        }
    }
    server.finish();
    Ok(())
}

fn a_renewed_certificate_is_served_without_a_signal_and_clients_stay() -> TestResult {
    let files = Files::new()?;
    let server = files.server().flag("--reload-secs", 1).start()?;
    let address = server.tls().address;
    let config = files.offer().config();
    let mut early = connect(&server, &config, "early");
    let (before, after) = (certificate_shown(address, None)?, files.issue(&LOCAL_NAMES));
    files.write("server.pem", &after.pem());
    let refused = "push_tls_reloads_total{result=\"refused\"}";
    server.wait_metric(refused, |count| count > 1);
    assert_eq!(certificate_shown(address, None)?, before, "its key is not there yet");
    files.write("server.key", &after.key_pem());
    server.wait_metric("push_tls_reloads_total{result=\"changed\"}", |count| count == 1);
    assert_eq!(certificate_shown(address, None)?, body(&after));
    early.ping();
    connect(&server, &config, "late").ping();
    let log = server.wait_log("is not the key of the first certificate in");
    let told = log.lines().filter(|line| line.contains("TLS stays as it was"));
    assert_eq!(told.count(), 1, "each reason is told once: {log}");
    server.finish();
    Ok(())
}

fn sighup_takes_a_pair_that_fits_and_refuses_one_that_does_not() -> TestResult {
    let files = Files::new()?;
    let server = files.server().flag("--reload-secs", 0).start()?;
    let address = server.tls().address;
    let (before, after) = (certificate_shown(address, None)?, files.issue(&LOCAL_NAMES));
    let reload = |result: &str, count| {
        server.signal(Signal::HUP);
        let sample = format!("push_tls_reloads_total{{result=\"{result}\"}}");
        server.wait_metric(&sample, |found| found == count);
    };
    reload("unchanged", 1);
    files.write("server.pem", &after.pem());
    reload("refused", 1);
    files.write("server.key", "-----BEGIN PRIVATE KEY-----\n");
    reload("refused", 2);
    assert_eq!(certificate_shown(address, None)?, before);
    files.write("server.key", &after.key_pem());
    reload("changed", 1);
    assert_eq!(certificate_shown(address, None)?, body(&after));
    server.wait_log("line 1: the section that begins here has no END");
    server.finish();
    Ok(())
}

fn clients_show_a_certificate_as_set() -> TestResult {
    let files = Files::new()?;
    files.client("device");
    let stranger = Authority::new("stranger").expect("make an authority");
    let strange = stranger.issue("strange", &[], Purpose::Client).expect("issue a certificate");
    files.pair("strange", &strange);
    let servers_certificate = files.issue(&LOCAL_NAMES);
    files.pair("not-a-client", &servers_certificate);
    for (when, without) in
        [("required", Some(AlertDescription::CertificateRequired)), ("optional", None)]
    {
        let server = files.server_that_asks(when).start()?;
        for version in TLS_VERSIONS {
            let config = |offer: Offer| offer.version(version).config();
            connect(&server, &config(files.offer_of("device")), "device").disconnect();
            let known = refused(&server, &config(files.offer_of("strange")));
            assert_eq!(known, Some(AlertDescription::UnknownCA), "{when} {version:?}");
            let known = refused(&server, &config(files.offer_of("not-a-client")));
            assert!(known.is_some(), "{when} {version:?}: not for clients");
            match without {
                None => connect(&server, &config(files.offer()), "nobody").disconnect(),
                Some(_) => {
                    let alert = refused(&server, &config(files.offer()));
                    // TLS 1.2 has no alert of that name.
                    let expected =
                        [AlertDescription::CertificateRequired, AlertDescription::HandshakeFailure];
                    assert!(expected.map(Some).contains(&alert), "{when} {version:?}: {alert:?}");
                }
            }
        }
        server.finish();
    }
    Ok(())
}

fn a_revoked_client_neither_resumes_nor_comes_back_and_others_do() -> TestResult {
    let files = Files::new()?;
    let (lost, _kept) = (files.client("lost"), files.client("kept"));
    files.write("crl.pem", &files.authority.revoking(&[]).expect("make a list"));
    let crl = files.shown("crl.pem");
    let server = files.server_that_asks("required").flag("--tls-client-crl", &*crl).start()?;
    for version in TLS_VERSIONS {
        files.write("crl.pem", &files.authority.revoking(&[]).expect("make a list"));
        server.signal(Signal::HUP);
        let config = |name| files.offer_of(name).version(version).resuming().config();
        let (lost_config, kept_config) = (config("lost"), config("kept"));
        let come = |config: &Arc<ClientConfig>, name| {
            let mut client = connect(&server, config, name);
            client.ping();
            client
        };
        wait_for("the empty list to be taken", || {
            tls::dial(&server.tls(), &lost_config).ok()?;
            refused_or_not(&server, &lost_config).then_some(())
        });
        come(&lost_config, "lost").disconnect();
        let mut lost_client = come(&lost_config, "lost");
        let mut kept_client = come(&kept_config, "kept");
        let changed = "push_tls_reloads_total{result=\"changed\"}";
        let before = server.wait_metric(changed, |_| true);
        files.write("crl.pem", &files.authority.revoking(&[&lost]).expect("make a list"));
        server.signal(Signal::HUP);
        server.wait_metric(changed, |count| count > before);
        assert_eq!(refused(&server, &lost_config), Some(AlertDescription::CertificateRevoked));
        assert_eq!(lost_client.wait_ending().reason, Some(NOT_AUTHORIZED), "{version:?}");
        kept_client.ping();
        kept_client.disconnect();
        come(&kept_config, "kept").disconnect();
    }
    server.finish();
    Ok(())
}

fn clients_may_name_mqtt_or_nothing_and_browsers_http() -> TestResult {
    let files = Files::new()?;
    let server = files.server().start()?;
    let (mqtt, websocket) = (server.tls().address, server.websocket_tls().address);
    for (address, named, expected) in [
        (mqtt, Some("mqtt"), Some("ALPN protocol: mqtt")),
        (mqtt, Some("http/1.1,mqtt"), Some("ALPN protocol: mqtt")),
        (mqtt, None, Some("No ALPN negotiated")),
        (mqtt, Some("http/1.1"), None),
        (websocket, Some("h2,http/1.1"), Some("ALPN protocol: http/1.1")),
        (websocket, None, Some("No ALPN negotiated")),
        (websocket, Some("mqtt"), None),
    ] {
        let arguments = named.map_or(vec![], |named| vec!["-alpn", named]);
        for version in ["-tls1_2", "-tls1_3"] {
            let arguments = [&arguments[..], &[version]].concat();
            let output = openssl(address, &arguments)?;
            let said = [output.stdout, output.stderr].concat();
            let said = String::from_utf8_lossy(&said);
            match expected {
                Some(expected) => assert!(said.contains(expected), "{named:?}: {said}"),
                None => assert!(said.contains("no application protocol"), "{named:?}: {said}"),
            }
        }
    }
    server.finish();
    Ok(())
}

fn sessions_resume_on_any_shard_and_listener_and_not_after_a_restart() -> TestResult {
    const TRIES: usize = 16;
    let files = Files::new()?;
    for version in TLS_VERSIONS {
        let builder = files.server().flag("--shards", 4);
        let server = builder.start()?;
        let config = files.offer().version(version).protocols(&[]).resuming().config();
        let is_resumed = |server: &Server| {
            let stream = tls::dial(&server.tls(), &config).expect("a handshake");
            let is_resumed = stream.is_resumed();
            // With the answer the ticket of TLS 1.3 has come.
            Client::accepted_over(stream, &device("device")).disconnect();
            is_resumed
        };
        assert!(!is_resumed(&server));
        // The system spreads connections over the shards.
        assert!((0..TRIES).all(|_| is_resumed(&server)), "{version:?}");
        let stream = tls::dial(&server.websocket_tls(), &config).expect("a handshake");
        assert!(stream.is_resumed(), "at the other listener, {version:?}");
        drop(stream);
        server.finish();
        let server = builder.start()?;
        assert!(!is_resumed(&server), "{version:?}");
        server.finish();
    }
    Ok(())
}

fn the_lowest_version_is_as_set() -> TestResult {
    let files = Files::new()?;
    let server = files.server().flag("--tls-min", "1.3").start()?;
    let address = server.tls().address;
    let said = |version| {
        let output = openssl(address, &[version])?;
        Ok(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    };
    let refused: String = said("-tls1_2")?;
    assert!(refused.contains("protocol version"), "{refused}");
    let served: String = said("-tls1_3")?;
    assert!(served.contains("TLSv1.3"), "{served}");
    server.finish();
    Ok(())
}

fn the_start_names_every_mistake_and_the_check_with_lines() -> TestResult {
    let files = Files::new()?;
    let other = files.issue(&["other.example"]);
    files.pair("other", &other);
    let old = files.authority.issue_until("old", &["old.example"], Purpose::Server, (2020, 1, 1));
    files.pair("old", &old.expect("issue a certificate"));
    files.write("empty.pem", "nothing\n");
    let text = format!(
        "tls-listen = '127.0.0.1:0'\ntls-client-auth = 'required'\n\
         tls-cert = [{:?}, {:?}]\ntls-key = [{:?}, {:?}]\ntls-client-ca = {:?}\n\
         tls-client-crl = '/nowhere/crl'\nlisten = []\nhttp = 'off'\ndurability = 'off'\n",
        files.path("server.pem"),
        files.path("old.pem"),
        files.path("other.key"),
        files.path("old.key"),
        files.path("empty.pem"),
    );
    fs::write(files.path("push.toml"), text).expect("write the settings");
    let run = |arguments: &[&str]| {
        let output = Command::new(server_binary()?).args(arguments).output().expect("run it");
        let said = [output.stdout, output.stderr].concat();
        Ok((output.status.code(), String::from_utf8_lossy(&said).into_owned()))
    };
    let file = files.shown("push.toml");
    let (code, said): (_, String) = run(&["check-config", &file])?;
    assert_eq!(code, Some(2), "{said}");
    let wrong_key = format!("tls-key = {}: is not the key", files.shown("other.key"));
    let no_pem = format!("tls-client-ca = {}: has no PEM section", files.shown("empty.pem"));
    for (line, expected) in
        [(4, &*wrong_key), (5, &*no_pem), (6, "tls-client-crl = /nowhere/crl: cannot be read")]
    {
        let expected = format!("push.toml:{line}: {expected}");
        assert!(said.contains(&expected), "no `{expected}` in {said}");
    }
    let (code, said) = run(&["run", "--kernel-path", "off", "--config", &file])?;
    assert_eq!(code, Some(1), "{said}");
    for expected in ["is not the key", "has no PEM section", "/nowhere/crl cannot be read"] {
        assert!(said.contains(expected), "no `{expected}` in {said}");
    }
    // Without these mistakes the check still tells what clients would refuse.
    let text = format!(
        "tls-listen = '127.0.0.1:0'\ntls-cert = {:?}\ntls-key = {:?}\ndata-dir = {:?}\n",
        files.path("old.pem"),
        files.path("old.key"),
        files.path("data"),
    );
    fs::write(files.path("push.toml"), text).expect("write the settings");
    let (code, said) = run(&["check-config", &file])?;
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("has expired on 2020-01-01T00:00:00Z: clients refuse it"), "{said}");
    for (text, expected) in [
        ("tls-listen = '127.0.0.1:1'\n", "expected a certificate with it, by tls-cert and tls-key"),
        ("tls-cert = '/x'\ntls-key = '/y'\n", "expected a listener with it, by tls-listen"),
        ("tls-client-auth = 'required'\n", "by tls-client-ca"),
        ("tls-client-ca = '/x'\n", "expected tls-client-auth optional or required with it"),
        ("tls-client-crl = '/x'\n", "expected tls-client-ca with it"),
        ("tls-min = 1.3\n", "tls-min = 1.3: expected \"1.2\" or \"1.3\""),
    ] {
        fs::write(files.path("push.toml"), text).expect("write the settings");
        let (code, said) = run(&["check-config", &file])?;
        assert_eq!(code, Some(2), "{text}: {said}");
        assert!(said.contains(expected), "no `{expected}` in {said}");
    }
    Ok(())
}

fn a_certificate_about_to_expire_is_told_and_measured() -> TestResult {
    let files = Files::new()?;
    let old = files.authority.issue_until("old", &LOCAL_NAMES, Purpose::Server, (2020, 1, 1));
    files.serve(&old.expect("issue a certificate"));
    let server = files.server().start()?;
    server.wait_log("server.pem has expired on 2020-01-01T00:00:00Z");
    let sample = format!(
        "push_certificate_file_expiry_timestamp_seconds{{certificate=\"{}\"}}",
        files.shown("server.pem")
    );
    assert_eq!(server.metrics().value(&sample), 1_577_836_800);
    files.serve(&files.issue(&LOCAL_NAMES));
    server.signal(Signal::HUP);
    server.wait_metric(&sample, |secs| secs > 2_000_000_000);
    server.finish();
    Ok(())
}

fn a_process_with_keys_leaves_no_core_and_is_nobody_elses_to_read() -> TestResult {
    need_root()?;
    let files = Files::new()?;
    let give_to = |user| {
        for file in files.folder.server() {
            std::os::unix::fs::chown(&file, Some(user), None).expect("give it away");
        }
    };
    // Files of /proc belong to root if the process may not be dumped, else to its user.
    let owner = |server: &Server| {
        let environment = format!("/proc/{}/environ", server.pid());
        fs::metadata(environment).expect("a process").uid()
    };
    give_to(NOBODY);
    let plain = Server::with(PingPath::User).as_nobody_with(&HELD).start()?;
    assert_eq!(owner(&plain), NOBODY, "without TLS");
    drop(plain);
    let server = files.server().as_nobody_with(&HELD).start()?;
    assert_eq!(owner(&server), 0, "with TLS");
    let sees = Command::new("setpriv")
        .args(push_tests::server::nobody_with(&HELD))
        .args(["head", "-c1", &format!("/proc/{}/mem", server.pid())])
        .output()
        .expect("run setpriv");
    let said = String::from_utf8_lossy(&sees.stderr);
    assert!(said.contains("Permission denied"), "{said}");
    server.finish();
    // As root, who may write a core anywhere, and with room for it.
    give_to(0);
    let mut server = files.server().start()?;
    let raised = Command::new("prlimit")
        .args(["--pid", &server.pid().to_string(), "--core=unlimited:unlimited"])
        .status();
    assert!(raised.expect("run prlimit").success());
    server.signal(Signal::ABORT);
    let (status, _) = server.wait_exit();
    assert_eq!(status.signal(), Some(Signal::ABORT.as_raw()));
    assert!(!status.core_dumped(), "a core was written");
    Ok(())
}

/// The user that `setpriv` makes it.
const NOBODY: u32 = 65_534;
/// It takes no empty list.
const HELD: [&str; 1] = ["net_bind_service"];

fn no_key_is_in_the_log() -> TestResult {
    let files = Files::new()?;
    let issued = files.issue(&LOCAL_NAMES);
    files.serve(&issued);
    let server = files.server().flag("--log", "trace").start()?;
    connect(&server, &files.offer().config(), "device").ping();
    server.signal(Signal::HUP);
    server.wait_metric("push_tls_reloads_total{result=\"unchanged\"}", |count| count == 1);
    let log = server.log();
    for line in issued.key_pem().lines().filter(|line| !line.starts_with("-----")) {
        assert!(!log.contains(line), "the log has the key");
    }
    server.finish();
    Ok(())
}

fn refused_or_not(server: &Server, config: &Arc<ClientConfig>) -> bool {
    let Ok(stream) = tls::dial(&server.tls(), config) else { return false };
    let mut client = Client::over(stream, Version::V5);
    client.say_connect(&device("probe"));
    client.read_connack(push_tests::expectations::PATIENCE).is_ok()
}

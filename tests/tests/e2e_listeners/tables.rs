//! `[[listener]]` tables: layers, certificates and places of each listener.

use std::sync::Arc;
use std::time::Duration;

use push_tests::both_paths;
use push_tests::certificates::{Folder, LOCAL_NAMES};
use push_tests::claims;
use push_tests::clients::{Client, Connect, Gone};
use push_tests::expectations::{PATIENCE, wait_for};
use push_tests::foreign::{By, mosquitto_pub, mqtt_js, need_mosquitto_clients, paho_by};
use push_tests::server::{PingPath, Server, Target};
use push_tests::skip::TestResult;
use push_tests::tls::{self, Offer, TLS_VERSIONS};
use push_tests::wire::Version;
use rustls::{AlertDescription, ClientConfig};

both_paths! {
    each_table_is_a_listener_with_its_own_layers,
    a_listener_that_is_full_pauses_and_the_others_go_on,
    a_listener_asks_for_certificates_as_its_table_says,
}

claims! {
    the_log_names_the_listener_of_a_client,
}

/// How long a client that is not accepted is seen to wait.
const KEPT_WAITING: Duration = Duration::from_millis(500);

/// A listener of each kind, with the names of the kinds.
const EACH_KIND: &str = "\
tls-cert = '{certificate}'
tls-key = '{key}'
[[listener]]
name = 'tcp'
address = '{ip}:{port}'
[[listener]]
name = 'web'
address = '{ip}:0'
protocol = 'ws'
[[listener]]
name = 'sealed'
address = '{ip}:0'
tls = true
[[listener]]
name = 'sealed-web'
address = '{ip}:0'
protocol = 'ws'
tls = true
";

/// A folder of certificates, and settings that name its server's.
fn with_certificates(settings: &str) -> (tempfile::TempDir, Folder, String) {
    let directory = tempfile::tempdir().expect("make a directory");
    let folder = Folder::make(directory.path(), &LOCAL_NAMES).expect("make certificates");
    let [certificate, key] = folder.server().map(|file| file.display().to_string());
    let settings = settings
        .replace("{certificate}", &certificate)
        .replace("{key}", &key)
        .replace("{ca}", &folder.ca().display().to_string());
    (directory, folder, settings)
}

fn each_table_is_a_listener_with_its_own_layers(path: PingPath) -> TestResult {
    need_mosquitto_clients()?;
    let (_directory, folder, settings) = with_certificates(EACH_KIND);
    let server = Server::with(path).settings(settings).start()?;
    let listeners = [
        ("tcp", By::Tcp),
        ("web", By::WebSocket),
        ("sealed", By::Tls(&folder)),
        ("sealed-web", By::WebSocketTls(&folder)),
    ];
    for (name, by) in listeners {
        let target = server.listener_called(name);
        paho_by(by, &target, Version::V5, "qos")?;
        mqtt_js(by, &target, Version::V311, "qos")?;
    }
    mosquitto_pub(server.target(), Version::V5, &["-t", "a", "-q", "1", "-m", "hello"]);
    server.finish();
    Ok(())
}

fn a_listener_that_is_full_pauses_and_the_others_go_on(path: PingPath) -> TestResult {
    const PLACES: usize = 3;
    const HITS: &str = "push_limits_hit_total{limit=\"listener_connections\"}";
    for shards in [1, 2] {
        let server = Server::with(path)
            .flag("--shards", shards)
            .settings(format!(
                "[[listener]]\naddress = '{{ip}}:{{port}}'\n\
                 [[listener]]\nname = 'few'\naddress = '{{ip}}:0'\nmax-connections = {PLACES}\n"
            ))
            .start()?;
        let few = server.listener_called("few");
        let connect = |number| Connect::new(Version::V5, &format!("few-{number}"));
        let mut inside: Vec<_> =
            (0..PLACES).map(|number| Client::connect(&few, &connect(number))).collect();
        let waiting = few.connect(None).expect("the system accepts for the server");
        let mut waiting = Client::over(waiting, Version::V5);
        waiting.say_connect(&connect(PLACES));
        assert_eq!(waiting.read_connack(KEPT_WAITING), Err(Gone::Silent), "all places are taken");
        server.wait_metric(HITS, |hits| hits > 0);
        let others: Vec<_> = (0..2 * PLACES)
            .map(|number| Connect::new(Version::V5, &format!("other-{number}")))
            .map(|connect| Client::connect(server.target(), &connect))
            .collect();
        inside.pop().expect("a client").disconnect();
        waiting.read_connack(PATIENCE).expect("a place is free");
        let metrics = server.metrics();
        assert_eq!(metrics.value("push_limits_hit_total{limit=\"max_connections\"}"), 0);
        drop((inside, waiting, others));
        server.wait_metric("push_connections", |connections| connections == 0);
        // Each place came back.
        let again: Vec<_> =
            (0..PLACES).map(|number| Client::connect(&few, &connect(number))).collect();
        drop(again);
        server.finish();
    }
    Ok(())
}

fn a_listener_asks_for_certificates_as_its_table_says(path: PingPath) -> TestResult {
    let (_directory, folder, settings) = with_certificates(
        "tls-cert = '{certificate}'\ntls-key = '{key}'\ntls-client-ca = '{ca}'\n\
         [[listener]]\naddress = '{ip}:{port}'\n\
         [[listener]]\nname = 'none'\naddress = '{ip}:0'\ntls = true\n\
         [[listener]]\nname = 'optional'\naddress = '{ip}:0'\ntls = true\n\
         client-certificate = 'optional'\n\
         [[listener]]\nname = 'required'\naddress = '{ip}:0'\ntls = true\n\
         client-certificate = 'required'\n",
    );
    let server = Server::with(path).settings(settings).start()?;
    let [none, optional, required] =
        ["none", "optional", "required"].map(|name| server.listener_called(name));
    let connect = Connect::new(Version::V5, "by-certificate");
    for version in TLS_VERSIONS {
        let offer = Offer::new(&folder).version(version).resuming();
        let shown = offer.clone().showing(folder.client()).config();
        for target in [&none, &optional, &required] {
            tls::connect(target, &shown, &connect).disconnect();
        }
        // With tickets of the listeners where it need not show one.
        let hidden = offer.config();
        for target in [&none, &optional] {
            tls::connect(target, &hidden, &connect).disconnect();
        }
        assert!(is_refused(&required, &hidden), "let in without a certificate");
    }
    server.finish();
    Ok(())
}

fn the_log_names_the_listener_of_a_client() -> TestResult {
    let server = Server::with(PingPath::User)
        .settings(
            "[[listener]]\naddress = '{ip}:{port}'\n\
             [[listener]]\nname = 'devices'\naddress = '{ip}:0'\n",
        )
        .start()?;
    let devices = server.listener_called("devices");
    let own = server.target().address;
    for (target, name) in [(server.target(), own.to_string()), (&devices, "devices".to_owned())] {
        let connect = Connect::new(Version::V5, "twice");
        let first = Client::connect(target, &connect);
        let address = first.stream().local_addr().expect("an address");
        let _second = Client::connect(target, &connect);
        let line = format!("client=\"twice\" address={address} listener={name} reason=session");
        wait_for(&line, || server.log().contains(&line).then_some(()));
    }
    server.finish();
    Ok(())
}

/// Whether the server refuses a client, in the handshake or after it.
fn is_refused(target: &Target, config: &Arc<ClientConfig>) -> bool {
    let alert = match tls::dial(target, config) {
        Err(error) => tls::alert_of(&error),
        // In TLS 1.3 a client is done before the server has seen that there is no certificate.
        Ok(stream) => match Client::over(stream, Version::V5).read_connack(PATIENCE) {
            Err(Gone::Alert(alert)) => Some(alert),
            other => panic!("not refused by an alert: {other:?}"),
        },
    };
    // TLS 1.2 has no better word for it.
    let alerts = [AlertDescription::CertificateRequired, AlertDescription::HandshakeFailure];
    alert.is_some_and(|alert| alerts.contains(&alert))
}

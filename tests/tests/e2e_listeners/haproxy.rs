//! HAProxy in front of the server, and clients of others behind it.

use push_tests::both_paths;
use push_tests::certificates::{Folder, LOCAL_NAMES};
use push_tests::clients::{Client, Connect};
use push_tests::expectations::wait_for;
use push_tests::foreign::{
    By, Subscriber, mosquitto_pub, mqtt_js, need_mosquitto_clients, paho_by, paho_js,
};
use push_tests::haproxy::{Front, HaProxy};
use push_tests::server::{PingPath, Place, Server, ServerBuilder, Target};
use push_tests::skip::TestResult;
use push_tests::wire::{VERSIONS, Version};

both_paths! {
    clients_behind_a_proxy_are_known_by_their_own_addresses,
    clients_whose_tls_a_proxy_ends_are_served,
    clients_whose_tls_a_proxy_passes_on_are_served,
    websocket_behind_a_proxy_has_the_address_that_it_forwards,
    pings_through_a_proxy_over_veth_are_answered_by_the_kernel,
}

/// Pings of a calm client: the kernel answers all but the first two.
const PINGS: u64 = 5;

const TOLD: &str = "push_proxied_connections_total{result=\"told\"}";
const LOCAL: &str = "push_proxied_connections_total{result=\"local\"}";

/// What each kind of header is asked for by.
const SENDS: [&str; 2] = ["send-proxy", "send-proxy-v2"];

/// A server with a listener for proxies, whose log has every client.
fn behind_proxies(path: PingPath, more: &str) -> ServerBuilder {
    let settings = format!(
        "trusted-proxies = ['127.0.0.1', '10.77.0.0/24']\n{more}\
         [[listener]]\naddress = '{{ip}}:{{port}}'\n\
         [[listener]]\nname = 'proxied'\naddress = '{{ip}}:0'\nproxy-protocol = true\n"
    );
    Server::with(path).flag("--log", "info,push_server::shard=debug").settings(settings)
}

/// Waits for the log to say that a client has come from this address.
fn wait_connected(server: &Server, address: &str) {
    let line = |line: &&str| {
        line.contains("client connected") && line.contains(&format!(" address={address}"))
    };
    wait_for(&format!("a client of {address}"), || {
        server.log().lines().find(|one| line(one)).map(|_| ())
    });
}

/// Pings of our own client through a proxy, and who has answered them.
fn assert_pings(server: &Server, target: &Target) {
    let mut client = Client::connect(target, &Connect::new(Version::V5, "pings"));
    let kernel = server.kernel_share_of(&mut client, PINGS);
    match server.path() {
        PingPath::Kernel => assert!(kernel >= PINGS - 2, "{kernel} by the kernel"),
        PingPath::User => assert_eq!(kernel, 0),
    }
    client.disconnect();
}

fn clients_behind_a_proxy_are_known_by_their_own_addresses(path: PingPath) -> TestResult {
    need_mosquitto_clients()?;
    for sends in SENDS {
        let server = behind_proxies(path, "").start()?;
        let listener = server.listener_called("proxied");
        let proxy = HaProxy::start(&listener, Front::sending(sends))?;
        let target = proxy.target();
        for (number, version) in (2..).zip(VERSIONS) {
            let (reader, writer) = (format!("127.0.1.{number}"), format!("127.0.2.{number}"));
            let arguments = ["-A", &reader, "-t", "news", "-q", "1", "-k", "5"];
            let subscriber = Subscriber::start(target, version, "%t %p", &arguments);
            let message = ["-A", &writer, "-t", "news", "-q", "2", "-m", "hello"];
            mosquitto_pub(target, version, &message);
            assert_eq!(subscriber.message(), "news hello");
            subscriber.wait_ping();
            wait_connected(&server, &reader);
            wait_connected(&server, &writer);
            for case in ["qos", "large", "offline", "will", "take-over"] {
                paho_by(By::Tcp, target, version, case)?;
                mqtt_js(By::Tcp, target, version, case)?;
            }
        }
        assert_pings(&server, target);
        assert!(server.metrics().value(TOLD) > 20);
        server.finish();
    }
    Ok(())
}

fn clients_whose_tls_a_proxy_ends_are_served(path: PingPath) -> TestResult {
    let directory = tempfile::tempdir().expect("make a directory");
    let folder = Folder::make(directory.path(), &LOCAL_NAMES).expect("make certificates");
    // HAProxy adds what it knows of the client's TLS, and looks every second whether the server lives.
    let sends = "send-proxy-v2-ssl check check-send-proxy inter 1s";
    let server = behind_proxies(path, "").start()?;
    let listener = server.listener_called("proxied");
    let proxy = HaProxy::start(&listener, Front::sending(sends).with_tls(&folder))?;
    for version in VERSIONS {
        for case in ["qos", "large", "will", "ping"] {
            paho_by(By::Tls(&folder), proxy.target(), version, case)?;
            mqtt_js(By::Tls(&folder), proxy.target(), version, case)?;
        }
    }
    server.wait_metric(TOLD, |count| count > 0);
    server.wait_metric(LOCAL, |count| count > 0);
    let metrics = server.metrics();
    let (kernel, user) = (metrics.kernel_pings(), metrics.user_pings());
    match path {
        PingPath::Kernel => assert!(kernel > user, "{kernel} by the kernel, {user} not"),
        PingPath::User => assert_eq!(kernel, 0),
    }
    server.finish();
    Ok(())
}

fn clients_whose_tls_a_proxy_passes_on_are_served(path: PingPath) -> TestResult {
    let directory = tempfile::tempdir().expect("make a directory");
    let folder = Folder::make(directory.path(), &LOCAL_NAMES).expect("make certificates");
    let [certificate, key] = folder.server().map(|file| file.display().to_string());
    let settings = format!(
        "trusted-proxies = '127.0.0.1'\ntls-cert = '{certificate}'\ntls-key = '{key}'\n\
         [[listener]]\naddress = '{{ip}}:{{port}}'\n\
         [[listener]]\nname = 'sealed'\naddress = '{{ip}}:0'\ntls = true\nproxy-protocol = true\n\
         [[listener]]\nname = 'sealed-web'\naddress = '{{ip}}:0'\ntls = true\nprotocol = 'ws'\n\
         proxy-protocol = true\n"
    );
    let server = Server::with(path).settings(settings).start()?;
    for sends in SENDS {
        for (name, by) in [("sealed", By::Tls(&folder)), ("sealed-web", By::WebSocketTls(&folder))]
        {
            let listener = server.listener_called(name);
            let proxy = HaProxy::start(&listener, Front::sending(sends))?;
            for case in ["qos", "large", "will"] {
                paho_by(by, proxy.target(), Version::V5, case)?;
                mqtt_js(by, proxy.target(), Version::V311, case)?;
            }
        }
    }
    assert!(server.metrics().value(TOLD) > 0);
    server.finish();
    Ok(())
}

fn websocket_behind_a_proxy_has_the_address_that_it_forwards(path: PingPath) -> TestResult {
    let settings = "trusted-proxies = '127.0.0.1'\n\
                    [[listener]]\naddress = '{ip}:{port}'\n\
                    [[listener]]\nname = 'web'\naddress = '{ip}:0'\nprotocol = 'ws'\n";
    let server = Server::with(path)
        .flag("--log", "info,push_server::shard=debug")
        .settings(settings)
        .start()?;
    let listener = server.listener_called("web");
    let proxy = HaProxy::start(&listener, Front::forwarding())?;
    for version in VERSIONS {
        for case in ["qos", "large", "will", "ping"] {
            mqtt_js(By::WebSocket, proxy.target(), version, case)?;
            paho_by(By::WebSocket, proxy.target(), version, case)?;
        }
    }
    paho_js(By::WebSocket, proxy.target(), "qos")?;
    let metrics = server.metrics();
    let (kernel, user) = (metrics.kernel_pings(), metrics.user_pings());
    match path {
        PingPath::Kernel => assert!(kernel > user, "{kernel} by the kernel, {user} not"),
        PingPath::User => assert_eq!(kernel, 0),
    }
    // X-Forwarded-For has no port: that it stands alone shows that it was taken.
    wait_connected(&server, "127.0.0.1 listener=web");
    server.finish();
    Ok(())
}

fn pings_through_a_proxy_over_veth_are_answered_by_the_kernel(path: PingPath) -> TestResult {
    let server = behind_proxies(path, "").place(Place::VethV4).start()?;
    let listener = server.listener_called("proxied");
    let proxy = HaProxy::start(&listener, Front::sending("send-proxy-v2"))?;
    assert_pings(&server, proxy.target());
    server.finish();
    Ok(())
}

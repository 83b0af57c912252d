//! TLS of several stacks over a link that loses: OpenSSL, mbedTLS, Node's (by MQTT.js) and rustls, by every
//! suite that each has. A client pings, changes its keys, publishes to itself and compares each byte that
//! comes back, several times, and ends in order. Who has answered its pings is counted.

use std::net::Shutdown;

use push_tests::certificates::Folder;
use push_tests::clients::{Client, Connect, Gone};
use push_tests::expectations::wait_for;
use push_tests::foreign::{NodeSuite, mqtt_js_by_suite};
use push_tests::link::{Faults, Link};
use push_tests::metrics::Metrics;
use push_tests::netns::{SERVER_V4, SERVER_V6};
use push_tests::relay::{MBEDTLS_SUITES, OPENSSL_SUITES, Relay};
use push_tests::server::{PingPath, Place, Server};
use push_tests::skip::{Skip, TestResult};
use push_tests::tls::{Offer, SUITES, TlsStream, connect};
use push_tests::wire::Version;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use rustls::version::TLS13;
use tempfile::TempDir;

use crate::load::seed;
use crate::{Captures, faults_of, loaded_server};

/// The links: losses in percent, and the addresses.
const LINKS: [(u32, Place); 2] = [(5, Place::VethV4), (20, Place::VethV6)];

/// How many times a client pings, changes keys, pings and publishes.
const ROUNDS: u8 = 2;

/// Sizes of a round's messages: from a part of a segment to many segments.
const MESSAGE_BYTES: [usize; 4] = [1, 200, 1_400, 12_000];

/// A server behind a link that loses.
struct Rig {
    link: Link,
    server: Server,
    folder: Folder,
    percent: u32,
    _directory: TempDir,
}

impl Rig {
    fn start(path: PingPath, (percent, place): (u32, Place)) -> Result<Self, Skip> {
        let directory = TempDir::new().expect("make a directory");
        let names = ["localhost", SERVER_V4, SERVER_V6];
        let folder = Folder::make(directory.path(), &names).expect("make certificates");
        let faults = Faults::with_loss(percent).with_whole_headers_to_server();
        let link = Link::create(faults, seed(), [0, 1])?;
        // A connection alone would wait for a minute after some losses in a row.
        link.resend_within_a_second();
        let builder = loaded_server(path).within(link.namespaces(), place).tls(&folder);
        let server = builder.start()?;
        Ok(Self { link, server, folder, percent, _directory: directory })
    }

    fn captures(&self, stack: &str) -> Captures<'_> {
        let name = format!("wire-{stack}-{}-{:?}", self.percent, self.server.path());
        Captures { link: &self.link, name }
    }

    /// Lets a client, the only one, ping, change keys by `change_keys`, and publish, several times.
    #[track_caller]
    fn converse(
        &self,
        what: &str,
        client: &mut Client,
        mut change_keys: impl FnMut(&mut Client, u8),
    ) {
        let before = self.server.metrics();
        let mut rng = StdRng::seed_from_u64(seed());
        let mut pings = 0;
        client.subscribe(&[("echo", 1)]);
        for round in 0..ROUNDS {
            pings += self.server.prove_path_by(client);
            change_keys(client, round);
            pings += self.server.prove_path_by(client);
            for bytes in MESSAGE_BYTES {
                // None of these is a letter, which s_client could take for a command.
                let payload: Vec<u8> = (0..bytes).map(|_| rng.random::<u8>() | 0x80).collect();
                client.publish("echo", &payload, 1);
                assert!(client.message().payload == payload, "{what}: {bytes} bytes have changed");
            }
        }
        pings += self.server.prove_path_by(client);
        let after = self.server.metrics();
        let kernel = after.kernel_pings() - before.kernel_pings();
        let user = after.user_pings() - before.user_pings();
        assert_eq!(kernel + user, pings, "{what}: each is answered once");
        self.tell(what, kernel, user);
    }

    fn tell(&self, what: &str, kernel: u64, user: u64) {
        println!(
            "wire {} % loss, {what}: {} pings, {kernel} by the kernel; {:?} faults so far",
            self.percent,
            kernel + user,
            faults_of(&self.link)
        );
    }

    /// Begins or ends a connection, while nothing is lost. One whose first bytes overtake each other is left to user
    /// space; and TCP that sends again within a second gives up a closed socket at its first loss. The loads have
    /// both over the link as it is.
    fn calmly<T>(&self, act: impl FnOnce() -> T) -> T {
        self.link.heal();
        let done = act();
        self.link.harm();
        done
    }

    /// A client behind a program of others, which says `name` in its log when it speaks TLS.
    fn connects(
        &self,
        begin: impl FnOnce() -> Result<Relay, Skip>,
        name: &str,
        version: Version,
    ) -> Result<(Relay, Client), Skip> {
        self.calmly(|| {
            let relay = begin()?;
            relay.wait_log(name);
            let client = relay.connect(&Connect::new(version, name));
            Ok((relay, client))
        })
    }

    /// It leaves, and hears close_notify.
    #[track_caller]
    fn leaves(&self, client: Client, mut relay: Relay) {
        let status = self.calmly(|| {
            client.disconnect();
            relay.wait_exit()
        });
        assert!(status.success(), "no close_notify: {}", relay.log());
    }

    /// The end of a good test. An orderly stop has its time, which losses would use up.
    fn finish(self) {
        self.link.heal();
        crate::load::settle(&self.server);
        self.server.finish();
    }
}

pub(crate) fn openssl_keeps_its_streams_over_a_link_that_loses(path: PingPath) -> TestResult {
    for link in LINKS {
        let rig = Rig::start(path, link)?;
        let captures = rig.captures("openssl");
        for [version, flag, suite] in OPENSSL_SUITES {
            let more = [version, flag, suite];
            let begin = || Relay::openssl(&rig.server.tls(), &rig.folder.ca(), &more);
            let (mut relay, mut client) = rig.connects(begin, suite, Version::V5)?;
            let mut changes = 0;
            rig.converse(suite, &mut client, |_, round| {
                if version == "-tls1_3" {
                    // K asks for new keys of the server, too.
                    relay.command(if round == 0 { 'K' } else { 'k' });
                    changes += 1;
                    wait_for("openssl's KeyUpdate", || {
                        (relay.log().matches("KEYUPDATE").count() == changes).then_some(())
                    });
                }
            });
            rig.leaves(client, relay);
        }
        drop(captures);
        rig.finish();
    }
    Ok(())
}

pub(crate) fn mbedtls_keeps_its_streams_over_a_link_that_loses(path: PingPath) -> TestResult {
    for link in LINKS {
        let rig = Rig::start(path, link)?;
        let captures = rig.captures("mbedtls");
        for suite in MBEDTLS_SUITES {
            let begin = || Relay::mbedtls(&rig.server.tls(), &rig.folder, suite);
            let (relay, mut client) = rig.connects(begin, suite, Version::V311)?;
            rig.converse(suite, &mut client, |_, _| {});
            rig.leaves(client, relay);
        }
        drop(captures);
        rig.finish();
    }
    Ok(())
}

pub(crate) fn rustls_keeps_its_streams_over_a_link_that_loses(path: PingPath) -> TestResult {
    for link in LINKS {
        let rig = Rig::start(path, link)?;
        let captures = rig.captures("rustls");
        for (version, suite) in SUITES {
            let name = format!("{suite:?}");
            let config = Offer::new(&rig.folder).version(version).suite(suite).config();
            let connects = Connect::new(Version::V5, &name);
            let dial = || rig.calmly(|| connect(&rig.server.tls(), &config, &connects));
            let mut client = dial();
            rig.converse(&name, &mut client, |client, round| {
                if version == &TLS13 {
                    let stream = client.layers::<TlsStream>();
                    // It also asks for new keys of the server.
                    stream.connection().refresh_traffic_keys().expect("TLS 1.3");
                    if round == 0 {
                        // By itself, and not with what follows.
                        stream.write_records().expect("send to the server");
                    }
                }
            });
            rig.calmly(|| client.disconnect());
            half_closed(&rig, dial());
        }
        drop(captures);
        rig.finish();
    }
    Ok(())
}

/// A client that has said all that it will still hears the server's goodbye.
#[track_caller]
fn half_closed(rig: &Rig, mut client: Client) {
    rig.server.prove_path_by(&mut client);
    let ending = rig.calmly(|| {
        let stream = client.layers::<TlsStream>();
        stream.connection().send_close_notify();
        stream.write_records().expect("send to the server");
        client.stream().shutdown(Shutdown::Write).expect("FIN");
        client.wait_ending()
    });
    assert_eq!(ending.how, Gone::Closed, "close_notify, then FIN");
}

pub(crate) fn mqtt_js_keeps_its_streams_over_a_link_that_loses(path: PingPath) -> TestResult {
    for link in LINKS {
        let rig = Rig::start(path, link)?;
        let captures = rig.captures("mqtt-js");
        for [version, _, suite] in OPENSSL_SUITES {
            let version = if version == "-tls1_3" { "TLSv1.3" } else { "TLSv1.2" };
            let before = rig.server.metrics();
            let node = NodeSuite { version, suite };
            let target = rig.server.tls();
            let pings = mqtt_js_by_suite(&rig.folder, &target, node, || rig.link.heal())?;
            rig.link.harm();
            let after = rig.server.metrics();
            let kernel = after.kernel_pings() - before.kernel_pings();
            let user = after.user_pings() - before.user_pings();
            rig.tell(&format!("MQTT.js, {suite}"), kernel, user);
            assert_eq!(kernel + user, pings, "MQTT.js, {suite}: each is answered once");
            // It connects while frames are lost, so the kernel may have left it to user space.
            let left = |metrics: &Metrics| {
                metrics.value("push_kernel_path_declined_total{reason=\"out_of_order\"}")
            };
            let is_served = path == PingPath::Kernel && left(&before) == left(&after);
            assert!(kernel > 0 || !is_served, "MQTT.js, {suite}");
            assert!(kernel == 0 || path == PingPath::Kernel, "MQTT.js, {suite}");
        }
        drop(captures);
        rig.finish();
    }
    Ok(())
}

pub(crate) fn renegotiation_is_refused_over_a_link_that_loses(path: PingPath) -> TestResult {
    for link in LINKS {
        let rig = Rig::start(path, link)?;
        let begin = || Relay::openssl(&rig.server.tls(), &rig.folder.ca(), &["-tls1_2"]);
        let (mut relay, mut client) = rig.connects(begin, "TLSv1.2", Version::V5)?;
        rig.server.prove_path_by(&mut client);
        relay.command('R');
        // OpenSSL gives up when it is refused.
        assert!(!relay.wait_exit().success());
        assert!(relay.log().to_lowercase().contains("renegotiation"), "{}", relay.log());
        rig.finish();
    }
    Ok(())
}

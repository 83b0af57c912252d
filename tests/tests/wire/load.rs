//! Many devices over one link at once: pings and publishes of each from two CPUs, messages both ways,
//! connections that end in order and that break off. Every message bears its hash; what ends in
//! order must be complete; both paths get the same load and the same expectations.

use std::collections::HashMap;
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use push_tests::certificates::Folder;
use push_tests::clients::{Client, Connect};
use push_tests::load::options::{LayerOptions, TlsVersion};
use push_tests::load::transport::Kind;
use push_tests::server::{PingPath, Server, ServerBuilder, Target};
use push_tests::wire::{Packet, Publish, Version};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::device::{Life, Shared, live};
use crate::message;

/// Devices that are connected at once.
pub(crate) const DEVICES: u32 = 200;

/// How long devices come and go, before the end is awaited.
const SECONDS: u64 = 6;

/// Between two messages to devices.
const DOWN_EVERY: Duration = Duration::from_millis(4);

/// What a run came to.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) lives: Vec<Life>,
    pub(crate) kernel_pings: u64,
    pub(crate) user_pings: u64,
    pub(crate) resent: u64,
    pub(crate) refilled: u64,
    pub(crate) absorbed: u64,
    pub(crate) old: u64,
    /// Of both namespaces: challenge ACKs, PAWS, checksums.
    pub(crate) suspicions: Suspicions,
}

/// The kernel's own counters of what it finds odd.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Suspicions {
    pub(crate) challenge_acks: u64,
    pub(crate) paws: u64,
    pub(crate) checksums: u64,
}

pub(crate) fn seconds() -> u64 {
    number("PUSH_WIRE_SECONDS").unwrap_or(SECONDS)
}

pub(crate) fn seed() -> u64 {
    number("PUSH_WIRE_SEED").unwrap_or(3)
}

pub(crate) fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
}

/// What is around MQTT between devices and the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Around {
    Nothing,
    WebSocket,
    /// TLS, with the suite of rustls's choice.
    Tls(TlsVersion),
    /// TLS with one suite, as rustls calls it.
    Suite(TlsVersion, &'static str),
}

/// Every suite.
pub(crate) const SUITES: [(TlsVersion, &str); 6] = [
    (TlsVersion::Tls13, "TLS13_AES_128_GCM_SHA256"),
    (TlsVersion::Tls13, "TLS13_AES_256_GCM_SHA384"),
    (TlsVersion::Tls13, "TLS13_CHACHA20_POLY1305_SHA256"),
    (TlsVersion::Tls12, "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"),
    (TlsVersion::Tls12, "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"),
    (TlsVersion::Tls12, "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"),
];

impl Around {
    /// Adds the listener for it, with these certificates.
    pub(crate) fn listen(self, server: ServerBuilder, certificates: &Folder) -> ServerBuilder {
        match self {
            Self::Nothing => server,
            Self::WebSocket => server.websocket(),
            Self::Tls(_) | Self::Suite(..) => server.tls(certificates),
        }
    }

    /// The server's address for it, and the layers.
    fn at(self, server: &Server, certificates: &Folder) -> (Target, Option<Kind>) {
        let tls = |version, suite: Option<&str>| LayerOptions {
            tls: Some(certificates.ca()),
            tls_name: Some("localhost".to_owned()),
            tls_version: Some(version),
            tls_suite: suite.map(str::to_owned),
            ..LayerOptions::default()
        };
        let (target, layers) = match self {
            Self::Nothing => return (server.target().clone(), None),
            Self::WebSocket => {
                (server.websocket(), LayerOptions { ws: true, ..LayerOptions::default() })
            }
            Self::Tls(version) => (server.tls(), tls(version, None)),
            Self::Suite(version, suite) => (server.tls(), tls(version, Some(suite))),
        };
        let layers = Kind::new(&layers, target.address).expect("certificates of our own");
        (target, Some(layers))
    }

    /// Whether its keys can change.
    fn keys_change(self) -> bool {
        matches!(self, Self::Tls(TlsVersion::Tls13) | Self::Suite(TlsVersion::Tls13, _))
    }
}

/// Loads `server` for so many seconds; `heal` is called when the end is to come.
pub(crate) fn run(
    server: &Server,
    (around, certificates, seconds): (Around, &Folder, u64),
    heal: impl FnOnce(),
) -> Outcome {
    let before = suspicions(server.target());
    let stop = AtomicBool::new(false);
    let down: Vec<AtomicU32> = (0..DEVICES).map(|_| AtomicU32::new(0)).collect();
    let (target, layers) = around.at(server, certificates);
    let layers = layers.as_ref();
    let keys_change = around.keys_change();
    let shared =
        Shared { target: &target, layers, keys_change, stop: &stop, down: &down, seed: seed() };
    let done = AtomicBool::new(false);
    let hub_target = server.target().clone();

    let (lives, collected) = std::thread::scope(|scope| {
        // Whatever fails, nobody goes on without end.
        let _ends = EndOnDrop([&stop, &done]);
        let hub = Hub::connect(&hub_target);
        let publisher = hub.publisher;
        let collector = scope.spawn(|| collect(hub.collector, &done));
        let publishing = scope.spawn(|| publish(publisher, &down, &stop));
        let devices: Vec<_> = (0..DEVICES)
            .map(|device| {
                scope.spawn({
                    let shared = &shared;
                    move || live(shared, device)
                })
            })
            .collect();
        std::thread::sleep(Duration::from_secs(seconds));
        stop.store(true, Ordering::SeqCst);
        join(publishing);
        heal();
        let lives: Vec<Life> = devices.into_iter().flat_map(join).collect();
        // QoS 0 to the collector: what the server has taken is there soon.
        std::thread::sleep(Duration::from_millis(500));
        done.store(true, Ordering::SeqCst);
        (lives, join(collector))
    });

    let metrics = server.metrics();
    check(&lives, &collected);
    let dropped = "push_publishes_dropped_total{reason=\"outbox_full\"}";
    assert_eq!(metrics.value(dropped), 0, "messages were dropped");
    let event =
        |name: &str| metrics.value(&format!("push_kernel_path_events_total{{event=\"{name}\"}}"));
    let after = suspicions(&target);
    Outcome {
        lives,
        kernel_pings: metrics.kernel_pings(),
        user_pings: metrics.user_pings(),
        resent: event("resent"),
        refilled: event("refilled"),
        absorbed: event("absorbed"),
        old: event("old_timestamp"),
        suspicions: Suspicions {
            challenge_acks: after.challenge_acks - before.challenge_acks,
            paws: after.paws - before.paws,
            checksums: after.checksums - before.checksums,
        },
    }
}

/// Messages by device and connection: how many have come, in order.
type Collected = HashMap<(u32, u32), u32>;

/// Two clients beside the server, for whom the link does not matter.
struct Hub {
    collector: Client,
    publisher: Client,
}

impl Hub {
    fn connect(target: &Target) -> Self {
        let connect = |name: &str| {
            let connect = Connect::new(Version::V311, name).keep_alive(600);
            target.run_at_server(|| Client::connect(&target.from_here(), &connect))
        };
        let mut collector = connect("collector");
        collector.subscribe(&[("up/#", 0)]);
        Self { collector, publisher: connect("publisher") }
    }
}

/// Sets its flags when it goes, as by a panic.
struct EndOnDrop<'a>([&'a AtomicBool; 2]);

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        self.0.iter().for_each(|flag| flag.store(true, Ordering::SeqCst));
    }
}

fn collect(mut collector: Client, done: &AtomicBool) -> Collected {
    let mut collected = Collected::new();
    loop {
        match collector.receive(Duration::from_millis(100)) {
            Ok(Packet::Publish(publish)) => {
                let (device, incarnation, number) = message::read(&publish.payload);
                let next = collected.entry((device, incarnation)).or_insert(0);
                assert_eq!(number, *next, "of device {device}, connection {incarnation}");
                *next += 1;
            }
            Ok(other) => panic!("{other:?}"),
            Err(_) if done.load(Ordering::SeqCst) => return collected,
            Err(push_tests::clients::Gone::Silent) => {}
            Err(gone) => panic!("the collector was {gone:?}"),
        }
    }
}

fn publish(mut publisher: Client, down: &[AtomicU32], stop: &AtomicBool) {
    let mut rng = StdRng::seed_from_u64(seed());
    while !stop.load(Ordering::SeqCst) {
        std::thread::sleep(DOWN_EVERY);
        let device = rng.random_range(0..DEVICES);
        let number = down[device as usize].load(Ordering::SeqCst);
        let payload = message::make(&mut rng, device, 0, number);
        let topic = format!("d/{device}");
        publisher.publish_packet(Publish { topic, payload, qos: 1, ..Publish::default() });
        down[device as usize].store(number + 1, Ordering::SeqCst);
    }
}

fn check(lives: &[Life], collected: &Collected) {
    let completed = lives.iter().filter(|life| life.complete).count();
    assert!(completed >= DEVICES as usize / 2, "{completed} of {} ended in order", lives.len());
    for life in lives {
        let came = collected.get(&(life.device, life.incarnation)).copied().unwrap_or(0);
        if life.complete {
            assert_eq!((came, life.answers), (life.published, life.pings), "{life:?}");
        } else {
            assert!(came <= life.published && life.answers <= life.pings, "{came}: {life:?}");
        }
    }
}

fn join<T>(thread: std::thread::ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Of the namespaces of both sides; on lo they are one.
fn suspicions(target: &Target) -> Suspicions {
    let sides = [target.run_at_client(read_suspicions), target.run_at_server(read_suspicions)];
    Suspicions {
        challenge_acks: sides.iter().map(|side| side.challenge_acks).sum(),
        paws: sides.iter().map(|side| side.paws).sum(),
        checksums: sides.iter().map(|side| side.checksums).sum(),
    }
}

fn read_suspicions() -> Suspicions {
    let read = |file: &str| fs::read_to_string(format!("/proc/thread-self/net/{file}"));
    let netstat = read("netstat").expect("TCP's counters");
    let snmp = read("snmp").expect("TCP's counters");
    Suspicions {
        challenge_acks: field(&netstat, "TcpExt:", "TCPChallengeACK"),
        paws: field(&netstat, "TcpExt:", "PAWSEstab"),
        checksums: field(&snmp, "Tcp:", "InCsumErrors"),
    }
}

/// A value of a pair of lines: names, and values below them.
fn field(text: &str, table: &str, name: &str) -> u64 {
    let mut lines = text.lines().filter(|line| line.starts_with(table));
    let (names, values) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let at = names.split(' ').position(|found| found == name);
    let value = at.and_then(|at| values.split(' ').nth(at)?.parse().ok());
    value.unwrap_or_else(|| panic!("no {name} in {table}"))
}

impl Outcome {
    /// A line for people, with the sum of what all connections have lasted.
    pub(crate) fn print(&self, what: &str, path: PingPath, faults: u64) {
        let lasted: Duration = self.lives.iter().map(|life| life.lasted).sum();
        let pings: u64 = self.lives.iter().map(|life| life.pings).sum();
        println!(
            "wire {what} {path:?} seed {}: {} connections, {:.0} connection-seconds, {faults} faults, \
             {pings} pings, {} by the kernel, {} by user space, resent {}, refilled {}, absorbed {}, old {}, {:?}",
            seed(),
            self.lives.len(),
            lasted.as_secs_f64(),
            self.kernel_pings,
            self.user_pings,
            self.resent,
            self.refilled,
            self.absorbed,
            self.old,
            self.suspicions,
        );
    }
}

/// Waits until the server has seen every device go.
pub(crate) fn settle(server: &Server) {
    server.wait_metric("push_connections", |connections| connections == 0);
}

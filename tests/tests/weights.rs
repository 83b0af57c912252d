//! What counts against byte limits, held against the bytes that are really allocated for it. A binary
//! of its own, because the allocator is the whole process's.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use bytes::Bytes;
use push_common::answer_table::KernelTable;
use push_server::broker::{
    Held, Member, Message, MessageProperties, QoS, Retained, Routing, Shares, SubscriptionOptions,
    Subscriptions, TopicFilter, TopicName, UserProperties, subscription_weight_bytes,
};
use push_server::config::{ClientAuthMode, Config};
use push_server::control::crypto_provider;
use push_server::mqtt::{Limits, SubscriptionList};
use push_server::shard::simulation::{Peer, World};
use push_server::shard::{TlsConfigs, TlsSource, TlsSources};
use push_tests::certificates::Folder;
use push_tests::tls::Offer;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{NoServerSessionStorage, ServerConfig, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

/// The system's allocator, which notes what each thread holds.
struct Counting;

thread_local! {
    /// Bytes allocated by this thread, less those that it freed. Without a destructor: the allocator
    /// is asked to the end.
    static HELD: Cell<isize> = const { Cell::new(0) };
}

/// What glibc takes for so many bytes: 8 of its own, rounded to 16, and no less than 32.
fn taken(layout: Layout) -> isize {
    (layout.size() + 8).next_multiple_of(16).max(32) as isize
}

// SAFETY: every call goes on to `System` as it came, which keeps the contract.
#[expect(unsafe_code, reason = "an allocator is unsafe to implement")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.set(HELD.get() + taken(layout));
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        HELD.set(HELD.get() - taken(layout));
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What `make` made, and the bytes that it holds.
fn held<T>(make: impl FnOnce() -> T) -> (T, usize) {
    let before = HELD.get();
    let made = make();
    (made, usize::try_from(HELD.get() - before).expect("more than before"))
}

/// What a message is like, and how it is made.
type Case = (&'static str, fn() -> [Arc<Message>; 2]);

/// As the codec makes one; shared, as queues hold it.
fn message(payload_len: usize, properties: Option<MessageProperties>) -> [Arc<Message>; 2] {
    let message = Arc::new(Message {
        topic: TopicName::parse("site/7/state", 8).expect("valid"),
        payload: Bytes::copy_from_slice(&vec![b'x'; payload_len]),
        qos: QoS::AtLeastOnce,
        retain: true,
        properties: properties.map(Arc::new),
        expires_at: None,
        held: Held::default(),
    });
    let clones = (message.payload.clone(), message.properties.clone());
    drop(clones);
    [Arc::clone(&message), message]
}

fn pairs(number: usize) -> UserProperties {
    UserProperties::collect(std::iter::repeat_n(("k", "v"), number)).expect("short")
}

fn properties(user_properties: UserProperties) -> MessageProperties {
    MessageProperties { user_properties, ..MessageProperties::default() }
}

fn all_properties() -> MessageProperties {
    let properties = MessageProperties {
        payload_format: Some(1),
        content_type: Some("t".into()),
        response_topic: Some("r".into()),
        correlation_data: Some(Bytes::copy_from_slice(b"c")),
        user_properties: pairs(1),
    };
    drop(properties.correlation_data.clone());
    properties
}

#[test]
fn a_message_takes_no_more_than_it_weighs() {
    let cases: [Case; 6] = [
        ("empty", || message(0, None)),
        ("a byte", || message(1, None)),
        ("large", || message(100_000, None)),
        ("every property", || message(1, Some(all_properties()))),
        ("one user property", || message(1, Some(properties(pairs(1))))),
        ("a thousand user properties", || message(1, Some(properties(pairs(1_000))))),
    ];
    for (what, make) in cases {
        let (made, held_bytes) = held(make);
        let weight = made[0].weight_bytes();
        println!("{what}: {held_bytes} bytes held, weighs {weight}");
        assert!(held_bytes <= weight, "{what}: {held_bytes} bytes held, weighs {weight}");
        let own_bytes = Message::OWN_BYTES + MessageProperties::OWN_BYTES;
        assert!(weight <= held_bytes + own_bytes, "{what} weighs far more than {held_bytes}");
    }
}

#[test]
fn a_thousand_user_properties_take_what_they_take_on_the_wire() {
    let (made, held_bytes) = held(|| pairs(1_000));
    assert_eq!(made.encoded().len(), 7_000);
    assert!(held_bytes < 7_100, "{held_bytes} bytes");
}

/// What topics are like, and the one of a number.
type Shape = (&'static str, fn(usize) -> String);

/// Numbers that put tables just before and just behind their growth.
const NUMBERS: [usize; 6] = [100, 450, 520, 540, 1_000, 1_030];

#[test]
fn subscriptions_take_no_more_than_they_weigh() {
    /// Of empty tables in 64 segments, twice: their first entries. And of both trees, a chunk each of
    /// nodes, of ends and of texts.
    const TABLES_BYTES: usize = 2 * 64 * 200 + 2 * 256 * (24 + 32 + 24);
    let shapes: [Shape; 7] = [
        ("wildcards alone", |n| format!("{n}/+/+/+/+/+/+/+/+")),
        ("empty levels", |n| format!("q{n}/0/0{}+", "/".repeat(123))),
        ("short levels", |n| format!("q{n}{}/+", "/a".repeat(120))),
        ("ordinary", |n| format!("company/site/{n}/+/state")),
        ("one level", |n| format!("{n}/+")),
        ("no wildcard", |n| format!("device/{n}")),
        ("shared", |n| format!("$share/group/device/{n}/+")),
    ];
    let limits =
        Limits { subscriptions_max: 10_000, subscription_bytes_max: u32::MAX, ..Limits::default() };
    for ((what, shape), number) in shapes.into_iter().flat_map(|s| NUMBERS.map(|n| (s, n))) {
        let (mut table, mut list) = (Subscriptions::default(), SubscriptionList::default());
        let (routing, shares) = (Routing::default(), Shares::default());
        let options = SubscriptionOptions::default();
        let (weight, held_bytes) = held(|| {
            let mut weight = 0;
            for filter in (0..number).map(shape) {
                let filter = TopicFilter::parse(&filter, 128).expect("valid");
                list.set(&filter, options, &limits).expect("within");
                if filter.is_shared() {
                    shares.join(&filter, Member { shard: 0, session: 1 }, options, true);
                } else {
                    table.insert(&filter, 1, options);
                    routing.add(&filter, 0);
                }
                weight += subscription_weight_bytes(&filter);
            }
            weight
        });
        println!("{number} {what}: {held_bytes} bytes held, weigh {weight}");
        let weight = weight + TABLES_BYTES;
        assert!(held_bytes <= weight, "{number} {what}: {held_bytes} held, weigh {weight}");
    }
}

/// 22 KB of filters as they come in a SUBSCRIBE, made to take as much memory as they can.
#[test]
fn filters_of_wildcards_take_at_most_36_times_their_bytes() {
    let limits = Limits { subscriptions_max: 1_000, ..Limits::default() };
    let filters: Vec<_> = (0..1_000)
        .map(|n| TopicFilter::parse(&format!("{n:03x}/+/+/+/+/+/+/+/+"), 128).expect("valid"))
        .collect();
    let wire_bytes: usize = filters.iter().map(|filter| filter.as_str().len() + 3).sum();
    let (mut table, mut list) = (Subscriptions::default(), SubscriptionList::default());
    let routing = Routing::default();
    let options = SubscriptionOptions::default();
    let ((), held_bytes) = held(|| {
        for filter in &filters {
            let filter = TopicFilter::parse(filter.as_str(), 128).expect("valid");
            list.set(&filter, options, &limits).expect("within");
            table.insert(&filter, 1, options);
            routing.add(&filter, 0);
        }
    });
    println!("{wire_bytes} bytes on the wire, {held_bytes} held");
    assert!(held_bytes <= 36 * wire_bytes, "{wire_bytes} bytes on the wire, {held_bytes} held");
}

#[test]
fn retained_messages_take_no_more_than_is_counted() {
    let shapes: [Shape; 4] = [
        ("empty levels", |n| format!("{n}{}", "/".repeat(126))),
        ("short levels", |n| format!("{n}{}", "/a".repeat(126))),
        ("ordinary", |n| format!("company/site/{n}/state")),
        ("one level", |n| n.to_string()),
    ];
    for ((what, shape), number) in shapes.into_iter().flat_map(|s| NUMBERS.map(|n| (s, n))) {
        let retained = Retained::new(number, 1 << 30);
        let ((), held_bytes) = held(|| {
            for topic in (0..number).map(shape) {
                let message = Message {
                    topic: TopicName::parse(&topic, 128).expect("valid"),
                    payload: Bytes::copy_from_slice(b"x"),
                    qos: QoS::AtLeastOnce,
                    retain: true,
                    properties: None,
                    expires_at: None,
                    held: Held::default(),
                };
                retained.set(&Arc::new(message)).expect("within");
            }
        });
        // A chunk each of nodes, messages and texts.
        const CHUNKS_BYTES: usize = 256 * (32 + 32 + 24);
        let counted = retained.bytes() + CHUNKS_BYTES;
        println!("{number} {what}: {held_bytes} bytes held, {counted} counted");
        assert!(held_bytes <= counted, "{number} {what}: {held_bytes} held, {counted} counted");
    }
}

/// An idle connection over TLS 1.3, without and with a certificate of the client's, in bytes.
const IDLE_TLS_BYTES_MAX: [usize; 2] = [4 << 10, 5 << 10];

/// A server's configuration for every connection.
#[derive(Debug)]
struct Fixed(Arc<ServerConfig>);

impl TlsSource for Fixed {
    fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0)
    }
}

/// As `control` makes one.
fn server_config(folder: &Folder, asks_for_certificate: bool) -> ServerConfig {
    let provider = Arc::new(crypto_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&TLS13, &TLS12])
        .expect("versions");
    let builder = if asks_for_certificate {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(folder.ca()).expect("a file")).expect("a CA");
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
        builder.with_client_cert_verifier(verifier.build().expect("a verifier"))
    } else {
        builder.with_no_client_auth()
    };
    let [certificate, key] = folder.server();
    let certificate = CertificateDer::from_pem_file(certificate).expect("a certificate");
    let key = PrivateKeyDer::from_pem_file(key).expect("a key");
    let mut config = builder.with_single_cert(vec![certificate], key).expect("a pair");
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = ring::Ticketer::new().expect("randomness");
    config.send_tls13_tickets = 1;
    config.alpn_protocols = vec![b"mqtt".to_vec()];
    config
}

/// A client that has connected and pinged, and of which only the server is left.
fn idle_over_tls(world: &mut World, config: &Arc<ClientConfig>, number: usize) -> Peer {
    let name = ServerName::try_from("localhost").expect("a name");
    let mut client = ClientConnection::new(Arc::clone(config), name).expect("a client");
    let peer = world.connect_tls(0);
    let id = format!("device-{number:07}");
    let connect = [b"\x10\x1A\0\x04MQTT\x04\x02\x03\x84\0\x0E", id.as_bytes()].concat();
    for (said, answer) in [(&connect[..], &b"\x20\x02\0\0"[..]), (b"\xC0\0", b"\xD0\0")] {
        client.writer().write_all(said).expect("a vector takes all");
        let mut heard = Vec::new();
        while heard.len() < answer.len() {
            let mut bytes = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut bytes).expect("a vector takes all");
            }
            peer.send(&bytes);
            world.settle();
            let bytes = peer.take();
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                client.read_tls(&mut rest).expect("a slice never fails");
                client.process_new_packets().expect("it opens");
                let _ = client.reader().read_to_end(&mut heard);
            }
        }
        assert_eq!(heard, answer);
    }
    peer.shrink();
    peer
}

#[test]
fn an_idle_connection_over_tls_takes_no_more_than_is_promised() {
    // Tables that double do so once from the first half to the whole.
    const CONNECTIONS: usize = 256;
    let directory = tempfile::tempdir().expect("a folder");
    let folder = Folder::make(directory.path(), &["localhost"]).expect("certificates");
    for (shows_certificate, bytes_max) in [false, true].into_iter().zip(IDLE_TLS_BYTES_MAX) {
        for version in [&TLS13, &TLS12] {
            let offer = Offer::new(&folder).version(version);
            let offer = if shows_certificate { offer.showing(folder.client()) } else { offer };
            let client = offer.config();
            let mut world = World::new(&Arc::new(Config { shards: 1, ..Config::default() }), 1);
            let config = Arc::new(server_config(&folder, shows_certificate));
            let source: Arc<dyn TlsSource> = Arc::new(Fixed(config));
            let sources = TlsSources { mqtt: Arc::clone(&source), websocket: source };
            world.serve_tls(TlsConfigs::default().with(ClientAuthMode::None, sources));
            // What tables, scratch and buffers take once.
            let mut peers = Vec::with_capacity(2 * CONNECTIONS);
            peers.extend((0..CONNECTIONS).map(|at| idle_over_tls(&mut world, &client, at)));
            let more = CONNECTIONS..2 * CONNECTIONS;
            let ((), held_bytes) = held(|| {
                peers.extend(more.map(|at| idle_over_tls(&mut world, &client, at)));
            });
            // The simulation's own socket is no part of a server, and its answer table is the kernel's on a machine.
            let (_, socket_bytes) = held(|| world.connect_tls(0));
            let (_, table_bytes) = held(|| Box::new(KernelTable::new(|| AtomicU64::new(0))));
            let each = held_bytes / CONNECTIONS - socket_bytes - table_bytes;
            println!("{version:?}, certificate {shows_certificate}: {each} bytes each");
            if version == &TLS13 {
                assert!(each <= bytes_max, "{each} bytes, certificate: {shows_certificate}");
            }
        }
    }
}

//! A device of the load run: it lives several connections long. Each pings, publishes and reads
//! until it ends in order (DISCONNECT, then everything must have arrived) or breaks off (RST).

use std::any::Any;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use push_tests::clients::{Client, Connect, Gone};
use push_tests::link::pin;
use push_tests::load::transport::Kind;
use push_tests::server::Target;
use push_tests::stream::{Layered, Stream};
use push_tests::wire::{self, PINGREQ, PUBACK, Packet, Publish, Version};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::message;

/// Pingers run on the first CPU, publishers on the second.
const PINGER_CPU: usize = 0;
const PUBLISHER_CPU: usize = 1;

/// One in so many pings goes with new keys, where keys change.
const PINGS_PER_KEY: u32 = 6;

/// How long the end of a connection may take, the network being good by then.
pub(crate) const DRAIN_MAX: Duration = Duration::from_secs(120);

/// What a device shares with the run.
pub(crate) struct Shared<'a> {
    pub(crate) target: &'a Target,
    /// What is around MQTT; `None`: nothing.
    pub(crate) layers: Option<&'a Kind>,
    /// Keys change now and then.
    pub(crate) keys_change: bool,
    pub(crate) stop: &'a AtomicBool,
    /// For each device, how many messages were published to it.
    pub(crate) down: &'a [AtomicU32],
    pub(crate) seed: u64,
}

/// One connection, looked back upon.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Life {
    pub(crate) device: u32,
    pub(crate) incarnation: u32,
    /// Messages that it has written.
    pub(crate) published: u32,
    /// It ended in order: all of it must have arrived.
    pub(crate) complete: bool,
    pub(crate) pings: u64,
    pub(crate) answers: u64,
    pub(crate) lasted: Duration,
}

/// A connection while it lasts; its threads share it.
#[derive(Debug)]
struct Connection {
    device: u32,
    incarnation: u32,
    writer: Mutex<Box<dyn Stream>>,
    /// Nothing more is to be published.
    over: AtomicBool,
    /// The socket is of no use any more.
    gone: AtomicBool,
    published: AtomicU32,
    pings: AtomicU64,
    answers: AtomicU64,
    /// Behind the last message received; what had been published when the subscription began.
    received: AtomicU32,
    subscribed_at: u32,
}

/// Lives until the run stops, and then ends in order.
pub(crate) fn live(shared: &Shared<'_>, device: u32) -> Vec<Life> {
    pin(PINGER_CPU);
    let mut rng = StdRng::seed_from_u64(shared.seed ^ u64::from(device) << 32);
    let mut lives = Vec::new();
    let mut incarnation = 0;
    while !shared.stop.load(Ordering::Relaxed) {
        let Some((client, connection)) = open(shared, device, incarnation) else { continue };
        lives.push(spend(shared, client, &connection, &mut rng));
        incarnation += 1;
    }
    lives
}

/// Connects and subscribes; `None` where the network was too bad for it.
fn open(shared: &Shared<'_>, device: u32, incarnation: u32) -> Option<(Client, Connection)> {
    let connect = Connect::new(Version::V311, &format!("device-{device}")).keep_alive(600);
    let (mut client, writer) = dial(shared, device, &connect)?;
    let topic = format!("d/{device}");
    client.try_send(&wire::subscribe(Version::V311, 1, &[(&topic, 1)])).ok()?;
    while !matches!(client.receive(DRAIN_MAX).ok()?, Packet::Suback { .. }) {}
    let connection = Connection {
        device,
        incarnation,
        writer: Mutex::new(writer),
        over: AtomicBool::new(false),
        gone: AtomicBool::new(false),
        published: AtomicU32::new(0),
        pings: AtomicU64::new(0),
        answers: AtomicU64::new(0),
        received: AtomicU32::new(0),
        subscribed_at: shared.down[device as usize].load(Ordering::SeqCst),
    };
    Some((client, connection))
}

/// A client that reads, and what writes for it.
fn dial(shared: &Shared<'_>, device: u32, connect: &Connect) -> Option<(Client, Box<dyn Stream>)> {
    let Some(layers) = shared.layers else {
        let client = Client::open(shared.target, connect).ok()?;
        let writer = client.stream().try_clone().ok()?;
        return Some((client, Box::new(writer)));
    };
    let socket = shared.target.connect(None).ok()?;
    socket.set_read_timeout(Some(DRAIN_MAX)).ok()?;
    let stream = Layered::open(socket, layers, device.into()).ok()?;
    let writer = stream.try_clone().ok()?;
    let mut client = Client::over(stream, connect.version);
    client.say_connect(connect);
    client.read_connack(DRAIN_MAX).ok()?;
    Some((client, Box::new(writer)))
}

fn spend(shared: &Shared<'_>, client: Client, connection: &Connection, rng: &mut StdRng) -> Life {
    let begun = Instant::now();
    let end = begun + Duration::from_millis(rng.random_range(1_500..8_000));
    let breaks_off = rng.random_range(0..3) == 0;
    let publisher_seed = rng.random();
    let stopped = || shared.stop.load(Ordering::Relaxed);
    let closed = std::thread::scope(|scope| {
        let reader = scope.spawn(|| connection.read(client));
        let publisher = scope.spawn(|| connection.publish(publisher_seed));
        while Instant::now() < end && !stopped() && !connection.is_gone() {
            std::thread::sleep(Duration::from_millis(rng.random_range(5..700)));
            if shared.keys_change && rng.random_ratio(1, PINGS_PER_KEY) {
                connection.change_keys();
            }
            connection.pings.fetch_add(1, Ordering::SeqCst);
            connection.write(&PINGREQ);
        }
        connection.over.store(true, Ordering::SeqCst);
        publisher.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        if breaks_off && !stopped() {
            connection.break_off();
        } else {
            if stopped() {
                connection.wait_for_messages(shared);
            }
            connection.write(&wire::disconnect());
        }
        reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    Life {
        device: connection.device,
        incarnation: connection.incarnation,
        published: connection.published.load(Ordering::SeqCst),
        complete: closed,
        pings: connection.pings.load(Ordering::SeqCst),
        answers: connection.answers.load(Ordering::SeqCst),
        lasted: begun.elapsed(),
    }
}

impl Connection {
    fn is_gone(&self) -> bool {
        self.gone.load(Ordering::SeqCst)
    }

    /// Writes whole packets; two threads of the connection never mix theirs.
    fn write(&self, bytes: &[u8]) {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if std::io::Write::write_all(&mut *writer, bytes).is_err() {
            self.gone.store(true, Ordering::SeqCst);
        }
    }

    /// Asks for new keys both ways, in the middle of whatever is under way.
    fn change_keys(&self) {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let stream: &mut dyn Any = &mut **writer;
        let layered: &mut Layered = stream.downcast_mut().expect("layers of TLS");
        if layered.renew().is_err() {
            self.gone.store(true, Ordering::SeqCst);
        }
    }

    /// Closes by RST: when the reader, which looks up now and then, lets go of the socket.
    fn break_off(&self) {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let linger = socket2::SockRef::from(writer.tcp()).set_linger(Some(Duration::ZERO));
        linger.expect("an option of an open socket");
        self.gone.store(true, Ordering::SeqCst);
    }

    /// Publishes, from another CPU than the pings, until it is over.
    fn publish(&self, seed: u64) {
        pin(PUBLISHER_CPU);
        let mut rng = StdRng::seed_from_u64(seed);
        while !self.over.load(Ordering::SeqCst) && !self.is_gone() {
            std::thread::sleep(Duration::from_millis(rng.random_range(5..600)));
            let number = self.published.fetch_add(1, Ordering::SeqCst);
            let payload = message::make(&mut rng, self.device, self.incarnation, number);
            let topic = format!("up/{}", self.device);
            let publish = Publish { topic, payload, ..Publish::default() };
            self.write(&wire::publish(Version::V311, &publish));
        }
    }

    /// Reads until the end. Whether that was the orderly one.
    fn read(&self, mut client: Client) -> bool {
        let begun = Instant::now();
        let mut expected = None;
        loop {
            match client.receive(Duration::from_millis(200)) {
                Ok(Packet::Pingresp) => {
                    self.answers.fetch_add(1, Ordering::SeqCst);
                }
                Ok(Packet::Publish(publish)) => {
                    let (device, _, number) = message::read(&publish.payload);
                    assert_eq!(device, self.device, "another device's message");
                    assert_eq!(*expected.get_or_insert(number), number, "messages are missing");
                    expected = Some(number + 1);
                    self.received.store(number + 1, Ordering::SeqCst);
                    self.write(&wire::ack(PUBACK, publish.packet_id));
                }
                Ok(other) => panic!("{other:?}"),
                Err(Gone::Silent) if self.is_gone() => return false,
                Err(Gone::Silent) => {
                    let longest = DRAIN_MAX * 2;
                    assert!(begun.elapsed() < longest, "no end after {longest:?}: {self:?}");
                }
                Err(Gone::Closed) => {
                    let in_order = self.over.load(Ordering::SeqCst) && !self.is_gone();
                    self.gone.store(true, Ordering::SeqCst);
                    return in_order;
                }
                Err(gone @ (Gone::Truncated | Gone::Alert(_))) => panic!("{gone:?}: {self:?}"),
                Err(Gone::Reset) => {
                    self.gone.store(true, Ordering::SeqCst);
                    return false;
                }
            }
        }
    }

    /// Waits until all that was published to the device is here, and every ping is answered.
    fn wait_for_messages(&self, shared: &Shared<'_>) {
        let begun = Instant::now();
        let down = &shared.down[self.device as usize];
        loop {
            let published = down.load(Ordering::SeqCst);
            let received = self.received.load(Ordering::SeqCst);
            // One message may have been routed just before the subscription, and counted after it.
            let none_due = received == 0 && published <= self.subscribed_at + 1;
            let all = none_due || received == published;
            let pings = self.pings.load(Ordering::SeqCst);
            if self.is_gone() || (all && self.answers.load(Ordering::SeqCst) == pings) {
                return;
            }
            assert!(begun.elapsed() < DRAIN_MAX, "of {published}: {self:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

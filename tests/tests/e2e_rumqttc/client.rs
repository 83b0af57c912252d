//! rumqttc's two clients behind one face. Each has its event loop on a thread of its own, which ends
//! with the connection: rumqttc would connect again for ever.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use push_tests::expectations::PATIENCE;
use push_tests::server::Target;
use push_tests::wire::Version;
use rumqttc::v5::mqttbytes::v5 as packets_v5;
use rumqttc::{mqttbytes::v4 as packets_v4, v5};
use tokio::sync::oneshot;

/// Requests that a client may have waiting for its event loop.
const REQUESTS_MAX: usize = 200;

/// How to connect.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    pub(crate) version: Version,
    pub(crate) id: &'static str,
    /// Else the session outlives its connection, in MQTT 5 by an hour.
    pub(crate) clean: bool,
    pub(crate) keep_alive_secs: u16,
    /// The topic of a will at QoS 2.
    pub(crate) will: Option<&'static str>,
}

impl Options {
    pub(crate) fn new(version: Version, id: &'static str) -> Self {
        Self { version, id, clean: true, keep_alive_secs: 60, will: None }
    }

    fn v311(&self, host: &str, port: u16) -> rumqttc::MqttOptions {
        let mut options = rumqttc::MqttOptions::new(self.id, host, port);
        options.set_clean_session(self.clean);
        options.set_keep_alive(Duration::from_secs(u64::from(self.keep_alive_secs)));
        if let Some(topic) = self.will {
            let qos = rumqttc::QoS::ExactlyOnce;
            options.set_last_will(rumqttc::LastWill::new(topic, "gone", qos, false));
        }
        options
    }

    fn v5(&self, host: &str, port: u16) -> v5::MqttOptions {
        let mut options = v5::MqttOptions::new(self.id, host, port);
        options.set_clean_start(self.clean);
        options.set_session_expiry_interval((!self.clean).then_some(3_600));
        options.set_keep_alive(Duration::from_secs(u64::from(self.keep_alive_secs)));
        if let Some(topic) = self.will {
            let qos = v5::mqttbytes::QoS::ExactlyOnce;
            options.set_last_will(packets_v5::LastWill::new(topic, "gone", qos, false, None));
        }
        options
    }
}

/// A message as it came.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
}

/// What a client told, as far as tests ask for it.
#[derive(Debug)]
enum Seen {
    Connected {
        session_present: bool,
    },
    Message(Message),
    /// The QoS granted.
    Granted(Option<u8>),
    /// The last acknowledgement of a publish, or of a QoS 0 one that it is sent.
    Published,
    Ended,
}

enum Handle {
    V311(rumqttc::Client),
    V5(v5::Client),
}

/// A connected client.
pub(crate) struct Rumqttc {
    handle: Handle,
    seen: Receiver<Seen>,
    waiting: VecDeque<Seen>,
    pings: Arc<AtomicU64>,
    death: oneshot::Sender<()>,
    event_loop: JoinHandle<()>,
    pub(crate) session_present: bool,
}

impl Rumqttc {
    /// Connects, and expects to be accepted.
    #[track_caller]
    pub(crate) fn connect(target: &Target, options: &Options) -> Self {
        let (host, port) = (target.address.ip().to_string(), target.address.port());
        let (sender, seen) = channel();
        let pings = Arc::new(AtomicU64::new(0));
        let watch = Watch { sender, pings: Arc::clone(&pings) };
        let (death, dying) = oneshot::channel();
        let (handle, event_loop) = match options.version {
            Version::V31 => panic!("rumqttc does not speak MQTT 3.1"),
            Version::V311 => {
                let options = options.v311(&host, port);
                let (client, connection) = rumqttc::Client::new(options, REQUESTS_MAX);
                let events = connection.eventloop;
                let work = async move { watch.run_v311(events).await };
                (Handle::V311(client), spawn_until(dying, work))
            }
            Version::V5 => {
                let options = options.v5(&host, port);
                let (client, connection) = v5::Client::new(options, REQUESTS_MAX);
                let events = connection.eventloop;
                let work = async move { watch.run_v5(events).await };
                (Handle::V5(client), spawn_until(dying, work))
            }
        };
        let waiting = VecDeque::new();
        let mut client =
            Self { handle, seen, waiting, pings, death, event_loop, session_present: false };
        client.session_present = client.expect("to be accepted", |seen| match seen {
            Seen::Connected { session_present } => Ok(session_present),
            other => Err(other),
        });
        client
    }

    /// Subscribes; the QoS granted.
    #[track_caller]
    pub(crate) fn subscribe(&mut self, filter: &str, qos: u8) -> Option<u8> {
        match &self.handle {
            Handle::V311(client) => client.subscribe(filter, qos_v311(qos)).expect("its loop"),
            Handle::V5(client) => client.subscribe(filter, qos_v5(qos)).expect("its loop"),
        }
        self.expect("a SUBACK", |seen| match seen {
            Seen::Granted(qos) => Ok(qos),
            other => Err(other),
        })
    }

    /// Publishes and waits for the last acknowledgement of its QoS.
    #[track_caller]
    pub(crate) fn publish(&mut self, topic: &str, qos: u8, retain: bool, payload: &[u8]) {
        match &self.handle {
            Handle::V311(client) => {
                client.publish(topic, qos_v311(qos), retain, payload).expect("its loop");
            }
            Handle::V5(client) => {
                let payload = payload.to_vec();
                client.publish(topic, qos_v5(qos), retain, payload).expect("its loop");
            }
        }
        if qos > 0 {
            self.expect("the acknowledgement", |seen| match seen {
                Seen::Published => Ok(()),
                other => Err(other),
            });
        }
    }

    /// The next message.
    #[track_caller]
    pub(crate) fn message(&mut self) -> Message {
        self.expect("a message", |seen| match seen {
            Seen::Message(message) => Ok(message),
            other => Err(other),
        })
    }

    /// That no message comes for a while.
    #[track_caller]
    pub(crate) fn expect_no_message(&mut self, within: Duration) {
        let until = Instant::now() + within;
        while let Ok(seen) = self.seen.recv_timeout(until.saturating_duration_since(Instant::now()))
        {
            self.waiting.push_back(seen);
        }
        let message = self.waiting.iter().find(|seen| matches!(seen, Seen::Message(_)));
        assert!(message.is_none(), "a message came that must not: {message:?}");
    }

    /// Pings that were answered.
    pub(crate) fn pings(&self) -> u64 {
        self.pings.load(Ordering::Relaxed)
    }

    /// Waits for the server to end the connection.
    #[track_caller]
    pub(crate) fn expect_ended(mut self) {
        self.expect("the end", |seen| match seen {
            Seen::Ended => Ok(()),
            other => Err(other),
        });
    }

    /// Says goodbye, and waits for the server to close.
    #[track_caller]
    pub(crate) fn disconnect(self) {
        match &self.handle {
            Handle::V311(client) => client.disconnect().expect("its loop"),
            Handle::V5(client) => client.disconnect().expect("its loop"),
        }
        self.expect_ended();
    }

    /// Closes the socket without a goodbye.
    pub(crate) fn kill(self) {
        // An event loop that has ended has closed its socket already.
        let _ = self.death.send(());
        self.event_loop.join().expect("its event loop");
    }

    /// The first of what it tells that `wanted` takes; the rest is set aside.
    #[track_caller]
    fn expect<T>(&mut self, what: &str, wanted: impl Fn(Seen) -> Result<T, Seen>) -> T {
        let until = Instant::now() + PATIENCE;
        let mut others = VecDeque::new();
        loop {
            let seen = match self.waiting.pop_front() {
                Some(seen) => seen,
                None => {
                    match self.seen.recv_timeout(until.saturating_duration_since(Instant::now())) {
                        Ok(seen) => seen,
                        Err(error) => panic!("waited for {what}: {error}; set aside: {others:?}"),
                    }
                }
            };
            match wanted(seen) {
                Ok(found) => {
                    others.append(&mut self.waiting);
                    self.waiting = others;
                    return found;
                }
                Err(other) => others.push_back(other),
            }
        }
    }
}

/// What an event loop reports to.
struct Watch {
    sender: Sender<Seen>,
    pings: Arc<AtomicU64>,
}

/// Runs an event loop on a thread of its own until it ends or `dying` is told, and drops it, and
/// with it its socket. Never by a timeout on its polls: one that hits while it connects would have
/// it connect a second time.
fn spawn_until(
    dying: oneshot::Receiver<()>,
    work: impl Future<Output = ()> + Send + 'static,
) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            tokio::select! {
                () = work => {}
                Ok(()) = dying => {}
            }
        });
    })
}

impl Watch {
    async fn run_v311(&self, mut events: rumqttc::EventLoop) {
        loop {
            let seen = match events.poll().await {
                Ok(rumqttc::Event::Incoming(packet)) => self.seen_v311(packet),
                Ok(rumqttc::Event::Outgoing(_)) => None,
                Err(_) => Some(Seen::Ended),
            };
            if self.report(seen) {
                return;
            }
        }
    }

    async fn run_v5(&self, mut events: v5::EventLoop) {
        loop {
            let seen = match events.poll().await {
                Ok(v5::Event::Incoming(packet)) => self.seen_v5(packet),
                Ok(v5::Event::Outgoing(_)) => None,
                Err(_) => Some(Seen::Ended),
            };
            if self.report(seen) {
                return;
            }
        }
    }

    /// Returns whether that was all.
    fn report(&self, seen: Option<Seen>) -> bool {
        let Some(seen) = seen else { return false };
        let is_last = matches!(seen, Seen::Ended);
        self.sender.send(seen).is_err() || is_last
    }

    fn seen_v311(&self, packet: rumqttc::Packet) -> Option<Seen> {
        use rumqttc::Packet;
        match packet {
            Packet::ConnAck(connack) => {
                Some(Seen::Connected { session_present: connack.session_present })
            }
            Packet::Publish(publish) => Some(Seen::Message(Message {
                topic: publish.topic,
                payload: publish.payload.to_vec(),
                qos: publish.qos as u8,
                retain: publish.retain,
            })),
            Packet::SubAck(suback) => Some(Seen::Granted(match suback.return_codes[..] {
                [packets_v4::SubscribeReasonCode::Success(qos)] => Some(qos as u8),
                _ => None,
            })),
            Packet::PubAck(_) | Packet::PubComp(_) => Some(Seen::Published),
            Packet::PingResp => self.count_ping(),
            _ => None,
        }
    }

    fn seen_v5(&self, packet: packets_v5::Packet) -> Option<Seen> {
        use packets_v5::Packet;
        match packet {
            Packet::ConnAck(connack) => {
                Some(Seen::Connected { session_present: connack.session_present })
            }
            Packet::Publish(publish) => Some(Seen::Message(Message {
                topic: String::from_utf8(publish.topic.to_vec()).expect("UTF-8 from the server"),
                payload: publish.payload.to_vec(),
                qos: publish.qos as u8,
                retain: publish.retain,
            })),
            Packet::SubAck(suback) => Some(Seen::Granted(match suback.return_codes[..] {
                [packets_v5::SubscribeReasonCode::Success(qos)] => Some(qos as u8),
                _ => None,
            })),
            Packet::PubAck(_) | Packet::PubComp(_) => Some(Seen::Published),
            Packet::PingResp(_) => self.count_ping(),
            _ => None,
        }
    }

    fn count_ping(&self) -> Option<Seen> {
        self.pings.fetch_add(1, Ordering::Relaxed);
        None
    }
}

fn qos_v311(qos: u8) -> rumqttc::QoS {
    rumqttc::qos(qos).expect("0 to 2")
}

fn qos_v5(qos: u8) -> v5::mqttbytes::QoS {
    v5::mqttbytes::qos(qos).expect("0 to 2")
}

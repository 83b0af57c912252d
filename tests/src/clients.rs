//! A small blocking MQTT client over one socket, or over layers on it. Errors panic, since only tests use it.

use std::any::Any;
use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustls::AlertDescription;
use socket2::{Domain, Socket, Type};

use crate::expectations::PATIENCE;
use crate::server::Target;
use crate::stream::{Stream, alert_of};
use crate::wire::{
    self, Login, PINGREQ, Packet, Properties, Publish, Value, Version, Will, property,
};

/// Bytes read at a time, unless a test reads slowly.
const READ_BYTES: usize = 64 << 10;

/// How to connect.
#[derive(Clone, Debug)]
pub struct Connect {
    /// The protocol version.
    pub version: Version,
    /// The client id.
    pub client_id: String,
    /// Keep alive, in seconds.
    pub keep_alive_secs: u16,
    /// Clean session (3.1.1) or clean start (5).
    pub clean: bool,
    /// The will.
    pub will: Option<Will>,
    /// CONNECT's properties, for MQTT 5.
    pub properties: Properties,
    /// User name and password.
    pub login: Login,
    /// `SO_RCVBUF`, set before connecting.
    pub receive_buffer_bytes: Option<usize>,
}

impl Connect {
    /// A clean session with a keep alive of a minute.
    pub fn new(version: Version, client_id: &str) -> Self {
        Self {
            version,
            client_id: client_id.to_owned(),
            keep_alive_secs: 60,
            clean: true,
            will: None,
            properties: Properties::default(),
            login: Login::default(),
            receive_buffer_bytes: None,
        }
    }

    /// As this user.
    pub fn login(mut self, user_name: &str, password: &[u8]) -> Self {
        let (user_name, password) = (Some(user_name.to_owned()), Some(password.to_vec()));
        self.login = Login { user_name, password };
        self
    }

    /// Another keep alive.
    pub fn keep_alive(mut self, secs: u16) -> Self {
        self.keep_alive_secs = secs;
        self
    }

    /// A will at QoS 1.
    pub fn will(mut self, topic: &str, payload: &[u8]) -> Self {
        let (topic, payload) = (topic.to_owned(), payload.to_vec());
        self.will = Some(Will { topic, payload, qos: 1, ..Will::default() });
        self
    }

    /// The will waits so long (MQTT 5).
    pub fn will_delay(mut self, secs: u32) -> Self {
        let will = self.will.as_mut().expect("a will to delay");
        will.properties.0.push((property::WILL_DELAY_INTERVAL, Value::Number(secs)));
        self
    }

    /// A session that outlives its connection (in MQTT 5, by an hour).
    pub fn persistent(mut self) -> Self {
        self.clean = false;
        self.property(property::SESSION_EXPIRY_INTERVAL, Value::Number(3_600))
    }

    /// A property of CONNECT (sent in MQTT 5 only).
    pub fn property(mut self, identifier: u8, value: Value) -> Self {
        self.properties.0.push((identifier, value));
        self
    }

    /// A small receive buffer.
    pub fn receive_buffer(mut self, bytes: usize) -> Self {
        self.receive_buffer_bytes = Some(bytes);
        self
    }
}

/// CONNACK.
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "fields as the specification names them")]
pub struct Connack {
    pub session_present: bool,
    pub code: u8,
    pub properties: Properties,
}

/// Why no packet came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// Nothing came in time.
    Silent,
    /// The server closed the connection (FIN).
    Closed,
    /// The server reset the connection (RST).
    Reset,
    /// TCP ended before the goodbye of a layer.
    Truncated,
    /// The server ended TLS with an alert.
    Alert(AlertDescription),
}

/// How a connection ended.
#[derive(Debug)]
pub struct Ending {
    /// FIN or RST.
    pub how: Gone,
    /// The reason of the server's DISCONNECT (MQTT 5), if there was one.
    pub reason: Option<u8>,
    /// When the client saw the end.
    pub at: Instant,
}

/// A connected client.
#[derive(Debug)]
pub struct Client {
    stream: Box<dyn Stream>,
    version: Version,
    input: Vec<u8>,
    waiting: VecDeque<Packet>,
    packet_id: u16,
    /// CONNACK as received.
    pub connack: Connack,
}

/// The code of the CONNACK that this CONNECT gets.
///
/// # Panics
/// None comes.
#[track_caller]
pub fn connack_code(target: &Target, connect: &Connect) -> u8 {
    Client::open(target, connect).expect("a CONNACK").connack.code
}

impl Client {
    /// Connects, and expects to be accepted.
    #[track_caller]
    pub fn connect(target: &Target, connect: &Connect) -> Self {
        let client = Self::open(target, connect).expect("a CONNACK");
        assert_eq!(client.connack.code, 0, "{} was refused", connect.client_id);
        client
    }

    /// Connects and returns whatever CONNACK comes; `Err`: none came.
    pub fn open(target: &Target, connect: &Connect) -> Result<Self, Gone> {
        let stream = target.connect(connect.receive_buffer_bytes).map_err(|_| Gone::Silent)?;
        let mut client = Self::over(stream, connect.version);
        client.say_connect(connect);
        client.read_connack(PATIENCE)?;
        Ok(client)
    }

    /// Connects and sends CONNECT, without waiting for an answer.
    #[track_caller]
    pub fn send_connect(target: &Target, connect: &Connect) -> Self {
        let mut client = Self::dial(target, connect.version, connect.receive_buffer_bytes);
        client.say_connect(connect);
        client
    }

    /// Sends CONNECT, without waiting for an answer.
    #[track_caller]
    pub fn say_connect(&mut self, connect: &Connect) {
        let will = connect.will.as_ref();
        self.send(&wire::connect_as(
            &connect.login,
            connect.version,
            &connect.client_id,
            connect.keep_alive_secs,
            connect.clean,
            will,
            &connect.properties,
        ));
    }

    /// Opens the TCP connection and sends nothing.
    #[track_caller]
    pub fn dial(target: &Target, version: Version, receive_buffer_bytes: Option<usize>) -> Self {
        let stream = target.connect(receive_buffer_bytes).expect("connect to the server");
        Self::over(stream, version)
    }

    /// Like `dial`, from an address of this host.
    #[track_caller]
    pub fn dial_from(address: IpAddr, target: SocketAddr, version: Version) -> Self {
        let socket = Socket::new(Domain::for_address(target), Type::STREAM, None);
        let socket = socket.expect("make a socket");
        socket.bind(&SocketAddr::from((address, 0)).into()).expect("an address of this host");
        socket.set_tcp_nodelay(true).expect("set an option");
        socket.connect_timeout(&target.into(), PATIENCE).expect("connect to the server");
        Self::over(TcpStream::from(socket), version)
    }

    /// Sends CONNECT over a connection made elsewhere, and expects to be accepted.
    #[track_caller]
    pub fn accepted_over(stream: impl Stream, connect: &Connect) -> Self {
        let mut client = Self::over(stream, connect.version);
        client.say_connect(connect);
        client.read_connack(PATIENCE).expect("a CONNACK");
        assert_eq!(client.connack.code, 0, "{} was refused", connect.client_id);
        client
    }

    /// A client over a connection made elsewhere; nothing is sent.
    pub fn over(stream: impl Stream, version: Version) -> Self {
        stream.tcp().set_write_timeout(Some(PATIENCE)).expect("set a timeout");
        Self {
            stream: Box::new(stream),
            version,
            input: Vec::new(),
            waiting: VecDeque::new(),
            packet_id: 0,
            connack: Connack::default(),
        }
    }

    /// Waits for CONNACK.
    pub fn read_connack(&mut self, within: Duration) -> Result<(), Gone> {
        match self.receive(within)? {
            Packet::Connack { session_present, code, properties } => {
                self.connack = Connack { session_present, code, properties };
                Ok(())
            }
            other => panic!("the first packet is no CONNACK: {other:?}"),
        }
    }

    /// Sends bytes as they are.
    #[track_caller]
    pub fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).expect("send to the server");
    }

    /// Sends bytes as they are; the server may have gone.
    pub fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// The next packet, beginning with those set aside.
    pub fn receive(&mut self, within: Duration) -> Result<Packet, Gone> {
        match self.waiting.pop_front() {
            Some(packet) => Ok(packet),
            None => self.read_packet(within),
        }
    }

    /// The first packet that `wanted` accepts; others are set aside.
    #[track_caller]
    pub fn expect<T>(&mut self, what: &str, wanted: impl Fn(&Packet) -> Option<T>) -> T {
        if let Some(index) = self.waiting.iter().position(|packet| wanted(packet).is_some()) {
            let packet = self.waiting.remove(index);
            return packet.as_ref().and_then(wanted).expect("just found");
        }
        let begun = Instant::now();
        loop {
            match self.read_packet(PATIENCE.saturating_sub(begun.elapsed())) {
                Ok(packet) => match wanted(&packet) {
                    Some(found) => return found,
                    None => self.waiting.push_back(packet),
                },
                Err(gone) => panic!("waited for {what}: {gone:?}; set aside: {:?}", self.waiting),
            }
        }
    }

    /// Sends PINGREQ and waits for PINGRESP.
    #[track_caller]
    pub fn ping(&mut self) {
        self.send(&PINGREQ);
        self.expect("a PINGRESP", |packet| (*packet == Packet::Pingresp).then_some(()));
    }

    /// Subscribes, and returns the codes of SUBACK.
    #[track_caller]
    pub fn subscribe(&mut self, filters: &[(&str, u8)]) -> Vec<u8> {
        self.subscribe_with(&Properties::default(), filters)
    }

    /// Subscribes with an identifier (MQTT 5), and returns the codes of SUBACK.
    #[track_caller]
    pub fn subscribe_as(&mut self, identifier: u32, filters: &[(&str, u8)]) -> Vec<u8> {
        let number = Value::Number(identifier);
        self.subscribe_with(&Properties(vec![(property::SUBSCRIPTION_IDENTIFIER, number)]), filters)
    }

    #[track_caller]
    fn subscribe_with(&mut self, properties: &Properties, filters: &[(&str, u8)]) -> Vec<u8> {
        let id = self.next_packet_id();
        self.send(&wire::subscribe_with(self.version, id, properties, filters));
        self.expect("a SUBACK", |packet| match packet {
            Packet::Suback { packet_id, codes } if *packet_id == id => Some(codes.clone()),
            _ => None,
        })
    }

    /// Unsubscribes, and returns the codes of UNSUBACK (none in 3.1.1).
    #[track_caller]
    pub fn unsubscribe(&mut self, filters: &[&str]) -> Vec<u8> {
        let id = self.next_packet_id();
        self.send(&wire::unsubscribe(self.version, id, filters));
        self.expect("an UNSUBACK", |packet| match packet {
            Packet::Unsuback { packet_id, codes } if *packet_id == id => Some(codes.clone()),
            _ => None,
        })
    }

    /// Publishes, waits for the last acknowledgement of its QoS, and returns the reason code.
    #[track_caller]
    pub fn publish(&mut self, topic: &str, payload: &[u8], qos: u8) -> u8 {
        let (topic, payload) = (topic.to_owned(), payload.to_vec());
        self.publish_packet(Publish { topic, payload, qos, ..Publish::default() })
    }

    /// Sends this PUBLISH with a fresh packet id, and waits like `publish`.
    #[track_caller]
    pub fn publish_packet(&mut self, mut publish: Publish) -> u8 {
        if publish.qos > 0 {
            publish.packet_id = self.next_packet_id();
        }
        self.send(&wire::publish(self.version, &publish));
        match publish.qos {
            0 => 0,
            1 => self.expect_ack(wire::PUBACK, publish.packet_id),
            _ => {
                let reason = self.expect_ack(wire::PUBREC, publish.packet_id);
                if reason < 0x80 {
                    self.send(&wire::ack(wire::PUBREL, publish.packet_id));
                    self.expect_ack(wire::PUBCOMP, publish.packet_id);
                }
                reason
            }
        }
    }

    /// The next message; acknowledges it.
    #[track_caller]
    pub fn message(&mut self) -> Publish {
        let publish = self.expect("a PUBLISH", |packet| match packet {
            Packet::Publish(publish) => Some(publish.clone()),
            _ => None,
        });
        self.acknowledge(&publish);
        publish
    }

    /// Acknowledges a message as its QoS asks.
    #[track_caller]
    pub fn acknowledge(&mut self, publish: &Publish) {
        match publish.qos {
            0 => {}
            1 => self.send(&wire::ack(wire::PUBACK, publish.packet_id)),
            _ => {
                self.send(&wire::ack(wire::PUBREC, publish.packet_id));
                self.expect_ack(wire::PUBREL, publish.packet_id);
                self.send(&wire::ack(wire::PUBCOMP, publish.packet_id));
            }
        }
    }

    /// Asserts that no message comes for a while.
    #[track_caller]
    pub fn expect_no_message(&mut self, within: Duration) {
        let begun = Instant::now();
        loop {
            if let Some(found) = self.waiting.iter().find(|p| matches!(p, Packet::Publish(_))) {
                panic!("a message came that must not: {found:?}");
            }
            match self.read_packet(within.saturating_sub(begun.elapsed())) {
                Ok(packet) => self.waiting.push_back(packet),
                Err(Gone::Silent) => return,
                Err(gone) => panic!("the connection ended: {gone:?}"),
            }
        }
    }

    /// Waits for the server to end the connection, dropping what comes before.
    #[track_caller]
    pub fn wait_ending(&mut self) -> Ending {
        let mut reason = None;
        loop {
            match self.receive(PATIENCE) {
                Ok(Packet::Disconnect { reason: code, .. }) => reason = Some(code),
                Ok(_) => assert!(reason.is_none(), "a packet after DISCONNECT"),
                Err(Gone::Silent) => panic!("the server did not end the connection"),
                Err(how) => return Ending { how, reason, at: Instant::now() },
            }
        }
    }

    /// Asserts that the server has not ended the connection: it answers a ping.
    #[track_caller]
    pub fn assert_alive(&mut self) {
        self.ping();
    }

    /// Sends DISCONNECT and closes.
    #[track_caller]
    pub fn disconnect(mut self) {
        self.send(&wire::disconnect());
        let ending = self.wait_ending();
        assert_eq!(ending.how, Gone::Closed, "after our DISCONNECT");
    }

    /// Sends DISCONNECT with a reason and properties (MQTT 5), and closes.
    #[track_caller]
    pub fn disconnect_with(mut self, reason: u8, properties: &Properties) {
        self.send(&wire::disconnect_with(reason, properties));
        let ending = self.wait_ending();
        assert_eq!(ending.how, Gone::Closed, "after our DISCONNECT");
    }

    /// Reads at most `bytes_max` bytes of the stream, once, for tests that read slowly.
    pub fn read_some(&mut self, bytes_max: usize, within: Duration) -> Result<usize, Gone> {
        let within = within.max(Duration::from_millis(1));
        self.stream.tcp().set_read_timeout(Some(within)).expect("set a timeout");
        let length = self.input.len();
        self.input.resize(length + bytes_max, 0);
        let result = self.stream.read(&mut self.input[length..]);
        self.input.truncate(length + result.as_ref().map_or(0, |read| *read));
        match result {
            Ok(0) => Err(Gone::Closed),
            Ok(read) => Ok(read),
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut => Err(Gone::Silent),
                ErrorKind::Interrupted => Ok(0),
                ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => Err(Gone::Reset),
                ErrorKind::UnexpectedEof => Err(Gone::Truncated),
                _ => match alert_of(&error) {
                    Some(alert) => Err(Gone::Alert(alert)),
                    None => panic!("reading from the server: {error}"),
                },
            },
        }
    }

    /// The next packet among the bytes read, without reading more.
    pub fn decode_read(&mut self) -> Option<Packet> {
        let (packet, used) = wire::decode(self.version, &self.input)?;
        self.input.drain(..used);
        Some(packet)
    }

    /// Bytes read that are no whole packet yet.
    pub fn unread(&self) -> &[u8] {
        &self.input
    }

    /// The socket.
    pub fn stream(&self) -> &TcpStream {
        self.stream.tcp()
    }

    /// What it was made over.
    ///
    /// # Panics
    /// That was something else.
    #[track_caller]
    pub fn layers<S: Stream>(&mut self) -> &mut S {
        let stream: &mut dyn Any = &mut *self.stream;
        stream.downcast_mut().expect("a client over this kind of stream")
    }

    fn read_packet(&mut self, within: Duration) -> Result<Packet, Gone> {
        let begun = Instant::now();
        loop {
            if let Some(packet) = self.decode_read() {
                return Ok(packet);
            }
            if begun.elapsed() > within {
                return Err(Gone::Silent);
            }
            self.read_some(READ_BYTES, within.saturating_sub(begun.elapsed()))?;
        }
    }

    #[track_caller]
    fn expect_ack(&mut self, wanted: u8, id: u16) -> u8 {
        let what = format!("an acknowledgement of type {wanted} for {id}");
        self.expect(&what, |packet| match packet {
            Packet::Ack { kind, packet_id, reason } if *kind == wanted && *packet_id == id => {
                Some(*reason)
            }
            _ => None,
        })
    }

    fn next_packet_id(&mut self) -> u16 {
        self.packet_id = self.packet_id.checked_add(1).unwrap_or(1);
        self.packet_id
    }
}

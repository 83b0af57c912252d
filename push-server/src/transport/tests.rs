//! Claims about stacks of layers. Those about one layer are beside it.

pub(super) mod records;

use proptest::prelude::*;
use tungstenite::Message;
use tungstenite::protocol::{Role, WebSocketConfig};

use super::*;
use records::{Peer, Records};

const START: Monotonic = Monotonic(1_000_000_000_000);

const REQUEST: &str = "GET /mqtt HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
                       Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                       Sec-WebSocket-Protocol: mqtt\r\n\r\n";

/// PINGREQ and PINGRESP.
const PING: &[u8] = b"\xC0\0";
const PONG: &[u8] = b"\xD0\0";

/// Every stack of layers that there is or will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stack {
    Plain,
    WebSocket,
    Records,
    RecordsAndWebSocket,
    Proxied,
    ProxiedRecordsAndWebSocket,
}

const STACKS: [Stack; 6] = [
    Stack::Plain,
    Stack::WebSocket,
    Stack::Records,
    Stack::RecordsAndWebSocket,
    Stack::Proxied,
    Stack::ProxiedRecordsAndWebSocket,
];

/// What a proxy says in front of all else.
const PROXY_HEADER: &[u8] = b"PROXY TCP4 203.0.113.7 10.0.0.1 40000 1883\r\n";

impl Stack {
    fn transport(self) -> Transport {
        let records = |inside| Transport::around(Layer::Records(Records::default()), inside);
        let proxied = |inside| Transport::around(Layer::Proxy(Proxy::new()), inside);
        match self {
            Self::Plain => without_tls(Kind::Plain),
            Self::WebSocket => without_tls(Kind::WebSocket),
            Self::Records => records(without_tls(Kind::Plain)),
            Self::RecordsAndWebSocket => records(without_tls(Kind::WebSocket)),
            Self::Proxied => proxied(without_tls(Kind::Plain)),
            Self::ProxiedRecordsAndWebSocket => proxied(records(without_tls(Kind::WebSocket))),
        }
    }

    fn has_records(self) -> bool {
        matches!(self, Self::Records | Self::RecordsAndWebSocket | Self::ProxiedRecordsAndWebSocket)
    }

    fn has_websocket(self) -> bool {
        matches!(
            self,
            Self::WebSocket | Self::RecordsAndWebSocket | Self::ProxiedRecordsAndWebSocket
        )
    }

    fn has_proxy(self) -> bool {
        matches!(self, Self::Proxied | Self::ProxiedRecordsAndWebSocket)
    }
}

fn without_tls(kind: Kind) -> Transport {
    Transport::new(Opening::of(kind, None), START).expect("no certificate is needed")
}

/// The client's end of a stack: what it sends to say `packets`, each a frame where there are frames.
fn client_says(stack: Stack, packets: &[Vec<u8>], updates: usize) -> Vec<u8> {
    let mut bytes = packets.concat();
    if stack.has_websocket() {
        let mut client = websocket_client(Vec::new());
        for packet in packets {
            client.send(Message::from(packet.clone())).expect("a vector takes all");
        }
        bytes = [REQUEST.as_bytes(), &client.get_ref().outgoing].concat();
    }
    if stack.has_records() {
        bytes = Peer::default().wrap(&bytes, updates);
    }
    if stack.has_proxy() {
        bytes = [PROXY_HEADER, &bytes].concat();
    }
    bytes
}

/// What the client's end of a stack makes of all that the server has sent, up to its goodbye.
fn client_hears(stack: Stack, bytes: Vec<u8>, updates: usize) -> Vec<u8> {
    let mut bytes = bytes;
    if stack.has_records() {
        let (inside, others) = Peer::default().take(&bytes);
        assert_eq!(others, updates + 1, "answers to updates, and a goodbye");
        bytes = inside;
    }
    if !stack.has_websocket() {
        return bytes;
    }
    let head_len = bytes.windows(4).position(|end| end == b"\r\n\r\n").expect("an answer") + 4;
    assert!(bytes.starts_with(b"HTTP/1.1 101 "));
    let mut client = websocket_client(bytes.split_off(head_len));
    let mut heard = Vec::new();
    loop {
        match client.read().expect("a frame") {
            Message::Binary(payload) => heard.extend_from_slice(&payload),
            Message::Close(_) => return heard,
            _ => {}
        }
    }
}

/// Where a stream is cut: places in it, in order, its end among them.
fn pieces<'a>(bytes: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    ends.push(bytes.len());
    ends.sort_unstable();
    let mut begin = 0;
    ends.into_iter().map(|end| &bytes[std::mem::replace(&mut begin, end)..end]).collect()
}

/// Sends `chunks`, and what the layers owe with them.
fn send(transport: &mut Transport, chunks: &[&[u8]], wire: &mut Vec<u8>) {
    let mut chunks: Vec<Bytes> = chunks.iter().map(|chunk| Bytes::copy_from_slice(chunk)).collect();
    transport.wrap(&mut chunks, usize::MAX);
    wire.extend(chunks.concat());
    assert!(!transport.owes(), "all that is owed leaves with what is wrapped next");
}

proptest! {
    /// Whatever pieces a client's bytes come in, whenever something is sent meanwhile: MQTT sees and says the same through every stack of layers as it does without any.
    #[test]
    fn every_stack_of_layers_gives_the_bytes_of_plain(
        packets in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..200), 1..8),
        cuts in prop::collection::vec(any::<usize>(), 0..60),
        answers in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..150), 0..8),
        updates in 0usize..4,
    ) {
        for stack in STACKS {
            let mut transport = stack.transport();
            let (mut heard, mut wire, mut scratch) = (Vec::new(), Vec::new(), Scratch::default());
            let mut answers = answers.iter();
            let mut said: Vec<u8> = Vec::new();
            for piece in pieces(&client_says(stack, &packets, updates), &cuts) {
                let new = transport.take(piece, Pace::OFF, START, &mut scratch).to_vec();
                heard.extend_from_slice(&new);
                let answer = if new.is_empty() { None } else { answers.next() };
                if let Some(answer) = answer {
                    said.extend_from_slice(answer);
                    send(&mut transport, &[&answer[..answer.len() / 2], &answer[answer.len() / 2..]], &mut wire);
                } else if transport.owes() {
                    send(&mut transport, &[], &mut wire);
                }
            }
            prop_assert_eq!(&heard, &packets.concat(), "{:?}", stack);
            prop_assert_eq!(transport.ended(), None);
            let client = stack.has_proxy().then(|| "203.0.113.7:40000".parse().expect("one"));
            prop_assert_eq!(transport.client(), client);
            transport.close(Goodbye::Done);
            send(&mut transport, &[], &mut wire);
            prop_assert_eq!(client_hears(stack, wire, updates), said, "{:?}", stack);
        }
    }

    /// `rx` of the kernel path: the wire's bytes up to the end of the last whole packet, or no answer
    /// while a packet or a frame is under way.
    #[test]
    fn whole_wire_bytes_are_the_bytes_received_where_nothing_is_under_way(
        packets in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..200), 1..8),
        cuts in prop::collection::vec(any::<usize>(), 0..60),
    ) {
        for stack in STACKS {
            let mut transport = stack.transport();
            let mut scratch = Scratch::default();
            let (mut received, mut mqtt) = (0, 0);
            let ends: Vec<usize> = packets
                .iter()
                .scan(0, |end, packet| { *end += packet.len(); Some(*end) })
                .collect();
            let bytes = client_says(stack, &packets, 0);
            for piece in pieces(&bytes, &cuts) {
                received += piece.len();
                mqtt += transport.take(piece, Pace::OFF, START, &mut scratch).len();
                let parsed = ends.iter().rev().find(|end| **end <= mqtt).copied().unwrap_or(0);
                let whole = transport.whole_wire_bytes(parsed as u64, mqtt - parsed);
                if stack == Stack::Plain {
                    prop_assert_eq!(whole, Some(parsed as u64));
                } else if stack == Stack::Proxied {
                    let header = PROXY_HEADER.len();
                    let is_behind = received >= header;
                    prop_assert_eq!(whole, is_behind.then_some((header + parsed) as u64));
                } else if mqtt > parsed {
                    prop_assert_eq!(whole, None);
                } else if let Some(whole) = whole {
                    prop_assert_eq!(whole, received as u64, "{:?}", stack);
                }
            }
            let (parsed, pending) = (packets.concat().len() as u64, 0);
            let whole = transport.whole_wire_bytes(parsed, pending);
            prop_assert_eq!(whole, Some(bytes.len() as u64), "all has come whole: {:?}", stack);
        }
    }
}

#[test]
fn a_heartbeat_has_the_length_that_it_is_said_to_have() {
    for stack in STACKS {
        let mut transport = stack.transport();
        let (mut scratch, mut wire) = (Scratch::default(), Vec::new());
        if stack != Stack::Plain {
            assert_eq!(transport.heartbeat(), None, "{stack:?}: nothing has begun");
        }
        let begin = client_says(stack, &[], 0);
        transport.take(&begin, Pace::OFF, START, &mut scratch);
        send(&mut transport, &[], &mut wire);
        let Some(heartbeat) = transport.heartbeat() else { panic!("{stack:?} carries MQTT now") };
        wire.clear();
        send(&mut transport, &[PONG], &mut wire);
        assert_eq!(wire.len() as u32, heartbeat.response_bytes(), "{stack:?}");
        if !stack.has_records() {
            let ping = client_says(stack, &[PING.to_vec()], 0).len() - begin.len();
            assert_eq!(ping as u32, heartbeat.request_bytes(), "{stack:?}");
        }
    }
    let mut websocket = Stack::WebSocket.transport();
    websocket.take(REQUEST.as_bytes(), Pace::OFF, START, &mut Scratch::default());
    assert_eq!(websocket.heartbeat(), Some(Heartbeat::WEBSOCKET));
    websocket.close(Goodbye::Done);
    assert_eq!(websocket.heartbeat(), None, "none can come any more");
}

#[test]
fn the_end_of_the_inside_is_told_before_the_end_of_what_is_around_it() {
    let mut transport = Stack::RecordsAndWebSocket.transport();
    let mut scratch = Scratch::default();
    // A request for something else: the inside has ended, the records go on.
    let bytes = Peer::default().wrap(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 0);
    transport.take(&bytes, Pace::OFF, START, &mut scratch);
    assert_eq!(transport.ended(), Some(Ended::NotUpgraded));
    transport.close(Goodbye::Stopping);
    assert_eq!(transport.ended(), None, "nothing more is looked at");
    let mut wire = Vec::new();
    send(&mut transport, &[], &mut wire);
    let (answer, others) = Peer::default().take(&wire);
    assert!(answer.starts_with(b"HTTP/1.1 426 "), "the refusal leaves through the records");
    assert_eq!(others, 1, "and their goodbye follows");
}

#[test]
fn a_plain_transport_is_a_null_pointer() {
    assert_eq!(size_of::<Transport>(), size_of::<usize>());
    assert!(Stack::Plain.transport().0.is_none());
}

#[test]
fn the_layers_of_an_idle_connection_are_small() {
    // Tests have one layer more, so not that of `Layer`.
    let sizes = [size_of::<Tls>(), size_of::<WebSocket>()];
    assert!(sizes.iter().all(|size| *size <= 56), "{sizes:?}");
}

/// A peer by the library: writes into a vector, reads from one.
#[derive(Debug, Default)]
struct Pipe {
    incoming: std::io::Cursor<Vec<u8>>,
    outgoing: Vec<u8>,
}

impl std::io::Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self.incoming.read(buffer)? {
            0 => Err(std::io::ErrorKind::WouldBlock.into()),
            read => Ok(read),
        }
    }
}

impl std::io::Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.outgoing.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn websocket_client(incoming: Vec<u8>) -> tungstenite::WebSocket<Pipe> {
    let pipe = Pipe { incoming: std::io::Cursor::new(incoming), outgoing: Vec::new() };
    let config = WebSocketConfig::default().read_buffer_size(4_096).write_buffer_size(0);
    tungstenite::WebSocket::from_raw_socket(pipe, Role::Client, Some(config))
}

//! Claims about the room as a whole: tungstenite's own client on the other end of it, and frames
//! written by hand where it would not write them.

use proptest::prelude::*;
use push_common::rate::Rate;
use tungstenite::Message;
use tungstenite::protocol::{Role, WebSocketConfig};

use super::*;

const START: Monotonic = Monotonic(1_000_000_000_000);

const REQUEST: &str = "GET /mqtt HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive, Upgrade\r\n\
                       Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                       Sec-WebSocket-Protocol: mqttv3.1, mqtt\r\n\r\n";

const MASK: [u8; 4] = [0xA5, 0x5A, 0xFF, 0x01];

/// What `websocket` makes of `bytes`, given in pieces that end at `cuts`.
fn feed(websocket: &mut WebSocket, bytes: &[u8], cuts: &[usize]) -> Vec<u8> {
    let mut mqtt = Vec::new();
    let mut begin = 0;
    for end in cuts.iter().copied().chain([bytes.len()]) {
        let end = end.clamp(begin, bytes.len());
        websocket.take(&bytes[begin..end], Pace::OFF, START, &mut mqtt);
        begin = end;
    }
    mqtt
}

/// What is to be sent around `chunks`.
fn wrapped(websocket: &mut WebSocket, chunks: &[&'static [u8]]) -> Vec<u8> {
    let mut chunks: Vec<Bytes> = chunks.iter().copied().map(Bytes::from_static).collect();
    websocket.wrap(&mut chunks);
    assert!(!websocket.owes());
    chunks.concat()
}

fn open() -> WebSocket {
    let mut websocket = WebSocket::new(Arc::default(), START);
    assert!(feed(&mut websocket, REQUEST.as_bytes(), &[]).is_empty());
    assert!(text(&wrapped(&mut websocket, &[])).starts_with("HTTP/1.1 101 "));
    websocket
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A client's frame, its first byte given.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        len @ 0..=125 => frame.push(0x80 | len as u8),
        len @ 126..=0xFFFF => {
            frame.push(0x80 | 126);
            frame.extend((len as u16).to_be_bytes());
        }
        len => {
            frame.push(0x80 | 127);
            frame.extend((len as u64).to_be_bytes());
        }
    }
    frame.extend(MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

/// How `bytes` end a connection, and the close frame's payload.
fn ending(bytes: &[u8]) -> (Option<Ended>, Vec<u8>) {
    let mut websocket = open();
    feed(&mut websocket, bytes, &[]);
    let ended = websocket.ended();
    websocket.close(Goodbye::Done);
    let farewell = wrapped(&mut websocket, &[]);
    assert_eq!(farewell[0], 0x88, "a close frame");
    assert_eq!(usize::from(farewell[1]), farewell.len() - 2, "and nothing else");
    (ended, farewell[2..].to_vec())
}

fn refusal(request: &str) -> (String, Option<Ended>) {
    let mut websocket = WebSocket::new(Arc::default(), START);
    feed(&mut websocket, request.as_bytes(), &[]);
    websocket.close(Goodbye::Done);
    let answer = text(&wrapped(&mut websocket, &[]));
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{answer}");
    let mut again = WebSocket::new(Arc::default(), START);
    feed(&mut again, request.as_bytes(), &[]);
    (answer, again.ended())
}

#[test]
fn mqtt_is_chosen_among_the_subprotocols_offered() {
    for offer in ["mqtt", "mqttv3.1,mqtt", " mqtt ,x", "x\r\nSec-WebSocket-Protocol: mqtt"] {
        let mut websocket = WebSocket::new(Arc::default(), START);
        let request = REQUEST.replace("mqttv3.1, mqtt", offer);
        feed(&mut websocket, request.as_bytes(), &[]);
        let answer = text(&wrapped(&mut websocket, &[]));
        assert!(answer.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{offer}: {answer}");
        assert!(answer.contains("\r\nsec-websocket-protocol: mqtt\r\n"), "{offer}: {answer}");
        // The example of RFC 6455, 1.3.
        assert!(answer.contains("\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
    }
    for offer in ["mqttv3.1", "MQTT", "mqtt2", ""] {
        let (answer, ended) = refusal(&REQUEST.replace("mqttv3.1, mqtt", offer));
        assert!(answer.starts_with("HTTP/1.1 400 "), "{offer}: {answer}");
        assert_eq!(ended, Some(Ended::NotUpgraded));
    }
}

#[test]
fn requests_for_something_else_are_told_what_is_served() {
    for (request, status) in [
        ("GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), "426"),
        (REQUEST.replace("Upgrade: websocket", "Upgrade: h2c"), "426"),
        (REQUEST.replace("Version: 13", "Version: 8"), "426"),
        (REQUEST.replace("GET", "POST"), "405"),
        (REQUEST.replace("HTTP/1.1", "HTTP/1.0"), "400"),
        (REQUEST.replace("ZQ==", ""), "400"),
        ("\x10\x0C\0\x04MQTT\x04\x02\0\x3C\0\0".to_owned(), "400"),
        ("\x16\x03\x01\x02\0\x01".to_owned(), "400"),
        (format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(125)), "431"),
    ] {
        let (answer, ended) = refusal(&request);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {answer}");
        assert!(answer.contains("close"), "{answer}");
        assert_eq!(answer.contains("\r\nsec-websocket-version: 13\r\n"), status == "426");
        let expected = match request.as_bytes()[0] {
            0x10 => Ended::Stranger(Stranger::Mqtt),
            0x16 => Ended::Stranger(Stranger::Tls),
            _ if status == "431" => Ended::HeadTooLarge,
            _ => Ended::NotUpgraded,
        };
        assert_eq!(ended, Some(expected));
    }
}

#[test]
fn a_request_head_has_a_longest_length() {
    let padded = |len: usize| {
        let padding = format!("Cookie: {}\r\n\r\n", "x".repeat(len - REQUEST.len() - 10));
        format!("{}{padding}", &REQUEST[..REQUEST.len() - 2])
    };
    let longest = padded(UPGRADE_HEAD_BYTES_MAX);
    assert_eq!(longest.len(), UPGRADE_HEAD_BYTES_MAX);
    let mut websocket = WebSocket::new(Arc::default(), START);
    let ping = masked(0x82, b"\xC0\0");
    let bytes = [longest.as_bytes(), &ping].concat();
    assert_eq!(feed(&mut websocket, &bytes, &[]), b"\xC0\0");
    for request in [padded(UPGRADE_HEAD_BYTES_MAX + 1), "GET /".to_owned() + &"x".repeat(99_999)] {
        for cuts in [vec![], (0..request.len()).step_by(4_096).collect()] {
            let mut websocket = WebSocket::new(Arc::default(), START);
            feed(&mut websocket, request.as_bytes(), &cuts);
            assert_eq!(websocket.ended(), Some(Ended::HeadTooLarge));
            assert!(text(&wrapped(&mut websocket, &[])).starts_with("HTTP/1.1 431 "));
        }
    }
}

/// A request with more headers, judged by rules: the answer, how it ended, and what proxies have added.
fn judged(rules: &Arc<UpgradeRules>, more: &str) -> (String, Option<Ended>, Vec<IpAddr>) {
    let mut websocket = WebSocket::new(Arc::clone(rules), START);
    let request = REQUEST.replace("Host: localhost", &format!("Host: localhost{more}"));
    feed(&mut websocket, request.as_bytes(), &[]);
    let (added, ended) = (websocket.take_forwarded(), websocket.ended());
    assert!(websocket.take_forwarded().is_empty(), "only once");
    websocket.close(Goodbye::Done);
    (text(&wrapped(&mut websocket, &[])), ended, added)
}

#[test]
fn pages_of_other_origins_are_refused_and_programs_are_not() {
    let own = ["https://app.example.org", "http://127.0.0.1:8080"].map(str::to_owned).to_vec();
    let rules = Arc::new(UpgradeRules::new(own, false));
    for origin in [
        "",
        "\r\nOrigin: https://app.example.org",
        "\r\norigin: HTTPS://APP.example.org:443",
        "\r\nOrigin: http://127.0.0.1:8080",
    ] {
        let (answer, ended, _) = judged(&rules, origin);
        assert!(answer.starts_with("HTTP/1.1 101 "), "{origin}: {answer}");
        assert_eq!(ended, None);
    }
    for origin in [
        "http://app.example.org",
        "https://app.example.org.evil.example",
        "https://app.example.org:8443",
        "https://evil.example",
        "http://127.0.0.1",
        "null",
        "",
        "https://app.example.org\r\nOrigin: https://evil.example",
    ] {
        let (answer, ended, _) = judged(&rules, &format!("\r\nOrigin: {origin}"));
        assert!(answer.starts_with("HTTP/1.1 403 "), "{origin}: {answer}");
        assert_eq!(ended, Some(Ended::OriginRefused), "{origin}");
        assert!(!answer.contains("evil"), "what a peer said is not said back");
    }
    let (answer, ended, _) = judged(&Arc::default(), "\r\nOrigin: null");
    assert!(answer.starts_with("HTTP/1.1 101 "), "any may, unless some are named: {answer}");
    assert_eq!(ended, None);
}

#[test]
fn what_proxies_have_added_is_read_from_the_last_one_up_to_what_is_no_address() {
    let rules = Arc::new(UpgradeRules::new(Vec::new(), true));
    let header = |value: &str| format!("\r\nX-Forwarded-For: {value}");
    for (more, added) in [
        (String::new(), &[][..]),
        (header("203.0.113.7"), &["203.0.113.7"]),
        (header("203.0.113.7, 10.0.0.2,10.0.0.3"), &["10.0.0.3", "10.0.0.2", "203.0.113.7"]),
        (header("203.0.113.7") + &header(" 10.0.0.2 "), &["10.0.0.2", "203.0.113.7"]),
        (header("2001:db8::7, ::ffff:10.0.0.2"), &["10.0.0.2", "2001:db8::7"]),
        (header("203.0.113.7:4711, [2001:db8::7]:1"), &["2001:db8::7", "203.0.113.7"]),
        (header("198.51.100.1, unknown, 203.0.113.7"), &["203.0.113.7"]),
        (header("198.51.100.1, "), &[]),
        (header("<script>"), &[]),
    ] {
        let expected: Vec<IpAddr> = added.iter().map(|one| one.parse().expect(one)).collect();
        assert_eq!(judged(&rules, &more).2, expected, "{more}");
        assert!(judged(&Arc::default(), &more).2.is_empty(), "unless somebody is trusted");
    }
    let chain = vec!["10.0.0.1"; 1_000].join(",");
    assert_eq!(judged(&rules, &header(&chain)).2.len(), 32);
}

#[test]
fn text_is_refused_as_such() {
    assert_eq!(ending(&masked(0x81, b"\xC0\0")), (Some(Ended::Fault), vec![0x03, 0xEB]));
    assert_eq!(
        ending(&masked(0x01, b"\xC0")),
        (Some(Ended::Fault), vec![0x03, 0xEB]),
        "a fragment"
    );
}

#[test]
fn what_breaks_the_rules_of_frames_is_a_fault() {
    let cases: [(&str, Vec<u8>); 14] = [
        ("no mask", vec![0x82, 2, 0xC0, 0]),
        ("first reserved bit", masked(0xC2, b"")),
        ("second reserved bit", masked(0xA2, b"")),
        ("third reserved bit", masked(0x92, b"")),
        ("reserved data frame", masked(0x83, b"")),
        ("reserved control frame", masked(0x8B, b"")),
        ("fragmented ping", masked(0x09, b"")),
        ("long ping", masked(0x89, &[0; 126])),
        ("continues nothing", masked(0x80, b"x")),
        ("begins within a message", [masked(0x02, b"x"), masked(0x82, b"y")].concat()),
        ("continues a whole message", [masked(0x82, b"x"), masked(0x80, b"y")].concat()),
        ("length with the highest bit", [&[0x82, 0xFF, 0x80][..], &[0; 7], &MASK].concat()),
        ("half a close code", masked(0x88, b"\x03")),
        ("close code that is never sent", masked(0x88, &1005u16.to_be_bytes())),
    ];
    for (what, bytes) in cases {
        assert_eq!(ending(&bytes), (Some(Ended::Fault), vec![0x03, 0xEA]), "{what}");
    }
    let ill_formed = masked(0x88, b"\x03\xE8\xFF");
    assert_eq!(ending(&ill_formed).0, Some(Ended::Fault), "a reason that is no text");
}

#[test]
fn a_close_frame_is_answered_by_its_code() {
    assert_eq!(ending(&masked(0x88, b"")), (Some(Ended::Left), vec![]));
    let going_away = masked(0x88, b"\x03\xE9bye");
    assert_eq!(ending(&going_away), (Some(Ended::Left), vec![0x03, 0xE9]));
    let mut websocket = open();
    let bytes = [masked(0x82, b"\xE0\0"), masked(0x88, b""), masked(0x82, b"\xC0\0")].concat();
    assert_eq!(feed(&mut websocket, &bytes, &[]), b"\xE0\0", "and nothing behind it is taken");
}

#[test]
fn our_own_close_says_whether_the_server_stops_and_comes_last() {
    for (goodbye, code) in [(Goodbye::Done, 1000u16), (Goodbye::Stopping, 1001)] {
        let mut websocket = open();
        feed(&mut websocket, &masked(0x89, b"?"), &[]);
        websocket.close(goodbye);
        assert!(feed(&mut websocket, &masked(0x81, b"late"), &[]).is_empty());
        assert_eq!(websocket.ended(), None, "nothing more is looked at");
        let [high, low] = code.to_be_bytes();
        let all = [0x8A, 1, b'?', 0x82, 2, 0xD0, 0, 0x88, 2, high, low];
        assert_eq!(wrapped(&mut websocket, &[b"\xD0", b"\0"]), all);
        websocket.close(goodbye);
        assert!(!websocket.owes(), "only once");
    }
}

#[test]
fn pings_are_answered_by_the_last_alone() {
    let mut websocket = open();
    let pings = [masked(0x89, b"1"), masked(0x89, b"22"), masked(0x8A, b"pong")].concat();
    assert!(feed(&mut websocket, &pings, &[]).is_empty());
    assert!(websocket.owes());
    assert_eq!(wrapped(&mut websocket, &[]), b"\x8A\x0222");
    assert_eq!(wrapped(&mut websocket, &[]), b"");
}

#[test]
fn pings_beyond_rate_and_burst_end_the_connection() {
    let pace = Rate { per_sec: 1, burst: 3 }.ping_pace(0);
    let (mut websocket, mut mqtt) = (open(), Vec::new());
    let ping = masked(0x89, b"");
    let mut send = |millis| {
        websocket.take(&ping, pace, START.after_millis(millis), &mut mqtt);
        websocket.ended()
    };
    assert_eq!([0, 0, 0, 1_000, 2_000].map(&mut send), [None; 5]);
    assert_eq!(send(2_500), Some(Ended::PingRate));
    websocket.close(Goodbye::Done);
    assert!(wrapped(&mut websocket, &[]).ends_with(&[0x88, 2, 0x03, 0xF0]), "policy");
}

#[test]
fn a_frame_of_any_length_is_taken_as_it_comes() {
    let mut websocket = open();
    let header = [&[0x82, 0xFF, 0x7F][..], &[0xFF; 7], &[0; 4]].concat();
    assert!(feed(&mut websocket, &header, &[]).is_empty());
    for piece in [b"\x10\x00".as_slice(), b"more", &[7; 4_096]] {
        assert_eq!(feed(&mut websocket, piece, &[]), piece, "at once");
    }
    assert_eq!(websocket.ended(), None);
}

#[test]
fn a_connection_that_says_nothing_owns_no_buffer() {
    let websocket = open();
    let Stage::Open(frames) = &websocket.stage else { panic!("open") };
    assert_eq!(frames.payload.left, 0);
    assert!(websocket.owed.is_none());
    assert!(size_of::<WebSocket>() <= 176, "{} bytes", size_of::<WebSocket>());
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

fn peer(incoming: Vec<u8>) -> tungstenite::WebSocket<Pipe> {
    let pipe = Pipe { incoming: std::io::Cursor::new(incoming), outgoing: Vec::new() };
    let config = WebSocketConfig::default().read_buffer_size(4_096).write_buffer_size(0);
    tungstenite::WebSocket::from_raw_socket(pipe, Role::Client, Some(config))
}

proptest! {
    /// Whatever the pieces are that a client's bytes come in, and its packets are cut into: what
    /// comes out are its packets [MQTT-6.0.0-2].
    #[test]
    fn every_split_of_the_bytes_gives_the_same(
        messages in prop::collection::vec(
            prop_oneof![
                3 => prop::collection::vec(any::<u8>(), 0..300).prop_map(Message::from),
                1 => Just(Message::from(vec![7; 70_000])),
                1 => prop::collection::vec(any::<u8>(), 0..=125).prop_map(|p| Message::Ping(p.into())),
                1 => Just(Message::Pong(Bytes::from_static(b"!"))),
            ],
            0..8,
        ),
        cuts in prop::collection::vec(0usize..80_000, 0..40),
        bytewise in 0usize..600,
    ) {
        let mut client = peer(Vec::new());
        let (mut expected, mut last_ping) = (Vec::new(), None);
        for message in messages {
            match &message {
                Message::Binary(payload) => expected.extend_from_slice(payload),
                Message::Ping(payload) => last_ping = Some(payload.to_vec()),
                _ => {}
            }
            client.send(message).expect("a vector takes all");
        }
        let bytes = [REQUEST.as_bytes(), &client.get_ref().outgoing].concat();
        let mut cuts: Vec<usize> = cuts.into_iter().chain(0..bytewise).collect();
        cuts.sort_unstable();
        let mut websocket = WebSocket::new(Arc::default(), START);
        prop_assert_eq!(feed(&mut websocket, &bytes, &cuts), expected);
        prop_assert_eq!(websocket.ended(), None);
        let pong = websocket.owed.as_ref().and_then(|owed| owed.pong.as_ref());
        prop_assert_eq!(pong, last_ping.as_ref());
    }

    /// The library reads what is wrapped as it was.
    #[test]
    fn what_is_sent_is_one_binary_frame_each_time(
        sent in prop::collection::vec(prop::collection::vec(0usize..70_000, 0..4), 0..5),
    ) {
        let (mut websocket, mut bytes, mut expected) = (open(), Vec::new(), Vec::new());
        for lens in sent {
            let mut chunks: Vec<Bytes> = lens.iter().map(|len| vec![7; *len].into()).collect();
            let whole = chunks.concat();
            websocket.wrap(&mut chunks);
            bytes.extend(chunks.concat());
            expected.extend((!whole.is_empty()).then_some(Message::from(whole)));
        }
        websocket.close(Goodbye::Stopping);
        bytes.extend(wrapped(&mut websocket, &[]));
        let mut client = peer(bytes);
        for message in expected {
            prop_assert_eq!(client.read().expect("a frame"), message);
        }
        let Message::Close(Some(close)) = client.read().expect("a frame") else {
            panic!("no close frame");
        };
        prop_assert_eq!(close.code, CloseCode::Away);
    }

    /// Bytes of no meaning end the connection, or wait for more; they never panic.
    #[test]
    fn any_bytes_are_survived(
        bytes in prop::collection::vec(any::<u8>(), 0..2_000),
        cuts in prop::collection::vec(0usize..2_000, 0..10),
        is_open in any::<bool>(),
    ) {
        let mut cuts = cuts;
        cuts.sort_unstable();
        let mut websocket = if is_open { open() } else { WebSocket::new(Arc::default(), START) };
        let mqtt = feed(&mut websocket, &bytes, &cuts);
        prop_assert!(mqtt.len() <= bytes.len());
        websocket.close(Goodbye::Done);
        wrapped(&mut websocket, &[]);
    }
}

use super::*;

const ANSWER: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: \
                        Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
                        sec-websocket-protocol: mqtt\r\n\r\n";

/// A server's frame.
fn served(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![opcode];
    match payload.len() {
        length @ ..126 => out.push(length as u8),
        length => {
            out.push(126);
            out.extend((length as u16).to_be_bytes());
        }
    }
    out.extend(payload);
    out
}

fn open() -> WebSocket {
    let mut socket = WebSocket::new("host", 1);
    socket.take(ANSWER, &mut Vec::new()).unwrap();
    socket.wrap(&[], &mut Vec::new());
    socket
}

/// The opcode and the payload of a client's frame, which is short.
fn unmasked(frame: &[u8]) -> (u8, Vec<u8>) {
    assert_eq!(usize::from(frame[1]), 0x80 | (frame.len() - 6), "masked, with its length");
    let mask = &frame[2..6];
    (frame[0], frame[6..].iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect())
}

#[test]
fn the_request_asks_for_mqtt_and_data_waits_for_the_answer() {
    let mut socket = WebSocket::new("127.0.0.1:80", 1);
    assert!(socket.owes() && !socket.is_open());
    let mut out = Vec::new();
    socket.wrap(&[], &mut out);
    let request = String::from_utf8(out).unwrap();
    assert!(request.starts_with("GET /mqtt HTTP/1.1\r\nHost: 127.0.0.1:80\r\n"), "{request}");
    assert!(request.ends_with("Sec-WebSocket-Protocol: mqtt\r\n\r\n"), "{request}");
    assert!(!socket.owes());
}

#[test]
fn data_is_the_same_however_the_stream_is_cut() {
    let mut stream = ANSWER.to_vec();
    stream.extend(served(0x82, b"a"));
    stream.extend(served(0x82, b""));
    stream.extend(served(0x02, &[7; 300]));
    stream.extend(served(0x89, b"?"));
    stream.extend(served(0x80, b"end"));
    stream.extend(served(0x8A, b"unasked"));
    for chunk in 1..=stream.len() {
        let (mut socket, mut clear) = (WebSocket::new("host", 1), Vec::new());
        socket.wrap(&[], &mut Vec::new());
        for bytes in stream.chunks(chunk) {
            socket.take(bytes, &mut clear).unwrap();
        }
        assert_eq!(clear, [b"a", &[7; 300][..], b"end"].concat(), "in pieces of {chunk}");
        let mut out = Vec::new();
        socket.wrap(&[], &mut out);
        assert_eq!(unmasked(&out), (0x8A, b"?".to_vec()), "the pong");
    }
}

#[test]
fn a_ping_of_mqtt_is_a_frame_of_eight_bytes_with_a_mask_of_its_own() {
    let mut socket = open();
    let mut frames = [Vec::new(), Vec::new()];
    for frame in &mut frames {
        socket.wrap(&[0xC0, 0], frame);
        assert_eq!(frame.len(), 8);
        assert_eq!(unmasked(frame), (0x82, vec![0xC0, 0]));
    }
    assert_ne!(frames[0], frames[1]);
}

#[test]
fn long_data_has_a_long_header() {
    let mut socket = open();
    for (length, header) in [(125, 6), (126, 8), (65_535, 8), (65_536, 14)] {
        let mut out = Vec::new();
        socket.wrap(&vec![1; length], &mut out);
        assert_eq!(out.len(), header + length);
    }
}

#[test]
fn an_answer_that_does_not_upgrade_is_a_fault() {
    let text = String::from_utf8(ANSWER.to_vec()).unwrap();
    for wrong in [
        "HTTP/1.1 400 Bad Request\r\n\r\n".to_owned(),
        text.replace("s3pP", "S3pP"),
        text.replace("protocol: mqtt", "protocol: mqttv3.1"),
    ] {
        let taken = WebSocket::new("host", 1).take(wrong.as_bytes(), &mut Vec::new());
        assert!(matches!(taken, Err(Fault::Upgrade(_))), "{wrong}");
    }
    let mut endless = WebSocket::new("host", 1);
    let parts = (0..10).map(|_| endless.take(&[b'x'; 1_000], &mut Vec::new()));
    assert!(parts.into_iter().any(|part| part.is_err()), "its length has a bound");
}

#[test]
fn frames_that_a_server_must_not_send_are_faults() {
    for wrong in [
        &[0x82, 0x80, 0, 0, 0, 0][..],
        &[0xC2, 0],
        &[0x81, 1],
        &[0x83, 0],
        &[0x09, 0],
        &[0x89, 126, 0, 126],
    ] {
        let taken = open().take(wrong, &mut Vec::new());
        assert!(matches!(taken, Err(Fault::Frame(_))), "{wrong:02x?}");
    }
}

#[test]
fn goodbyes_are_said_and_answered() {
    let mut socket = open();
    let (mut clear, mut out) = (Vec::new(), Vec::new());
    let goodbye = [served(0x88, &[3, 0xE8]), served(0x82, b"late")].concat();
    socket.take(&goodbye, &mut clear).unwrap();
    assert!(socket.has_ended() && clear.is_empty());
    socket.wrap(&[], &mut out);
    assert_eq!(unmasked(&out), (0x88, vec![3, 0xE8]));
    let (mut socket, mut out) = (open(), Vec::new());
    socket.close();
    assert!(socket.owes());
    socket.wrap(&[0xE0, 0], &mut out);
    assert_eq!(unmasked(&out[..8]), (0x82, vec![0xE0, 0]));
    assert_eq!(unmasked(&out[8..]), (0x88, vec![3, 0xE8]));
    socket.take(&served(0x88, &[3, 0xE8]), &mut clear).unwrap();
    assert!(socket.has_ended() && !socket.owes(), "it is not said twice");
}

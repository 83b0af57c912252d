use super::*;

fn decode(stream: &[u8], chunk: usize) -> Result<Vec<Packet>, Malformed> {
    let mut decoder = Decoder::default();
    let mut packets = Vec::new();
    for mut input in stream.chunks(chunk) {
        while let Some(packet) = decoder.next(&mut input)? {
            packets.push(packet);
        }
        assert!(input.is_empty());
    }
    Ok(packets)
}

#[test]
fn packets_are_the_same_however_the_stream_is_cut() {
    let mut stream = vec![0x20, 2, 0, 5, 0xD0, 0, 0x90, 3, 0, 1, 0x80];
    publish(&mut stream, Version::V311, "a", &[7; 300]);
    stream.extend([0xE0, 0]);
    let expected = [
        Packet { first: CONNACK, remaining: 2, head: [0, 5, 0, 0] },
        Packet { first: PINGRESP, remaining: 0, head: [0; 4] },
        Packet { first: SUBACK, remaining: 3, head: [0, 1, 0x80, 0] },
        Packet { first: PUBLISH_QOS0, remaining: 303, head: [0, 1, b'a', 7] },
        Packet { first: DISCONNECT, remaining: 0, head: [0; 4] },
    ];
    for chunk in 1..=stream.len() {
        assert_eq!(decode(&stream, chunk).unwrap(), expected, "in pieces of {chunk}");
    }
}

#[test]
fn a_fifth_length_byte_is_malformed() {
    let longest = [0x30, 0xFF, 0xFF, 0xFF, 0x7F, 1];
    assert_eq!(decode(&longest, 1), Ok(vec![]));
    assert_eq!(decode(&[0x30, 0xFF, 0xFF, 0xFF, 0xFF], 5), Err(Malformed));
}

#[test]
fn requests_are_as_the_specification_writes_them() {
    let mut out = Vec::new();
    connect(&mut out, Version::V311, "ab", 60);
    assert_eq!(out, *b"\x10\x0e\0\x04MQTT\x04\x02\0\x3c\0\x02ab");
    out.clear();
    connect(&mut out, Version::V5, "ab", 60);
    assert_eq!(out, *b"\x10\x0f\0\x04MQTT\x05\x02\0\x3c\0\0\x02ab");
    out.clear();
    subscribe(&mut out, Version::V311, "a/b", 0);
    assert_eq!(out, *b"\x82\x08\0\x01\0\x03a/b\0");
    out.clear();
    subscribe(&mut out, Version::V5, "a/b", 1);
    assert_eq!(out, *b"\x82\x09\0\x01\0\0\x03a/b\x01");
    out.clear();
    connect_as(&mut out, Version::V311, "ab", 60, false);
    assert_eq!(out, *b"\x10\x0e\0\x04MQTT\x04\0\0\x3c\0\x02ab");
    out.clear();
    publish(&mut out, Version::V5, "a", b"xy");
    assert_eq!(out, *b"\x30\x06\0\x01a\0xy");
    out.clear();
    begin(&mut out, 0x30, 16_384);
    assert_eq!(out, [0x30, 0x80, 0x80, 0x01]);
}

use super::super::super::frames::split;
use super::*;

#[test]
fn a_message_is_read_as_it_was_made() {
    for payload_bytes in [8, 128, 20_000] {
        let mut out = Vec::new();
        Template::new(payload_bytes).append(&mut out, 1_234, 0xABCD, 77);
        Template::new(payload_bytes).append(&mut out, 99_999_999, 1, 78);
        let (first, rest) = split(&out).unwrap().unwrap();
        assert_eq!(&first.body[2..15], b"load/00001234");
        assert_eq!(first.body.len(), 2 + 13 + 2 + payload_bytes);
        let expected = Message { packet_id: [0xAB, 0xCD], dup: false, time_ns: 77 };
        assert_eq!(Message::of(first), Some(expected));
        let (second, rest) = split(rest).unwrap().unwrap();
        assert_eq!(&second.body[2..15], topic(99_999_999).as_bytes());
        assert!(rest.is_empty());
        for cut in 0..first.body.len().min(200) {
            assert_eq!(split(&out[..cut]), Ok(None), "cut at {cut}");
        }
    }
}

#[test]
fn what_is_no_message_of_ours_is_none() {
    for (first, body) in [
        (0x30, &b"\0\x01axxxxxxxx"[..]),
        (0x34, b"\0\x01a\0\x01xxxxxxxx"),
        (0x32, b"\0\x01a\0\x01xxxxxxx"),
        (0x32, b"\0\xFFa\0\x01xxxxxxxx"),
        (0x32, b"\0"),
        (0x40, b"\0\x01"),
    ] {
        assert_eq!(Message::of(Frame { first, body }), None, "{first:#04x} {body:02x?}");
    }
}

use super::super::super::frames::split;
use super::*;

#[test]
fn a_message_is_read_as_it_was_made() {
    for (qos, payload_bytes, packet_id) in
        [(0, 18, None), (0, 128, None), (1, 18, Some([1, 1])), (1, 20_000, Some([1, 1]))]
    {
        let template = Template::new("a/b", qos, 77, payload_bytes);
        let departure = Departure { slot: 256, sequence: 0xABCD_EF01 };
        let mut out = Vec::new();
        template.append(&mut out, departure, 123_456_789_000);
        template.append(&mut out, Departure { slot: 0, sequence: 2 }, 5);
        let (first, rest) = split(&out).unwrap().unwrap();
        let expected = Message { packet_id, publisher: 77, departure, due_ns: 123_456_789_000 };
        assert_eq!(Message::of(first), Some(expected), "QoS {qos}, {payload_bytes} bytes");
        let id_bytes = usize::from(qos > 0) * 2;
        assert_eq!(first.body.len(), 2 + 3 + id_bytes + payload_bytes);
        let (second, rest) = split(rest).unwrap().unwrap();
        assert_eq!(Message::of(second).unwrap().departure, Departure { slot: 0, sequence: 2 });
        assert!(rest.is_empty());
    }
}

#[test]
fn what_is_no_message_of_ours_is_none() {
    let body = b"\0\x01axxxxxxxxxxxxxxxxxxx";
    assert!(Message::of(Frame { first: 0x30, body }).is_some());
    for (first, body) in [
        (0x30, &body[..20]),
        (0x32, &body[..22]),
        (0x34, &body[..]),
        (0x30, b"\0\xFFa"),
        (0x30, b"\0"),
        (0x40, b"\0\x01"),
    ] {
        assert_eq!(Message::of(Frame { first, body }), None, "{first:#04x} {body:02x?}");
    }
}

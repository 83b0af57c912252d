use super::*;

fn packet(bytes: &[u8]) -> Packet {
    Decoder::default().next(&mut &bytes[..]).unwrap().unwrap()
}

fn heard(stage: Stage, version: Version, bytes: &[u8]) -> Result<Heard, Fault> {
    let mut client = Client { stage, pinged_at_ns: Some(7), ..Client::default() };
    client.hear(packet(bytes), version)
}

#[test]
fn answers_of_a_server_in_order_are_understood() {
    use Version::{V5, V311};
    let pong = Heard::Pong { pinged_at_ns: 7 };
    for (stage, version, bytes, expected) in [
        (Stage::Greeting, V311, &[0x20, 2, 0, 0][..], Heard::Accepted),
        (Stage::Greeting, V5, &[0x20, 3, 0, 0, 0], Heard::Accepted),
        (Stage::Up, V311, &[0xD0, 0], pong),
        (Stage::Leaving, V311, &[0xD0, 0], pong),
        (Stage::Up, V311, &[0x90, 3, 0, 1, 0], Heard::Subscribed),
        (Stage::Up, V5, &[0x90, 4, 0, 1, 0, 0], Heard::Subscribed),
        (Stage::Up, V311, &[0x31, 3, 0, 1, b'a'], Heard::Publish),
        (Stage::Up, V5, &[0xE0, 1, 0x8B], Heard::Goodbye(0x8B)),
    ] {
        assert_eq!(heard(stage, version, bytes), Ok(expected), "{bytes:02x?}");
    }
}

#[test]
fn everything_else_is_a_fault() {
    use Version::{V5, V311};
    for (stage, version, bytes) in [
        (Stage::Greeting, V311, &[0xD0, 0][..]),
        (Stage::Greeting, V311, &[0x20, 3, 0, 0, 0]),
        (Stage::Greeting, V5, &[0x20, 1, 0]),
        (Stage::Up, V311, &[0x20, 2, 0, 0]),
        (Stage::Up, V311, &[0xD0, 1, 0]),
        (Stage::Up, V311, &[0xD1, 0]),
        (Stage::Up, V311, &[0x32, 5, 0, 1, b'a', 0, 1]),
        (Stage::Up, V311, &[0x90, 3, 0, 1, 0x80]),
        (Stage::Up, V311, &[0x90, 3, 0, 2, 0]),
        (Stage::Up, V5, &[0x90, 4, 0, 1, 0, 0x87]),
        (Stage::Up, V311, &[0xE0, 0]),
        (Stage::Up, V311, &[0xC0, 0]),
    ] {
        let fault = heard(stage, version, bytes).unwrap_err();
        assert!(matches!(fault, Fault::Unexpected(..)), "{bytes:02x?}: {fault}");
    }
    let refused = heard(Stage::Greeting, V311, &[0x20, 2, 0, 5]);
    assert_eq!(refused, Err(Fault::Refused(5)));
}

#[test]
fn an_answer_without_a_ping_is_a_fault() {
    let mut client = Client { stage: Stage::Up, ..Client::default() };
    assert!(client.hear(packet(&[0xD0, 0]), Version::V311).is_err());
}

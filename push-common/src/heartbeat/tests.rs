use super::*;

fn masked(message: [u8; 2], mask: [u8; 4]) -> [u8; 8] {
    let [a, b, c, d] = mask;
    [0x82, 0x82, a, b, c, d, message[0] ^ a, message[1] ^ b]
}

#[test]
fn a_websocket_ping_is_known_under_any_mask() {
    for mask in [[0; 4], [1, 2, 3, 4], [0xFF; 4], [0xC0, 0, 0xC0, 0]] {
        assert!(Heartbeat::WEBSOCKET.is_request(&masked(PINGREQ, mask), 8), "{mask:?}");
        for other in [[0xC0, 1], [0xC1, 0], [0xD0, 0], [0x00, 0xC0]] {
            assert!(
                !Heartbeat::WEBSOCKET.is_request(&masked(other, mask), 8),
                "{mask:?} {other:?}"
            );
        }
    }
}

#[test]
fn a_websocket_ping_is_one_whole_masked_binary_frame() {
    let ping = masked(PINGREQ, [7, 8, 9, 10]);
    assert!(!Heartbeat::WEBSOCKET.is_request(&ping, 7));
    assert!(!Heartbeat::WEBSOCKET.is_request(&ping, 9));
    // Every other first byte (not FIN, text, a control frame, reserved bits), every other second byte
    // (no mask, other lengths).
    for byte in 0..=u8::MAX {
        let (mut first, mut second) = (ping, ping);
        (first[0], second[1]) = (byte, byte);
        assert_eq!(Heartbeat::WEBSOCKET.is_request(&first, 8), byte == 0x82);
        assert_eq!(Heartbeat::WEBSOCKET.is_request(&second, 8), byte == 0x82);
    }
}

#[test]
fn a_plain_ping_is_two_bytes() {
    let ping = [0xC0, 0, 9, 9, 9, 9, 9, 9];
    assert!(Heartbeat::PLAIN.is_request(&ping, 2));
    assert!(!Heartbeat::PLAIN.is_request(&ping, 8));
    assert!(!Heartbeat::PLAIN.is_request(&masked(PINGREQ, [0; 4]), 8));
    assert_eq!(Heartbeat::PLAIN.response()[..2], PINGRESP);
}

use super::*;

/// A frame with headers of so many bytes, TCP's with 12 bytes of options, and a payload.
fn frame(ethertype: [u8; 2], ip: &[u8], payload_bytes: usize) -> Vec<u8> {
    let mut tcp = [0; 32];
    tcp[12] = 8 << 4;
    [&[0; 12][..], &ethertype, ip, &tcp, &vec![7; payload_bytes]].concat()
}

fn v4(payload_bytes: usize) -> Vec<u8> {
    let mut ip = [0; 24];
    (ip[0], ip[3], ip[9]) = (0x46, u8::try_from(24 + 32 + payload_bytes).unwrap(), TCP);
    frame(ETHERTYPE_IPV4, &ip, payload_bytes)
}

fn v6(payload_bytes: usize) -> Vec<u8> {
    let mut ip = [0; IPV6_BYTES];
    (ip[0], ip[5], ip[6]) = (0x60, u8::try_from(32 + payload_bytes).unwrap(), TCP);
    frame(ETHERTYPE_IPV6, &ip, payload_bytes)
}

#[test]
fn payload_begins_behind_all_headers() {
    for frame in [v4(26), v6(26)] {
        let range = payload(&frame).unwrap();
        assert_eq!(range, frame.len() - 26..frame.len());
        assert!(frame[range].iter().all(|byte| *byte == 7));
    }
    for frame in [v4(0), v6(0)] {
        assert!(corruptible(&frame).is_some());
        assert_eq!(payload(&frame), None);
    }
}

use super::*;

#[test]
fn length_is_read_at_its_borders() {
    for (bytes, value) in [
        (&[0x00][..], 0),
        (&[0x7F], 127),
        (&[0x80, 0x01], 128),
        (&[0xFF, 0x7F], 16_383),
        (&[0x80, 0x80, 0x01], 16_384),
        (&[0xFF, 0xFF, 0x7F], 2_097_151),
        (&[0x80, 0x80, 0x80, 0x01], 2_097_152),
        (&[0xFF, 0xFF, 0xFF, 0x7F], 268_435_455),
    ] {
        assert_eq!(variable_int(bytes), Ok(Some((value, bytes.len()))));
        assert_eq!(variable_int_len(value as usize), bytes.len());
        assert_eq!(variable_int(&bytes[..bytes.len() - 1]), Ok(None), "cut short");
    }
    assert_eq!(variable_int(&[0xFF, 0xFF, 0xFF, 0xFF]), Err(Reason::MalformedPacket));
    assert_eq!(variable_int(&[0x80, 0x80, 0x80, 0x80, 0x01]), Err(Reason::MalformedPacket));
}

#[test]
fn length_in_a_longer_form_is_malformed_only_in_mqtt_5() {
    let padded = [0xC0, 0x80, 0x00];
    assert_eq!(Header::parse(&padded, Version::V5), Err(Reason::MalformedPacket));
    let header = Header { first: 0xC0, len: 3, body_len: 0 };
    assert_eq!(Header::parse(&padded, Version::V311), Ok(Some(header)));
}

#[test]
fn input_grows_by_what_arrived_and_not_by_what_was_announced() {
    let mut input = Input::default();
    input.extend(&[0x30, 0xFF, 0xFF, 0xFF, 0x7F]);
    assert!(input.0.capacity() < 64, "256 MB announced, {} held", input.0.capacity());
    for _ in 0..1000 {
        input.extend(&[0; 100]);
        assert!(input.0.capacity() <= (2 * input.len()).max(64));
    }
}

#[test]
fn input_does_not_grow_past_the_packet_under_way() {
    let mut input = Input::default();
    input.extend(&[0x30, 0x80, 0x80, 0x01]);
    while input.len() < 4 + 16_384 {
        input.extend(&[0; 1024]);
    }
    assert_eq!(input.0.capacity(), 4 + 16_384);
}

#[test]
fn drained_input_owns_nothing() {
    let mut input = Input::default();
    input.extend(&[1; 10_000]);
    input.advance(4_000);
    assert_eq!(input.take(6_000).len(), 6_000);
    assert_eq!(input.0.capacity(), 0);
    input.extend(&[1; 10]);
    input.advance(10);
    assert_eq!(input.0.capacity(), 0);
}

#[test]
fn the_memory_of_input_is_handed_over_whole() {
    let mut input = Input::default();
    input.extend(&[1; 10_000]);
    input.advance(4_000);
    let memory = input.take_memory();
    assert!(memory.is_empty() && memory.capacity() >= 10_000, "{}", memory.capacity());
    assert_eq!((input.len(), input.0.capacity()), (0, 0));
}

#[test]
fn packet_taken_whole_is_not_copied() {
    let mut input = Input::default();
    input.extend(&[7; 10_000]);
    let at = input.bytes().as_ptr();
    let taken = input.take(9_000);
    assert_eq!(taken.as_ptr(), at);
    assert_eq!(input.len(), 1_000);
}

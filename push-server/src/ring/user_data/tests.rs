use super::*;

#[test]
fn encoding_round_trips_at_the_extremes() {
    for kind in [Kind::Accept, Kind::Send, Kind::Cancel] {
        for token in [
            Token { index: 0, generation: 0 },
            Token { index: u32::MAX, generation: GENERATION_MASK },
            Token { index: 7, generation: 0x00ab_cdef },
        ] {
            assert_eq!(decode(encode(kind, token)), Some((kind, token)));
        }
    }
}

#[test]
fn generation_above_24_bits_never_reaches_the_kind() {
    let token = Token { index: 1, generation: u32::MAX };
    let (kind, decoded) = decode(encode(Kind::Receive, token)).expect("a known kind");
    assert_eq!(kind, Kind::Receive);
    assert_eq!(decoded.generation, GENERATION_MASK);
}

#[test]
fn unknown_kinds_are_refused() {
    assert_eq!(decode(0), None);
    assert_eq!(decode(8 << KIND_SHIFT), None);
    assert_eq!(decode(u64::MAX), None);
}

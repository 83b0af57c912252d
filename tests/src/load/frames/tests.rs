use super::*;

#[test]
fn packets_are_whole_or_not_found() {
    let input = [0xD0, 0, 0x40, 2, 0, 7, 0x30];
    let (first, rest) = split(&input).unwrap().unwrap();
    assert_eq!(first, Frame { first: 0xD0, body: &[] });
    let (second, rest) = split(rest).unwrap().unwrap();
    assert_eq!(second, Frame { first: 0x40, body: &[0, 7] });
    assert_eq!(split(rest), Ok(None));
    for cut in 3..6 {
        assert_eq!(split(&input[2..cut]), Ok(None), "cut at {cut}");
    }
}

#[test]
fn a_fifth_length_byte_is_malformed() {
    assert_eq!(split(&[0x32, 0xFF, 0xFF, 0xFF, 0xFF, 1]), Err(Malformed));
    assert_eq!(split(&[0x32, 0xFF, 0xFF]), Ok(None));
}

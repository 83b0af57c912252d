use super::*;

#[test]
fn addresses_that_differ_anywhere_are_not_the_same() {
    let bytes = [2, 0, 1, 0xFF, 4, 9];
    assert!(Mac::new(bytes).is(Mac::new(bytes)));
    for at in 0..6 {
        let mut other = bytes;
        other[at] ^= 0x80;
        assert!(!Mac::new(bytes).is(Mac::new(other)));
    }
}

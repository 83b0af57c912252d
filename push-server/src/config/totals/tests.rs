use super::*;

#[test]
fn what_nobody_says_is_a_share_of_the_memory() {
    let said = Totals { will_bytes: Some(5), ..Totals::default() };
    for (memory_bytes, expected) in [
        (512 << 20, [64 << 20, 64 << 20, 5, 32 << 20, 96 << 20, 16 << 20]),
        (64 << 30, [8 << 30, 8 << 30, 5, 4 << 30, 1 << 30, 2 << 30]),
        (1 << 20, [8 << 20, 8 << 20, 5, 8 << 20, 8 << 20, 8 << 20]),
    ] {
        assert_eq!(said.within(memory_bytes).named().map(|(_, bytes)| bytes), expected);
    }
}

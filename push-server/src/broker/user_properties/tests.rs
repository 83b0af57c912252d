use super::*;

#[test]
fn pairs_come_out_as_they_went_in_and_take_five_bytes_more_each() {
    let pairs = [("k", "v"), ("k", ""), ("", "ä"), ("", ""), ("k", "v")];
    let properties = UserProperties::collect(pairs).expect("short");
    assert!(properties.iter().eq(pairs));
    let text_bytes = pairs.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
    let pairs_bytes = pairs.len() * UserProperties::PAIR_BYTES;
    assert_eq!(properties.encoded().len(), text_bytes + pairs_bytes);
    assert_eq!(properties.encoded()[..7], [38, 0, 1, b'k', 0, 1, b'v']);
    assert_eq!(UserProperties::default().iter().count(), 0);
}

#[test]
fn a_text_longer_than_its_length_can_say_is_refused() {
    let longest = "x".repeat(65_535);
    let properties = UserProperties::collect([("a", &*longest), (&*longest, "b")]);
    assert_eq!(properties.expect("fits").iter().count(), 2);
    let too_long = longest + "x";
    let refused = Err(UserPropertyTooLong(65_536));
    assert_eq!(UserProperties::collect([(&*too_long, "")]), refused);
    assert_eq!(UserProperties::collect([("", &*too_long)]), refused);
}

use super::*;

#[test]
fn numbers_take_six_columns_at_most_and_three_digits_of_truth() {
    for (number, text) in [
        (0, "0"),
        (9_999, "9,999"),
        (10_000, "10.0k"),
        (99_949, "99.9k"),
        (99_951, "100k"),
        (999_499, "999k"),
        (999_500, "1.00M"),
        (1_234_567, "1.23M"),
        (2_000_000_000, "2.00G"),
        (u64::MAX / 1_000_000, "18.4T"),
    ] {
        assert_eq!(short(number), text);
        assert!(short(number).len() <= 6);
    }
}

#[test]
fn parts_fill_lines_and_keep_whole() {
    let long = "x".repeat(40);
    let made = lines("  label  ", [&*long, "short", &*long, "end"], "  ");
    assert_eq!(made, [format!("  label  {long}  short"), format!("         {long}  end")]);
    let longest = "y".repeat(100);
    assert_eq!(lines("a ", ["b", &*longest], " "), ["a b".to_owned(), format!("  {longest}")]);
}

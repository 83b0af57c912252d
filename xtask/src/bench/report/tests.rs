use super::*;

#[test]
fn median_of_an_even_count_lies_between_the_middle_two() {
    let spread = Spread::of([4.0, 1.0, 3.0, 2.0]).unwrap();
    assert_eq!((spread.median, spread.min, spread.max), (2.5, 1.0, 4.0));
    assert_eq!(Spread::of([7.0, 1.0, 3.0]).unwrap().median, 3.0);
}

#[test]
fn nothing_and_no_numbers_have_no_median() {
    assert_eq!(Spread::of([]), None);
    assert_eq!(Spread::of([1.0, f64::NAN]), None);
    assert_eq!(Spread::of([1.0 / 0.0]), None);
}

#[test]
fn spread_is_written_with_its_ends() {
    assert_eq!(Spread::of([0.58, 0.571, 0.6]).unwrap().text(2), "0.58 (0.57-0.60)");
    assert_eq!(Spread::of([95_000.0]).unwrap().text(0), "95,000");
}

#[test]
fn line_through_points_on_a_line_is_exact() {
    let line = Line::through(&[(1.0, 12.0), (2.0, 14.0), (4.0, 18.0), (8.0, 26.0)]).unwrap();
    assert!((line.slope - 2.0).abs() < 1e-12 && (line.intercept - 10.0).abs() < 1e-12);
    assert!(line.slope_error < 1e-12);
}

#[test]
fn slope_error_is_that_of_the_textbook() {
    // Residuals -0.1 0.3 -0.3 0.1 around 1.4 x + 0.7: sqrt(0.2 / 2 / 5).
    let line = Line::through(&[(1.0, 2.0), (2.0, 3.8), (3.0, 4.6), (4.0, 6.4)]).unwrap();
    assert!((line.slope - 1.4).abs() < 1e-12, "{line:?}");
    assert!((line.slope_error - 0.02_f64.sqrt()).abs() < 1e-12, "{line:?}");
}

#[test]
fn too_few_points_have_no_line() {
    assert_eq!(Line::through(&[(1.0, 1.0), (2.0, 2.0)]), None);
    assert_eq!(Line::through(&[(1.0, 1.0), (1.0, 2.0), (1.0, 3.0)]), None);
}

#[test]
fn thousands_are_set_apart() {
    assert_eq!(grouped(1_234_567.891, 1), "1,234,567.9");
    assert_eq!(grouped(-1_234.0, 0), "-1,234");
    assert_eq!(grouped(-0.001, 2), "0.00");
    assert_eq!(grouped(123.0, 0), "123");
}

#[test]
fn table_is_aligned_and_markdown_has_its_ruler() {
    let words = |cells: [&str; 2]| cells.map(str::to_owned).to_vec();
    let table = Table { head: words(["", "us"]), rows: vec![words(["ping", "11.5"])] };
    assert_eq!(table.plain(), "         us\nping   11.5\n");
    assert_eq!(table.markdown(), "|  | us |\n|---|---:|\n| ping | 11.5 |\n");
}

#[test]
fn dates_are_those_of_the_calendar() {
    assert_eq!(iso_date(0), "1970-01-01T00:00:00Z");
    assert_eq!(iso_date(951_782_399), "2000-02-28T23:59:59Z");
    assert_eq!(iso_date(951_868_800), "2000-03-01T00:00:00Z");
    assert_eq!(iso_date(1_795_386_000), "2026-11-22T22:20:00Z");
}

#[test]
fn fields_of_proc_files_are_found() {
    assert_eq!(field("a : 1\nmodel name\t: Fast One\n", "model name"), Some("Fast One"));
    assert_eq!(field("MemTotal:       24685 kB\n", "MemTotal"), Some("24685 kB"));
    assert_eq!(field("MemTotals: 1\n", "MemTotal"), None);
}

use super::*;

#[test]
fn results_of_all_binaries_are_added_up() {
    let mut tally = Tally::default();
    for line in [
        "running 3 tests",
        "test mqtt::codec::tests::connect_is_parsed ... ok",
        "test wire::slow ... ignored, takes an hour",
        "test wire::other ... ignored",
        "test result: ok. 12 passed; 0 failed; 2 ignored; 0 measured; 4 filtered out; finished in 0.00s",
        "test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.00s",
        "my test result: ok. 9 passed; 9 failed",
    ] {
        tally.read_line(line);
    }
    assert_eq!((tally.passed, tally.failed), (13, 2));
    assert_eq!(tally.skipped, ["wire::slow: takes an hour", "wire::other: ignored"]);
}

#[test]
fn test_that_skipped_itself_is_not_counted_as_passed() {
    let mut tally = Tally { passed: 5, failed: 1, ..Tally::default() };
    let skipped =
        parse_skipped("SKIPPED e2e::veth: needs root\nnoise\nSKIPPED e2e::paho: no paho: none\n");
    tally.count_skipped(&skipped);
    assert_eq!((tally.passed, tally.failed), (3, 1));
    assert_eq!(tally.skipped, ["e2e::veth: needs root", "e2e::paho: no paho: none"]);
}

#[test]
fn figures_are_repeated_under_the_kernel_that_they_are_of() {
    let (mut tally, mut one) = (Tally::default(), Tally::default());
    one.read_line("test verifier::has_room ... FIGURE 9 of 10 instructions");
    tally.add("Linux 6.12", &one);
    assert_eq!(tally.figures, ["Linux 6.12: 9 of 10 instructions"]);
    assert_eq!((tally.passed, tally.failed), (0, 0));
}

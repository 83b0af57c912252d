use super::*;

fn followed(text: &'static str) -> (bool, Tally) {
    let mut tally = Tally::default();
    let lines = lines_of(text.as_bytes());
    let done = follow(&lines, Duration::from_secs(60), &mut tally);
    (done, tally)
}

#[test]
fn a_machine_is_counted_by_libtest_and_by_what_skipped() {
    let (done, tally) = followed(
        "vm: running packet\r\ntest result: ok. 5 passed; 0 failed; 0 ignored\r\n\
             vm: SKIPPED packet::x: no TCX\r\nvm: broken: wire ended with 124\r\nvm: done\r\n",
    );
    assert!(done);
    assert_eq!((tally.passed, tally.failed), (4, 1));
    assert_eq!(tally.skipped, ["packet::x: no TCX"]);
}

#[test]
fn a_machine_that_hangs_is_given_up() {
    let mut tally = Tally::default();
    let (sender, lines) = mpsc::channel();
    sender.send("vm: running packet".to_owned()).expect("a receiver");
    assert!(!follow(&lines, Duration::ZERO, &mut tally));
}

#[test]
fn a_machine_that_ends_early_is_not_done() {
    let (done, tally) = followed("test result: ok. 5 passed; 0 failed; 0 ignored\r\n");
    assert!(!done);
    assert_eq!(tally.passed, 5);
}

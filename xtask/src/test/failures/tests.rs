use super::*;

fn read(text: &str) -> Failures {
    let mut failures = Failures::default();
    text.lines().for_each(|line| failures.read_line(line));
    failures
}

#[test]
fn a_failed_test_is_named_with_the_message_of_its_panic() {
    let failures = read(
        "\
test limits::once ... FAILED
test wire::kernel_path ... FAILED

failures:

---- limits::once stdout ----
wire 20 % loss: 7 pings

thread 'limits::once' (4711) panicked at tests/tests/limits.rs:87:5:
assertion `left == right` failed: 3 rounds; # HELP push_pings Pings.
# TYPE push_pings counter
push_pings_total{path=\"kernel\"} 4
# EOF

  left: 4
 right: 5
note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace
--- the server's log ends ---
thread of the server
---

---- wire::kernel_path stdout ----

thread '<unnamed>' (4712) panicked at tests/src/link.rs:1:2:
why
stack backtrace:
   0: std
thread 'wire::kernel_path' (4711) panicked at library/std/src/thread/mod.rs:3:4:
a scoped thread panicked


failures:
    limits::once
    wire::kernel_path

test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.00s
",
    );
    assert_eq!(
        failures.to_string(),
        "\
failed limits::once
    panicked at tests/tests/limits.rs:87:5:
    assertion `left == right` failed: 3 rounds; (metrics)
      left: 4
     right: 5
failed wire::kernel_path
    panicked at tests/src/link.rs:1:2:
    why
    panicked at library/std/src/thread/mod.rs:3:4:
    a scoped thread panicked
"
    );
}

#[test]
fn a_long_message_is_cut() {
    let lines: Vec<String> = (1..=20).map(|number| format!("line {number}")).collect();
    let long = "x".repeat(LINE_CHARS_MAX + 1);
    let begin = "---- a stdout ----\nthread 'a' (1) panicked at a.rs:1:1:";
    let failures = read(&format!("{begin}\n{long}\n{}\n", lines.join("\n")));
    let shown = failures.to_string();
    let shown: Vec<&str> = shown.lines().collect();
    assert_eq!(shown.len(), 1 + LINES_MAX + 1);
    assert_eq!(shown[2], format!("    {} ...", "x".repeat(LINE_CHARS_MAX)));
    assert_eq!(shown[LINES_MAX..], ["    line 13", "    ..."]);
}

#[test]
fn what_other_tests_print_is_no_failure() {
    let failures =
        read("running 1 test\nthread 'a' (1) panicked at a.rs:1:1:\nwhy\ntest a ... ok\n");
    assert_eq!(failures.to_string(), "");
}

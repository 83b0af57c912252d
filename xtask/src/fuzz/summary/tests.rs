//! With what libFuzzer prints.

use super::*;

#[test]
fn final_statistics_are_read() {
    let text = "#2\tINITED cov: 10 ft: 11 corp: 1/1b exec/s: 0 rss: 30Mb\n\
                #90\tDONE   cov: 44 ft: 57 corp: 9/20b lim: 4 exec/s: 0 rss: 31Mb\n\
                Done 90 runs in 1 second(s)\n\
                stat::number_of_executed_units: 90\n\
                stat::average_exec_per_sec:     90\n\
                stat::new_units_added:          8\n\
                stat::slowest_unit_time_sec:    0\n\
                stat::peak_rss_mb:              31\n";
    let summary = Summary { inputs: 90, kept: 8, memory_mib: 31, features: 57 };
    assert_eq!(Summary::parse(text), Some(summary));
    assert_eq!(Summary::parse("INFO: Running with entropic power schedule"), None);
}

#[test]
fn of_a_failure_the_panic_is_told() {
    let text = "INFO: seed\nthread '<unnamed>' panicked at src/a.rs:1:1:\nleft: 1\nright: 2\n";
    assert!(failure(text).starts_with("thread '<unnamed>' panicked at"));
    assert!(failure(text).ends_with("right: 2"));
    assert_eq!(failure("one\ntwo"), "one\ntwo");
}

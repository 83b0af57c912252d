use super::*;

#[test]
fn the_stack_is_heard_three_times_before_it_is_forgotten() {
    for (timeout_secs, expected) in [(15, 5), (7_440, 2_480), (3, 1), (432_000, 86_400)] {
        assert_eq!(silence_secs_max(Some(timeout_secs)), expected, "{timeout_secs}");
    }
}

#[test]
fn without_connection_tracking_a_ping_a_day_is_enough() {
    assert_eq!(silence_secs_max(None), 86_400);
}

#[test]
fn no_timeout_makes_it_nothing() {
    // Zero would mean that nothing was said.
    assert_eq!((silence_secs_max(Some(0)), silence_secs_max(Some(2))), (1, 1));
    assert_eq!(silence_secs_max(Some(u64::MAX)), 86_400);
}

#[test]
fn what_is_no_number_is_as_if_it_were_not_there() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = |text: &str| {
        let path = directory.path().join("timeout");
        fs::write(&path, text).expect("write");
        read(path.to_str().expect("a name in UTF-8"))
    };
    assert_eq!(file("432000\n"), Some(432_000));
    assert_eq!(file("\n"), None);
    assert_eq!(file("-1\n"), None);
    assert_eq!(read("/nowhere"), None);
}

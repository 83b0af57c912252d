use super::*;

const UNTIL: u64 = 1_800_000_000;

#[test]
fn the_last_two_weeks_are_an_end_and_the_last_second_is_valid() {
    for (left, expected) in [
        (WARNED_SECS, Validity::Valid),
        (WARNED_SECS - 1, Validity::Ending { days: 13 }),
        (DAY_SECS, Validity::Ending { days: 1 }),
        (0, Validity::Ending { days: 0 }),
    ] {
        assert_eq!(Validity::at(UNTIL - left, 0, UNTIL), expected, "{left} s before");
    }
    assert_eq!(Validity::at(UNTIL + 1, 0, UNTIL), Validity::Expired);
    assert_eq!(Validity::at(999, 1_000, UNTIL), Validity::NotYet);
}

#[test]
fn a_line_is_written_once_a_day_and_when_the_state_changes() {
    let mut reminder = Reminder::default();
    let ending = Validity::Ending { days: 3 };
    assert!(!reminder.is_due(UNTIL, Validity::Valid));
    assert!(reminder.is_due(UNTIL, ending));
    assert!(!reminder.is_due(UNTIL + 60, ending));
    assert!(!reminder.is_due(UNTIL + DAY_SECS - 1, Validity::Ending { days: 2 }));
    assert!(reminder.is_due(UNTIL + DAY_SECS, Validity::Ending { days: 2 }));
    assert!(reminder.is_due(UNTIL + DAY_SECS + 1, Validity::Expired));
    assert!(!reminder.is_due(UNTIL + DAY_SECS + 2, Validity::Expired));
    assert!(reminder.is_due(UNTIL, Validity::Expired), "the clock was set back");
    assert!(!reminder.is_due(UNTIL, Validity::Valid));
    assert!(reminder.is_due(UNTIL, Validity::Expired), "it was valid meanwhile");
}

#[test]
fn dates_are_of_the_calendar_whatever_the_number() {
    assert_eq!(date(0), "1970-01-01T00:00:00Z");
    assert_eq!(date(u64::MAX), "9999-12-31T23:59:59Z");
}

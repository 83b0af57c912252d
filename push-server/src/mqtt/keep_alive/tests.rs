use super::*;

#[test]
fn deadline_is_one_and_a_half_keep_alives_away_and_zero_has_none() {
    let last_seen = Monotonic(7);
    assert_eq!(KeepAlive(3).deadline(last_seen), Some(last_seen.after_millis(4_500)));
    assert_eq!(KeepAlive(0).deadline(last_seen), None);
}

#[test]
fn only_mqtt_5_is_held_to_the_longest_keep_alive() {
    let granted = |version, wish_secs, keep_alive_max_secs| {
        let limits = Limits { keep_alive_max_secs, ..Limits::default() };
        KeepAlive::granted(version, wish_secs, &limits).0
    };
    assert_eq!(granted(Version::V5, 61, 60), 60);
    assert_eq!(granted(Version::V5, 0, 60), 60);
    assert_eq!(granted(Version::V5, 59, 60), 59);
    assert_eq!(granted(Version::V5, 0, u16::MAX), 0);
    assert_eq!(granted(Version::V311, 61, 60), 61);
    assert_eq!(granted(Version::V311, 0, 60), 0);
}

#[test]
fn who_asks_for_no_keep_alive_is_given_the_default_within_the_longest() {
    let granted = |version, wish_secs, keep_alive_max_secs| {
        let limits =
            Limits { keep_alive_max_secs, keep_alive_default_secs: 300, ..Limits::default() };
        KeepAlive::granted(version, wish_secs, &limits).0
    };
    assert_eq!(granted(Version::V5, 0, u16::MAX), 300);
    assert_eq!(granted(Version::V5, 0, 60), 60);
    assert_eq!(granted(Version::V5, 900, u16::MAX), 900);
    assert_eq!(granted(Version::V31, 0, 60), 0);
    assert_eq!(granted(Version::V311, 0, u16::MAX), 0);
}

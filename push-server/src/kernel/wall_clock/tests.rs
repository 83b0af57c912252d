use super::*;

#[test]
fn asking_needs_no_right_and_changes_nothing() {
    let kept = is_wall_clock_kept();
    assert_eq!(is_wall_clock_kept(), kept);
}

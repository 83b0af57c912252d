use super::*;

fn topic(text: &str) -> TopicName {
    TopicName::parse(text, 8).unwrap()
}

#[test]
fn a_change_that_comes_behind_a_later_one_of_its_topic_is_not_made() {
    let mut changes = Changes::default();
    let [first, second, third] = [(); 3].map(|()| changes.begin(&topic("a"), None));
    let other = changes.begin(&topic("b"), None);
    assert!(second.take());
    assert!(!first.take());
    assert!(second.take(), "again, in the same order");
    assert!(third.take() && other.take());
    assert!(!second.take());
}

#[test]
fn topics_without_changes_under_way_are_forgotten() {
    let mut changes = Changes::default();
    let kept = changes.begin(&topic("kept"), None);
    for number in 0..10 * SWEEP_FROM {
        changes.begin(&topic(&number.to_string()), None);
    }
    assert!(changes.under_way.len() <= SWEEP_FROM);
    assert!(changes.begin(&topic("kept"), None).take());
    assert!(!kept.take(), "it was under way all the time");
}

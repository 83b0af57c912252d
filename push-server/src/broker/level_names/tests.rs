use super::*;

#[test]
fn a_text_is_kept_once_and_until_its_last_node_is_gone() {
    let mut names = LevelNames::default();
    let plus = names.take("+");
    assert_eq!((names.take("+"), names.find("+")), (plus, Some(plus)));
    let device = names.take("device");
    assert_eq!((names.text(plus), names.text(device), names.len()), ("+", "device", 2));
    names.give_back(plus);
    assert_eq!(names.find("+"), Some(plus));
    names.give_back(plus);
    assert_eq!((names.find("+"), names.len()), (None, 1));
}

#[test]
fn the_table_shrinks_when_most_texts_are_gone() {
    let mut names = LevelNames::default();
    let ids: Vec<_> = (0..10_000).map(|number| names.take(&number.to_string())).collect();
    let full = names.by_text.capacity();
    for id in &ids[100..] {
        names.give_back(*id);
    }
    assert!(names.by_text.capacity() < full / 10);
    for (number, id) in ids[..100].iter().enumerate() {
        assert_eq!(names.find(&number.to_string()), Some(*id));
    }
}

#[test]
fn a_name_is_no_larger_than_it_says() {
    assert_eq!(size_of::<Option<LevelName>>(), 24);
}

use super::*;

#[test]
fn numbers_are_indices_of_the_list() {
    for (index, counter) in Counter::ALL.iter().enumerate() {
        assert_eq!(*counter as usize, index, "{}", counter.name());
    }
}

#[test]
fn names_are_snake_case_and_differ() {
    let mut names: Vec<_> = Counter::ALL.iter().map(|counter| counter.name()).collect();
    let snake = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    assert!(names.iter().all(|name| name.chars().all(snake)));
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), Counter::ALL.len());
}

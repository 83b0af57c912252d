use super::*;

fn filter(text: &str) -> TopicFilter {
    TopicFilter::parse(text, 8).expect("valid")
}

#[test]
fn a_session_has_filters_of_its_own_alone() {
    let mut filters = FiltersBySession::default();
    for (number, text) in [(1, "z"), (3, "a"), (3, "b")] {
        filters.insert(SessionNumber(number), filter(text), number);
    }
    let having = |filters: &FiltersBySession<u64>| {
        [0, 1, 2, 3, 4].map(|number| filters.has(SessionNumber(number)))
    };
    assert_eq!(having(&filters), [false, true, false, true, false]);
    assert!(filters.remove(SessionNumber(3), &filter("a")));
    assert!(!filters.remove(SessionNumber(3), &filter("a")));
    assert_eq!(having(&filters), [false, true, false, true, false]);
    assert_eq!(filters.get_mut(SessionNumber(3), &filter("b")), Some(&mut 3));
    assert!(filters.remove(SessionNumber(3), &filter("b")));
    assert_eq!(having(&filters), [false, true, false, false, false]);
    let left: Vec<_> = filters.iter().collect();
    assert_eq!(left, [(SessionNumber(1), &filter("z"), &1)]);
}

use super::*;

#[test]
fn both_servers_get_the_same_rules() {
    let (ours, mosquittos) = (ours(), mosquittos());
    assert_eq!(ours.matches("[[allow]]").count(), RULES / 2);
    assert_eq!(ours.matches("[[deny]]").count(), RULES / 2);
    assert_eq!(mosquittos.lines().count(), RULES);
    assert_eq!(mosquittos.matches("topic deny ").count(), RULES / 2);
    let mut filters: Vec<_> = filters().map(|(_, filter)| filter).collect();
    assert_eq!(filters.last().map(String::as_str), Some("load/#"));
    filters.sort();
    filters.dedup();
    assert_eq!(filters.len(), RULES);
}

use super::*;

#[test]
fn clients_of_sessions_that_were_left_out_are_known() {
    let mut left_out = LeftOut::default();
    assert!(!left_out.has_client("a") && !left_out.has_number(SessionNumber(1)));
    left_out.add(SessionNumber(1), "a");
    left_out.add(SessionNumber(1), "a");
    left_out.add_number(SessionNumber(2));
    assert_eq!(left_out.sessions(), 1);
    assert!(left_out.has_client("a") && !left_out.has_client("b"));
    assert!([1, 2].map(SessionNumber).iter().all(|number| left_out.has_number(*number)));
}

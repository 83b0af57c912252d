use super::*;

#[test]
fn growth_is_read_from_a_line() {
    assert_eq!(clients_wished("to 15000", 1_000), Ok(15_000));
    assert_eq!(clients_wished(" to  15 \r", 15), Ok(15));
    for line in ["to 14", "to", "15", "to x", "to -1", "", "to 99999999999"] {
        assert!(clients_wished(line, 15).is_err(), "{line:?}");
    }
}

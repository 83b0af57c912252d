use super::*;

#[test]
fn a_message_is_known_by_its_bytes_and_a_changed_one_is_not() {
    let id = MessageId { publisher: 3, number: 70_000 };
    let payload = make(&mut rand::rng(), id);
    assert_eq!(read(&payload), Ok(id));
    for at in 0..payload.len().min(40) {
        let mut changed = payload.clone();
        changed[at] ^= 1;
        assert!(read(&changed).is_err(), "byte {at}");
    }
    assert!(read(&payload[1..]).is_err() && read(&[]).is_err());
}

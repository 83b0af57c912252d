//! Tests of `sending`.

use super::*;

#[test]
fn from_half_of_the_total_on_a_socket_is_handed_less() {
    const TOTAL: u64 = 1 << 20;
    for (used, expected) in [
        (0, SEND_BYTES_MAX),
        (TOTAL / 2, SEND_BYTES_MAX),
        (TOTAL / 4 * 3, (SEND_BYTES_MAX + SEND_BYTES_MIN) / 2),
        (TOTAL, SEND_BYTES_MIN),
        (2 * TOTAL, SEND_BYTES_MIN),
    ] {
        assert_eq!(bytes_max(used, TOTAL), expected, "{used}");
    }
    assert_eq!((bytes_max(0, 0), bytes_max(5, 1)), (SEND_BYTES_MIN, SEND_BYTES_MIN));
    assert_eq!(bytes_max(u64::MAX / 4, u64::MAX), SEND_BYTES_MAX);
}

#[test]
fn connections_that_take_nothing_keep_to_the_total_and_a_little_each() {
    const CLIENTS: u64 = 1_000;
    let total = MemoryBudget::new(8 << 20);
    let mut shards = [Sending::new(&total), Sending::new(&total)];
    for client in 0..CLIENTS {
        let shard = &mut shards[client as usize % 2];
        let bytes = shard.bytes_max();
        shard.begin(bytes);
    }
    shards.iter_mut().for_each(Sending::settle);
    let most = total.bytes_max() + CLIENTS * SEND_BYTES_MIN as u64;
    assert!((total.bytes_max()..=most).contains(&total.used_bytes()), "{}", total.used_bytes());
}

#[test]
fn the_total_knows_of_all_but_a_step_and_of_nothing_that_was_taken() {
    let total = MemoryBudget::new(1 << 30);
    let mut sending = Sending::new(&total);
    let small = sending.begin(STEP_BYTES as usize - 1);
    assert_eq!(total.used_bytes(), 0);
    let large = sending.begin(1 << 20);
    assert_eq!(total.used_bytes(), (1 << 20) + STEP_BYTES - 1);
    sending.end(large);
    sending.end(small);
    sending.settle();
    assert_eq!(total.used_bytes(), 0);
}

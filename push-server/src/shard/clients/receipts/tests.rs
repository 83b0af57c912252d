//! Tests of `receipts`.

use super::*;

fn receipt(packet_id: u16) -> PublishReceipt {
    PublishReceipt { packet_id, exactly_once: false }
}

#[test]
fn publishes_are_answered_in_the_order_they_came() {
    let mut receipts = Receipts::default();
    let numbers: Vec<u64> = (1..=3).map(|id| receipts.push(receipt(id))).collect();
    receipts.settle(numbers[1], Reason::Success);
    assert!(receipts.pop_settled().is_none(), "the first one still waits");
    receipts.settle(numbers[0], Reason::NoMatchingSubscribers);
    let mut answered = Vec::new();
    while let Some((receipt, reason)) = receipts.pop_settled() {
        answered.push((receipt.packet_id, reason));
    }
    assert_eq!(answered, [(1, Reason::NoMatchingSubscribers), (2, Reason::Success)]);
    receipts.settle(numbers[0], Reason::Success);
    receipts.settle(numbers[2], Reason::Success);
    assert_eq!(receipts.pop_settled().map(|(receipt, _)| receipt.packet_id), Some(3));
    assert!(receipts.queue.is_empty());
}

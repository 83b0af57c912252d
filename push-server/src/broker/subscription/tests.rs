use super::*;

fn id(number: u32) -> Option<SubscriptionId> {
    SubscriptionId::new(number)
}

#[test]
fn identifiers_are_1_to_268435455() {
    assert_eq!((id(0), id(SUBSCRIPTION_ID_MAX + 1)), (None, None));
    assert_eq!(id(1).map(SubscriptionId::value), Some(1));
    assert_eq!(id(SUBSCRIPTION_ID_MAX).map(SubscriptionId::value), Some(SUBSCRIPTION_ID_MAX));
}

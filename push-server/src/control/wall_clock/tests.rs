use std::time::Duration;

use super::*;

#[tokio::test]
async fn while_nobody_sets_it_nothing_is_told() {
    let clock = WallClock::new();
    assert!(clock.timer.is_some());
    let told = tokio::time::timeout(Duration::from_millis(50), clock.set()).await;
    assert!(told.is_err());
}

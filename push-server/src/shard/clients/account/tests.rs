use push_common::rate::Rate;

use super::*;

const START: Monotonic = Monotonic(1_000_000_000_000);

fn limits(publish: Rate, publish_bytes: Rate) -> ClientLimits {
    ClientLimits { publish, publish_bytes, ..ClientLimits::default() }
}

fn account(limits: ClientLimits) -> Account {
    Account::new(limits, &ClientLimits::default(), None, None)
}

#[test]
fn where_no_limit_is_on_an_account_is_a_word() {
    assert_eq!(size_of::<Account>(), 8);
    let servers = ClientLimits::default();
    let mut plain = account(servers);
    let mut few = 0;
    assert!((0..15).all(|_| plain.take_filter(&mut few, &servers, START)));
    assert!(plain.0.is_none(), "an ordinary client's filters cost nothing");
    let busy = limits(Rate { per_sec: 1, burst: 1 }, Rate::OFF);
    assert!(account(busy).0.is_some());
    assert!(Account::new(busy, &busy, None, None).0.is_some(), "the server's own limit, too");
}

#[test]
fn filters_beyond_the_burst_have_to_wait() {
    for burst in [1_000, 10] {
        let subscribe = Rate { per_sec: 100, burst };
        let servers = ClientLimits { subscribe, ..ClientLimits::default() };
        let (mut account, mut few) = (account(servers), 0);
        let mut take =
            |now| (0..5_000).filter(|_| account.take_filter(&mut few, &servers, now)).count();
        assert_eq!(take(START), burst as usize);
        assert_eq!(take(START.after_millis(50)), 5);
        assert_eq!(take(START.after_millis(1_000_000)), burst as usize);
    }
}

#[test]
fn a_client_that_publishes_too_much_pauses_until_it_is_within_the_rate() {
    let mut account = account(limits(Rate { per_sec: 10, burst: 3 }, Rate::OFF));
    for _ in 0..2 {
        account.publish(1, START);
        assert!(!account.has_to_pause(START));
    }
    account.publish(1, START);
    assert!(account.has_to_pause(START), "the burst is used up");
    assert!(account.pause(START), "for the first time");
    let opens_at = START.after_millis(100);
    assert_eq!(account.pause_deadline(), Some(opens_at));
    assert_eq!(account.look_at_pause(START), Pause::Until(opens_at));
    assert_eq!(account.look_at_pause(opens_at), Pause::Over);
    account.publish(1, opens_at);
    assert!(!account.pause(opens_at), "it has not caught up");
}

#[test]
fn bytes_count_apart_and_a_large_message_is_paid_for_afterwards() {
    let rate = Rate { per_sec: 1_000, burst: 1_000 };
    let mut account = account(limits(Rate::OFF, rate));
    account.publish(3_000, START);
    assert!(account.pause(START));
    assert_eq!(
        account.look_at_pause(START.after_millis(2_000)),
        Pause::Until(START.after_millis(2_001))
    );
    assert_eq!(account.look_at_pause(START.after_millis(2_001)), Pause::Over);
}

#[test]
fn who_has_not_caught_up_in_ten_seconds_has_paused_too_long() {
    let mut account = account(limits(Rate { per_sec: 10, burst: 1 }, Rate::OFF));
    let mut now = START;
    account.publish(1, now);
    assert!(account.pause(now));
    while account.look_at_pause(now) != Pause::TooLong {
        now = account.pause_deadline().expect("it pauses");
        if account.look_at_pause(now) == Pause::Over {
            account.publish(1, now);
            assert!(!account.pause(now));
        }
    }
    assert_eq!(now, START.after_millis(10_000));
}

#[test]
fn who_catches_up_begins_anew() {
    let mut account = account(limits(Rate { per_sec: 10, burst: 1 }, Rate::OFF));
    account.publish(1, START);
    assert!(account.pause(START));
    let now = START.after_millis(9_000);
    assert_eq!(account.look_at_pause(now), Pause::Over);
    account.catch_up();
    account.publish(1, now);
    assert!(account.pause(now));
    assert_eq!(account.look_at_pause(START.after_millis(11_000)), Pause::Over);
}
